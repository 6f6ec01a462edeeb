/* Every row kernel in every instruction set of this processor, and the matrix products, against loops in double
 * precision. Arrays start off a vector's boundary and end at a guard, so that a kernel that writes too far is seen. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

static const size_t sizes[] = {0, 1, 3, 15, 16, 17, 31, 64, 100, 1000, 5000};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes, MOST = 5000 };

#define FOR_EACH_ISA(kernels)                                                                                                              \
    for (int isa_ = 0; isa_ < TD_ISA_COUNT; isa_++)                                                                                        \
        for (const td_kernels *kernels = td_kernels_for((td_isa)isa_); kernels; kernels = NULL)
#define FOR_EACH_SIZE(n) for (size_t s_ = 0, n = sizes[0]; s_ < SIZE_COUNT; s_++, n = s_ < SIZE_COUNT ? sizes[s_] : 0)

/* ---- arrays and comparison ---- */

#define GUARD 12345.25f

/* `n` numbers one float off an aligned address, then a guard. Released together by forget(). */
static void *kept[64];
static size_t kept_count;

static float *array(size_t n)
{
    assert_true(kept_count < sizeof kept / sizeof *kept);
    float *block = td_allocate_aligned((n + 2) * sizeof *block);
    assert_non_null(block);
    memset(block, 0, (n + 2) * sizeof *block);
    block[n + 1] = GUARD;
    kept[kept_count++] = block;
    return block + 1;
}

static void forget(void)
{
    while (kept_count)
        td_release_aligned(kept[--kept_count]);
}

static td_random random_state = {7, 0};

static float uniform(double low, double high)
{
    return (float)(low + (high - low) * td_random_uniform(&random_state));
}

static float *random_array(size_t n, double low, double high)
{
    float *x = array(n);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform(low, high);
    return x;
}

static float *copy_of(const float *x, size_t n)
{
    float *y = array(n);
    memcpy(y, x, n * sizeof *y);
    return y;
}

#define assert_near(actual, expected, relative, absolute) near_at(actual, expected, relative, absolute, 0, __LINE__)

static void near_at(double actual, double expected, double relative, double absolute, size_t index, int line)
{
    if (isnan(expected) ? isnan(actual) : actual == expected)
        return;
    if (!(fabs(actual - expected) <= relative * fabs(expected) + absolute))
        fail_msg("line %d, element %zu: %.9g instead of %.9g", line, index, actual, expected);
}

/* n numbers as expected, and the guard whole */
#define assert_row(actual, expected, n, relative, absolute) row_at(actual, expected, n, relative, absolute, __LINE__)

static void row_at(const float *actual, const double *expected, size_t n, double relative, double absolute, int line)
{
    for (size_t i = 0; i < n; i++)
        near_at(actual[i], expected[i], relative, absolute, i, line);
    if (actual[n] != GUARD)
        fail_msg("line %d: wrote past the end", line);
}

static double expected[MOST], expected2[MOST], expected3[MOST];

/* ---- elementwise and reductions ---- */

static void sums_and_products(void **state)
{
    (void)state;
    FOR_EACH_ISA(k) FOR_EACH_SIZE(n)
    {
        float *a = random_array(n, -1, 1), *b = random_array(n, -1, 1), *y = random_array(n, -1, 1);
        float *y2 = copy_of(y, n), *y3 = copy_of(y, n);
        double product = 0, squares = 0, best = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            expected[i] = (double)y[i] + a[i];
            expected2[i] = (double)y[i] + 0.3f * (double)a[i];
            expected3[i] = (double)y[i] + (double)a[i] * b[i];
            product += (double)a[i] * b[i];
            squares += (double)a[i] * a[i];
            best = fmax(best, a[i]);
        }
        k->add(y, a, n);
        assert_row(y, expected, n, 1e-7, 0);
        k->add_scaled(y2, a, 0.3f, n);
        assert_row(y2, expected2, n, 1e-7, 1e-7);
        k->add_product(y3, a, b, n);
        assert_row(y3, expected3, n, 1e-7, 1e-7);
        float *many = random_array(9 * n, -1, 1), *y4 = copy_of(y3, n);
        td_factors factors[9];
        for (size_t i = 0; i < 9; i++) {
            factors[i] = (td_factors){many + i * n, i % 2 ? a : b};
            for (size_t j = 0; j < n; j++)
                expected3[j] += (double)factors[i].a[j] * factors[i].b[j];
        }
        k->add_products(y4, factors, 9, n);
        assert_row(y4, expected3, n, 1e-6, 1e-6);
        assert_near(k->dot(a, b, n), product, 0, 1e-7 * (double)n);
        assert_near(k->sum_squares(a, n), squares, 2e-6, 0);
        assert_near(k->maximum(a, n), best, 0, 0);
        forget();
    }
}

static void sum_of_squares_keeps_its_digits(void **state)
{
    (void)state;
    const size_t n = (size_t)1 << 22;
    FOR_EACH_ISA(k)
    {
        float *x = array(n);
        for (size_t i = 0; i < n; i++)
            x[i] = 0.1f;
        assert_near(k->sum_squares(x, n), (double)n * 0.1f * 0.1f, 1e-6, 0);
        forget();
    }
}

static void exponentials_over_the_whole_range(void **state)
{
    (void)state;
    const float special[] = {-INFINITY, -1e30f, -104, -87.4f, -87.33f, 0, 88.72f, 88.73f, 1e30f, INFINITY, NAN, -0.0f};
    enum { SPECIAL = sizeof special / sizeof *special };
    FOR_EACH_ISA(k)
    {
        float *x = random_array(MOST, -87.3, 88.7), *y = array(MOST);
        for (size_t i = 0; i < MOST; i++)
            expected[i] = exp(x[i]);
        k->exp_sum(y, x, 0, MOST);
        assert_row(y, expected, MOST, 2.4e-7, 0); /* 2 ulp */
        for (size_t at = 0; at < SPECIAL; at++) {
            for (size_t i = 0; i < SPECIAL; i++)
                x[i] = special[(i + at) % SPECIAL];
            k->exp_sum(y, x, 0, SPECIAL);
            for (size_t i = 0; i < SPECIAL; i++) {
                double e = x[i] < -87.34f ? 0 : (double)(float)exp(x[i]); /* subnormal results are flushed */
                assert_near(y[i], e, 2.4e-7, 0);
            }
        }
        forget();
    }
}

static void softmax_and_its_sum(void **state)
{
    (void)state;
    FOR_EACH_ISA(k) FOR_EACH_SIZE(n)
    {
        float *x = random_array(n, -30, 30), *y = array(n);
        double best = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++)
            best = fmax(best, x[i]);
        for (size_t i = 0; i < n; i++)
            sum += expected2[i] = exp(x[i] - best);
        for (size_t i = 0; i < n; i++)
            expected[i] = expected2[i] / sum;
        float total = n ? k->exp_sum(y, x, (float)best, n) : k->exp_sum(y, x, 0, n);
        assert_near(total, sum, 2e-6, 0);
        assert_row(y, expected2, n, 5e-6, 1e-30); /* x - shift rounds */
        assert_near(k->exp_total(x, n ? (float)best : 0, n), sum, 2e-6, 0);
        k->softmax(x, n);
        assert_row(x, expected, n, 6e-6, 1e-30);
        forget();
    }
}

/* What is no number is not lost, whatever its last bits are; minus infinity adds nothing. */
static void a_sum_of_exponentials_tells_of_what_is_no_number(void **state)
{
    (void)state;
    static const uint32_t none[] = {0x7fc00000, 0xffc00000, 0x7fffffff, 0xffffffff, 0x7fc00155};
    FOR_EACH_ISA(k) for (size_t n = 1; n < 70; n++)
    {
        float *x = random_array(n, -20, 0);
        x[0] = 0;
        float before = k->exp_total(x, 0, n);
        for (size_t i = 1; i < n; i++) {
            float value = x[i];
            x[i] = -INFINITY;
            assert_near(k->exp_total(x, 0, n), before - expf(value), 1e-6, 0);
            memcpy(&x[i], &none[i % (sizeof none / sizeof *none)], sizeof *x);
            assert_true(isnan(k->exp_total(x, 0, n)));
            x[i] = value;
        }
        forget();
    }
}

static void softmax_gives_masked_scores_nothing(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    {
        float *x = array(20);
        for (size_t i = 0; i < 20; i++)
            x[i] = i % 2 ? -INFINITY : 1000;
        k->softmax(x, 20);
        for (size_t i = 0; i < 20; i++)
            assert_near(x[i], i % 2 ? 0 : 0.1, 1e-6, 0);
        forget();
    }
}

/* ---- activations ---- */

static double activation(int kind, double x)
{
    switch (kind) {
    case TD_RELU:
        return x > 0 ? x : 0;
    case TD_RELU6:
        return x > 0 ? fmin(x, 6) : 0;
    case TD_GELU:
        return x * 0.5 * erfc(-x * sqrt(0.5));
    case TD_SWISH:
        return x / (1 + exp(-x));
    case TD_TANH:
        return tanh(x);
    case TD_SIGMOID:
        return 1 / (1 + exp(-x));
    case TD_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    default:
        return x;
    }
}

static double slope(int kind, double x)
{
    const double h = 1e-5;
    if (kind == TD_RELU6)
        return x > 0 && x < 6;
    return kind == TD_RELU ? x > 0 : (activation(kind, x + h) - activation(kind, x - h)) / (2 * h);
}

static void check_activation(int kind)
{
    const double reach[] = {0.001, 1, 12};
    for (int r = 0; r < 3; r++)
        FOR_EACH_ISA(k) FOR_EACH_SIZE(n)
        {
            float *x = random_array(n, -reach[r], reach[r]), *y = array(n), *dy = random_array(n, -1, 1);
            float *dx = random_array(n, -1, 1);
            for (size_t i = 0; i < n; i++) {
                expected[i] = activation(kind, x[i]);
                expected2[i] = dx[i] + dy[i] * slope(kind, x[i]);
            }
            k->activate(kind, y, x, n);
            /* tanh and sigmoid are exact relative to themselves; the others relative to x */
            bool relative = kind == TD_TANH || kind == TD_SIGMOID;
            assert_row(y, expected, n, 2.4e-7, relative ? 0 : 1.5e-7 * reach[r]);
            k->activate_backward(kind, dx, x, dy, n);
            assert_row(dx, expected2, n, 2e-7, 1e-6);
            forget();
        }
}

static void activations_and_their_slopes(void **state)
{
    (void)state;
    for (int kind = TD_IDENTITY; kind <= TD_GELU_TANH; kind++)
        check_activation(kind);
}

static void relu6_and_its_slope(void **state)
{
    (void)state;
    check_activation(TD_RELU6);
}

static void activations_at_the_ends(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    {
        float x[20], y[20];
        for (int i = 0; i < 20; i++)
            x[i] = i % 2 ? 1e5f : -1e5f;
        k->activate(TD_TANH, y, x, 20);
        assert_true(y[0] == -1 && y[19] == 1);
        k->activate(TD_SIGMOID, y, x, 20);
        assert_true(y[0] == 0 && y[19] == 1);
        k->activate(TD_GELU, y, x, 20);
        assert_true(y[0] == 0 && y[19] == 1e5f);
        k->activate(TD_SWISH, y, x, 20);
        assert_true(y[0] == 0 && y[19] == 1e5f);
        for (int i = 0; i < 20; i++)
            x[i] = NAN;
        for (int kind = TD_GELU; kind <= TD_GELU_TANH; kind++) { /* a NaN must not vanish */
            k->activate(kind, y, x, 20);
            assert_true(isnan(y[0]) && isnan(y[19]));
        }
    }
}

/* ---- dropout ---- */

static uint32_t hash32(uint32_t index, uint32_t key)
{
    uint32_t x = index ^ key;
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x += key * 0x9e3779b1u;
    x = (x ^ (x >> 15)) * 0xd35a2d97u;
    return x ^ (x >> 15);
}

static bool dropped(uint32_t index, td_dropout_mask mask)
{
    return hash32(index, mask.key) < mask.threshold;
}

static void dropout_is_the_same_everywhere(void **state)
{
    (void)state;
    FOR_EACH_ISA(k) FOR_EACH_SIZE(n) for (int rate = 0; rate < 3; rate++) for (int add = 0; add < 2; add++)
    {
        td_dropout_mask mask = td_dropout_mask_of((float)rate * 0.3f, 0x123456789abcdef0u);
        uint32_t first = 0xffffff00u; /* wraps */
        float *x = random_array(n, -1, 1), *y = random_array(n, -1, 1), *in_place = copy_of(x, n);
        for (size_t i = 0; i < n; i++) {
            double masked = dropped(first + (uint32_t)i, mask) ? 0 : (double)x[i] * mask.scale;
            expected[i] = masked + (add ? y[i] : 0);
            expected2[i] = masked;
        }
        k->dropout(y, x, n, first, mask, add);
        assert_row(y, expected, n, 1e-7, 1e-7);
        k->dropout(in_place, in_place, n, first, mask, 0);
        assert_row(in_place, expected2, n, 1e-7, 0);
        forget();
    }
}

static void dropout_drops_at_its_rate_and_keys_disagree(void **state)
{
    (void)state;
    const uint32_t n = 1000000;
    for (uint64_t key = 0; key < 40; key++) {
        td_dropout_mask mask = td_dropout_mask_of(0.1f, key), next = td_dropout_mask_of(0.1f, key + 1);
        uint32_t count = 0, both = 0, neighbours = 0;
        for (uint32_t i = 0; i < n; i++) {
            bool here = dropped(i, mask);
            count += here;
            both += here && dropped(i, next);
            neighbours += here && dropped(i + 1, mask);
        }
        assert_near(count, 0.1 * n, 0, 5 * sqrt(0.09 * n));
        assert_near(both, 0.01 * n, 0, 5 * sqrt(0.0099 * n));
        assert_near(neighbours, 0.01 * n, 0, 6 * sqrt(0.0099 * n));
    }
}

/* ---- layer normalisation ---- */

static void layer_normalisation(void **state)
{
    (void)state;
    const double epsilon = 1e-5;
    FOR_EACH_ISA(k) FOR_EACH_SIZE(n)
    {
        if (n == 0)
            continue;
        float *x = random_array(n, 2, 4), *weight = random_array(n, 0.5, 2), *bias = random_array(n, -1, 1);
        float *y = array(n), mean = 0, inverse = 0;
        double m = 0, variance = 0;
        for (size_t i = 0; i < n; i++)
            m += x[i] / (double)n;
        for (size_t i = 0; i < n; i++)
            variance += (x[i] - m) * (x[i] - m) / (double)n;
        double v = 1 / sqrt(variance + epsilon);
        for (size_t i = 0; i < n; i++)
            expected[i] = (x[i] - m) * v * weight[i] + bias[i];
        k->layer_norm(y, x, weight, bias, (float)epsilon, n, &mean, &inverse);
        if (n > 1) /* a lone element is 0 / 0 but for rounding */
            assert_row(y, expected, n, 2e-6, 5e-6);
        assert_near(mean, m, 1e-6, 0);
        assert_near(inverse, v, n > 1 ? 4e-6 : 1e-6, 0);

        float *dy = random_array(n, -1, 1), *dx = random_array(n, -1, 1);
        float *dweight = random_array(n, -1, 1), *dbias = random_array(n, -1, 1);
        double g = 0, gh = 0;
        for (size_t i = 0; i < n; i++) {
            g += (double)dy[i] * weight[i] / (double)n;
            gh += (double)dy[i] * weight[i] * (x[i] - m) * v / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            double h = (x[i] - m) * v;
            expected[i] = dx[i] + v * ((double)dy[i] * weight[i] - g - h * gh);
            expected2[i] = dweight[i] + dy[i] * h;
            expected3[i] = (double)dbias[i] + dy[i];
        }
        k->layer_norm_backward(dx, dweight, dbias, x, dy, weight, mean, inverse, n);
        assert_row(dx, expected, n, 1e-5, n == 1 ? 1e-3 : 2e-5);
        assert_row(dweight, expected2, n, 1e-5, n == 1 ? 1e-4 : 2e-5);
        assert_row(dbias, expected3, n, 1e-7, 1e-7);
        forget();
    }
}

/* ---- attention ---- */

typedef struct attention_case {
    size_t nq, nk, d, extra; /* extra: columns between the end of a row and the next */
    int causal;
    float rate;
} attention_case;

static const attention_case attention_cases[] = {
    {1, 1, 1, 0, 0, 0},      {1, 5, 64, 64, 0, 0},     {1, 40, 32, 0, 1, 0.2f}, {4, 4, 64, 7, 1, 0},      {5, 5, 32, 0, 1, 0.1f},
    {7, 19, 64, 3, 0, 0.3f}, {16, 16, 64, 0, 1, 0.1f}, {17, 50, 40, 5, 0, 0},   {33, 33, 3, 1, 1, 0.5f},  {20, 31, 24, 0, 1, 0.1f},
    {6, 3, 16, 0, 1, 0.1f},  {3, 600, 33, 2, 0, 0.1f}, {9, 513, 8, 0, 1, 0},    {50, 49, 64, 0, 0, 0.1f}, {2, 64, 128, 0, 0, 0},
    {0, 4, 8, 0, 0, 0.1f},   {3, 0, 8, 0, 0, 0},       {0, 0, 8, 0, 1, 0},
};

static size_t visible_of(const attention_case *c, size_t i)
{
    ptrdiff_t visible = c->causal ? (ptrdiff_t)c->nk - (ptrdiff_t)c->nq + (ptrdiff_t)i + 1 : (ptrdiff_t)c->nk;
    return visible < 0 ? 0 : (size_t)visible;
}

static double *doubles(size_t n)
{
    double *x = (double *)(void *)(array(2 * n + 2) + 1);
    return x;
}

static double factor_of(const attention_case *c, size_t i, size_t j, uint32_t first, td_dropout_mask mask)
{
    return dropped(first + (uint32_t)(i * c->nk + j), mask) ? 0 : mask.scale;
}

/* q, k, v as rows of ld -> p [nq, nk], out [nq, ld] */
static void attention_reference(const attention_case *c, const float *q, const float *k, const float *v, double scale, td_dropout_mask mask,
                                uint32_t first, double *p, double *out)
{
    size_t ld = c->d + c->extra;
    for (size_t i = 0; i < c->nq; i++) {
        double sum = 0, best = -INFINITY;
        size_t visible = visible_of(c, i);
        for (size_t j = 0; j < visible; j++) {
            double score = 0;
            for (size_t e = 0; e < c->d; e++)
                score += (double)q[i * ld + e] * k[j * ld + e] * scale;
            p[i * c->nk + j] = score;
            best = fmax(best, score);
        }
        for (size_t j = 0; j < visible; j++)
            sum += p[i * c->nk + j] = exp(p[i * c->nk + j] - best);
        for (size_t j = 0; j < c->nk; j++)
            p[i * c->nk + j] = j < visible ? p[i * c->nk + j] / sum : 0;
        for (size_t j = 0; j < visible; j++)
            for (size_t e = 0; e < c->d; e++)
                out[i * ld + e] += p[i * c->nk + j] * factor_of(c, i, j, first, mask) * v[j * ld + e];
    }
}

static void attention_backward_reference(const attention_case *c, const float *q, const float *k, const float *v, double scale,
                                         td_dropout_mask mask, uint32_t first, const double *p, const float *dout, double *dq, double *dk,
                                         double *dv)
{
    size_t ld = c->d + c->extra;
    double *dp = doubles(c->nk);
    for (size_t i = 0; i < c->nq; i++) {
        double mean = 0;
        size_t visible = visible_of(c, i);
        for (size_t j = 0; j < visible; j++) {
            double factor = factor_of(c, i, j, first, mask), at = p[i * c->nk + j];
            dp[j] = 0;
            for (size_t e = 0; e < c->d; e++) {
                dv[j * ld + e] += at * factor * dout[i * ld + e];
                dp[j] += factor * dout[i * ld + e] * (double)v[j * ld + e];
            }
            mean += at * dp[j];
        }
        for (size_t j = 0; j < visible; j++) {
            double ds = p[i * c->nk + j] * (dp[j] - mean) * scale;
            for (size_t e = 0; e < c->d; e++) {
                dq[i * ld + e] += ds * k[j * ld + e];
                dk[j * ld + e] += ds * q[i * ld + e];
            }
        }
    }
}

static double *widened(const float *x, size_t n)
{
    double *y = doubles(n);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i];
    return y;
}

static void run_attention_case(const td_kernels *kernels, const attention_case *c)
{
    size_t ld = c->d + c->extra, nq = c->nq * ld, nk = c->nk * ld, np = c->nq * c->nk, width = (c->nk + 15) / 16 * 16;
    double scale = 1 / sqrt((double)c->d);
    td_dropout_mask mask = td_dropout_mask_of(c->rate, 99);
    const uint32_t first = 1000;
    float *q = random_array(nq, -2, 2), *k = random_array(nk, -2, 2), *v = random_array(nk, -1, 1);
    float *p = random_array(np, 5, 6), *out = array(nq), *scratch = array(c->d * width);
    double *p_exact = doubles(np), *out_exact = doubles(nq);
    attention_reference(c, q, k, v, scale, mask, first, p_exact, out_exact);
    kernels->attention(q, ld, k, ld, v, ld, out, ld, p, scratch, c->nq, c->nk, c->d, (float)scale, c->causal, NULL, 0, mask, first);
    assert_row(p, p_exact, np, 5e-6, 1e-9);
    assert_row(out, out_exact, nq, 2e-6, 3e-6);
    assert_true(scratch[c->d * width] == GUARD);

    float *dout = random_array(nq, -1, 1), *dq = random_array(nq, -1, 1), *dk = random_array(nk, -1, 1);
    float *dv = random_array(nk, -1, 1), *scratch2 = array((c->d + 1) * width);
    float *alone[3] = {copy_of(dq, nq), copy_of(dk, nk), copy_of(dv, nk)};
    double *dq_exact = widened(dq, nq), *dk_exact = widened(dk, nk), *dv_exact = widened(dv, nk);
    attention_backward_reference(c, q, k, v, scale, mask, first, p_exact, dout, dq_exact, dk_exact, dv_exact);
    kernels->attention_backward(q, ld, k, ld, v, ld, p, dout, ld, dq, dk, dv, scratch2, c->nq, c->nk, c->d, (float)scale, c->causal, NULL,
                                0, mask, first);
    assert_row(dq, dq_exact, nq, 4e-6, 6e-6);
    assert_row(dk, dk_exact, nk, 4e-6, 6e-6);
    assert_row(dv, dv_exact, nk, 4e-6, 6e-6);
    assert_true(scratch2[(c->d + 1) * width] == GUARD);
    for (int i = 0; i < 3; i++) /* each gradient alone, the others not wanted */
        kernels->attention_backward(q, ld, k, ld, v, ld, p, dout, ld, i == 0 ? alone[0] : NULL, i == 1 ? alone[1] : NULL,
                                    i == 2 ? alone[2] : NULL, scratch2, c->nq, c->nk, c->d, (float)scale, c->causal, NULL, 0, mask, first);
    assert_row(alone[0], dq_exact, nq, 4e-6, 6e-6);
    assert_row(alone[1], dk_exact, nk, 4e-6, 6e-6);
    assert_row(alone[2], dv_exact, nk, 4e-6, 6e-6);
    forget();
}

static void attention_forward_and_backward(void **state)
{
    (void)state;
    FOR_EACH_ISA(kernels)
    for (size_t i = 0; i < sizeof attention_cases / sizeof *attention_cases; i++)
        run_attention_case(kernels, &attention_cases[i]);
}

/* All heads of one query over rows that lie anywhere, in float32 or bfloat16, with and without a bias of the scores. */
static void run_rows_case(const td_kernels *kernels, size_t nk, size_t heads, size_t d, bool biased, bool rounded)
{
    size_t width = heads * d, bias_step = nk + 3;
    float scale = 1 / sqrtf((float)d), *q = random_array(width, -2, 2), *bias = random_array(heads * bias_step, -2, 2);
    float *kv = random_array(nk * 2 * width, -1, 1), *p = array(heads * nk), *out = array(width);
    uint16_t *halves = (uint16_t *)(void *)array(nk * width);
    const float **rows = calloc(nk + 1, sizeof *rows);
    const uint16_t **rounded_rows = calloc(nk + 1, sizeof *rounded_rows);
    kernels->to_bfloat16(halves, kv, nk * 2 * width);
    kernels->from_bfloat16(kv, halves, nk * 2 * width); /* so that both have the same numbers */
    assert_true(kv[nk * 2 * width] == GUARD);
    for (size_t j = 0; j < nk; j++) {
        size_t place = (j * 7 + 3) % nk * 2 * width; /* nk is no multiple of 7 */
        rows[j] = kv + place;
        rounded_rows[j] = halves + place;
    }
    if (rounded)
        kernels->attend_rounded(q, rounded_rows, nk, heads, d, scale, biased ? bias : NULL, bias_step, out, p);
    else
        kernels->attend_rows(q, rows, nk, heads, d, scale, biased ? bias : NULL, bias_step, out, p);
    double *weights = doubles(heads * nk), *mixed = doubles(width);
    for (size_t head = 0; head < heads; head++) {
        double *own = weights + head * nk, sum = 0;
        for (size_t j = 0; j < nk; j++) {
            for (size_t i = 0; i < d; i++)
                own[j] += (double)q[head * d + i] * rows[j][head * d + i] * scale;
            sum += own[j] = exp(own[j] + (biased ? bias[head * bias_step + j] : 0));
        }
        for (size_t j = 0; j < nk; j++) {
            own[j] /= sum;
            for (size_t i = 0; i < d; i++)
                mixed[head * d + i] += own[j] * rows[j][width + head * d + i];
        }
    }
    assert_row(p, weights, heads * nk, 8e-6, 1e-9);
    assert_row(out, mixed, width, 3e-6, 3e-6);
    free(rows);
    free(rounded_rows);
    forget();
}

static void attention_over_scattered_rows(void **state)
{
    (void)state;
    static const size_t cases[][3] = {{1, 1, 1}, {2, 3, 16}, {3, 2, 12}, {5, 4, 64}, {8, 8, 64}, {13, 2, 7}, {40, 2, 33}, {129, 1, 48}};
    FOR_EACH_ISA(kernels)
    for (size_t i = 0; i < 4 * sizeof cases / sizeof *cases; i++)
        run_rows_case(kernels, cases[i / 4][0], cases[i / 4][1], cases[i / 4][2], i % 2, i % 4 > 1);
}

/* Keys laid out: as the reference has it, whatever the numbers of queries and keys, and a query's bits whatever is beside it. */
static void run_laid_case(const td_kernels *kernels, const attention_case *c)
{
    size_t ld = c->d + c->extra, width = td_laid_keys(c->nk);
    float scale = 1 / sqrtf((float)c->d), *q = random_array(c->nq * ld, -2, 2), *k = random_array(c->nk * ld, -2, 2);
    float *v = random_array(c->nk * ld, -1, 1), *laid = array(2 * width * c->d), *p = random_array(c->nq * width, 5, 6);
    float *out = array(c->nq * ld), *alone = array(ld), *p_alone = array(width);
    double *p_exact = doubles(c->nq * c->nk), *out_exact = doubles(c->nq * ld);
    attention_reference(c, q, k, v, scale, (td_dropout_mask){0, 0, 1}, 0, p_exact, out_exact);
    kernels->lay_keys(k, ld, v, ld, c->nk, c->d, laid);
    kernels->attend_laid(q, ld, c->nq, laid, c->nk, c->d, scale, out, ld, p);
    assert_row(out, out_exact, c->nq * ld, 3e-6, 3e-6);
    for (size_t i = 0; i < c->nq; i++) {
        for (size_t j = 0; j < c->nk; j++)
            assert_near(p[i * width + j], p_exact[i * c->nk + j], 8e-6, 1e-9);
        kernels->attend_laid(q + i * ld, ld, 1, laid, c->nk, c->d, scale, alone, ld, p_alone);
        assert_memory_equal(alone, out + i * ld, c->d * sizeof *out);
        assert_memory_equal(p_alone, p + i * width, c->nk * sizeof *p);
    }
    assert_true(laid[2 * width * c->d] == GUARD);
    forget();
}

static void attention_with_keys_laid_out(void **state)
{
    (void)state;
    static const attention_case cases[] = {
        {1, 1, 16, 0, 0, 0},  {2, 64, 64, 64, 0, 0}, {3, 65, 16, 5, 0, 0},   {4, 79, 48, 0, 0, 0},   {5, 80, 64, 0, 0, 0},
        {6, 95, 80, 3, 0, 0}, {7, 130, 64, 0, 0, 0}, {13, 200, 32, 7, 0, 0}, {17, 33, 128, 0, 0, 0}, {5, 1500, 64, 64, 0, 0},
    };
    FOR_EACH_ISA(kernels)
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_laid_case(kernels, &cases[i]);
}

/* ---- loss, optimiser, conversion ---- */

static void cross_entropy_and_its_gradient(void **state)
{
    (void)state;
    const double smoothings[] = {0, 0.1};
    FOR_EACH_ISA(k) FOR_EACH_SIZE(n) for (int s = 0; s < 2; s++)
    {
        if (n == 0)
            continue;
        double smoothing = (float)smoothings[s], scale = 0.25, best = -INFINITY, total = 0, mean = 0;
        float *x = random_array(n, 90, 120), nll = 0; /* exp(x) alone would overflow */
        size_t target = n * 2 / 3;
        for (size_t i = 0; i < n; i++)
            best = fmax(best, x[i]);
        for (size_t i = 0; i < n; i++)
            total += exp(x[i] - best);
        double log_total = log(total) + best;
        for (size_t i = 0; i < n; i++) {
            mean += (log_total - x[i]) / (double)n;
            expected[i] = scale * (exp(x[i] - log_total) - (i == target ? 1 - smoothing : 0) - smoothing / (double)n);
        }
        double nll_exact = log_total - x[target];
        float loss = k->cross_entropy(x, n, target, (float)smoothing, (float)scale, &nll);
        assert_near(nll, nll_exact, 1e-6, 2e-6);
        assert_near(loss, (1 - smoothing) * nll_exact + smoothing * mean, 1e-6, 2e-6);
        assert_row(x, expected, n, 5e-6, 1e-7);
        forget();
    }
}

static void adam_step(void **state)
{
    (void)state;
    const td_adam_step t = {1e-3f, 0.9f, 0.98f, 1e-9f, 0.01f, 0.271f, 0.0396f, 0.5f};
    FOR_EACH_ISA(k) FOR_EACH_SIZE(n)
    {
        float *w = random_array(n, -1, 1), *g = random_array(n, -1, 1), *m = random_array(n, -1, 1);
        float *v = random_array(n, 0, 1);
        for (size_t i = 0; i < n; i++) {
            double gradient = (double)g[i] * t.gradient_scale;
            expected[i] = t.beta1 * (double)m[i] + (1 - (double)t.beta1) * gradient;
            expected2[i] = t.beta2 * (double)v[i] + (1 - (double)t.beta2) * gradient * gradient;
            expected3[i] = w[i] - t.learning_rate * (expected[i] / t.correction1) / (sqrt(expected2[i] / t.correction2) + t.epsilon) -
                           (double)t.learning_rate * t.weight_decay * w[i];
        }
        k->adam(w, g, m, v, n, &t);
        assert_row(m, expected, n, 1e-6, 2e-7);
        assert_row(v, expected2, n, 2e-6, 1e-9);
        assert_row(w, expected3, n, 3e-7, 1e-7);
        forget();
    }
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void bfloat16_rounds_to_even(void **state)
{
    (void)state;
    static const struct {
        uint32_t from;
        uint16_t to;
    } rows[] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80},
        {0x80000000, 0x8000}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0},
        {0xffffffff, 0xffff}, {0x7fc00000, 0x7fc0}, {0xbf818000, 0xbf82}, {0x00008000, 0x0000}, {0x00018000, 0x0002},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    FOR_EACH_ISA(k) for (size_t at = 0; at < 40; at++)
    {
        float x[40];
        uint16_t y[41] = {0};
        for (size_t i = 0; i < 40; i++)
            x[i] = float_of(rows[(i + at) % ROWS].from);
        y[at] = 0xabcd;
        k->to_bfloat16(y, x, at);
        for (size_t i = 0; i < at; i++)
            assert_int_equal(y[i], rows[(i + at) % ROWS].to);
        assert_int_equal(y[at], 0xabcd);
        k->from_bfloat16(x, y, at);
        for (size_t i = 0; i < at; i++)
            assert_int_equal(bits_of(x[i]), (uint32_t)y[i] << 16);
    }
}

/* ---- matrix products ---- */

static const size_t product_cases[][3] = {
    {1, 1, 1},   {0, 5, 5},  {5, 0, 5},     {5, 5, 0},     {1, 7, 33},    {3, 1, 5},    {16, 16, 16},
    {17, 33, 9}, {64, 5, 3}, {100, 48, 65}, {31, 64, 300}, {300, 24, 20}, {275, 16, 1}, {2, 300, 47},
};
enum { PRODUCT_CASES = sizeof product_cases / sizeof *product_cases };

typedef struct product {
    bool transpose_a, transpose_b, accumulate;
    size_t m, n, k, lda, ldb, ldc;
} product;

/* The eight ways of each case; odd ones with room between the rows. */
static product product_of(const size_t *sides, int way)
{
    product p = {way & 1, way & 2, way & 4, sides[0], sides[1], sides[2], 0, 0, 0};
    size_t room = way & 1 ? 3 : 0;
    p.lda = (p.transpose_a ? p.m : p.k) + room;
    p.ldb = (p.transpose_b ? p.k : p.n) + room;
    p.ldc = p.n + room;
    p.lda += p.lda == 0, p.ldb += p.ldb == 0, p.ldc += p.ldc == 0;
    return p;
}

static double *multiply(const product *p, const float *a, const float *b, const float *c)
{
    double *y = widened(c, p->m * p->ldc);
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++) {
            double sum = p->accumulate ? c[i * p->ldc + j] : 0;
            for (size_t e = 0; e < p->k; e++)
                sum += (double)(p->transpose_a ? a[e * p->lda + i] : a[i * p->lda + e]) *
                       (p->transpose_b ? b[j * p->ldb + e] : b[e * p->ldb + j]);
            y[i * p->ldc + j] = sum;
        }
    return y;
}

static void products_in_float32(void **state)
{
    (void)state;
    td_gemm_thread_setup();
    for (size_t i = 0; i < PRODUCT_CASES; i++)
        for (int way = 0; way < 8; way++) {
            product p = product_of(product_cases[i], way);
            float *a = random_array((p.transpose_a ? p.k : p.m) * p.lda, -1, 1);
            float *b = random_array((p.transpose_b ? p.n : p.k) * p.ldb, -1, 1);
            float *c = random_array(p.m * p.ldc, -1, 1);
            double *exact = multiply(&p, a, b, c);
            td_gemm(p.transpose_a, p.transpose_b, p.m, p.n, p.k, a, p.lda, b, p.ldb, p.accumulate, c, p.ldc);
            assert_row(c, exact, p.m * p.ldc, 1e-6, 1e-6 * sqrt((double)p.k + 1));
            forget();
        }
}

static uint16_t *to_bfloat16(const float *x, size_t n)
{
    uint16_t *y = (uint16_t *)(void *)array(n);
    td_kernels_get()->to_bfloat16(y, x, n);
    return y;
}

/* Numbers that bfloat16 holds: then the product must be as exact as float32's. */
static float *coarse_array(size_t n)
{
    float *x = random_array(n, -1, 1);
    for (size_t i = 0; i < n; i++)
        x[i] = roundf(x[i] * 64) / 64;
    return x;
}

static void check_products_in_bfloat16(void)
{
    td_gemm_cache *cache = NULL;
    td_error error = {TD_OK, ""};
    assert_int_equal(td_gemm_cache_create(&cache, &error), TD_OK);
    for (int round = 0; round < 2; round++) /* created, then from the cache */
        for (size_t i = 0; i < PRODUCT_CASES; i++)
            for (int way = 0; way < 8; way++) {
                product p = product_of(product_cases[i], way);
                size_t na = (p.transpose_a ? p.k : p.m) * p.lda, nb = (p.transpose_b ? p.n : p.k) * p.ldb;
                float *a = coarse_array(na), *b = coarse_array(nb), *c = random_array(p.m * p.ldc, -1, 1);
                double *exact = multiply(&p, a, b, c);
                uint64_t before = td_allocation_count();
                uint16_t *a16 = to_bfloat16(a, na), *b16 = to_bfloat16(b, nb);
                uint64_t own = td_allocation_count() - before;
                if (td_gemm_bfloat16(cache, p.transpose_a, p.transpose_b, p.m, p.n, p.k, a16, p.lda, b16, p.ldb, p.accumulate, c, p.ldc,
                                     &error) != TD_OK)
                    fail_msg("%zu x %zu x %zu, way %d: %s", p.m, p.n, p.k, way, error.message);
                assert_row(c, exact, p.m * p.ldc, 1e-6, 1e-6 * sqrt((double)p.k + 1));
                if (round == 1)
                    assert_int_equal(td_allocation_count() - before, own);
                forget();
            }
    td_gemm_cache_free(cache);
    td_gemm_cache_free(NULL);
}

static void products_in_bfloat16(void **state)
{
    (void)state;
    if (!td_gemm_bfloat16_supported())
        skip();
    td_gemm_thread_setup();
    check_products_in_bfloat16();
    char *before = getenv("TANDEM_ISA") ? strdup(getenv("TANDEM_ISA")) : NULL;
    setenv("TANDEM_ISA", "avx512", 1); /* no panels: the product library's */
    assert_null(td_panels_bfloat16());
    check_products_in_bfloat16();
    if (before)
        setenv("TANDEM_ISA", before, 1);
    else
        unsetenv("TANDEM_ISA");
    free(before);
}

/* More rows, columns and depth than one tile, panel and block of panels have, and all kinds of rests. */
static const size_t panel_cases[][3] = {
    {1, 1, 2},     {5, 64, 64}, {6, 65, 2},   {7, 127, 34},  {64, 48, 1026}, {13, 200, 2100},
    {193, 70, 66}, {50, 3, 8},  {195, 65, 7}, {48, 16, 513}, {385, 64, 33},  {2, 80, 1025},
};

/* Multiplies by what was put in panels before (prepared) or in the call. */
static void check_panels(const td_panel_kernels *kernels, const product *p, bool prepared)
{
    size_t na = (p->transpose_a ? p->k : p->m) * p->lda, nb = (p->transpose_b ? p->n : p->k) * p->ldb;
    float *a = coarse_array(na), *b = coarse_array(nb), *c = random_array(p->m * p->ldc, -1, 1);
    td_panel_start start = {p->accumulate ? c : NULL, p->ldc};
    double *exact = multiply(p, a, b, c);
    bool pairs = kernels->group == 2;
    td_panel_matrix left = {pairs ? (void *)to_bfloat16(a, na) : a, p->lda, p->transpose_a};
    td_panel_matrix right = {pairs ? (void *)to_bfloat16(b, nb) : b, p->ldb, p->transpose_b};
    size_t size = prepared ? kernels->bytes(p->k, p->n) : kernels->room(p->transpose_a, p->n, p->k);
    void *room = td_allocate_aligned(size);
    assert_non_null(room);
    if (prepared) {
        kernels->pack(room, right, p->k, p->n);
        kernels->multiply(p->m, p->n, p->k, left.data, p->lda, room, start, c, p->ldc);
    } else {
        kernels->product(left, right, p->m, p->n, p->k, room, start, c, p->ldc);
    }
    assert_row(c, exact, p->m * p->ldc, 1e-6, 1e-6 * sqrt((double)p->k + 1));
    td_release_aligned(room);
    forget();
}

static void products_in_panels(void **state)
{
    (void)state;
    const td_panel_kernels *all[] = {td_panels_float32(td_cpu_isa()), td_panels_bfloat16()};
    if (!all[0] && !all[1])
        skip();
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; all[kind] && i < sizeof panel_cases / sizeof *panel_cases; i++)
            for (int way = 0; way < 8; way++) {
                product p = product_of(panel_cases[i], way);
                bool whole = p.k % all[kind]->group == 0;
                if (p.k && (whole || (p.transpose_a && !p.transpose_b)))
                    check_panels(all[kind], &p, false);
                if (p.k && whole && !p.transpose_a)
                    check_panels(all[kind], &p, true);
            }
}

/* A row of the result does not depend on the rows beside it; every row begins with the bias. */
static void panels_give_a_row_the_same_bits_in_any_company(void **state)
{
    (void)state;
    enum { ROWS = 13, INNER = 1300, COLUMNS = 70 };
    const td_panel_kernels *kernels = td_panels_float32(td_cpu_isa());
    if (!kernels)
        skip();
    float *a = random_array(ROWS * INNER, -1, 1), *b = random_array(INNER * COLUMNS, -1, 1);
    float *all = array(ROWS * COLUMNS), *alone = array(COLUMNS), *bias = random_array(COLUMNS, -1, 1);
    void *panels = td_allocate_aligned(kernels->bytes(INNER, COLUMNS));
    kernels->pack(panels, (td_panel_matrix){b, INNER, true}, INNER, COLUMNS);
    kernels->multiply(ROWS, COLUMNS, INNER, a, INNER, panels, (td_panel_start){bias, 0}, all, COLUMNS);
    for (size_t row = 0; row < ROWS; row++) {
        kernels->multiply(1, COLUMNS, INNER, a + row * INNER, INNER, panels, (td_panel_start){bias, 0}, alone, COLUMNS);
        assert_memory_equal(alone, all + row * COLUMNS, COLUMNS * sizeof *alone);
    }
    for (size_t row = 0; row < ROWS; row++)
        for (size_t j = 0; j < COLUMNS; j++) {
            double sum = bias[j];
            for (size_t e = 0; e < INNER; e++)
                sum += (double)a[row * INNER + e] * b[j * INNER + e];
            assert_true(fabs(all[row * COLUMNS + j] - sum) < 1e-4);
        }
    td_release_aligned(panels);
    forget();
}

static void the_table_fits_the_processor(void **state)
{
    (void)state;
    assert_non_null(td_kernels_for(TD_ISA_PLAIN));
    assert_int_equal(td_kernels_get()->isa, td_cpu_isa());
    for (int isa = 0; isa < TD_ISA_COUNT; isa++) {
        const td_kernels *kernels = td_kernels_for((td_isa)isa);
        assert_int_equal(kernels != NULL, td_cpu_supports((td_isa)isa));
        if (kernels)
            assert_int_equal(kernels->isa, isa);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_fits_the_processor),
        cmocka_unit_test(sums_and_products),
        cmocka_unit_test(sum_of_squares_keeps_its_digits),
        cmocka_unit_test(exponentials_over_the_whole_range),
        cmocka_unit_test(softmax_and_its_sum),
        cmocka_unit_test(a_sum_of_exponentials_tells_of_what_is_no_number),
        cmocka_unit_test(softmax_gives_masked_scores_nothing),
        cmocka_unit_test(activations_and_their_slopes),
        cmocka_unit_test(activations_at_the_ends),
        cmocka_unit_test(dropout_is_the_same_everywhere),
        cmocka_unit_test(dropout_drops_at_its_rate_and_keys_disagree),
        cmocka_unit_test(layer_normalisation),
        cmocka_unit_test(attention_forward_and_backward),
        cmocka_unit_test(attention_over_scattered_rows),
        cmocka_unit_test(attention_with_keys_laid_out),
        cmocka_unit_test(cross_entropy_and_its_gradient),
        cmocka_unit_test(adam_step),
        cmocka_unit_test(bfloat16_rounds_to_even),
        cmocka_unit_test(products_in_float32),
        cmocka_unit_test(products_in_bfloat16),
        cmocka_unit_test(products_in_panels),
        cmocka_unit_test(panels_give_a_row_the_same_bits_in_any_company),
        cmocka_unit_test(relu6_and_its_slope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
