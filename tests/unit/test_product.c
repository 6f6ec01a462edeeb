/* The forward product in every instruction set: right, and each row the same to the bit whatever rows are beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "kernels/rows.h"

enum { ROWS = 131, OUTPUTS = 39, DEPTH = 310, STRIDE = DEPTH + 3 };
static float x[ROWS * STRIDE], w[OUTPUTS * STRIDE], all[ROWS * OUTPUTS], some[ROWS * OUTPUTS];

static float start(size_t output)
{
    return (float)output * 0.25f - 1;
}

static void run(const td_kernels *kernels, size_t first, size_t rows, size_t k, int add, float *y)
{
    for (size_t i = 0; i < rows * OUTPUTS; i++)
        y[i] = add ? start(i % OUTPUTS) : NAN;
    kernels->product(x + first * STRIDE, STRIDE, rows, w, STRIDE, OUTPUTS, k, add, y, OUTPUTS);
}

static void check_depth(const td_kernels *kernels, size_t k, int add)
{
    run(kernels, 0, ROWS, k, add, all);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < OUTPUTS; j++) {
            double sum = add ? (double)start(j) : 0, size = fabs(sum);
            for (size_t p = 0; p < k; p++) {
                double term = (double)x[i * STRIDE + p] * (double)w[j * STRIDE + p];
                sum += term;
                size += fabs(term);
            }
            if (!(fabs(sum - (double)all[i * OUTPUTS + j]) <= 1e-6 * size))
                fail_msg("isa %d, depth %zu, row %zu, output %zu: %g, expected %g", (int)kernels->isa, k, i, j,
                         (double)all[i * OUTPUTS + j], sum);
        }
    for (size_t rows = 1; rows < ROWS; rows += rows < 20 ? 1 : 13)
        for (size_t first = 0; first + rows <= ROWS; first += 37) {
            run(kernels, first, rows, k, add, some);
            if (memcmp(some, all + first * OUTPUTS, rows * OUTPUTS * sizeof *some))
                fail_msg("isa %d, depth %zu: %zu rows from %zu differ from the same rows among %d", (int)kernels->isa, k, rows, first,
                         ROWS);
        }
}

static void products(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS * STRIDE; i++)
        x[i] = (float)sin(1.3 * (double)i);
    for (size_t i = 0; i < OUTPUTS * STRIDE; i++)
        w[i] = (float)cos(0.7 * (double)i + 1);
    static const size_t depths[] = {1, 3, 16, 17, 48, 63, 150, 191, 192, DEPTH};
    size_t tested = 0;
    for (int isa = TD_ISA_PLAIN; isa < TD_ISA_COUNT; isa++) {
        const td_kernels *kernels = td_kernels_for((td_isa)isa);
        for (size_t i = 0; kernels && i < sizeof depths / sizeof *depths; i++, tested++) {
            check_depth(kernels, depths[i], 0);
            check_depth(kernels, depths[i], 1);
        }
    }
    assert_true(tested > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
