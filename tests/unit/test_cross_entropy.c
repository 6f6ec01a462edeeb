/* The output layer against sums in double precision: one block of rows and several, float32 and bfloat16, the weight as it is and in
 * panels, words in odd and even number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "kernels/gemm.h"
#include "ops/ops.h"
#include "ops/product.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 300, WIDTH = 32, MOST_WORDS = 131, SIZE = MOST_WORDS * WIDTH };

typedef struct layer {
    size_t words;
    float hidden[ROWS * WIDTH], weight[SIZE], bias[MOST_WORDS], gradients[SIZE + MOST_WORDS];
    int32_t targets[ROWS];
    double loss, dhidden[ROWS * WIDTH], dweight[SIZE], dbias[MOST_WORDS];
} layer;

static const double smoothing = 0.1, scale = 0.5;

/* Numbers that bfloat16 holds exactly. */
static float coarse(size_t i)
{
    return (float)((int)(i * 37 % 61) - 30) / 64;
}

static void one_row(layer *it, size_t row)
{
    double logits[MOST_WORDS] = {0}, total = 0, mean = 0;
    const float *h = it->hidden + row * WIDTH;
    for (size_t word = 0; word < it->words; word++) {
        logits[word] = it->bias[word];
        for (size_t i = 0; i < WIDTH; i++)
            logits[word] += (double)h[i] * it->weight[word * WIDTH + i];
        total += exp(logits[word]);
        mean += logits[word] / (double)it->words;
    }
    size_t target = (size_t)it->targets[row];
    it->loss += log(total) - (1 - smoothing) * logits[target] - smoothing * mean;
    for (size_t word = 0; word < it->words; word++) {
        double d = scale * (exp(logits[word]) / total - smoothing / (double)it->words - (word == target ? 1 - smoothing : 0));
        it->dbias[word] += d;
        for (size_t i = 0; i < WIDTH; i++) {
            it->dhidden[row * WIDTH + i] += d * it->weight[word * WIDTH + i];
            it->dweight[word * WIDTH + i] += d * h[i];
        }
    }
}

static layer *exact(size_t words)
{
    layer *it = calloc(1, sizeof *it);
    it->words = words;
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        it->hidden[i] = coarse(i + 3);
    for (size_t i = 0; i < words * WIDTH; i++)
        it->weight[i] = coarse(i * 5 + 1);
    for (size_t i = 0; i < words; i++)
        it->bias[i] = coarse(i * 7);
    for (size_t row = 0; row < ROWS; row++) {
        it->targets[row] = (int32_t)(row * 13 % words);
        one_row(it, row);
    }
    return it;
}

static void assert_near(const float *values, const double *expected, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)values[i] - expected[i]) <= tolerance))
            fail_msg("number %zu of %zu: %g, expected %g", i, count, (double)values[i], expected[i]);
}

static void check(size_t words, td_gemm_cache *products, bool laid, double tolerance)
{
    layer *it = exact(words);
    td_parameter weight = {.name = "weight", .rows = words, .columns = WIDTH, .data = it->weight};
    td_parameter bias = {.name = "bias", .rows = 1, .columns = words, .data = it->bias, .offset = SIZE};
    td_arena arena;
    td_graph graph;
    td_arena_init(&arena);
    td_graph_begin(&graph, &arena, true);
    graph.gradients = it->gradients;
    graph.products = products;
    const td_panel_kernels *kernels = products ? td_gemm_cache_panels(products) : td_panels_float32(graph.kernels->isa);
    td_laid_weight panels = {.data = it->weight};
    if (laid && kernels) {
        uint16_t *rounded = td_arena_allocate_array(&arena, SIZE, sizeof *rounded);
        graph.kernels->to_bfloat16(rounded, it->weight, words * WIDTH);
        panels.panels = td_arena_allocate(&arena, kernels->bytes(WIDTH, words));
        kernels->pack((void *)(uintptr_t)panels.panels, (td_panel_matrix){products ? (void *)rounded : it->weight, WIDTH, true}, WIDTH,
                      words);
        graph.laid_weight = &panels;
    }
    td_tensor *hidden = td_tensor_new(&graph, ROWS, WIDTH, true);
    memcpy(hidden->data, it->hidden, sizeof it->hidden);
    td_cross_entropy_options options = {.label_smoothing = (td_real)smoothing, .gradient_scale = (td_real)scale};
    td_tensor *loss = td_projected_cross_entropy(&graph, hidden, td_graph_parameter(&graph, &weight), td_graph_parameter(&graph, &bias),
                                                 it->targets, &options, NULL);
    assert_non_null(loss);
    assert_true(fabs((double)loss->data[0] - it->loss) < tolerance * (1 + it->loss));
    assert_near(hidden->gradient, it->dhidden, ROWS * WIDTH, tolerance);
    assert_near(it->gradients, it->dweight, words * WIDTH, 4 * tolerance);
    assert_near(it->gradients + SIZE, it->dbias, words, 4 * tolerance);
    td_arena_free(&arena);
    free(it);
}

static const size_t sizes[] = {1, 2, 63, 64, 65, 130, MOST_WORDS};

static void in_float32(void **state)
{
    (void)state;
    td_gemm_thread_setup();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int laid = 0; laid < 2; laid++)
            check(sizes[i], NULL, laid, 1e-5);
}

static void in_bfloat16(void **state)
{
    (void)state;
    td_gemm_cache *products;
    if (!td_gemm_bfloat16_supported())
        skip();
    td_gemm_thread_setup();
    assert_int_equal(td_gemm_cache_create(&products, NULL), TD_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int laid = 0; laid < 2; laid++)
            check(sizes[i], products, laid, 5e-3);
    td_gemm_cache_free(products);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_float32), cmocka_unit_test(in_bfloat16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
