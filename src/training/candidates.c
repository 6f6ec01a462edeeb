#include "training/candidates.h"

#include "decoding/generate.h"
#include "metrics/cider.h"
#include "metrics/sentence_score.h"
#include "training/model_config.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { MOST_REFERENCES = 64, TOKENS_TOGETHER = 1 << 14 /* of sources times samples */ };

typedef struct candidate {
    td_ids ids;
    double score, advantage;
} candidate;

struct td_candidates {
    const td_tokenizer *tokenizer;
    const td_corpus *corpus;
    td_pool *pool;
    td_sentence_score score; /* NULL: CIDEr */
    td_cider_index *cider;
    pthread_mutex_t cider_mutex;
    td_metric_tokenizer metric_tokenizer;
    size_t samples, most_tokens;
    uint64_t seed;
    bool copies;
    td_generation generation;
    td_search **searches; /* [threads] */
    candidate *drawn;     /* [capacity][samples] */
    size_t capacity;
    /* of the draw in hand */
    const uint64_t *indices;
    size_t count, next;
    pthread_mutex_t mutex; /* guards next and error */
    td_error error;
};

/* ---- settings ---- */

static td_status set_generation(td_candidates *candidates, const td_recipe *recipe, td_error *error)
{
    td_generation *generation = &candidates->generation;
    *generation = td_generation_default();
    generation->do_sample = true;
    generation->top_k = 0;
    generation->num_return_sequences = candidates->samples;
    return td_model_starts(recipe, candidates->tokenizer, generation, error);
}

static td_status open_searches(td_candidates *candidates, const td_network *network, td_error *error)
{
    td_search_options options = {.batch_tokens = TOKENS_TOGETHER};
    size_t threads = td_pool_threads(candidates->pool);
    candidates->searches = td_allocate_array(threads, sizeof *candidates->searches);
    if (!candidates->searches)
        return td_fail_memory(error, threads * sizeof *candidates->searches);
    for (size_t i = 0; i < threads; i++)
        TD_TRY(td_search_new(network, &options, &candidates->searches[i], error));
    return TD_OK;
}

/* All targets of the source that pair `index` shares: of text, its own. */
static td_status find_references(const td_candidates *candidates, size_t index, char **texts, size_t *ret_count, td_error *error)
{
    *ret_count = 0;
    while (td_corpus_continues(candidates->corpus, index))
        index--;
    do {
        td_pair pair = td_corpus_get(candidates->corpus, index);
        texts[*ret_count] = td_copy_bytes(pair.target_text, pair.target_bytes);
        if (!texts[(*ret_count)++])
            return td_fail_memory(error, pair.target_bytes);
    } while (td_corpus_continues(candidates->corpus, ++index) && *ret_count < MOST_REFERENCES);
    return TD_OK;
}

static void release_references(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        td_release(texts[i]);
}

/* A candidate and its references as the one segment of a corpus. */
typedef struct one_segment {
    const char *candidate;
    const char *const *rows[MOST_REFERENCES];
    td_segments segments;
} one_segment;

static void set_segment(one_segment *one, const char *text, const char *const *references, size_t count)
{
    one->candidate = text;
    for (size_t i = 0; i < count; i++)
        one->rows[i] = &references[i];
    one->segments = (td_segments){&one->candidate, one->rows, count, 1};
}

/* How rare the n-grams of all targets are. */
static td_status count_ngrams(td_candidates *candidates, td_error *error)
{
    td_cider_options options = TD_CIDER_OPTIONS_INIT;
    options.tokenizer = candidates->metric_tokenizer;
    td_status status = td_cider_index_new(&options, &candidates->cider, error);
    for (size_t i = 0; status == TD_OK && i < candidates->corpus->count; i++) {
        char *references[MOST_REFERENCES] = {NULL};
        size_t count = 0;
        one_segment one;
        if (td_corpus_continues(candidates->corpus, i))
            continue;
        status = find_references(candidates, i, references, &count, error);
        set_segment(&one, "", (const char *const *)references, count);
        if (status == TD_OK)
            status = td_cider_index_add(candidates->cider, &one.segments, 0, error);
        release_references(references, count);
    }
    return status;
}

static td_status score_cider(td_candidates *candidates, const char *text, const char *const *references, size_t count, double *ret_score,
                             td_error *error)
{
    one_segment one;
    set_segment(&one, text, references, count);
    pthread_mutex_lock(&candidates->cider_mutex);
    td_status status = td_cider_index_score(candidates->cider, &one.segments, 0, ret_score, error);
    pthread_mutex_unlock(&candidates->cider_mutex);
    return status;
}

td_status td_candidates_new(const td_recipe *recipe, const td_network *network, const td_tokenizer *tokenizer, const td_corpus *corpus,
                            td_pool *pool, td_candidates **ret_candidates, td_error *error)
{
    td_candidates *candidates = td_allocate_array(1, sizeof *candidates);
    if (!candidates)
        return td_fail_memory(error, sizeof *candidates);
    *candidates = (td_candidates){
        .tokenizer = tokenizer,
        .corpus = corpus,
        .pool = pool,
        .score = td_sentence_score_find(td_recipe_choice("training.minimum_risk.metric", recipe->training.minimum_risk.metric)),
        .metric_tokenizer = (td_metric_tokenizer)recipe->training.validation_tokenize,
        .samples = (size_t)recipe->training.minimum_risk.samples,
        .most_tokens = (size_t)recipe->generation.max_length,
        .seed = (uint64_t)recipe->training.seed,
        .copies = network->copies,
    };
    pthread_mutex_init(&candidates->mutex, NULL);
    pthread_mutex_init(&candidates->cider_mutex, NULL);
    td_status status = set_generation(candidates, recipe, error);
    if (status == TD_OK)
        status = open_searches(candidates, network, error);
    if (status == TD_OK && !candidates->score)
        status = count_ngrams(candidates, error);
    if (status != TD_OK) {
        td_candidates_free(candidates);
        return status;
    }
    *ret_candidates = candidates;
    return TD_OK;
}

void td_candidates_free(td_candidates *candidates)
{
    if (!candidates)
        return;
    for (size_t i = 0; candidates->searches && i < td_pool_threads(candidates->pool); i++)
        td_search_free(candidates->searches[i]);
    for (size_t i = 0; i < candidates->capacity * candidates->samples; i++)
        td_ids_free(&candidates->drawn[i].ids);
    td_release(candidates->drawn);
    td_release(candidates->searches);
    td_generation_free(&candidates->generation);
    td_cider_index_free(candidates->cider);
    pthread_mutex_destroy(&candidates->cider_mutex);
    pthread_mutex_destroy(&candidates->mutex);
    td_release(candidates);
}

/* ---- one draw ---- */

static td_status next_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    td_candidates *candidates = context;
    pthread_mutex_lock(&candidates->mutex);
    size_t place = candidates->next;
    *ret_given = place < candidates->count && candidates->error.status == TD_OK;
    candidates->next += *ret_given;
    pthread_mutex_unlock(&candidates->mutex);
    if (!*ret_given)
        return TD_OK;
    td_pair pair = td_corpus_get(candidates->corpus, candidates->indices[place]);
    *ret_index = place;
    *ret_source = (td_source){
        .ids = pair.source, .features = pair.features, .length = pair.source_length, .width = candidates->corpus->feature_width};
    return TD_OK;
}

static td_status spell(const td_candidates *candidates, const td_pair *pair, const td_hypothesis *hypothesis, td_buffer *text,
                       td_error *error)
{
    td_local_pieces local = {.first = (int32_t)td_tokenizer_size(candidates->tokenizer)};
    td_ids ids = TD_IDS_INIT;
    td_status status = candidates->copies ? td_tokenizer_encode_local(candidates->tokenizer, TD_SOURCE, pair->source_text,
                                                                      pair->source_bytes, 0, NULL, &local, &ids, error)
                                          : TD_OK;
    if (status == TD_OK)
        status = td_tokenizer_decode_local(candidates->tokenizer, &local, hypothesis->ids, hypothesis->count, true, text, error);
    td_buffer_text_append(text, "");
    if (status == TD_OK && !td_buffer_ok(text))
        status = td_fail_memory(error, text->length);
    td_ids_free(&ids);
    td_local_pieces_free(&local);
    return status;
}

static td_status rate(td_candidates *candidates, size_t place, const td_hypothesis *hypothesis, const char *const *references,
                      size_t reference_count, candidate *drawn, td_error *error)
{
    td_pair pair = td_corpus_get(candidates->corpus, candidates->indices[place]);
    td_buffer text = TD_BUFFER_INIT;
    td_ids_clear(&drawn->ids);
    for (size_t i = 0; i < hypothesis->count; i++)
        td_ids_append(&drawn->ids, hypothesis->ids[i]);
    td_status status = td_ids_ok(&drawn->ids) ? spell(candidates, &pair, hypothesis, &text, error)
                                              : td_fail_memory(error, hypothesis->count * sizeof *hypothesis->ids);
    const char *words = td_buffer_text(&text);
    if (status == TD_OK)
        status = candidates->score
                     ? candidates->score(words, references, reference_count, candidates->metric_tokenizer, &drawn->score, error)
                     : score_cider(candidates, words, references, reference_count, &drawn->score, error);
    td_buffer_free(&text);
    return status;
}

static td_status keep_samples(void *context, size_t place, const td_output *output, td_error *error)
{
    td_candidates *candidates = context;
    char *references[MOST_REFERENCES] = {NULL};
    size_t count;
    td_status status = find_references(candidates, (size_t)candidates->indices[place], references, &count, error);
    for (size_t i = 0; status == TD_OK && i < candidates->samples; i++)
        status = rate(candidates, place, &output->hypotheses[i < output->count ? i : 0], (const char *const *)references, count,
                      &candidates->drawn[place * candidates->samples + i], error);
    release_references(references, count);
    return status;
}

static void search_task(void *context, size_t index, size_t thread)
{
    (void)index;
    td_candidates *candidates = context;
    td_generate_callbacks callbacks = {candidates, next_source, keep_samples, NULL};
    td_error error = {0};
    if (td_generate(candidates->searches[thread], &candidates->generation, &callbacks, &error) == TD_OK)
        return;
    pthread_mutex_lock(&candidates->mutex);
    candidates->error = error;
    pthread_mutex_unlock(&candidates->mutex);
}

static td_status make_room(td_candidates *candidates, size_t count, td_error *error)
{
    if (count <= candidates->capacity)
        return TD_OK;
    candidate *grown = td_resize_array(candidates->drawn, count * candidates->samples, sizeof *grown);
    if (!grown)
        return td_fail_memory(error, count * candidates->samples * sizeof *grown);
    for (size_t i = candidates->capacity * candidates->samples; i < count * candidates->samples; i++)
        grown[i] = (candidate){.ids = TD_IDS_INIT};
    candidates->drawn = grown;
    candidates->capacity = count;
    return TD_OK;
}

/* A model that does not know yet when to stop must not fill the memory. */
static size_t longest_sample(const td_candidates *candidates)
{
    size_t longest = 0, source, target;
    for (size_t i = 0; i < candidates->count; i++) {
        td_corpus_lengths(candidates->corpus, candidates->indices[i], &source, &target);
        longest = target > longest ? target : longest;
    }
    size_t most = 2 * longest + 8;
    return most < candidates->most_tokens ? most : candidates->most_tokens;
}

/* Scores -> advantages; returns the mean score. */
static double compare(td_candidates *candidates)
{
    size_t samples = candidates->samples, all = candidates->count * samples;
    double total = 0, squares = 0;
    for (size_t place = 0; place < candidates->count; place++) {
        candidate *drawn = &candidates->drawn[place * samples];
        double mean = 0;
        for (size_t i = 0; i < samples; i++)
            mean += drawn[i].score / (double)samples;
        for (size_t i = 0; i < samples; i++) {
            drawn[i].advantage = drawn[i].score - mean;
            squares += drawn[i].advantage * drawn[i].advantage;
        }
        total += mean;
    }
    double deviation = sqrt(squares / (double)all);
    for (size_t i = 0; i < all; i++)
        candidates->drawn[i].advantage = deviation > 0 ? candidates->drawn[i].advantage / deviation : 0;
    return total / (double)candidates->count;
}

td_status td_candidates_draw(td_candidates *candidates, int64_t step, const uint64_t *indices, size_t count, double *ret_score,
                             td_error *error)
{
    TD_TRY(make_room(candidates, count, error));
    candidates->indices = indices;
    candidates->count = count;
    candidates->next = 0;
    candidates->error = (td_error){0};
    candidates->generation.seed = td_random_key(candidates->seed ^ 0x4a1c, (uint64_t)step, count);
    candidates->generation.max_new_tokens = longest_sample(candidates);
    td_pool_run(candidates->pool, td_pool_threads(candidates->pool), search_task, candidates);
    if (candidates->error.status != TD_OK) {
        if (error)
            *error = candidates->error;
        return candidates->error.status;
    }
    *ret_score = compare(candidates);
    return TD_OK;
}

size_t td_candidates_samples(const td_candidates *candidates)
{
    return candidates->samples;
}

td_candidate_target td_candidates_get(const td_candidates *candidates, size_t place, size_t sample)
{
    const candidate *drawn = &candidates->drawn[place * candidates->samples + sample];
    return (td_candidate_target){drawn->ids.data, drawn->ids.length, (td_real)drawn->advantage};
}
