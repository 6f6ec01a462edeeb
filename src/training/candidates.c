#include "training/candidates.h"

#include "metrics/cider.h"
#include "metrics/sentence_score.h"
#include "training/model_config.h"
#include "training/writers.h"

#include <math.h>
#include <pthread.h>

enum { TOKENS_TOGETHER = 1 << 14 /* of sources times samples */ };

typedef struct candidate {
    td_ids ids;
    double score, advantage;
} candidate;

struct td_candidates {
    const td_corpus *corpus;
    td_writers *writers;
    td_sentence_score score; /* NULL: CIDEr */
    td_cider_index *cider;
    pthread_mutex_t cider_mutex;
    td_metric_tokenizer metric_tokenizer;
    size_t samples, most_tokens;
    uint64_t seed;
    td_generation generation;
    candidate *drawn; /* [capacity][samples] */
    size_t capacity;
    /* of the draw in hand */
    const uint64_t *indices;
    size_t count;
};

/* ---- settings ---- */

static td_status set_generation(td_candidates *candidates, const td_recipe *recipe, const td_tokenizer *tokenizer, td_error *error)
{
    td_generation *generation = &candidates->generation;
    *generation = td_generation_default();
    generation->do_sample = true;
    generation->top_k = 0;
    generation->num_return_sequences = candidates->samples;
    return td_model_starts(recipe, tokenizer, generation, error);
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
    } while (td_corpus_continues(candidates->corpus, ++index) && *ret_count < TD_MOST_REFERENCES);
    return TD_OK;
}

static void release_references(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        td_release(texts[i]);
}

/* How rare the n-grams of all targets are. */
static td_status count_ngrams(td_candidates *candidates, td_error *error)
{
    td_cider_options options = TD_CIDER_OPTIONS_INIT;
    options.tokenizer = candidates->metric_tokenizer;
    td_status status = td_cider_index_new(&options, &candidates->cider, error);
    for (size_t i = 0; status == TD_OK && i < candidates->corpus->count; i++) {
        char *references[TD_MOST_REFERENCES] = {NULL};
        size_t count = 0;
        if (td_corpus_continues(candidates->corpus, i))
            continue;
        status = find_references(candidates, i, references, &count, error);
        if (status == TD_OK)
            status = td_cider_index_add(candidates->cider, (const char *const *)references, count, error);
        release_references(references, count);
    }
    return status;
}

static td_status score_cider(td_candidates *candidates, const char *text, const char *const *references, size_t count, double *ret_score,
                             td_error *error)
{
    pthread_mutex_lock(&candidates->cider_mutex);
    td_status status = td_cider_index_score(candidates->cider, text, references, count, ret_score, error);
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
        .corpus = corpus,
        .score = td_sentence_score_find(td_recipe_choice("training.minimum_risk.metric", recipe->training.minimum_risk.metric)),
        .metric_tokenizer = (td_metric_tokenizer)recipe->training.validation_tokenize,
        .samples = (size_t)recipe->training.minimum_risk.samples,
        .most_tokens = (size_t)recipe->generation.max_length,
        .seed = (uint64_t)recipe->training.seed,
    };
    td_search_options options = {.batch_tokens = TOKENS_TOGETHER};
    pthread_mutex_init(&candidates->cider_mutex, NULL);
    td_status status = set_generation(candidates, recipe, tokenizer, error);
    if (status == TD_OK)
        status = td_writers_new(network, tokenizer, corpus, pool, &options, &candidates->writers, error);
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
    td_writers_free(candidates->writers);
    for (size_t i = 0; i < candidates->capacity * candidates->samples; i++)
        td_ids_free(&candidates->drawn[i].ids);
    td_release(candidates->drawn);
    td_generation_free(&candidates->generation);
    td_cider_index_free(candidates->cider);
    pthread_mutex_destroy(&candidates->cider_mutex);
    td_release(candidates);
}

/* ---- one draw ---- */

static td_status rate(td_candidates *candidates, const td_hypothesis *hypothesis, const char *text, const char *const *references,
                      size_t reference_count, candidate *drawn, td_error *error)
{
    td_ids_clear(&drawn->ids);
    for (size_t i = 0; i < hypothesis->count; i++)
        td_ids_append(&drawn->ids, hypothesis->ids[i]);
    if (!td_ids_ok(&drawn->ids))
        return td_fail_memory(error, hypothesis->count * sizeof *hypothesis->ids);
    return candidates->score ? candidates->score(text, references, reference_count, candidates->metric_tokenizer, &drawn->score, error)
                             : score_cider(candidates, text, references, reference_count, &drawn->score, error);
}

static td_status keep_samples(void *context, size_t place, const td_output *output, const char *const *texts, td_error *error)
{
    td_candidates *candidates = context;
    char *references[TD_MOST_REFERENCES] = {NULL};
    size_t count;
    td_status status = find_references(candidates, (size_t)candidates->indices[place], references, &count, error);
    for (size_t i = 0; status == TD_OK && i < candidates->samples; i++) {
        size_t which = i < output->count ? i : 0;
        status = rate(candidates, &output->hypotheses[which], texts[which], (const char *const *)references, count,
                      &candidates->drawn[place * candidates->samples + i], error);
    }
    release_references(references, count);
    return status;
}

static td_status make_room(td_candidates *candidates, size_t count, td_error *error)
{
    if (count <= candidates->capacity)
        return TD_OK;
    if (!td_grow_array(&candidates->drawn, count * candidates->samples, sizeof *candidates->drawn))
        return td_fail_memory(error, count * candidates->samples * sizeof *candidates->drawn);
    for (size_t i = candidates->capacity * candidates->samples; i < count * candidates->samples; i++)
        candidates->drawn[i] = (candidate){.ids = TD_IDS_INIT};
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
    candidates->generation.seed = td_random_key(candidates->seed ^ 0x4a1c, (uint64_t)step, count);
    candidates->generation.max_new_tokens = longest_sample(candidates);
    TD_TRY(td_writers_run(candidates->writers, &candidates->generation, indices, count, keep_samples, candidates, error));
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
