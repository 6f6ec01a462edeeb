/* The one body of the gate kernels. The including file defines TD_GATES_TABLE. Branch-free arithmetic that compilers
 * vectorise; no step depends on the width of a vector but the sums of additive attention. */
#include "kernels/gates.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math") /* else selections stay branches and loops scalar; no result changes */
#endif

#include "kernels/rows_math.h"

static void lstm(td_real *gates, const td_real *c_previous, td_real *c, td_real *h, size_t n)
{
    td_real *restrict input = gates, *restrict forget = gates + n, *restrict cell = gates + 2 * n, *restrict output = gates + 3 * n;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        td_real in = math_sigmoid(input[i]), keep = math_sigmoid(forget[i]), new = math_tanh(cell[i]), out = math_sigmoid(output[i]);
        td_real state = keep * c_previous[i] + in * new;
        input[i] = in;
        forget[i] = keep;
        cell[i] = new;
        output[i] = out;
        c[i] = state;
        h[i] = out * math_tanh(state);
    }
}

static void lstm_backward(td_real *gates, const td_real *c_previous, const td_real *c, const td_real *dh, td_real *dc, size_t n)
{
    td_real *restrict input = gates, *restrict forget = gates + n, *restrict cell = gates + 2 * n, *restrict output = gates + 3 * n;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        td_real in = input[i], keep = forget[i], new = cell[i], out = output[i], squashed = math_tanh(c[i]);
        td_real dstate = dc[i] + dh[i] * out * (1 - squashed * squashed);
        input[i] = dstate * new *in *(1 - in);
        forget[i] = dstate * c_previous[i] * keep * (1 - keep);
        cell[i] = dstate * in * (1 - new *new);
        output[i] = dh[i] * squashed * out * (1 - out);
        dc[i] = dstate * keep;
    }
}

static void gru(td_real *gates, const td_real *hidden, const td_real *h_previous, td_real *h, size_t n)
{
    td_real *restrict reset = gates, *restrict update = gates + n, *restrict candidate = gates + 2 * n;
    const td_real *hidden_update = hidden + n, *hidden_candidate = hidden + 2 * n;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        td_real r = math_sigmoid(reset[i] + hidden[i]), z = math_sigmoid(update[i] + hidden_update[i]);
        td_real new = math_tanh(candidate[i] + r * hidden_candidate[i]);
        reset[i] = r;
        update[i] = z;
        candidate[i] = new;
        h[i] = (1 - z) * new + z *h_previous[i];
    }
}

static void gru_backward(td_real *gates, td_real *hidden, const td_real *h_previous, td_real *dh, size_t n)
{
    td_real *restrict reset = gates, *restrict update = gates + n, *restrict candidate = gates + 2 * n;
    td_real *restrict hidden_reset = hidden, *restrict hidden_update = hidden + n, *restrict hidden_candidate = hidden + 2 * n;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        td_real r = reset[i], z = update[i], new = candidate[i];
        td_real dnew = dh[i] * (1 - z) * (1 - new *new);
        td_real dupdate = dh[i] * (h_previous[i] - new) * z * (1 - z);
        td_real dreset = dnew * hidden_candidate[i] * r * (1 - r);
        reset[i] = hidden_reset[i] = dreset;
        update[i] = hidden_update[i] = dupdate;
        candidate[i] = dnew;
        hidden_candidate[i] = dnew * r;
        dh[i] *= z;
    }
}

static void rnn(td_real *h, const td_real *sum, int relu, size_t n)
{
    if (relu) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            h[i] = sum[i] > 0 ? sum[i] : 0;
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        h[i] = math_tanh(sum[i]);
}

static void rnn_backward(td_real *dsum, const td_real *h, const td_real *dh, int relu, size_t n)
{
    if (relu) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            dsum[i] = h[i] > 0 ? dh[i] : 0;
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dsum[i] = dh[i] * (1 - h[i] * h[i]);
}

static td_real additive_score(const td_real *q, const td_real *k, const td_real *v, const td_real *w, td_real coverage, size_t n)
{
    td_real sum = 0;
    if (w) {
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < n; i++)
            sum += v[i] * math_tanh(q[i] + k[i] + coverage * w[i]);
        return sum;
    }
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += v[i] * math_tanh(q[i] + k[i]);
    return sum;
}

static td_real additive_score_backward(const td_real *q, const td_real *k, const td_real *v, const td_real *w, td_real coverage,
                                       td_real dscore, td_real *dq, td_real *dk, td_real *dv, td_real *dw, size_t n)
{
    td_real dcoverage = 0;
    if (w) {
#pragma omp simd reduction(+ : dcoverage)
        for (size_t i = 0; i < n; i++) {
            td_real squashed = math_tanh(q[i] + k[i] + coverage * w[i]);
            td_real dsum = dscore * v[i] * (1 - squashed * squashed);
            dv[i] += dscore * squashed;
            dq[i] += dsum;
            dk[i] += dsum;
            dw[i] += dsum * coverage;
            dcoverage += dsum * w[i];
        }
        return dcoverage;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        td_real squashed = math_tanh(q[i] + k[i]);
        td_real dsum = dscore * v[i] * (1 - squashed * squashed);
        dv[i] += dscore * squashed;
        dq[i] += dsum;
        dk[i] += dsum;
    }
    return 0;
}

const td_gate_kernels TD_GATES_TABLE = {lstm, lstm_backward, gru, gru_backward, rnn, rnn_backward, additive_score, additive_score_backward};
