/* Reading CTC, alone and beside a decoder, against sums over every alignment and scores of every possible output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "decoding/ctc.h"
#include "decoding/generate.h"
#include "models/architecture.h"
#include "ops/ctc.h"

enum { FRAMES = 6, WORDS = 4, BLANK = 1, PATHS = 4096, MAX_LABELLINGS = 2000 };

/* ---- one source, every alignment ---- */

typedef struct labelling {
    int32_t ids[FRAMES];
    size_t count;
    double probability;
} labelling;

static td_real logits[FRAMES * WORDS], log_probabilities[FRAMES * WORDS];
static labelling all[MAX_LABELLINGS];
static size_t all_count;

static void fill(double scale)
{
    for (size_t t = 0; t < FRAMES; t++) {
        double sum = 0;
        for (size_t i = 0; i < WORDS; i++) {
            logits[t * WORDS + i] = (td_real)(scale * sin(1.7 * (double)(t * WORDS + i) + 0.4));
            sum += exp((double)logits[t * WORDS + i]);
        }
        for (size_t i = 0; i < WORDS; i++)
            log_probabilities[t * WORDS + i] = (td_real)((double)logits[t * WORDS + i] - log(sum));
    }
    memset(all, 0, sizeof all);
    all_count = 0;
    for (size_t path = 0; path < PATHS; path++) {
        labelling one = {.probability = 1};
        int32_t previous = -1;
        for (size_t t = 0, left = path; t < FRAMES; t++, left /= WORDS) {
            int32_t id = (int32_t)(left % WORDS);
            one.probability *= exp((double)log_probabilities[t * WORDS + (size_t)id]);
            if (id != BLANK && id != previous)
                one.ids[one.count++] = id;
            previous = id;
        }
        size_t at = 0;
        while (at < all_count && (all[at].count != one.count || memcmp(all[at].ids, one.ids, one.count * sizeof *one.ids)))
            at++;
        assert_true(at < MAX_LABELLINGS);
        one.probability += all[at].probability;
        all[at] = one;
        all_count += at == all_count;
    }
}

static double probability_of(const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < all_count; i++)
        if (all[i].count == count && memcmp(all[i].ids, ids, count * sizeof *ids) == 0)
            return all[i].probability;
    return 0;
}

static double beginning_with(const int32_t *ids, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < all_count; i++)
        if (all[i].count >= count && memcmp(all[i].ids, ids, count * sizeof *ids) == 0)
            sum += all[i].probability;
    return sum;
}

static int by_probability(const void *a, const void *b)
{
    double x = ((const labelling *)a)->probability, y = ((const labelling *)b)->probability;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void prefix_search_finds_every_labelling(void **state)
{
    (void)state;
    static const double scales[] = {0.3, 1.5, 4};
    for (size_t s = 0; s < 3; s++) {
        fill(scales[s]);
        qsort(all, all_count, sizeof *all, by_probability);
        td_ctc_frames frames = {log_probabilities, FRAMES, WORDS, BLANK};
        td_ctc_labelling *found;
        size_t count;
        assert_int_equal(td_ctc_prefix_search(&frames, MAX_LABELLINGS, WORDS, &found, &count, NULL), TD_OK);
        assert_int_equal(count, all_count);
        for (size_t i = 0; i < count; i++) {
            assert_true(fabs(found[i].log_probability - log(all[i].probability)) < 1e-5);
            assert_true(fabs(probability_of(found[i].ids, found[i].count) - all[i].probability) <= 1e-6 * all[i].probability);
        }
        td_ctc_labellings_free(found, count);
        assert_int_equal(td_ctc_prefix_search(&frames, 3, WORDS, &found, &count, NULL), TD_OK);
        assert_int_equal(count, 3);
        if (scales[s] > 1) /* a narrow beam loses nothing where little is in doubt */
            assert_memory_equal(found[0].ids, all[0].ids, all[0].count * sizeof *found[0].ids);
        for (size_t i = 0; i < count; i++)
            assert_true(found[i].log_probability <= log(probability_of(found[i].ids, found[i].count)) + 1e-5);
        td_ctc_labellings_free(found, count);
    }
}

static void best_path_joins_repeats_and_drops_blanks(void **state)
{
    (void)state;
    static const int32_t path[] = {2, 2, 1, 2, 0, 0, 1, 1, 3};
    td_real rows[9 * WORDS];
    int32_t ids[9];
    for (size_t i = 0; i < 9 * WORDS; i++)
        rows[i] = (int32_t)(i % WORDS) == path[i / WORDS] ? (td_real)-0.1 : -5;
    td_ctc_frames frames = {rows, 9, WORDS, BLANK};
    assert_int_equal(td_ctc_best_path(&frames, ids), 4);
    assert_memory_equal(ids, ((int32_t[]){2, 2, 0, 3}), 4 * sizeof *ids);
    frames.count = 0;
    assert_int_equal(td_ctc_best_path(&frames, ids), 0);
}

/* Word 3 stands for the end here; prefixes are made of 0 and 2, and of each other by turns. */
static void prefix_scores_are_sums(void **state)
{
    (void)state;
    static const int32_t prefixes[][3] = {{0, 2, 0}, {2, 2, 0}, {0, 0, 0}, {2, 0, 2}}, ends[] = {3};
    fill(2);
    td_ctc_scorer *scorer;
    assert_int_equal(td_ctc_scorer_new(&scorer, NULL), TD_OK);
    for (size_t p = 0; p < 4; p++) {
        assert_int_equal(td_ctc_scorer_start(scorer, logits, WORDS, FRAMES, WORDS, BLANK, 2, NULL), TD_OK);
        for (size_t count = 0; count <= 3; count++) {
            size_t row = count % 2;
            double before = beginning_with(prefixes[p], count);
            td_real scores[WORDS] = {-1, -2, -3, -4};
            td_ctc_scorer_mix(scorer, count ? row : 0, 0.25, ends, 1, scores);
            assert_true(scores[BLANK] == -INFINITY);
            for (int32_t id = 0; id < WORDS; id++) {
                int32_t longer[4];
                memcpy(longer, prefixes[p], sizeof prefixes[p]);
                longer[count] = id;
                double after = id == ends[0] ? probability_of(prefixes[p], count) : beginning_with(longer, count + 1);
                if (id != BLANK && after == 0)
                    assert_true(scores[id] == -INFINITY);
                else if (id != BLANK)
                    assert_true(fabs((double)scores[id] - (-0.75 * (id + 1) + 0.25 * log(after / before))) < 1e-4);
            }
            assert_true(fabs(td_ctc_scorer_whole(scorer, count ? row : 0) - log(probability_of(prefixes[p], count))) < 1e-5);
            if (count == 3)
                break;
            /* Both rows are made, the other one of another id: they must not mix. */
            double given = td_ctc_scorer_extend(scorer, (count + 1) % 2, count ? row : 0, prefixes[p][count]);
            assert_true(fabs(given - log(beginning_with(prefixes[p], count + 1) / before)) < 1e-5);
            td_ctc_scorer_extend(scorer, count % 2, count ? row : 0, 2 - prefixes[p][count]);
            td_ctc_scorer_turn(scorer);
        }
    }
    td_ctc_scorer_free(scorer);
}

static void what_no_frames_are_left_for_is_ruled_out(void **state)
{
    (void)state;
    static const int32_t ends[] = {3};
    fill(1);
    td_ctc_scorer *scorer;
    assert_int_equal(td_ctc_scorer_new(&scorer, NULL), TD_OK);
    assert_int_equal(td_ctc_scorer_start(scorer, logits, WORDS, 2, WORDS, BLANK, 1, NULL), TD_OK);
    for (int32_t i = 0; i < 2; i++) {
        td_ctc_scorer_extend(scorer, 0, 0, i ? 2 : 0);
        td_ctc_scorer_turn(scorer);
    }
    td_real scores[WORDS] = {-1, -1, -1, -1};
    td_ctc_scorer_mix(scorer, 0, 0.5, ends, 1, scores);
    assert_true(scores[0] == -INFINITY && scores[2] == -INFINITY && fabs((double)scores[3] + 0.5) < 1e-6);
    td_ctc_scorer_free(scorer);
}

/* ---- a model, every output ---- */

enum { MODEL_WORDS = 5, EOS = 1, WIDTH = 3, BEAMS = 60, SOURCES = 3, LONGEST = 3 };
static const size_t lengths[SOURCES] = {6, 9, 4};

typedef struct fixture {
    td_network network;
    td_search *search;
    td_real features[SOURCES][9 * WIDTH];
    td_source sources[SOURCES];
    size_t given, delivered;
    int32_t ids[SOURCES][BEAMS][16];
    size_t counts[SOURCES][BEAMS], hypotheses[SOURCES];
    double scores[SOURCES][BEAMS];
    bool ended[SOURCES][BEAMS];
} fixture;

static td_status next(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    fixture *it = context;
    (void)error;
    *ret_given = it->given < SOURCES;
    if (*ret_given) {
        *ret_index = it->given;
        *ret_source = it->sources[it->given++];
    }
    return TD_OK;
}

static td_status finished(void *context, size_t index, const td_output *output, td_error *error)
{
    fixture *it = context;
    (void)error;
    it->hypotheses[index] = output->count;
    it->delivered++;
    for (size_t i = 0; i < output->count; i++) {
        it->counts[index][i] = output->hypotheses[i].count;
        it->scores[index][i] = output->hypotheses[i].score;
        it->ended[index][i] = output->hypotheses[i].ended;
        memcpy(it->ids[index][i], output->hypotheses[i].ids, output->hypotheses[i].count * sizeof(int32_t));
    }
    return TD_OK;
}

static void open_model(fixture *it, bool ctc)
{
    td_error error = {0};
    memset(it, 0, sizeof *it);
    json_t *config = json_pack("{s:s,s:i,s:i,s:i,s:i,s:s,s:b,s:i,s:s,s:i,s:i,s:i,s:b}", "model_type", "tandem-rnn-speech", "feature_size",
                               WIDTH, "vocab_size", MODEL_WORDS, "embedding_size", 4, "hidden_size", 6, "cell", "gru",
                               "encoder_bidirectional", 1, "encoder_layers", 1, "attention", "additive", "pad_token_id", 0, "eos_token_id",
                               EOS, "decoder_start_token_id", 0, "ctc", ctc);
    if (td_network_configure(config, "config.json", &it->network, &error) != TD_OK)
        fail_msg("%s", error.message);
    json_decref(config);
    td_parameters_initialise(&it->network.parameters, 3);
    for (size_t i = 0; i < it->network.parameters.size; i++)
        it->network.parameters.data[i] *= 2;
    for (size_t s = 0; s < SOURCES; s++) {
        for (size_t i = 0; i < lengths[s] * WIDTH; i++)
            it->features[s][i] = (td_real)(2 * sin(2.3 * (double)i + (double)s));
        it->sources[s] = (td_source){.features = it->features[s], .length = lengths[s], .width = WIDTH};
    }
    assert_int_equal(td_search_new(&it->network, NULL, &it->search, &error), TD_OK);
}

static void close_model(fixture *it)
{
    td_search_free(it->search);
    td_network_free(&it->network);
}

/* -log p of an output by the loss, which shares nothing with the search. */
static double ctc_loss(fixture *it, size_t source, const int32_t *ids, size_t count)
{
    td_arena arena;
    td_graph graph;
    td_arena_init(&arena);
    td_graph_begin(&graph, &arena, false);
    int32_t offsets[] = {0, (int32_t)lengths[source]}, labels[] = {0, (int32_t)count};
    td_batch batch = {.ragged = {1, offsets}, .features = it->features[source], .width = WIDTH};
    td_memory memory = {0};
    assert_int_equal(it->network.architecture->encode(&it->network, &graph, &batch, &memory), TD_OK);
    td_projection projection = it->network.architecture->ctc(&it->network);
    td_tensor *weight = td_graph_parameter(&graph, projection.weight), *bias = td_graph_parameter(&graph, projection.bias);
    td_real rows[9 * MODEL_WORDS];
    for (size_t t = 0; t < memory.states->rows; t++)
        for (size_t i = 0; i < MODEL_WORDS; i++) {
            double sum = (double)bias->data[i];
            for (size_t k = 0; k < weight->columns; k++)
                sum += (double)memory.states->data[t * memory.states->stride + k] * (double)weight->data[i * weight->stride + k];
            rows[t * MODEL_WORDS + i] = (td_real)sum;
        }
    double loss;
    td_ctc_options options = {0, 1};
    assert_non_null(td_ctc_loss(&graph, td_tensor_of(&graph, rows, memory.states->rows, MODEL_WORDS), memory.ragged, ids,
                                (td_ragged){1, labels}, &options, &loss));
    td_arena_free(&arena);
    return loss;
}

static double decoder_score(fixture *it, size_t source, const int32_t *ids, size_t count)
{
    td_real logprobs[LONGEST + 2];
    td_score_request request = {.source = it->sources[source], .target = ids, .target_count = count, .logprobs = logprobs};
    assert_int_equal(td_score(it->search, NULL, &request, 1, NULL), TD_OK);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)logprobs[i];
    return sum;
}

/* The best of all outputs of up to LONGEST letters (2, 3, 4) and the end. */
static double best_of_all(fixture *it, size_t source, double weight, int32_t *ret_ids, size_t *ret_count)
{
    double best = -INFINITY;
    for (size_t length = 0, many = 1; length <= LONGEST; length++, many *= 3)
        for (size_t which = 0; which < many; which++) {
            int32_t ids[LONGEST + 1];
            for (size_t i = 0, left = which; i < length; i++, left /= 3)
                ids[i] = 2 + (int32_t)(left % 3);
            ids[length] = EOS;
            double score = -weight * ctc_loss(it, source, ids, length);
            if (weight < 1)
                score += (1 - weight) * decoder_score(it, source, ids, length + 1);
            if (score > best) {
                best = score;
                *ret_count = length + 1;
                memcpy(ret_ids, ids, sizeof ids);
            }
        }
    return best;
}

static void joint_search_finds_the_best_of_all(void **state)
{
    (void)state;
    static const double weights[] = {0.3, 0.7, 1};
    static fixture it;
    open_model(&it, true);
    td_generation generation = td_generation_default();
    generation.num_beams = generation.num_return_sequences = BEAMS;
    generation.length_penalty = 0;
    generation.max_new_tokens = LONGEST + 1;
    generation.early_stopping = TD_EARLY_STOPPING_NEVER;
    for (size_t w = 0; w < 3; w++) {
        generation.ctc_weight = weights[w];
        it.given = it.delivered = 0;
        td_generate_callbacks callbacks = {&it, next, finished, NULL};
        td_error error = {0};
        if (td_generate(it.search, &generation, &callbacks, &error) != TD_OK)
            fail_msg("%s", error.message);
        assert_int_equal(it.delivered, SOURCES);
        for (size_t s = 0; s < SOURCES; s++) {
            int32_t ids[LONGEST + 1];
            size_t count = 0;
            double best = best_of_all(&it, s, weights[w], ids, &count);
            size_t first = 0; /* longer outputs were not tried: those cut off do not count */
            while (first < it.hypotheses[s] && !it.ended[s][first])
                first++;
            assert_true(first < it.hypotheses[s]);
            assert_int_equal(it.counts[s][first], count);
            assert_memory_equal(it.ids[s][first], ids, count * sizeof *ids);
            assert_true(fabs(it.scores[s][first] - best) < 1e-4);
        }
    }
    close_model(&it);
}

/* Each source alone and among the others, greedily and in beams of three: the same ids and the same bits of the score. */
static void company_does_not_matter(void **state)
{
    (void)state;
    static fixture together, alone;
    static const double weights[] = {0.4, 1};
    for (size_t w = 0; w < 4; w++) {
        open_model(&together, true);
        td_generation generation = td_generation_default();
        generation.num_beams = w / 2 ? 3 : 1;
        generation.max_new_tokens = 8;
        generation.ctc_weight = weights[w % 2];
        td_generate_callbacks callbacks = {&together, next, finished, NULL};
        assert_int_equal(td_generate(together.search, &generation, &callbacks, NULL), TD_OK);
        assert_int_equal(together.delivered, SOURCES);
        for (size_t s = 0; s < SOURCES; s++) {
            open_model(&alone, true);
            alone.sources[SOURCES - 1] = together.sources[s];
            alone.given = SOURCES - 1;
            callbacks.context = &alone;
            assert_int_equal(td_generate(alone.search, &generation, &callbacks, NULL), TD_OK);
            assert_int_equal(alone.counts[SOURCES - 1][0], together.counts[s][0]);
            assert_memory_equal(alone.ids[SOURCES - 1][0], together.ids[s][0], together.counts[s][0] * sizeof(int32_t));
            assert_memory_equal(&alone.scores[SOURCES - 1][0], &together.scores[s][0], sizeof(double));
            assert_true(together.counts[s][0] > 0);
            close_model(&alone);
        }
        close_model(&together);
    }
}

static void without_ctc_it_is_an_error(void **state)
{
    (void)state;
    static fixture it;
    open_model(&it, false);
    td_generation generation = td_generation_default();
    td_error error = {0};
    assert_int_equal(td_generation_set(&generation, "ctc_weight=0.5", &error), TD_OK);
    td_generate_callbacks callbacks = {&it, next, finished, NULL};
    assert_int_equal(td_generate(it.search, &generation, &callbacks, &error), TD_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "ctc_weight"));
    generation.ctc_weight = 1.5;
    assert_int_equal(td_generate(it.search, &generation, &callbacks, &error), TD_ERROR_ARGUMENT);
    close_model(&it);
}

static void the_weight_is_kept_in_its_own_object(void **state)
{
    (void)state;
    td_generation generation = td_generation_default(), read = td_generation_default();
    generation.ctc_weight = 0.25;
    json_t *object = td_generation_save(&generation);
    assert_null(json_object_get(object, "ctc_weight"));
    assert_true(json_real_value(json_object_get(json_object_get(object, "tandem"), "ctc_weight")) == 0.25);
    assert_int_equal(td_generation_load(&read, object, "generation_config.json", NULL), TD_OK);
    assert_true(read.ctc_weight == 0.25);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefix_search_finds_every_labelling),
        cmocka_unit_test(best_path_joins_repeats_and_drops_blanks),
        cmocka_unit_test(prefix_scores_are_sums),
        cmocka_unit_test(what_no_frames_are_left_for_is_ruled_out),
        cmocka_unit_test(joint_search_finds_the_best_of_all),
        cmocka_unit_test(company_does_not_matter),
        cmocka_unit_test(without_ctc_it_is_an_error),
        cmocka_unit_test(the_weight_is_kept_in_its_own_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
