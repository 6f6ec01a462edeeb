/* Gate kernels in every instruction set of this processor against the C library in double precision, at awkward widths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "kernels/gates.h"

enum { WIDEST = 67 };

static const size_t widths[] = {1, 7, 16, 33, WIDEST};

/* Ordinary sums, and some far out where the nonlinearities are flat. */
static void fill(float *values, size_t count, double seed)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(sin(1.3 * (double)i + seed) * (i % 11 == 5 ? 120 : i % 7 == 3 ? 12 : 2));
}

static void assert_close(float got, double expected)
{
    if (!(fabs((double)got - expected) <= 4e-7 * fmax(1, fabs(expected))))
        fail_msg("%.9g, expected %.9g", (double)got, expected);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void check_lstm(const td_gate_kernels *kernels, size_t n)
{
    float sums[4 * WIDEST] = {0}, gates[4 * WIDEST], c0[WIDEST] = {0}, c[WIDEST], h[WIDEST];
    fill(sums, 4 * n, 1);
    fill(c0, n, 2);
    memcpy(gates, sums, sizeof gates);
    kernels->lstm(gates, c0, c, h, n);
    for (size_t i = 0; i < n; i++) {
        double in = sigmoid((double)sums[i]), keep = sigmoid((double)sums[n + i]), new = tanh((double)sums[2 * n + i]);
        double state = keep * (double)c0[i] + in * new;
        assert_close(gates[i], in);
        assert_close(gates[2 * n + i], new);
        assert_close(c[i], state);
        assert_close(h[i], sigmoid((double)sums[3 * n + i]) * tanh(state));
    }
}

static void check_gru(const td_gate_kernels *kernels, size_t n)
{
    float sums[3 * WIDEST] = {0}, hidden[3 * WIDEST] = {0}, gates[3 * WIDEST], h0[WIDEST] = {0}, h[WIDEST];
    fill(sums, 3 * n, 3);
    fill(hidden, 3 * n, 4);
    fill(h0, n, 5);
    memcpy(gates, sums, sizeof gates);
    kernels->gru(gates, hidden, h0, h, n);
    for (size_t i = 0; i < n; i++) {
        double r = sigmoid((double)sums[i] + (double)hidden[i]), z = sigmoid((double)sums[n + i] + (double)hidden[n + i]);
        double new = tanh((double)sums[2 * n + i] + r * (double)hidden[2 * n + i]);
        /* a gate's error is multiplied by what it gates */
        assert_true(fabs((double)h[i] - ((1 - z) * new + z *(double)h0[i])) <
                    4e-7 * (4 + fabs((double)h0[i]) + fabs((double)hidden[2 * n + i])));
        assert_close(gates[i], r);
        assert_close(gates[n + i], z);
    }
}

static void check_rnn_and_score(const td_gate_kernels *kernels, size_t n)
{
    float sums[WIDEST] = {0}, h[WIDEST], k[WIDEST] = {0}, v[WIDEST] = {0}, w[WIDEST] = {0};
    fill(sums, n, 6);
    fill(k, n, 7);
    fill(v, n, 8);
    fill(w, n, 9);
    double plain = 0, covered = 0, size = 0;
    kernels->rnn(h, sums, 0, n);
    for (size_t i = 0; i < n; i++) {
        assert_close(h[i], tanh((double)sums[i]));
        plain += (double)v[i] * tanh((double)sums[i] + (double)k[i]);
        covered += (double)v[i] * tanh((double)sums[i] + (double)k[i] + 0.75 * (double)w[i]);
        size += fabs((double)v[i]);
    }
    assert_true(fabs((double)kernels->additive_score(sums, k, v, NULL, 0, n) - plain) < 1e-6 * (1 + size));
    assert_true(fabs((double)kernels->additive_score(sums, k, v, w, 0.75F, n) - covered) < 1e-6 * (1 + size));
    kernels->rnn(h, sums, 1, n);
    for (size_t i = 0; i < n; i++)
        assert_true(h[i] == (sums[i] > 0 ? sums[i] : 0));
}

/* Backward kernels are checked by differences in double precision (tests/gradient); here only that every set agrees. */
static void check_backward(const td_gate_kernels *kernels, const td_gate_kernels *plain, size_t n)
{
    float gates[2][4 * WIDEST], hidden[2][3 * WIDEST], dh[2][WIDEST], c0[WIDEST], c[WIDEST];
    fill(c0, n, 1);
    fill(c, n, 2);
    for (int which = 0; which < 2; which++) {
        const td_gate_kernels *used = which ? kernels : plain;
        float dc[WIDEST];
        fill(gates[which], 4 * n, 3);
        fill(hidden[which], 3 * n, 4);
        fill(dh[which], n, 5);
        fill(dc, n, 6);
        used->lstm_backward(gates[which], c0, c, dh[which], dc, n);
        memcpy(hidden[which], dc, n * sizeof *dc);
        fill(gates[which] + n, 3 * n, 7);
        used->gru_backward(gates[which] + n, hidden[which], c0, dh[which], n);
    }
    for (size_t i = 0; i < 4 * n; i++)
        assert_true(fabsf(gates[0][i] - gates[1][i]) <= 1e-5F * fmaxf(1, fabsf(gates[0][i])));
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(dh[0][i] - dh[1][i]) <= 1e-5F * fmaxf(1, fabsf(dh[0][i])));
}

static void every_set_is_exact(void **state)
{
    (void)state;
    size_t sets = 0;
    for (int isa = TD_ISA_PLAIN; isa < TD_ISA_COUNT; isa++) {
        const td_gate_kernels *kernels = td_cpu_supports((td_isa)isa) ? td_gate_kernels_for((td_isa)isa) : NULL;
        for (size_t i = 0; kernels && i < sizeof widths / sizeof *widths; i++) {
            check_lstm(kernels, widths[i]);
            check_gru(kernels, widths[i]);
            check_rnn_and_score(kernels, widths[i]);
            check_backward(kernels, td_gate_kernels_for(TD_ISA_PLAIN), widths[i]);
        }
        sets += kernels != NULL;
    }
    assert_true(sets >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_set_is_exact)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
