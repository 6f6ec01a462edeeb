/* Search over a network that is only a hash of source and prefix: its scores are known without running anything, so a
 * naive beam search written here, and counting, can say what must come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "decoding/generate.h"
#include "decoding/select.h"
#include "models/architecture.h"

#define VOCABULARY 37
#define EOS 1
#define START 2
#define ROWS 4096
#define LONGEST 64

/* ---- the network ---- */

struct td_decoder_state {
    uint64_t hash[ROWS], spare[ROWS];
    size_t length[ROWS], spare_length[ROWS], rows, largest;
};

static uint64_t source_hash(const int32_t *ids, size_t count)
{
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++)
        hash = td_mix64(hash ^ (uint64_t)ids[i]);
    return hash;
}

/* In -3..3, multiples of 2^-12 so that every path computes them exactly. One source makes the network break. */
static void hash_logits(uint64_t hash, td_real *logits)
{
    for (size_t i = 0; i < VOCABULARY; i++)
        logits[i] = (td_real)((double)(td_mix64(hash ^ (i * 77)) >> 40) * 0x1.8p-22 - 3);
}

static td_real hash_attention(uint64_t hash, size_t position)
{
    return (td_real)((double)(td_mix64(hash + position) >> 40) * 0x1p-24);
}

static td_status fake_encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    (void)network;
    (void)graph;
    *ret_memory = (td_memory){.ragged = source->ragged, .source_ids = source->ids};
    return TD_OK;
}

static td_status fake_state_new(const td_network *network, td_decoder_state **ret_state, td_error *error)
{
    (void)network;
    *ret_state = td_allocate_array(1, sizeof **ret_state);
    return *ret_state ? TD_OK : td_fail_memory(error, sizeof **ret_state);
}

static void fake_state_free(td_decoder_state *state)
{
    td_release(state);
}

static td_status fake_begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state)
{
    (void)network;
    (void)graph;
    for (size_t i = 0; i < memory->ragged.count; i++, state->rows++) {
        assert_true(state->rows < ROWS);
        size_t length = td_ragged_length(memory->ragged, i);
        state->hash[state->rows] = source_hash(memory->source_ids + memory->ragged.offsets[i], length);
        state->length[state->rows] = length;
    }
    state->largest = state->rows > state->largest ? state->rows : state->largest;
    return TD_OK;
}

static td_status fake_decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                             td_tensor **ret_hidden, const td_real **ret_attention)
{
    (void)network;
    assert_int_equal(targets->ragged.count, state->rows);
    td_tensor *hidden = td_tensor_new(graph, td_ragged_total(targets->ragged), VOCABULARY, false);
    size_t weights = 0, at = 0;
    for (size_t row = 0; row < state->rows; row++)
        weights += state->length[row] * td_ragged_length(targets->ragged, row);
    td_real *attention = ret_attention ? td_graph_allocate(graph, weights, sizeof *attention) : NULL;
    if (!hidden || (ret_attention && !attention))
        return TD_ERROR_MEMORY;
    for (size_t row = 0; row < state->rows; row++)
        for (int32_t t = targets->ragged.offsets[row]; t < targets->ragged.offsets[row + 1]; t++) {
            state->hash[row] = td_mix64(state->hash[row] ^ (uint64_t)targets->ids[t]);
            hash_logits(state->hash[row], hidden->data + (size_t)t * hidden->stride);
            for (size_t s = 0; attention && s < state->length[row]; s++)
                attention[at++] = hash_attention(state->hash[row], s);
        }
    *ret_hidden = hidden;
    if (ret_attention)
        *ret_attention = attention;
    return TD_OK;
}

static td_status fake_reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error)
{
    (void)error;
    for (size_t i = 0; i < rows; i++) {
        assert_true((size_t)parents[i] < state->rows);
        state->spare[i] = state->hash[parents[i]];
        state->spare_length[i] = state->length[parents[i]];
    }
    memcpy(state->hash, state->spare, rows * sizeof *state->hash);
    memcpy(state->length, state->spare_length, rows * sizeof *state->length);
    state->rows = rows;
    return TD_OK;
}

static size_t fake_rows(const td_decoder_state *state)
{
    return state->rows;
}

/* The projection is the identity: logits are the hidden row. */
static td_real identity[VOCABULARY * VOCABULARY];
static const td_parameter weight = {.name = "identity",
                                    .shape = {VOCABULARY, VOCABULARY},
                                    .rank = 2,
                                    .rows = VOCABULARY,
                                    .columns = VOCABULARY,
                                    .data = identity,
                                    .constant = true};

static td_projection fake_projection(const td_network *network)
{
    (void)network;
    return (td_projection){.weight = &weight};
}

static const td_architecture architecture = {.model_type = "hash",
                                             .source = TD_TEXT,
                                             .projection = fake_projection,
                                             .encode = fake_encode,
                                             .state_new = fake_state_new,
                                             .state_free = fake_state_free,
                                             .begin = fake_begin,
                                             .decode = fake_decode,
                                             .reorder = fake_reorder,
                                             .state_rows = fake_rows};

static const td_network network = {
    .architecture = &architecture, .vocabulary = VOCABULARY, .pad_id = 0, .eos_id = EOS, .decoder_start_id = START, .bos_id = -1};

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < VOCABULARY; i++)
        identity[i * VOCABULARY + i] = 1;
    return 0;
}

/* ---- a run, and what came of it ---- */

typedef struct kept {
    int32_t ids[LONGEST];
    td_real logprobs[LONGEST];
    size_t count;
    double score;
    bool ended;
} kept;

#define SOURCES 60
#define BEST 8

typedef struct run {
    size_t sources, given, delivered;
    bool backwards;
    int32_t ids[SOURCES][12];
    size_t lengths[SOURCES];
    size_t counts[SOURCES];
    kept best[SOURCES][BEST];
    bool check_attention;
    size_t stop_after, streamed; /* tokens after which the stream says stop; 0: never */
    int32_t stream[LONGEST];
    bool fail_delivery;
} run;

static run *run_new(size_t sources)
{
    run *r = calloc(1, sizeof *r);
    r->sources = sources;
    for (size_t i = 0; i < sources; i++) {
        r->lengths[i] = 1 + i % 11;
        for (size_t k = 0; k < r->lengths[i]; k++)
            r->ids[i][k] = (int32_t)(td_mix64(i * 131 + k) % VOCABULARY);
    }
    return r;
}

static td_status run_next(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    run *r = context;
    *ret_given = r->given < r->sources;
    if (!*ret_given)
        return TD_OK;
    size_t index = r->backwards ? r->sources - 1 - r->given : r->given;
    r->given++;
    *ret_index = index;
    *ret_source = (td_source){.ids = r->ids[index], .length = r->lengths[index]};
    return TD_OK;
}

static void check_attention(const run *r, size_t index, const td_hypothesis *hypothesis)
{
    uint64_t hash = td_mix64(source_hash(r->ids[index], r->lengths[index]) ^ START);
    for (size_t t = 0; t < hypothesis->count; t++) {
        for (size_t s = 0; s < r->lengths[index]; s++)
            assert_true(hypothesis->attention[t * r->lengths[index] + s] == hash_attention(hash, s));
        hash = td_mix64(hash ^ (uint64_t)hypothesis->ids[t]);
    }
}

static td_status run_finished(void *context, size_t index, const td_output *output, td_error *error)
{
    run *r = context;
    if (r->fail_delivery)
        return td_fail(error, TD_ERROR_IO, "the pipe is closed");
    assert_true(output->count <= BEST);
    assert_int_equal(r->counts[index], 0);
    r->counts[index] = output->count;
    r->delivered++;
    for (size_t i = 0; i < output->count; i++) {
        const td_hypothesis *hypothesis = &output->hypotheses[i];
        kept *k = &r->best[index][i];
        assert_true(hypothesis->count <= LONGEST);
        k->count = hypothesis->count;
        k->score = hypothesis->score;
        k->ended = hypothesis->ended;
        memcpy(k->ids, hypothesis->ids, hypothesis->count * sizeof *k->ids);
        memcpy(k->logprobs, hypothesis->logprobs, hypothesis->count * sizeof *k->logprobs);
        if (r->check_attention)
            check_attention(r, index, hypothesis);
    }
    return TD_OK;
}

static bool run_token(void *context, size_t index, size_t sample, int32_t id, td_real logprob)
{
    (void)index;
    (void)sample;
    assert_true(logprob <= 0);
    run *r = context;
    if (r->streamed < LONGEST)
        r->stream[r->streamed] = id;
    r->streamed++;
    return r->stop_after == 0 || r->streamed % r->stop_after != 0;
}

static void run_search(run *r, td_search *search, const td_generation *generation)
{
    td_error error;
    td_generate_callbacks callbacks = {.context = r, .next = run_next, .finished = run_finished, .token = run_token};
    r->given = r->delivered = r->streamed = 0;
    memset(r->counts, 0, sizeof r->counts);
    if (td_generate(search, generation, &callbacks, &error) != TD_OK)
        fail_msg("%s", error.message);
    assert_int_equal(r->delivered, r->sources);
}

static td_search *search_new(size_t batch_tokens)
{
    td_search *search = NULL;
    td_search_options options = {.batch_tokens = batch_tokens};
    assert_int_equal(td_search_new(&network, &options, &search, NULL), TD_OK);
    return search;
}

static void run_batched(run *r, size_t batch_tokens, const td_generation *generation)
{
    td_search *search = search_new(batch_tokens);
    run_search(r, search, generation);
    td_search_free(search);
}

static void assert_same_runs(const run *a, const run *b)
{
    for (size_t i = 0; i < a->sources; i++) {
        assert_int_equal(a->counts[i], b->counts[i]);
        for (size_t k = 0; k < a->counts[i]; k++) {
            assert_int_equal(a->best[i][k].count, b->best[i][k].count);
            assert_memory_equal(a->best[i][k].ids, b->best[i][k].ids, a->best[i][k].count * sizeof(int32_t));
            assert_memory_equal(a->best[i][k].logprobs, b->best[i][k].logprobs, a->best[i][k].count * sizeof(td_real));
            assert_memory_equal(&a->best[i][k].score, &b->best[i][k].score, sizeof(double));
        }
    }
}

/* ---- a naive beam search ---- */

typedef struct line {
    int32_t ids[LONGEST];
    size_t count;
    uint64_t hash;
    double score;
    bool done;
} line;

static int by_score(const void *a, const void *b)
{
    double x = ((const line *)a)->score, y = ((const line *)b)->score;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* All continuations of all lines, best first. */
static size_t expand(const line *running, size_t beams, line *ret_lines)
{
    size_t count = 0;
    for (size_t b = 0; b < beams; b++) {
        td_real logits[VOCABULARY];
        double total = 0;
        hash_logits(running[b].hash, logits);
        for (size_t i = 0; i < VOCABULARY; i++)
            total += exp((double)logits[i]);
        for (size_t i = 0; i < VOCABULARY; i++) {
            line *next = &ret_lines[count++];
            *next = running[b];
            next->ids[next->count++] = (int32_t)i;
            next->hash = td_mix64(next->hash ^ i);
            next->score += (double)logits[i] - log(total);
            next->done = i == EOS;
        }
    }
    qsort(ret_lines, count, sizeof *ret_lines, by_score);
    return count;
}

/* Follows the definition to the letter, without any care for cost. Returns the finished, best first. */
static void naive_beam(uint64_t source, size_t beams, size_t limit, double penalty, td_early_stopping stopping, line *ret_finished)
{
    static line lines[BEST * VOCABULARY], running[2 * BEST];
    line finished[3 * BEST];
    for (size_t b = 0; b < beams; b++) {
        running[b] = (line){.hash = td_mix64(source ^ START), .score = b ? -1e9 : 0};
        finished[b] = (line){.score = -1e9};
    }
    for (size_t length = 1;; length++) {
        expand(running, beams, lines);
        size_t added = beams, open = 0;
        bool all_done = true;
        for (size_t c = 0; c < 2 * beams; c++) {
            bool done = lines[c].done || length == limit;
            all_done = all_done && done;
            if (done && c < beams) {
                finished[added] = lines[c];
                finished[added++].score /= pow((double)length, penalty);
            } else if (!done && open < beams) {
                running[open++] = lines[c];
            }
        }
        qsort(finished, added, sizeof *finished, by_score);
        bool full = finished[beams - 1].score > -1e9;
        double reach = stopping == TD_EARLY_STOPPING_NEVER && penalty > 0 ? (double)limit : (double)length;
        bool better = open > 0 && running[0].score / pow(reach, penalty) > finished[beams - 1].score;
        if (all_done || !better || (full && stopping == TD_EARLY_STOPPING_TRUE))
            break;
        assert_int_equal(open, beams);
    }
    memcpy(ret_finished, finished, beams * sizeof *finished);
}

static void beam_search_is_the_naive_one(void **state)
{
    (void)state;
    static const size_t widths[] = {2, 3, 5}, limits[] = {1, 4, 14};
    static const double penalties[] = {1, 0, 2.5, -0.5};
    size_t endings = 0, cut = 0;
    run *r = run_new(25);
    for (size_t setting = 0; setting < 3 * 3 * 4 * 3; setting++) {
        td_generation generation = td_generation_default();
        generation.num_beams = generation.num_return_sequences = widths[setting % 3];
        generation.max_new_tokens = limits[setting / 3 % 3];
        generation.length_penalty = penalties[setting / 9 % 4];
        generation.early_stopping = (td_early_stopping)(setting / 36);
        run_batched(r, 200, &generation);
        for (size_t i = 0; i < r->sources; i++) {
            line expected[BEST];
            naive_beam(source_hash(r->ids[i], r->lengths[i]), generation.num_beams, generation.max_new_tokens, generation.length_penalty,
                       generation.early_stopping, expected);
            assert_int_equal(r->counts[i], generation.num_beams);
            for (size_t k = 0; k < r->counts[i]; k++) {
                const kept *got = &r->best[i][k];
                assert_int_equal(got->count, expected[k].count);
                assert_memory_equal(got->ids, expected[k].ids, got->count * sizeof(int32_t));
                assert_true(fabs(got->score - expected[k].score) < 1e-4 * (1 + fabs(expected[k].score)));
                assert_int_equal(got->ended, got->ids[got->count - 1] == EOS);
                endings += got->ended;
                cut += !got->ended;
            }
        }
    }
    assert_true(endings > 1000 && cut > 1000); /* or the settings above test too little */
    free(r);
}

static void company_does_not_matter(void **state)
{
    (void)state;
    td_generation settings[3] = {td_generation_default(), td_generation_default(), td_generation_default()};
    settings[0].num_beams = settings[0].num_return_sequences = 4;
    settings[1].do_sample = true;
    settings[1].num_return_sequences = 3;
    settings[2].do_sample = true;
    settings[2].num_beams = settings[2].num_return_sequences = 3;
    for (size_t s = 0; s < 3; s++) {
        settings[s].max_new_tokens = 20;
        settings[s].output_attentions = true;
        run *alone = run_new(SOURCES), *some = run_new(SOURCES), *all = run_new(SOURCES);
        alone->check_attention = some->check_attention = all->check_attention = true;
        all->backwards = true;
        run_batched(alone, 1, &settings[s]);
        run_batched(some, 150, &settings[s]);
        run_batched(all, 1000000, &settings[s]);
        assert_same_runs(alone, some);
        assert_same_runs(alone, all);
        free(alone);
        free(some);
        free(all);
    }
}

static void steady_state_allocates_nothing(void **state)
{
    (void)state;
    td_generation generation = td_generation_default();
    generation.num_beams = generation.num_return_sequences = 4;
    generation.max_new_tokens = 30;
    generation.repetition_penalty = 1.2;
    run *r = run_new(SOURCES);
    td_search *search = search_new(200);
    run_search(r, search, &generation);
    run_search(r, search, &generation);
    uint64_t before = td_allocation_count();
    run_search(r, search, &generation);
    assert_int_equal(td_allocation_count() - before, 0);
    td_search_free(search);
    free(r);
}

static void greedy_takes_the_largest(void **state)
{
    (void)state;
    td_generation generation = td_generation_default();
    generation.max_new_tokens = 12;
    run *r = run_new(20);
    run_batched(r, 0, &generation);
    for (size_t i = 0; i < r->sources; i++) {
        uint64_t hash = td_mix64(source_hash(r->ids[i], r->lengths[i]) ^ START);
        const kept *got = &r->best[i][0];
        for (size_t t = 0; t < got->count; t++) {
            td_real logits[VOCABULARY];
            hash_logits(hash, logits);
            for (size_t v = 0; v < VOCABULARY; v++)
                assert_true(logits[v] <= logits[got->ids[t]]);
            assert_int_equal(got->ids[t] == EOS, got->ended && t + 1 == got->count);
            hash = td_mix64(hash ^ (uint64_t)got->ids[t]);
        }
        assert_true(got->ended || got->count == 12);
    }
    free(r);
}

static void scoring_agrees_with_search(void **state)
{
    (void)state;
    td_generation generation = td_generation_default();
    generation.max_new_tokens = 12;
    run *r = run_new(SOURCES);
    td_search *search = search_new(100);
    td_score_request requests[SOURCES];
    static td_real logprobs[SOURCES][LONGEST];
    run_search(r, search, &generation);
    for (size_t i = 0; i < r->sources; i++)
        requests[i] = (td_score_request){{.ids = r->ids[i], .length = r->lengths[i]}, r->best[i][0].ids, r->best[i][0].count, logprobs[i]};
    requests[7].target_count = 0;
    assert_int_equal(td_score(search, NULL, requests, r->sources, NULL), TD_OK);
    for (size_t i = 0; i < r->sources; i++)
        assert_memory_equal(logprobs[i], r->best[i][0].logprobs, requests[i].target_count * sizeof(td_real));
    td_error error;
    int32_t outside = VOCABULARY;
    requests[3].target = &outside;
    requests[3].target_count = 1;
    assert_int_equal(td_score(search, NULL, requests, r->sources, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "target 3"));
    td_search_free(search);
    free(r);
}

static void sampling_follows_the_probabilities(void **state)
{
    (void)state;
    td_generation generation = td_generation_default();
    generation.do_sample = true;
    generation.max_new_tokens = 1;
    generation.top_k = 3;
    generation.temperature = 1.5;
    generation.num_return_sequences = BEST;
    run *r = run_new(1);
    td_search *search = search_new(0);
    td_real logits[VOCABULARY];
    td_candidate top[3];
    size_t seen[VOCABULARY] = {0}, draws = 0;
    hash_logits(td_mix64(source_hash(r->ids[0], r->lengths[0]) ^ START), logits);
    assert_int_equal(td_select_largest(logits, VOCABULARY, 3, top), 3);
    for (generation.seed = 0; generation.seed < 2000; generation.seed++) {
        run_search(r, search, &generation);
        for (size_t k = 0; k < r->counts[0]; k++, draws++)
            seen[r->best[0][k].ids[0]]++;
    }
    double total = 0;
    for (size_t i = 0; i < 3; i++)
        total += exp((double)top[i].value / 1.5);
    size_t among = 0;
    for (size_t i = 0; i < 3; i++) {
        double expected = exp((double)top[i].value / 1.5) / total;
        assert_true(fabs((double)seen[top[i].id] / (double)draws - expected) < 0.02);
        among += seen[top[i].id];
    }
    assert_int_equal(among, draws);
    td_search_free(search);
    free(r);
}

/* Many numbers of which one in ten may not be chosen: the likeliest few and the rest come as often as they should. */
static void all_may_be_drawn(void **state)
{
    (void)state;
    enum { WORDS = 203, DRAWS = 200000, LIKELY = 7 };
    static const td_isa all[] = {TD_ISA_PLAIN, TD_ISA_AVX2, TD_ISA_AVX512, TD_ISA_NEON};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        const td_kernels *kernels = td_kernels_for(all[k]);
        td_real logits[WORDS], row[WORDS];
        size_t seen[WORDS] = {0};
        double total = 0;
        if (!kernels)
            continue;
        for (size_t i = 0; i < WORDS; i++) {
            logits[i] = i % 10 == 4 ? -INFINITY : (td_real)(i % LIKELY == 0 ? 2 + 0.01 * (double)i : sin((double)i));
            total += exp((double)logits[i]);
        }
        for (size_t draw = 0; draw < DRAWS; draw++) {
            td_random random = {td_random_key(9, draw, 0), 0};
            td_candidate chosen[TD_SELECT_LIKELY];
            memcpy(row, logits, sizeof row);
            assert_int_equal(td_select_from_all(kernels, row, WORDS, &random, chosen), 1);
            seen[chosen[0].id]++;
        }
        for (size_t i = 0; i < WORDS; i++) {
            double expected = DRAWS * exp((double)logits[i]) / total;
            assert_true(fabs((double)seen[i] - expected) <= 5 * sqrt(expected)); /* none where none may be */
        }
        td_candidate none[TD_SELECT_LIKELY];
        td_random random = {1, 0};
        for (size_t i = 0; i < WORDS; i++)
            row[i] = -INFINITY;
        assert_int_equal(td_select_from_all(kernels, row, WORDS, &random, none), 0);
    }
}

static void narrow_sampling_is_greedy(void **state)
{
    (void)state;
    td_generation greedy = td_generation_default();
    greedy.max_new_tokens = 15;
    td_generation nucleus = greedy, one = greedy;
    nucleus.do_sample = one.do_sample = true;
    nucleus.top_p = 1e-6;
    nucleus.top_k = 0;
    one.top_k = 1;
    run *a = run_new(20), *b = run_new(20), *c = run_new(20);
    run_batched(a, 0, &greedy);
    run_batched(b, 0, &nucleus);
    run_batched(c, 0, &one);
    assert_same_runs(a, b);
    assert_same_runs(a, c);
    one.top_k = 0;
    run_batched(b, 0, &one);
    one.seed = 1;
    run_batched(c, 0, &one);
    size_t differ = 0;
    for (size_t i = 0; i < 20; i++)
        differ += b->best[i][0].ids[0] != c->best[i][0].ids[0];
    assert_true(differ > 10);
    free(a);
    free(b);
    free(c);
}

static void a_stream_can_stop(void **state)
{
    (void)state;
    td_generation generation = td_generation_default();
    generation.max_new_tokens = 15;
    generation.min_new_tokens = 15;
    run *r = run_new(1);
    run_batched(r, 0, &generation);
    assert_int_equal(r->best[0][0].count, 15);
    assert_int_equal(r->streamed, 15);
    assert_memory_equal(r->stream, r->best[0][0].ids, 15 * sizeof(int32_t));
    r->stop_after = 4;
    run_batched(r, 0, &generation);
    assert_int_equal(r->best[0][0].count, 4);
    assert_false(r->best[0][0].ended);
    free(r);
}

static void rules_hold(void **state)
{
    (void)state;
    td_generation generation = td_generation_default();
    assert_int_equal(td_generation_set(&generation, "bad_words_ids=[[5],[6,7]]", NULL), TD_OK);
    assert_int_equal(td_generation_set(&generation, "prefix_ids=[8,9,8]", NULL), TD_OK);
    assert_int_equal(td_generation_set(&generation, "suppress_tokens=[10,11,12]", NULL), TD_OK);
    assert_int_equal(td_generation_set(&generation, "forced_eos_token_id=1", NULL), TD_OK);
    assert_int_equal(td_generation_set(&generation, "no_repeat_ngram_size=2", NULL), TD_OK);
    assert_int_equal(td_generation_set(&generation, "min_length=10", NULL), TD_OK);
    assert_int_equal(td_generation_set(&generation, "max_length=24", NULL), TD_OK);
    run *r = run_new(SOURCES);
    for (generation.num_beams = 1; generation.num_beams <= 4; generation.num_beams += 3) {
        generation.num_return_sequences = generation.num_beams;
        run_batched(r, 0, &generation);
        for (size_t i = 0; i < r->sources; i++)
            for (size_t k = 0; k < r->counts[i]; k++) {
                const kept *got = &r->best[i][k];
                assert_true(got->ended && got->count >= 10 && got->count <= 23);
                assert_true(got->ids[0] == 8 && got->ids[1] == 9 && got->ids[2] == 8 && got->logprobs[2] == 0);
                for (size_t t = 3; t < got->count; t++) {
                    assert_false(got->ids[t] == 5 || (got->ids[t] >= 10 && got->ids[t] <= 12));
                    assert_false(got->ids[t] == 7 && got->ids[t - 1] == 6);
                    for (size_t u = 1; u < t; u++)
                        assert_false(got->ids[u] == got->ids[t] && got->ids[u - 1] == got->ids[t - 1]);
                }
            }
    }
    td_generation_free(&generation);
    free(r);
}

static td_status fails(const td_generation *generation, run *r, const char *part)
{
    td_error error = {0};
    td_search *search = search_new(0);
    td_generate_callbacks callbacks = {.context = r, .next = run_next, .finished = run_finished};
    r->given = 0;
    memset(r->counts, 0, sizeof r->counts);
    td_status status = td_generate(search, generation, &callbacks, &error);
    assert_non_null(strstr(error.message, part));
    /* A failed search is as good as new. */
    td_generation usual = td_generation_default();
    usual.max_new_tokens = 5;
    run *again = run_new(3);
    run_search(again, search, &usual);
    free(again);
    td_search_free(search);
    return status;
}

static void wrong_requests_say_why(void **state)
{
    (void)state;
    run *r = run_new(5);
    td_generation generation = td_generation_default();
    generation.num_beams = 0;
    assert_int_equal(fails(&generation, r, "num_beams"), TD_ERROR_ARGUMENT);
    generation.num_beams = 2;
    generation.num_return_sequences = 3;
    assert_int_equal(fails(&generation, r, "num_return_sequences"), TD_ERROR_ARGUMENT);
    generation.num_return_sequences = 1;
    generation.forced_bos_token_id = VOCABULARY;
    assert_int_equal(fails(&generation, r, "forced_bos_token_id"), TD_ERROR_ARGUMENT);
    generation.forced_bos_token_id = -1;
    generation.max_length = 1;
    assert_int_equal(fails(&generation, r, "max_length"), TD_ERROR_ARGUMENT);
    generation.max_length = 10;
    r->fail_delivery = true;
    assert_int_equal(fails(&generation, r, "pipe"), TD_ERROR_IO);
    r->fail_delivery = false;
    r->lengths[2] = 0;
    assert_int_equal(fails(&generation, r, "source 2"), TD_ERROR_ARGUMENT);
    r->lengths[2] = 1;
    identity[0] = (td_real)NAN;
    td_search *search = search_new(0);
    td_error error = {0};
    td_generate_callbacks callbacks = {.context = r, .next = run_next, .finished = run_finished};
    r->given = 0;
    td_status status = td_generate(search, &generation, &callbacks, &error);
    identity[0] = 1;
    td_search_free(search);
    assert_int_equal(status, TD_ERROR_NUMERIC);
    free(r);
}

/* ---- memory that runs out ---- */

static size_t allowed, blocks;

static void *limited_allocate(void *context, size_t bytes)
{
    (void)context;
    void *block = allowed > 0 ? malloc(bytes) : NULL;
    allowed -= allowed > 0;
    blocks += block != NULL;
    return block;
}

static void *limited_resize(void *context, void *block, size_t bytes)
{
    (void)context;
    void *moved = allowed > 0 ? realloc(block, bytes) : NULL;
    allowed -= allowed > 0;
    blocks += moved && !block;
    return moved;
}

static void limited_release(void *context, void *block)
{
    (void)context;
    blocks -= block != NULL;
    free(block);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    td_allocator limited = {limited_allocate, limited_resize, limited_release, NULL};
    td_generation generation = td_generation_default();
    generation.num_beams = generation.num_return_sequences = 3;
    generation.max_new_tokens = 50;
    generation.min_new_tokens = 40;
    generation.output_attentions = true;
    run *r = run_new(10);
    bool passed = false;
    td_set_allocator(&limited);
    blocks = 0;
    for (size_t n = 0; !passed && n < 2000; n++) {
        td_search *search = NULL;
        td_error error = {0};
        td_generate_callbacks callbacks = {.context = r, .next = run_next, .finished = run_finished};
        r->given = 0;
        memset(r->counts, 0, sizeof r->counts);
        allowed = n;
        td_status status = td_search_new(&network, NULL, &search, &error);
        if (status == TD_OK)
            status = td_generate(search, &generation, &callbacks, &error);
        passed = status == TD_OK;
        if (!passed)
            assert_int_equal(status, TD_ERROR_MEMORY);
        td_search_free(search);
        assert_int_equal(blocks, 0);
    }
    td_set_allocator(NULL);
    assert_true(passed);
    free(r);
}

/* ---- options and selection ---- */

static void options_read_and_write(void **state)
{
    (void)state;
    td_error error;
    td_generation generation = td_generation_default(), copy = td_generation_default();
    assert_int_equal(td_generation_set(&generation, "num_beams=5", &error), TD_OK);
    assert_int_equal(td_generation_set(&generation, "early_stopping=\"never\"", &error), TD_OK);
    assert_int_equal(td_generation_set(&generation, "length_penalty=0.6", &error), TD_OK);
    assert_int_equal(td_generation_set(&generation, "eos_token_id=[1,4]", &error), TD_OK);
    assert_int_equal(td_generation_set(&generation, "bad_words_ids=[[3],[4,5]]", &error), TD_OK);
    assert_int_equal(td_generation_set(&generation, "do_sample=true", &error), TD_OK);
    assert_int_equal(td_generation_set(&generation, "typical_p=1.0", &error), TD_OK);
    json_t *saved = td_generation_save(&generation);
    assert_int_equal(td_generation_load(&copy, saved, "saved", &error), TD_OK);
    json_t *again = td_generation_save(&copy);
    assert_true(json_equal(saved, again));
    assert_int_equal(json_object_size(saved), 6);
    assert_true(copy.early_stopping == TD_EARLY_STOPPING_NEVER && copy.num_beams == 5 && copy.eos_token_id.ids[1] == 4);
    assert_int_equal(td_generation_set(&copy, "early_stopping=never", &error), TD_OK);
    assert_int_equal(td_generation_set(&copy, "eos_token_id=null", &error), TD_OK);
    assert_int_equal(copy.eos_token_id.count, 0);

    static const char *const bad[][2] = {{"num_beam=5", "\"num_beams\""},      {"num_beams", "FIELD=VALUE"},
                                         {"num_beams=-1", "num_beams"},        {"num_beams=2.5", "num_beams"},
                                         {"typical_p=0.5", "not supported"},   {"early_stopping=\"soon\"", "never"},
                                         {"bad_words_ids=[[]]", "none empty"}, {"eos_token_id=[1,-2]", "eos_token_id"},
                                         {"do_sample=1", "true or false"},     {"temperature=hot", "a number"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(td_generation_set(&copy, bad[i][0], &error), TD_OK);
        assert_non_null(strstr(error.message, bad[i][1]));
    }
    json_t *object = json_pack("{s:i, s:[i], s:s}", "num_beams", 7, "suppress_tokens", 3, "top_k", "many");
    assert_int_equal(td_generation_load(&copy, object, "generation_config.json", &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "generation_config.json: \"top_k\""));
    assert_true(copy.num_beams == 5 && copy.suppress_tokens.count == 0);
    json_decref(object);
    json_decref(saved);
    json_decref(again);
    td_generation_free(&copy);
    td_generation_free(&generation);
}

static int by_candidate(const void *a, const void *b)
{
    const td_candidate *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? 1 : -1;
    return x->id > y->id ? 1 : -1;
}

static void selection_is_sorting(void **state)
{
    (void)state;
    static td_real row[700];
    static td_candidate sorted[700], got[700];
    for (uint64_t round = 0; round < 300; round++) {
        td_random random = {round, 0};
        size_t n = 1 + td_random_below(&random, 700), wanted = 1 + td_random_below(&random, round % 2 ? n : 10), finite = 0;
        for (size_t i = 0; i < n; i++) {
            row[i] = (td_real)td_random_below(&random, 200); /* many ties */
            if (round % 3 == 0 && td_random_below(&random, 4) > 0)
                row[i] = (td_real)-INFINITY;
            if (row[i] > (td_real)-INFINITY)
                sorted[finite++] = (td_candidate){row[i], row[i], (int32_t)i};
        }
        qsort(sorted, finite, sizeof *sorted, by_candidate);
        size_t count = td_select_largest(row, n, wanted, got);
        assert_int_equal(count, wanted < finite ? wanted : finite);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(got[i].id, sorted[i].id);
    }
}

/* Bounds from before some numbers were banned hold, but are not reached any more. */
static void selection_with_bounds_is_sorting(void **state)
{
    (void)state;
    enum { BLOCK = 16 };
    static td_real row[700], bounds[700 / BLOCK + 1];
    static td_candidate expected[700], got[700];
    for (uint64_t round = 0; round < 300; round++) {
        td_random random = {round, 1};
        size_t n = 1 + td_random_below(&random, 700), wanted = 1 + td_random_below(&random, 12), best = 0;
        for (size_t i = 0; i < n; i++)
            row[i] = (td_real)td_random_below(&random, round % 2 ? 200 : 1 << 20);
        for (size_t i = 0; i < n; i++)
            bounds[i / BLOCK] = i % BLOCK == 0 || row[i] > bounds[i / BLOCK] ? row[i] : bounds[i / BLOCK];
        for (size_t banned = 0; banned < round % 4; banned++) {
            for (size_t i = 0; i < n; i++)
                best = row[i] > row[best] ? i : best;
            row[best] = (td_real)-INFINITY;
        }
        size_t count = td_select_largest(row, n, wanted, expected);
        assert_int_equal(td_select_bounded(row, n, bounds, BLOCK, wanted, got), count);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(got[i].id, expected[i].id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selection_is_sorting),
        cmocka_unit_test(selection_with_bounds_is_sorting),
        cmocka_unit_test(options_read_and_write),
        cmocka_unit_test(greedy_takes_the_largest),
        cmocka_unit_test(beam_search_is_the_naive_one),
        cmocka_unit_test(company_does_not_matter),
        cmocka_unit_test(steady_state_allocates_nothing),
        cmocka_unit_test(scoring_agrees_with_search),
        cmocka_unit_test(sampling_follows_the_probabilities),
        cmocka_unit_test(all_may_be_drawn),
        cmocka_unit_test(narrow_sampling_is_greedy),
        cmocka_unit_test(a_stream_can_stop),
        cmocka_unit_test(rules_hold),
        cmocka_unit_test(wrong_requests_say_why),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
