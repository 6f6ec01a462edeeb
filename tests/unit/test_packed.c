/* Products with packed weights in every instruction set and precision: right, and each row the same to the bit whatever rows are
 * beside it; int8 also the same to the bit in all instruction sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/packed.h"

enum { ROWS = 75, OUTPUTS = 203, DEPTH = 260, PADDED = 320 };
static float x[ROWS * DEPTH], w[OUTPUTS * DEPTH], bias[OUTPUTS], all[ROWS * OUTPUTS], some[ROWS * OUTPUTS];
static uint16_t rounded[ROWS * PADDED];
static uint8_t shifted[ROWS * PADDED];
static float scales[ROWS], reference[ROWS * OUTPUTS];

static float widened(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

static td_packed_input input_of(const td_packed_kernels *kernels, const td_packed *packed, size_t first, size_t rows)
{
    td_packed_input input = {.rows = rows, .stride = packed->depth};
    const float *from = x + first * DEPTH;
    if (packed->precision == TD_FLOAT32) {
        input.stride = DEPTH;
        input.values = from;
    } else if (packed->precision == TD_BFLOAT16) {
        memset(rounded, 0, sizeof rounded);
        for (size_t i = 0; i < rows; i++)
            td_kernels_get()->to_bfloat16(rounded + i * packed->depth, from + i * DEPTH, packed->inputs);
        input.rounded = rounded;
    } else {
        kernels->quantise(from, DEPTH, rows, packed->inputs, packed->depth, shifted, scales);
        input.shifted = shifted;
        input.scales = scales;
    }
    return input;
}

static void run(const td_packed_kernels *kernels, const td_packed *packed, size_t first, size_t rows, bool relu, float *y)
{
    for (size_t i = 0; i < ROWS * OUTPUTS; i++)
        y[i] = NAN;
    td_packed_job job = {.weights = packed,
                         .input = input_of(kernels, packed, first, rows),
                         .last = td_packed_panels(packed),
                         .bias = bias,
                         .activate = relu ? td_kernels_get()->activate : NULL,
                         .activation = TD_RELU,
                         .y = y,
                         .ldy = packed->outputs};
    kernels->product[packed->precision](&job);
}

/* The value that is multiplied in place of x[row][k]. */
static double factor(const td_packed *packed, const td_packed_input *input, size_t row, size_t k)
{
    if (packed->precision == TD_FLOAT32)
        return (double)x[row * DEPTH + k];
    if (packed->precision == TD_BFLOAT16)
        return (double)widened(input->rounded[row * packed->depth + k]);
    return ((double)input->shifted[row * packed->depth + k] - 128) * (double)input->scales[row];
}

static void check_values(const td_packed_kernels *kernels, const td_packed *packed, bool relu)
{
    run(kernels, packed, 0, ROWS, relu, all);
    td_packed_input input = input_of(kernels, packed, 0, ROWS);
    float row_of_weights[DEPTH];
    for (size_t j = 0; j < packed->outputs; j++) {
        td_packed_row(packed, j, 1, row_of_weights);
        for (size_t i = 0; i < ROWS; i++) {
            double sum = (double)bias[j], size = fabs(sum);
            for (size_t k = 0; k < packed->inputs; k++) {
                double term = factor(packed, &input, i, k) * (double)row_of_weights[k];
                sum += term;
                size += fabs(term);
            }
            sum = relu && sum < 0 ? 0 : sum;
            double got = (double)all[i * packed->outputs + j];
            if (!(fabs(sum - got) <= 3e-6 * size))
                fail_msg("%s, precision %d, depth %zu, row %zu, output %zu: %g, expected %g", td_matrix_isa_name(kernels->isa),
                         (int)packed->precision, packed->inputs, i, j, got, sum);
        }
    }
}

static void check_company(const td_packed_kernels *kernels, const td_packed *packed)
{
    run(kernels, packed, 0, ROWS, false, all);
    for (size_t rows = 1; rows <= ROWS; rows += rows < 40 ? 1 : 7)
        for (size_t first = 0; first + rows <= ROWS; first += 29) {
            run(kernels, packed, first, rows, false, some);
            if (memcmp(some, all + first * packed->outputs, rows * packed->outputs * sizeof *some))
                fail_msg("%s, precision %d, depth %zu: %zu rows from %zu differ from the same rows among %d",
                         td_matrix_isa_name(kernels->isa), (int)packed->precision, packed->inputs, rows, first, ROWS);
        }
}

/* Part of the panels gives what all of them give. */
static void check_panels(const td_packed_kernels *kernels, const td_packed *packed)
{
    run(kernels, packed, 0, ROWS, false, all);
    size_t panels = td_packed_panels(packed), first = panels > 1, width = packed->outputs - first * TD_PANEL;
    td_packed_job job = {.weights = packed,
                         .input = input_of(kernels, packed, 0, ROWS),
                         .first = first,
                         .last = panels,
                         .bias = bias,
                         .y = some,
                         .ldy = width};
    kernels->product[packed->precision](&job);
    for (size_t i = 0; i < ROWS; i++)
        assert_memory_equal(some + i * width, all + i * packed->outputs + first * TD_PANEL, width * sizeof *some);
}

static td_packed *pack(td_precision precision, size_t outputs, size_t inputs)
{
    td_packed *packed = NULL;
    td_error error;
    assert_int_equal(td_packed_new(precision, outputs, inputs, &packed, &error), TD_OK);
    float *panel = calloc(TD_PANEL * inputs, sizeof *panel);
    for (size_t first = 0; first < outputs; first += TD_PANEL) {
        size_t count = outputs - first < TD_PANEL ? outputs - first : TD_PANEL;
        for (size_t i = 0; i < count; i++)
            memcpy(panel + i * inputs, w + (first + i) * DEPTH, inputs * sizeof *panel);
        td_packed_fill(packed, first, count, panel);
    }
    free(panel);
    return packed;
}

static void fill(void)
{
    for (size_t i = 0; i < ROWS * DEPTH; i++)
        x[i] = (float)sin(1.3 * (double)i);
    for (size_t i = 0; i < OUTPUTS * DEPTH; i++)
        w[i] = (float)cos(0.7 * (double)i + 1);
    for (size_t i = 0; i < OUTPUTS; i++)
        bias[i] = (float)i * 0.01f - 1;
}

static void products(void **state)
{
    (void)state;
    fill();
    static const size_t shapes[][2] = {{1, 1}, {64, 64}, {65, 7}, {OUTPUTS, 128}, {OUTPUTS, DEPTH}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int precision = 0; precision < TD_PRECISIONS; precision++) {
            td_packed *packed = pack((td_precision)precision, shapes[s][0], shapes[s][1]);
            bool first = true;
            for (int isa = 0; isa < TD_MATRIX_ISA_COUNT; isa++) {
                const td_packed_kernels *kernels = td_packed_kernels_for((td_matrix_isa)isa);
                if (!kernels)
                    continue;
                check_values(kernels, packed, true);
                check_values(kernels, packed, false);
                check_company(kernels, packed);
                check_panels(kernels, packed);
                if (precision == TD_INT8 && first)
                    memcpy(reference, all, sizeof all);
                for (size_t i = 0; precision == TD_INT8 && i < ROWS * shapes[s][0]; i++)
                    assert_true(fabsf(all[i] - reference[i]) <= 1e-5f + 1e-6f * fabsf(reference[i]));
                first = false;
            }
            assert_false(first);
            td_packed_free(packed);
        }
}

/* Packing rounds to the nearest of 255 steps, and the integers of a file give what packing their values gives. */
static void int8_weights(void **state)
{
    (void)state;
    fill();
    td_packed *packed = pack(TD_INT8, 70, 100), *again = NULL;
    td_error error;
    assert_int_equal(td_packed_new(TD_INT8, 70, 100, &again, &error), TD_OK);
    float row[100], row_scales[TD_PANEL];
    int8_t integers[TD_PANEL * 100];
    for (size_t first = 0; first < 70; first += TD_PANEL) {
        size_t count = 70 - first < TD_PANEL ? 70 - first : TD_PANEL;
        for (size_t i = 0; i < count; i++) {
            td_packed_row(packed, first + i, 1, row);
            row_scales[i] = packed->scales[first + i];
            for (size_t k = 0; k < 100; k++) {
                assert_true(fabsf(row[k] - w[(first + i) * DEPTH + k]) <= 0.501f * row_scales[i]);
                integers[i * 100 + k] = (int8_t)lrintf(row[k] / row_scales[i]);
            }
        }
        td_packed_fill_int8(again, first, count, integers, row_scales);
    }
    assert_memory_equal(packed->data, again->data, packed->depth * 128);
    assert_memory_equal(packed->offsets, again->offsets, 128 * sizeof *packed->offsets);
    td_packed_free(packed);
    td_packed_free(again);
}

/* What is not a number must not become one. */
static void not_finite(void **state)
{
    (void)state;
    fill();
    for (int precision = 0; precision < TD_PRECISIONS; precision++)
        for (int isa = 0; isa < TD_MATRIX_ISA_COUNT; isa++) {
            const td_packed_kernels *kernels = td_packed_kernels_for((td_matrix_isa)isa);
            if (!kernels)
                continue;
            x[DEPTH + 5] = NAN;
            td_packed *packed = pack((td_precision)precision, 64, 64);
            run(kernels, packed, 0, 3, false, all);
            assert_true(isfinite(all[0]) && !isfinite(all[64]) && isfinite(all[128]));
            td_packed_free(packed);
            fill();
            w[3 * DEPTH + 2] = INFINITY;
            packed = pack((td_precision)precision, 64, 64);
            run(kernels, packed, 0, 8, false, all);
            assert_true(isfinite(all[2]) && !isfinite(all[3]));
            td_packed_free(packed);
            fill();
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(int8_weights), cmocka_unit_test(not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
