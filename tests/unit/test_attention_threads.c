/* Attention over sequences whose keys are laid out, in the encoder and over a decoder's memory: what plain formulas give, the same bits
 * whatever is beside a row and however many threads share the work. Also run under the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "models/cached_attention.h"
#include "platform/thread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 3, HEAD = 16, WIDTH = HEADS * HEAD, SHORT = 70, LONG = 331, TOTAL = SHORT + LONG };

static float *numbers(size_t count, float step)
{
    float *x = malloc(count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = 1.5f * sinf(step * (float)i + 0.1f) + 0.5f * cosf(0.37f * (float)i);
    return x;
}

/* A graph over an arena of its own, on `pool` (NULL: one thread). */
typedef struct attention_step {
    td_arena arena;
    td_graph graph;
} attention_step;

static void begin(attention_step *step, td_pool *pool)
{
    td_arena_init(&step->arena);
    td_graph_begin(&step->graph, &step->arena, false);
    step->graph.pool = pool;
}

/* One query of one head over keys and values [length, WIDTH] at stride: out [HEAD], weights [length] */
static void exact(const float *query, const float *keys, const float *values, size_t stride, size_t length, double *out, double *weights)
{
    double sum = 0, best = -INFINITY;
    for (size_t j = 0; j < length; j++) {
        weights[j] = 0;
        for (size_t i = 0; i < HEAD; i++)
            weights[j] += (double)query[i] * (double)keys[j * stride + i];
        weights[j] /= sqrt(HEAD);
        best = fmax(best, weights[j]);
    }
    for (size_t j = 0; j < length; j++)
        sum += weights[j] = exp(weights[j] - best);
    memset(out, 0, HEAD * sizeof *out);
    for (size_t j = 0; j < length; j++) {
        weights[j] /= sum;
        for (size_t i = 0; i < HEAD; i++)
            out[i] += weights[j] * (double)values[j * stride + i];
    }
}

/* ---- the encoder's ---- */

static void attend(td_pool *pool, size_t first, size_t count, const float *kvq, float *ret_mixed)
{
    static const int32_t offsets[] = {0, SHORT, TOTAL};
    int32_t own[3] = {0};
    attention_step step;
    begin(&step, pool);
    for (size_t i = 0; i <= count; i++)
        own[i] = offsets[first + i] - offsets[first];
    td_ragged ragged = {count, own};
    td_tensor *x = td_tensor_of(&step.graph, (float *)(uintptr_t)kvq + offsets[first] * 3 * WIDTH, td_ragged_total(ragged), 3 * WIDTH);
    td_attention_options options = {.heads = HEADS};
    td_tensor *mixed =
        td_attention(&step.graph, td_tensor_columns(&step.graph, x, 2 * WIDTH, WIDTH), ragged, td_tensor_columns(&step.graph, x, 0, WIDTH),
                     td_tensor_columns(&step.graph, x, WIDTH, WIDTH), ragged, &options, NULL);
    assert_non_null(mixed);
    memcpy(ret_mixed, mixed->data, mixed->rows * WIDTH * sizeof *ret_mixed);
    td_arena_free(&step.arena);
}

static void of_the_encoder(void **state)
{
    (void)state;
    static float together[TOTAL * WIDTH], alone[TOTAL * WIDTH], shared[TOTAL * WIDTH];
    float *kvq = numbers(TOTAL * 3 * WIDTH, 0.013f);
    td_pool *pool;
    assert_int_equal(td_pool_new(3, NULL, &pool, NULL), TD_OK);
    attend(NULL, 0, 2, kvq, together);
    attend(pool, 0, 2, kvq, shared);
    attend(NULL, 0, 1, kvq, alone);
    attend(NULL, 1, 1, kvq, alone + SHORT * WIDTH);
    assert_memory_equal(together, shared, sizeof together);
    assert_memory_equal(together, alone, sizeof together);
    for (size_t row = 0; row < TOTAL; row++)
        for (size_t head = 0; head < HEADS; head++) {
            double out[HEAD], weights[LONG];
            size_t start = row < SHORT ? 0 : SHORT, length = row < SHORT ? SHORT : LONG;
            const float *keys = kvq + start * 3 * WIDTH + head * HEAD;
            exact(kvq + row * 3 * WIDTH + 2 * WIDTH + head * HEAD, keys, keys + WIDTH, 3 * WIDTH, length, out, weights);
            for (size_t i = 0; i < HEAD; i++)
                assert_true(fabs(out[i] - (double)together[row * WIDTH + head * HEAD + i]) < 3e-6);
        }
    td_pool_free(pool);
    free(kvq);
}

/* ---- over a memory ---- */

enum { BEAMS = 7 }; /* rows of the cache: two of the first source, five of the second */
static const int32_t beams[BEAMS] = {0, 0, 1, 1, 1, 1, 1};

typedef struct over_memory {
    float mixed[BEAMS * WIDTH], average[BEAMS * LONG];
} over_memory;

static void attend_to_memory(td_pool *pool, const float *kv, const float *query, const int32_t *rows, size_t count, over_memory *ret_result)
{
    static const int32_t offsets[] = {0, SHORT, TOTAL};
    int32_t tokens[BEAMS + 1];
    td_key_value_cache cache;
    const float *average = NULL;
    attention_step step;
    begin(&step, pool);
    td_cache_init(&cache, 1, WIDTH, false);
    td_memory_group *group = td_cache_add_memory(&cache, &step.graph, (td_ragged){2, offsets});
    assert_non_null(group);
    td_cache_set_memory(&cache, group, &step.graph, 0, HEADS, td_tensor_of(&step.graph, (float *)(uintptr_t)kv, TOTAL, 2 * WIDTH));
    assert_int_equal(td_cache_reorder(&cache, rows, count, NULL), TD_OK);
    for (size_t i = 0; i <= count; i++)
        tokens[i] = (int32_t)i;
    td_attention_options options = {.heads = HEADS};
    td_tensor *mixed =
        td_cache_cross_attention(&cache, &step.graph, 0, &options, (td_ragged){count, tokens},
                                 td_tensor_of(&step.graph, (float *)(uintptr_t)query, count, WIDTH), (td_attention_report){&average, NULL});
    assert_non_null(mixed);
    memcpy(ret_result->mixed, mixed->data, count * WIDTH * sizeof *mixed->data);
    for (size_t i = 0, at = 0; i < count; i++) {
        size_t length = rows[i] ? LONG : SHORT;
        memcpy(ret_result->average + i * LONG, average + at, length * sizeof *average);
        at += length;
    }
    td_cache_free(&cache);
    td_arena_free(&step.arena);
}

static void over_a_memory(void **state)
{
    (void)state;
    static over_memory together, shared, alone;
    float *kv = numbers(TOTAL * 2 * WIDTH, 0.017f), *query = numbers(BEAMS * WIDTH, 0.9f);
    td_pool *pool;
    assert_int_equal(td_pool_new(3, NULL, &pool, NULL), TD_OK);
    attend_to_memory(NULL, kv, query, beams, BEAMS, &together);
    attend_to_memory(pool, kv, query, beams, BEAMS, &shared);
    assert_memory_equal(&together, &shared, sizeof together);
    for (size_t row = 0; row < BEAMS; row++) {
        size_t length = beams[row] ? LONG : SHORT;
        double averaged[LONG] = {0};
        attend_to_memory(NULL, kv, query + row * WIDTH, beams + row, 1, &alone);
        assert_memory_equal(alone.mixed, together.mixed + row * WIDTH, WIDTH * sizeof *alone.mixed);
        assert_memory_equal(alone.average, together.average + row * LONG, length * sizeof *alone.average);
        for (size_t head = 0; head < HEADS; head++) {
            double out[HEAD], weights[LONG];
            const float *keys = kv + (beams[row] ? SHORT : 0) * 2 * WIDTH + head * HEAD;
            exact(query + row * WIDTH + head * HEAD, keys, keys + WIDTH, 2 * WIDTH, length, out, weights);
            for (size_t i = 0; i < HEAD; i++)
                assert_true(fabs(out[i] - (double)alone.mixed[head * HEAD + i]) < 3e-6);
            for (size_t j = 0; j < length; j++)
                averaged[j] += weights[j] / HEADS;
        }
        for (size_t j = 0; j < length; j++)
            assert_true(fabs(averaged[j] - (double)alone.average[j]) < 1e-6);
    }
    td_pool_free(pool);
    free(kv);
    free(query);
}

/* ---- in a cache that rounds ---- */

enum { FEW = 23, STORED = LONG + FEW }; /* FEW are not laid out */

/* Numbers that bfloat16 has, so that a cache that rounds keeps them. */
static void round_numbers(float *x, size_t n)
{
    uint16_t *halves = calloc(n, sizeof *halves);
    assert_non_null(halves);
    td_kernels_get()->to_bfloat16(halves, x, n);
    td_kernels_get()->from_bfloat16(x, halves, n);
    free(halves);
}

/* A prompt of three tokens for each of two sources, one of them short, then a token: self-attention and cross-attention of both steps,
 * end to end. */
static size_t attend_in_cache(bool rounded, const float *kv, const float *kvq, float *ret_mixed)
{
    static const int32_t sources[] = {0, FEW, STORED}, prompts[] = {0, 3, 6}, tokens[] = {0, 1, 2};
    td_key_value_cache cache;
    attention_step step;
    size_t at = 0;
    begin(&step, NULL);
    td_cache_init(&cache, 1, WIDTH, rounded);
    td_memory_group *group = td_cache_add_memory(&cache, &step.graph, (td_ragged){2, sources});
    assert_non_null(group);
    td_cache_set_memory(&cache, group, &step.graph, 0, HEADS, td_tensor_of(&step.graph, (float *)(uintptr_t)kv, STORED, 2 * WIDTH));
    td_attention_options options = {.heads = HEADS};
    for (int turn = 0; turn < 2; turn++) {
        td_ragged ragged = {2, turn == 0 ? prompts : tokens};
        size_t rows = td_ragged_total(ragged);
        td_tensor *input = td_tensor_of(&step.graph, (float *)(uintptr_t)kvq, rows, 3 * WIDTH);
        assert_true(td_cache_extend(&cache, &step.graph, ragged));
        td_tensor *own = td_cache_self_attention(&cache, &step.graph, 0, &options, ragged, input);
        td_tensor *read = td_cache_cross_attention(&cache, &step.graph, 0, &options, ragged, own, (td_attention_report){NULL, NULL});
        assert_non_null(read);
        memcpy(ret_mixed + at, own->data, rows * WIDTH * sizeof *ret_mixed);
        memcpy(ret_mixed + at + rows * WIDTH, read->data, rows * WIDTH * sizeof *ret_mixed);
        at += 2 * rows * WIDTH;
    }
    td_cache_free(&cache);
    td_arena_free(&step.arena);
    return at;
}

/* Numbers that bfloat16 has are kept to the bit; others nearly. */
static void keys_and_values_in_bfloat16(void **state)
{
    (void)state;
    static float exactly[16 * WIDTH], rounded[16 * WIDTH];
    float *kv = numbers(STORED * 2 * WIDTH, 0.017f), *kvq = numbers(6 * 3 * WIDTH, 0.9f);
    size_t count = attend_in_cache(false, kv, kvq, exactly), differing = 0;
    assert_int_equal(attend_in_cache(true, kv, kvq, rounded), count);
    assert_int_equal(count, 16 * WIDTH);
    for (size_t i = 0; i < count; i++) {
        assert_true(fabsf(exactly[i] - rounded[i]) < 0.02f);
        differing += exactly[i] != rounded[i];
    }
    assert_true(differing > count / 2); /* else nothing was rounded */
    round_numbers(kv, STORED * 2 * WIDTH);
    round_numbers(kvq, 6 * 3 * WIDTH);
    attend_in_cache(false, kv, kvq, exactly);
    attend_in_cache(true, kv, kvq, rounded);
    assert_memory_equal(exactly, rounded, count * sizeof *exactly);
    free(kv);
    free(kvq);
}

/* ---- what lies around it ---- */

enum { ROWS = 700, COLUMNS = 112 }; /* enough numbers to be worth cutting */

static void compute(td_pool *pool, float *x, float *weight, float *ret_made)
{
    attention_step step;
    begin(&step, pool);
    td_graph *graph = &step.graph;
    assert_int_equal(td_graph_parts(graph, ROWS * COLUMNS), pool ? 3 : 1);
    td_tensor *rows = td_tensor_of(graph, x, ROWS, COLUMNS), *matrix = td_tensor_of(graph, weight, COLUMNS, COLUMNS);
    td_tensor *normed =
        td_layer_norm(graph, rows, td_tensor_of(graph, weight, 1, COLUMNS), td_tensor_of(graph, weight + COLUMNS, 1, COLUMNS), 1e-5f);
    td_tensor *product = td_linear(graph, normed, matrix, NULL);
    td_tensor *sum = td_add(graph, rows, td_activate(graph, product, TD_GELU, 0));
    assert_non_null(sum);
    memcpy(ret_made, sum->data, ROWS * COLUMNS * sizeof *ret_made);
    td_arena_free(&step.arena);
}

static void operations_on_many_rows(void **state)
{
    (void)state;
    static float alone[ROWS * COLUMNS], shared[ROWS * COLUMNS];
    float *x = numbers(ROWS * COLUMNS, 0.7f), *weight = numbers(COLUMNS * COLUMNS, 0.3f);
    td_pool *pool;
    assert_int_equal(td_pool_new(3, NULL, &pool, NULL), TD_OK);
    compute(NULL, x, weight, alone);
    for (int round = 0; round < 20; round++) {
        memset(shared, 0, sizeof shared);
        compute(pool, x, weight, shared);
        assert_memory_equal(alone, shared, sizeof alone);
    }
    td_pool_free(pool);
    free(x);
    free(weight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_the_encoder), cmocka_unit_test(over_a_memory),
                                       cmocka_unit_test(keys_and_values_in_bfloat16), cmocka_unit_test(operations_on_many_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
