/* What decoding keeps in memory and what it does without: rows of logits of which only the best are looked at, numbers beside packed
 * weights. Results are those of keeping everything, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../bench/shapes.h"
#include "api/model.h"
#include "base/random.h"
#include "decoding/search.h"
#include "platform/file.h"
#include "platform/thread.h"
#include "tandem/tandem.h"

/* ---- lists of best blocks ---- */

static size_t block_length(size_t block, size_t n)
{
    return n - block * TD_LOGIT_BLOCK < TD_LOGIT_BLOCK ? n - block * TD_LOGIT_BLOCK : TD_LOGIT_BLOCK;
}

/* Offers all blocks in any order, to lists 0 and 1 in turns. */
static void offer_blocks(td_best_blocks *best, const td_real *row, size_t n, td_random *random)
{
    size_t count = (n + TD_LOGIT_BLOCK - 1) / TD_LOGIT_BLOCK, order[64];
    for (size_t i = 0; i < count; i++) {
        size_t at = td_random_below(random, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (size_t i = 0; i < count; i++) {
        const td_real *values = row + order[i] * TD_LOGIT_BLOCK;
        td_real maximum = values[0];
        for (size_t k = 1; k < block_length(order[i], n); k++)
            maximum = values[k] > maximum ? values[k] : maximum;
        td_best_blocks_offer(best, i % 2, (int32_t)order[i], maximum, values, block_length(order[i], n));
    }
}

/* Rows with many ties, some of whose best are banned afterwards. */
static void the_best_blocks_are_enough(void **state)
{
    (void)state;
    enum { LONGEST = 2000 };
    static td_real row[LONGEST], kept[LONGEST];
    td_candidate expected[12], got[12];
    td_arena arena;
    td_graph graph;
    td_arena_init(&arena);
    for (uint64_t round = 0; round < 400; round++) {
        td_random random = {round, 2};
        size_t n = 1 + td_random_below(&random, LONGEST), wanted = 1 + td_random_below(&random, 12), banned = td_random_below(&random, 4);
        for (size_t i = 0; i < n; i++) {
            row[i] = (td_real)td_random_below(&random, round % 2 ? 300 : 1 << 20);
            kept[i] = (td_real)1e9; /* what is not put there must not be looked at */
        }
        td_best_blocks best;
        td_graph_begin(&graph, &arena, false);
        assert_true(td_best_blocks_new(&graph, 2, wanted + banned, &best));
        offer_blocks(&best, row, n, &random);
        td_best_blocks_join(&best, 0, 1, n);
        td_best_blocks_place(&best, 0, n, kept);
        for (size_t i = 0; i < banned && td_select_largest(row, n, 1, expected) == 1; i++)
            row[expected[0].id] = kept[expected[0].id] = -(td_real)INFINITY;
        size_t count = td_select_largest(row, n, wanted, expected);
        assert_int_equal(td_select_in_blocks(kept, n, best.block, (size_t)best.count[0], TD_LOGIT_BLOCK, wanted, got), count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(got[i].id, expected[i].id);
            assert_true(got[i].value == expected[i].value);
        }
        td_arena_reset(&arena);
    }
    td_arena_free(&arena);
}

/* ---- a model ---- */

enum { SOURCES = 24, LENGTH = 9, OUTPUT = 12, WORDS = 8000 };

typedef struct fixture {
    char directory[64];
    td_model *model;
} fixture;

static int open_model(void **state)
{
    static fixture it;
    td_error error;
    it = (fixture){.directory = "/tmp/tandem_decoding_memory_XXXXXX"};
    td_model_options options = TD_MODEL_OPTIONS_INIT;
    if (!mkdtemp(it.directory) || bench_shape_write(it.directory, "growth-8000", "F32", 1, &error) != TD_OK ||
        td_model_open(it.directory, &options, &it.model, &error) != TD_OK) {
        print_message("%s\n", error.message);
        return 1;
    }
    *state = &it;
    return 0;
}

static int close_model(void **state)
{
    fixture *it = *state;
    td_model_close(it->model);
    return td_directory_remove(it->directory, NULL) == TD_OK ? 0 : 1;
}

/* Sums over a row and its best, with all of it kept and without, on one thread and several. */
static void rows_are_summed_alike(void **state)
{
    enum { ROWS = 21, BEST = 5 };
    static td_real hidden[ROWS * 128], row[WORDS];
    const td_network *network = &((fixture *)*state)->model->network;
    for (size_t i = 0; i < ROWS * 128; i++)
        hidden[i] = (td_real)sin(0.7 * (double)i);
    for (size_t threads = 1; threads <= 3; threads += 2) {
        td_pool *pool = NULL;
        td_arena arena[2];
        td_graph graph[2];
        td_logits logits[2];
        assert_int_equal(td_pool_new(threads, NULL, &pool, NULL), TD_OK);
        for (size_t i = 0; i < 2; i++) {
            td_arena_init(&arena[i]);
            td_graph_begin(&graph[i], &arena[i], false);
            graph[i].pool = pool;
            assert_true(td_project_summed(network, &graph[i], td_tensor_of(&graph[i], hidden, ROWS, 128), i * BEST, &logits[i]));
        }
        assert_null(logits[1].values);
        assert_memory_equal(logits[0].maximum, logits[1].maximum, sizeof(td_real[ROWS]));
        assert_memory_equal(logits[0].log_sum, logits[1].log_sum, sizeof(td_real[ROWS]));
        for (size_t r = 0; r < ROWS; r++) {
            td_candidate expected[BEST], got[BEST];
            td_best_blocks *best = &logits[1].best;
            td_best_blocks_place(best, r, WORDS, row);
            assert_int_equal(td_select_largest(logits[0].values->data + r * logits[0].values->stride, WORDS, BEST, expected), BEST);
            assert_int_equal(td_select_in_blocks(row, WORDS, best->block + r * BEST, (size_t)best->count[r], TD_LOGIT_BLOCK, BEST, got),
                             BEST);
            assert_memory_equal(expected, got, sizeof expected);
        }
        assert_true(arena[0].peak > sizeof(td_real[ROWS]) * WORDS && arena[1].peak < arena[0].peak / 2);
        for (size_t i = 0; i < 2; i++)
            td_arena_free(&arena[i]);
        td_pool_free(pool);
    }
}

typedef struct decoding {
    int32_t ids[LENGTH];
    size_t given;
    int32_t outputs[SOURCES][OUTPUT];
    td_real logprobs[SOURCES][OUTPUT];
    double scores[SOURCES];
} decoding;

static td_status next_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    static int32_t ids[SOURCES][LENGTH];
    decoding *run = context;
    (void)error;
    *ret_given = run->given < SOURCES;
    if (!*ret_given)
        return TD_OK;
    for (size_t i = 0; i < LENGTH; i++)
        ids[run->given][i] = (int32_t)(2 + td_random_key(7, run->given, i) % (WORDS - 3));
    *ret_index = run->given;
    *ret_source = (td_source){.ids = ids[run->given++], .length = LENGTH};
    return TD_OK;
}

static td_status finished(void *context, size_t index, const td_output *output, td_error *error)
{
    decoding *run = context;
    const td_hypothesis *best = &output->hypotheses[0];
    (void)error;
    assert_int_equal(best->count, OUTPUT);
    memcpy(run->outputs[index], best->ids, sizeof run->outputs[index]);
    memcpy(run->logprobs[index], best->logprobs, sizeof run->logprobs[index]);
    run->scores[index] = best->score;
    return TD_OK;
}

/* Returns the memory of the largest step. */
static size_t decode(const td_model *model, const td_generation *generation, decoding *ret_run)
{
    td_search *search = NULL;
    td_search_options options = {.batch_tokens = 4096};
    td_generate_callbacks callbacks = {ret_run, next_source, finished, NULL};
    td_error error;
    memset(ret_run, 0, sizeof *ret_run);
    assert_int_equal(td_search_new(&model->network, &options, &search, &error), TD_OK);
    assert_int_equal(td_generate(search, generation, &callbacks, &error), TD_OK);
    size_t peak = search->arena.peak;
    td_search_free(search);
    return peak;
}

/* A word banned once leaves few blocks of each row; banned fifty times, it might be fifty words, and rows are kept whole. */
static void searches_find_the_same(void **state)
{
    static decoding few, whole;
    int32_t banned[50];
    const td_model *model = ((fixture *)*state)->model;
    for (size_t i = 0; i < 50; i++)
        banned[i] = 11;
    for (size_t beams = 1; beams <= 4; beams += 3) {
        td_generation generation = model->generation;
        generation.num_beams = beams;
        generation.min_length = generation.max_length = OUTPUT + 1;
        generation.forced_eos_token_id = (td_id_list){0};
        generation.no_repeat_ngram_size = 2;
        generation.suppress_tokens = (td_id_list){banned, 50};
        size_t whole_rows = decode(model, &generation, &whole);
        generation.suppress_tokens.count = 1;
        size_t few_blocks = decode(model, &generation, &few);
        assert_memory_equal(few.outputs, whole.outputs, sizeof few.outputs);
        assert_memory_equal(few.logprobs, whole.logprobs, sizeof few.logprobs);
        assert_memory_equal(few.scores, whole.scores, sizeof few.scores);
        size_t rows = SOURCES * beams < TD_PROJECTED_ROWS ? SOURCES : TD_PROJECTED_ROWS / 2; /* a step has at least so many at once */
        assert_true(whole_rows > rows * WORDS * sizeof(td_real));
        assert_true(few_blocks < whole_rows - rows * WORDS * sizeof(td_real) / 2);
    }
}

static void numbers_beside_packed_weights_lie_together(void **state)
{
    const td_parameters *parameters = &((fixture *)*state)->model->network.parameters;
    const td_parameter *tables[2] = {NULL, NULL};
    size_t packed = 0;
    for (size_t i = 0; i < parameters->count; i++) {
        const td_parameter *parameter = &parameters->entries[i]->parameter;
        packed += parameter->packed != NULL;
        if (parameter->packed) {
            assert_null(parameter->data);
            continue;
        }
        assert_true(parameter->data >= parameters->data);
        assert_true(parameter->data + parameter->rows * parameter->columns <= parameters->data + parameters->size);
        if (strstr(parameter->name, "embed_positions"))
            tables[tables[0] != NULL] = parameter;
    }
    assert_true(packed > 0 && tables[0] && tables[1]);
    assert_ptr_equal(tables[0]->data, tables[1]->data); /* the same sinusoids for both */
    for (size_t i = 0; i < 64; i++) {
        double angle = 5 * pow(10000.0, -(double)i / 64);
        assert_true(fabs((double)tables[0]->data[5 * 128 + i] - sin(angle)) < 1e-6);
        assert_true(fabs((double)tables[0]->data[5 * 128 + 64 + i] - cos(angle)) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_blocks_are_enough),
        cmocka_unit_test(rows_are_summed_alike),
        cmocka_unit_test(searches_find_the_same),
        cmocka_unit_test(numbers_beside_packed_weights_lie_together),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
