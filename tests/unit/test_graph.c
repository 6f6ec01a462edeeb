/* The memory of gradients: what backward is done with serves again, and what is read afterwards stays. Gradients of weights that several
 * graphs add up are the same, to the bit, on any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "kernels/gemm.h"
#include "ops/ops.h"
#include "platform/thread.h"
#include "tensor/graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, COLUMNS = 32, OPERATIONS = 100 };

/* y = x + x, then y + x again and again: the gradient of x counts how often it was added. */
static void gradients_of_a_long_chain_share_memory(void **state)
{
    (void)state;
    td_arena arena;
    td_graph graph;
    td_error error = {TD_OK, ""};
    td_arena_init(&arena);
    td_graph_begin(&graph, &arena, true);
    td_tensor *x = td_tensor_zeroed(&graph, ROWS, COLUMNS, true), *y = x;
    for (int i = 0; i < OPERATIONS; i++)
        y = td_add(&graph, y, x);
    assert_non_null(y);
    size_t forward = arena.total, one = ROWS * COLUMNS * sizeof(td_real);
    assert_int_equal(td_backward(&graph, y, 1, &error), TD_OK);
    assert_in_range(arena.total - forward, one, 5 * one);
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        assert_true(x->gradient[i] == OPERATIONS + 1);
    td_arena_free(&arena);
}

/* ---- sums of several graphs ---- */

enum { WIDTH = 16, WORDS = 40, TOKENS = 9, GRAPHS = 7, MOST_THREADS = 3 };
enum { TIED, LONELY, QUERY, KEY, VALUE, SCALE, SHIFT, UNUSED, WEIGHTS };

typedef struct step {
    td_parameter weights[WEIGHTS];
    size_t offsets[WEIGHTS + 1];
    td_real data[WEIGHTS * WORDS * WIDTH], sums[WEIGHTS * WORDS * WIDTH];
    td_arena arenas[MOST_THREADS];
    td_gradient_sums shared;
} step;

static td_real wave(size_t i)
{
    return (td_real)sin((double)i * 1.7 + 0.3) * (td_real)0.3;
}

static void declare(step *it)
{
    static const size_t rows[WEIGHTS] = {WORDS, WORDS, WIDTH, WIDTH, WIDTH, 1, 1, 3};
    size_t offset = 0;
    memset(it, 0, sizeof *it);
    for (size_t i = 0; i < WEIGHTS; i++) {
        it->weights[i] =
            (td_parameter){.name = "weight", .rows = rows[i], .columns = WIDTH, .data = it->data + offset, .offset = offset, .index = i};
        it->offsets[i] = offset;
        offset += rows[i] * WIDTH;
    }
    it->offsets[WEIGHTS] = offset;
    for (size_t i = 0; i < offset; i++)
        it->data[i] = wave(i);
    it->shared = (td_gradient_sums){.sums = it->sums, .weights = WEIGHTS, .offsets = it->offsets};
}

/* A weight that is embedding and projection, a table read once, three weights multiplied as one. */
static void run_graph(step *it, td_graph *graph, size_t index)
{
    int32_t ids[TOKENS], targets[TOKENS];
    for (size_t i = 0; i < TOKENS; i++) {
        ids[i] = (int32_t)((i * 7 + index * 3) % 5 * 8); /* some of them again and again */
        targets[i] = (int32_t)((i * 11 + index) % WORDS);
    }
    const td_parameter *several[3] = {&it->weights[QUERY], &it->weights[KEY], &it->weights[VALUE]};
    td_tensor *tied = td_embedding(graph, td_graph_parameter(graph, &it->weights[TIED]), ids, TOKENS, 2);
    td_tensor *lonely = td_embedding(graph, td_graph_parameter(graph, &it->weights[LONELY]), ids, TOKENS, 1);
    td_tensor *x = td_layer_norm(graph, td_add(graph, tied, lonely), td_graph_parameter(graph, &it->weights[SCALE]),
                                 td_graph_parameter(graph, &it->weights[SHIFT]), (td_real)1e-5);
    td_tensor *wide = td_linear_several(graph, x, several, NULL, 3);
    td_tensor *y = td_add(graph, td_scale(graph, x, 2), td_activate(graph, x, TD_TANH, 0));
    static const int32_t all[TOKENS] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t i = 0; i < 3; i++)
        y = td_add(graph, y, td_gather_rows(graph, td_tensor_columns(graph, wide, i * WIDTH, WIDTH), all, TOKENS));
    td_cross_entropy_options options = {.gradient_scale = (td_real)0.1, .label_smoothing = (td_real)0.1};
    td_projected_cross_entropy(graph, y, td_graph_parameter(graph, &it->weights[TIED]), NULL, targets, &options, NULL);
    assert_int_equal(td_backward(graph, NULL, 0, NULL), TD_OK);
    assert_int_equal(graph->error.status, TD_OK);
}

static void run_in_turn(void *context, size_t index, size_t thread)
{
    step *it = context;
    td_graph graph;
    td_graph_begin(&graph, &it->arenas[thread], true);
    td_graph_sum_begin(&graph, &it->shared, index);
    run_graph(it, &graph, index);
    td_graph_sum_finish(&graph);
    td_arena_reset(&it->arenas[thread]);
}

static void sums_do_not_depend_on_threads(void **state)
{
    (void)state;
    step *it = malloc(sizeof *it);
    declare(it);
    size_t size = it->offsets[WEIGHTS];
    td_real *expected = calloc(size, sizeof *expected), *alone = calloc(size, sizeof *alone), *first = calloc(size, sizeof *first);
    for (size_t index = 0; index < GRAPHS; index++) { /* each graph by itself, with gradients in one flat buffer */
        td_graph graph;
        memset(alone, 0, size * sizeof *alone);
        td_graph_begin(&graph, &it->arenas[0], true);
        graph.gradients = alone;
        run_graph(it, &graph, index);
        for (size_t i = 0; i < size; i++)
            expected[i] += alone[i];
        td_arena_reset(&it->arenas[0]);
    }
    assert_int_equal(td_turns_new(WEIGHTS, &it->shared.turns, NULL), TD_OK);
    for (size_t threads = 1; threads <= MOST_THREADS; threads++) {
        td_pool *pool = NULL;
        assert_int_equal(td_pool_new(threads, td_gemm_thread_setup, &pool, NULL), TD_OK);
        for (int round = 0; round < 3; round++) { /* the second and third in arenas of one block */
            for (size_t i = 0; i < size; i++)
                it->sums[i] = NAN; /* what was there before does not matter */
            td_turns_reset(it->shared.turns);
            td_pool_run(pool, GRAPHS, run_in_turn, it);
            if (threads == 1 && round == 0)
                memcpy(first, it->sums, size * sizeof *first);
            assert_memory_equal(it->sums, first, size * sizeof *first);
        }
        td_pool_free(pool);
    }
    for (size_t i = 0; i < size; i++)
        assert_true(fabs((double)(first[i] - expected[i])) < 1e-5 && (i < it->offsets[UNUSED] || first[i] == 0));
    td_turns_free(it->shared.turns);
    for (size_t i = 0; i < MOST_THREADS; i++)
        td_arena_free(&it->arenas[i]);
    free(first);
    free(alone);
    free(expected);
    free(it);
}

/* A weight read alone and as one of several would have two gradients that are added in an order of their own. */
static void overlapping_weights_are_refused(void **state)
{
    (void)state;
    step *it = malloc(sizeof *it);
    td_graph graph;
    declare(it);
    assert_int_equal(td_turns_new(WEIGHTS, &it->shared.turns, NULL), TD_OK);
    td_graph_begin(&graph, &it->arenas[0], true);
    td_graph_sum_begin(&graph, &it->shared, 0);
    const td_parameter *several[2] = {&it->weights[QUERY], &it->weights[KEY]};
    td_tensor *x = td_tensor_zeroed(&graph, TOKENS, WIDTH, true);
    assert_non_null(td_linear_several(&graph, x, several, NULL, 2));
    assert_null(td_linear(&graph, x, td_graph_parameter(&graph, &it->weights[KEY]), NULL));
    assert_int_equal(graph.error.status, TD_ERROR_INTERNAL);
    td_graph_sum_finish(&graph); /* lets others pass all the same */
    for (size_t i = 0; i < WEIGHTS; i++)
        td_turns_wait(it->shared.turns, i, 1);
    td_turns_free(it->shared.turns);
    td_arena_free(&it->arenas[0]);
    free(it);
}

/* Backward through so many activations finds room in the results that it has passed. */
static void results_make_room_for_gradients(void **state)
{
    (void)state;
    step *it = malloc(sizeof *it);
    td_arena arena;
    td_graph graph;
    td_arena_init(&arena);
    declare(it);
    assert_int_equal(td_turns_new(WEIGHTS, &it->shared.turns, NULL), TD_OK);
    for (int round = 0; round < 2; round++) { /* the second in one block */
        td_turns_reset(it->shared.turns);
        td_graph_begin(&graph, &arena, true);
        td_graph_sum_begin(&graph, &it->shared, 0);
        td_tensor *x = td_tensor_zeroed(&graph, ROWS, COLUMNS, true), *y = x;
        for (int i = 0; i < OPERATIONS; i++)
            y = td_activate(&graph, y, TD_TANH, 0);
        size_t forward = arena.total, one = ROWS * COLUMNS * sizeof(td_real);
        assert_int_equal(td_backward(&graph, y, 1, NULL), TD_OK);
        assert_in_range(arena.total - forward, one, 2 * one + one / 2);
        for (size_t i = 0; i < ROWS * COLUMNS; i++)
            assert_true(x->gradient[i] == 1); /* tanh' of zero */
        td_graph_sum_finish(&graph);
        td_arena_reset(&arena);
    }
    td_turns_free(it->shared.turns);
    td_arena_free(&arena);
    free(it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_a_long_chain_share_memory),
        cmocka_unit_test(sums_do_not_depend_on_threads),
        cmocka_unit_test(overlapping_weights_are_refused),
        cmocka_unit_test(results_make_room_for_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
