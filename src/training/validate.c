#include "training/validate.h"

#include "io/json.h"
#include "platform/file.h"
#include "training/copy_labels.h"
#include "training/model_config.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

struct td_validator {
    const td_recipe *recipe;
    const td_tokenizer *tokenizer;
    const td_corpus *corpus;
    td_stepper *stepper;
    td_pool *pool;
    td_generation generation;
    td_search **searches; /* [threads] */
    size_t count;         /* sources */
    uint64_t *pairs;      /* [count] the first pair of each: a sound or picture may have several, one after the other */
    char **hypotheses;    /* [count] */
    char ***references;   /* [reference_count][count] */
    size_t reference_count;
    pthread_mutex_t mutex; /* guards next and error */
    size_t next;
    td_error error;
};

static td_status set_generation(td_validator *validator, const td_recipe *recipe, td_error *error)
{
    validator->generation = td_generation_default();
    validator->generation.num_beams = (size_t)recipe->training.validation_beam;
    validator->generation.length_penalty = recipe->generation.length_penalty;
    validator->generation.ctc_weight = recipe->generation.ctc_weight;
    validator->generation.max_length = (size_t)recipe->generation.max_length;
    validator->generation.no_repeat_ngram_size = (size_t)recipe->generation.no_repeat_ngram;
    return td_model_starts(recipe, validator->tokenizer, &validator->generation, error);
}

static td_status find_sources(td_validator *validator, size_t limit, td_error *error)
{
    size_t targets = 0;
    validator->pairs = td_allocate_array(validator->corpus->count, sizeof *validator->pairs);
    if (!validator->pairs)
        return td_fail_memory(error, validator->corpus->count * sizeof *validator->pairs);
    for (size_t i = 0; i < validator->corpus->count; i++) {
        bool again = td_corpus_continues(validator->corpus, i);
        if (!again && limit && validator->count == limit)
            break;
        targets = again ? targets + 1 : 1;
        if (!again)
            validator->pairs[validator->count++] = i;
        if (targets > validator->reference_count)
            validator->reference_count = targets;
    }
    return TD_OK;
}

/* A source with fewer targets than others repeats its last one, which changes no maximum over references. */
static td_status copy_references(td_validator *validator, td_error *error)
{
    validator->hypotheses = td_allocate_array(validator->count, sizeof(char *));
    validator->references = td_allocate_array(validator->reference_count, sizeof(char **));
    if (!validator->hypotheses || !validator->references)
        return td_fail_memory(error, validator->count * sizeof(char *));
    for (size_t r = 0; r < validator->reference_count; r++) {
        char **texts = validator->references[r] = td_allocate_array(validator->count, sizeof(char *));
        for (size_t i = 0; texts && i < validator->count; i++) {
            size_t index = (size_t)validator->pairs[i];
            for (size_t k = 0; k < r && index + 1 < validator->corpus->count && td_corpus_continues(validator->corpus, index + 1); k++)
                index++;
            td_pair pair = td_corpus_get(validator->corpus, index);
            texts[i] = td_copy_bytes(pair.target_text, pair.target_bytes);
            if (!texts[i])
                return td_fail_memory(error, pair.target_bytes);
        }
        if (!texts)
            return td_fail_memory(error, validator->count * sizeof(char *));
    }
    return TD_OK;
}

static td_status set_up(td_validator *validator, const td_network *network, td_error *error)
{
    size_t threads = td_pool_threads(validator->pool);
    td_search_options options = {0};
    TD_TRY(find_sources(validator, (size_t)validator->recipe->training.validation_max_sentences, error));
    TD_TRY(copy_references(validator, error));
    TD_TRY(set_generation(validator, validator->recipe, error));
    validator->searches = td_allocate_array(threads, sizeof(td_search *));
    if (!validator->searches)
        return td_fail_memory(error, threads * sizeof(td_search *));
    for (size_t i = 0; i < threads; i++)
        TD_TRY(td_search_new(network, &options, &validator->searches[i], error));
    return TD_OK;
}

td_status td_validator_new(const td_recipe *recipe, const td_network *network, const td_tokenizer *tokenizer, const td_corpus *corpus,
                           td_stepper *stepper, td_pool *pool, td_validator **ret_validator, td_error *error)
{
    td_validator *validator = td_allocate_array(1, sizeof *validator);
    if (!validator)
        return td_fail_memory(error, sizeof *validator);
    *validator = (td_validator){.recipe = recipe, .tokenizer = tokenizer, .corpus = corpus, .stepper = stepper, .pool = pool};
    pthread_mutex_init(&validator->mutex, NULL);
    td_status status = set_up(validator, network, error);
    if (status != TD_OK) {
        td_validator_free(validator);
        return status;
    }
    *ret_validator = validator;
    return TD_OK;
}

static void forget_hypotheses(td_validator *validator)
{
    for (size_t i = 0; validator->hypotheses && i < validator->count; i++) {
        td_release(validator->hypotheses[i]);
        validator->hypotheses[i] = NULL;
    }
}

void td_validator_free(td_validator *validator)
{
    if (!validator)
        return;
    forget_hypotheses(validator);
    for (size_t r = 0; validator->references && r < validator->reference_count; r++) {
        for (size_t i = 0; validator->references[r] && i < validator->count; i++)
            td_release(validator->references[r][i]);
        td_release(validator->references[r]);
    }
    td_release(validator->pairs);
    for (size_t i = 0; validator->searches && i < td_pool_threads(validator->pool); i++)
        td_search_free(validator->searches[i]);
    td_release(validator->hypotheses);
    td_release(validator->references);
    td_release(validator->searches);
    td_generation_free(&validator->generation);
    pthread_mutex_destroy(&validator->mutex);
    td_release(validator);
}

static td_status next_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    td_validator *validator = context;
    pthread_mutex_lock(&validator->mutex);
    size_t index = validator->next;
    *ret_given = index < validator->count && validator->error.status == TD_OK;
    validator->next += *ret_given;
    pthread_mutex_unlock(&validator->mutex);
    if (!*ret_given)
        return TD_OK;
    td_pair pair = td_corpus_get(validator->corpus, (size_t)validator->pairs[index]);
    *ret_index = index;
    *ret_source =
        (td_source){.ids = pair.source, .features = pair.features, .length = pair.source_length, .width = validator->corpus->feature_width};
    return TD_OK;
}

/* The source's pieces outside the vocabulary, for their text. */
static td_status local_pieces(const td_validator *validator, size_t index, td_local_pieces *local, td_error *error)
{
    td_pair pair = td_corpus_get(validator->corpus, (size_t)validator->pairs[index]);
    td_ids ids = TD_IDS_INIT;
    local->first = (int32_t)td_tokenizer_size(validator->tokenizer);
    td_status status =
        td_tokenizer_encode_local(validator->tokenizer, TD_SOURCE, pair.source_text, pair.source_bytes, 0, NULL, local, &ids, error);
    td_ids_free(&ids);
    return status;
}

static td_status keep_output(void *context, size_t index, const td_output *output, td_error *error)
{
    td_validator *validator = context;
    td_buffer text = TD_BUFFER_INIT;
    td_local_pieces local = {0};
    td_status status = validator->recipe->model.copy ? local_pieces(validator, index, &local, error) : TD_OK;
    if (status == TD_OK)
        status = td_tokenizer_decode_local(validator->tokenizer, &local, output->hypotheses[0].ids, output->hypotheses[0].count, true,
                                           &text, error);
    td_local_pieces_free(&local);
    if (status == TD_OK && !text.data)
        td_buffer_text_append(&text, "");
    if (status == TD_OK && !td_buffer_ok(&text))
        status = td_fail_memory(error, text.length);
    if (status == TD_OK)
        validator->hypotheses[index] = text.data;
    else
        td_buffer_free(&text);
    return status;
}

static void search_task(void *context, size_t index, size_t thread)
{
    (void)index;
    td_validator *validator = context;
    td_generate_callbacks callbacks = {validator, next_source, keep_output, NULL};
    td_error error = {0};
    if (td_generate(validator->searches[thread], &validator->generation, &callbacks, &error) == TD_OK)
        return;
    pthread_mutex_lock(&validator->mutex);
    validator->error = error;
    pthread_mutex_unlock(&validator->mutex);
}

static td_status run_metric(td_validator *validator, const td_metric *metric, double *ret_score, td_error *error)
{
    forget_hypotheses(validator);
    validator->next = 0;
    validator->error = (td_error){0};
    td_pool_run(validator->pool, td_pool_threads(validator->pool), search_task, validator);
    if (validator->error.status != TD_OK) {
        if (error)
            *error = validator->error;
        return validator->error.status;
    }
    td_metric_texts texts = {(const char *const *)validator->hypotheses, (const char *const *const *)validator->references,
                             validator->reference_count, validator->count, validator->recipe->training.validation_tokenize};
    return metric->score(&texts, ret_score, error);
}

enum { CHUNK = 256 };

/* The next pairs, as many as keep a part of the step no larger than training's. */
static size_t take_chunk(const td_validator *validator, size_t first, uint64_t *indices)
{
    const td_recipe *recipe = validator->recipe;
    size_t most = (size_t)(recipe->training.batch_tokens / recipe->training.shards * TD_VALIDATION_SHARDS), count = 0, tokens = 0;
    while (count < CHUNK && first + count < validator->corpus->count) {
        size_t source, target;
        td_corpus_lengths(validator->corpus, first + count, &source, &target);
        tokens += target;
        if (count && tokens > most)
            break;
        indices[count] = first + count;
        count++;
    }
    return count;
}

static td_status run_loss(td_validator *validator, double *ret_loss, td_error *error)
{
    double nll = 0;
    uint64_t tokens = 0;
    for (size_t first = 0, count; first < validator->corpus->count; first += count) {
        uint64_t indices[CHUNK];
        count = take_chunk(validator, first, indices);
        td_step_result result;
        TD_TRY(td_stepper_run(validator->stepper, 0, indices, count, NULL, &result, error));
        nll += result.nll;
        tokens += result.target_tokens;
    }
    *ret_loss = nll / (double)tokens;
    return TD_OK;
}

td_status td_validator_run(td_validator *validator, td_validation *ret_validation, td_error *error)
{
    td_validation validation = {.score = NAN};
    TD_TRY(run_loss(validator, &validation.loss, error));
    const td_metric *metric = td_metric_find(validator->recipe->training.validation_metric);
    if (metric)
        TD_TRY(run_metric(validator, metric, &validation.score, error));
    *ret_validation = validation;
    return TD_OK;
}
