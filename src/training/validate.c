#include "training/validate.h"

#include "tandem/metrics.h"

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
    size_t count;         /* sentences translated */
    char **hypotheses, **references; /* [count] */
    pthread_mutex_t mutex; /* guards next and error */
    size_t next;
    td_error error;
};

static td_status set_generation(td_validator *validator, const td_recipe *recipe, td_error *error)
{
    validator->generation = td_generation_default();
    validator->generation.num_beams = (size_t)recipe->training.validation_beam;
    validator->generation.length_penalty = recipe->generation.length_penalty;
    validator->generation.max_length = (size_t)recipe->generation.max_length;
    char never[64];
    snprintf(never, sizeof never, "bad_words_ids=[[%d]]", td_tokenizer_pad_id(validator->tokenizer));
    return td_generation_set(&validator->generation, never, error);
}

td_status td_validator_new(const td_recipe *recipe, const td_network *network, const td_tokenizer *tokenizer, const td_corpus *corpus,
                           td_stepper *stepper, td_pool *pool, td_validator **ret_validator, td_error *error)
{
    td_validator *validator = td_allocate_array(1, sizeof *validator);
    if (!validator)
        return td_fail_memory(error, sizeof *validator);
    *validator = (td_validator){.recipe = recipe, .tokenizer = tokenizer, .corpus = corpus, .stepper = stepper, .pool = pool};
    pthread_mutex_init(&validator->mutex, NULL);
    size_t limit = (size_t)recipe->training.validation_max_sentences, threads = td_pool_threads(pool);
    validator->count = limit && limit < corpus->count ? limit : corpus->count;
    validator->searches = td_allocate_array(threads, sizeof(td_search *));
    validator->hypotheses = td_allocate_array(validator->count, sizeof(char *));
    validator->references = td_allocate_array(validator->count, sizeof(char *));
    td_status status = validator->searches && validator->hypotheses && validator->references
                           ? set_generation(validator, recipe, error)
                           : td_fail_memory(error, validator->count * sizeof(char *));
    td_search_options options = {0};
    for (size_t i = 0; status == TD_OK && i < threads; i++)
        status = td_search_new(network, &options, &validator->searches[i], error);
    for (size_t i = 0; status == TD_OK && i < validator->count; i++) {
        td_pair pair = td_corpus_get(corpus, i);
        validator->references[i] = td_copy_bytes(pair.target_text, pair.target_bytes);
        if (!validator->references[i])
            status = td_fail_memory(error, pair.target_bytes);
    }
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
    for (size_t i = 0; validator->references && i < validator->count; i++)
        td_release(validator->references[i]);
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
    td_pair pair = td_corpus_get(validator->corpus, index);
    *ret_index = index;
    *ret_source = (td_source){.ids = pair.source, .length = pair.source_length};
    return TD_OK;
}

static td_status keep_output(void *context, size_t index, const td_output *output, td_error *error)
{
    td_validator *validator = context;
    td_buffer text = TD_BUFFER_INIT;
    td_status status = td_tokenizer_decode(validator->tokenizer, output->hypotheses[0].ids, output->hypotheses[0].count, true, &text, error);
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

static td_status run_bleu(td_validator *validator, double *ret_bleu, td_error *error)
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
    td_bleu_options options = TD_BLEU_OPTIONS_INIT;
    options.tokenizer = (td_metric_tokenizer)validator->recipe->training.validation_tokenize;
    const char *const *references = (const char *const *)validator->references;
    td_bleu_result result;
    TD_TRY(td_bleu(&options, (const char *const *)validator->hypotheses, &references, 1, validator->count, &result, error));
    *ret_bleu = result.score;
    return TD_OK;
}

static td_status run_loss(td_validator *validator, double *ret_loss, td_error *error)
{
    enum { CHUNK = 256 };
    double nll = 0;
    uint64_t tokens = 0;
    for (size_t first = 0; first < validator->corpus->count; first += CHUNK) {
        uint64_t indices[CHUNK];
        size_t count = validator->corpus->count - first < CHUNK ? validator->corpus->count - first : CHUNK;
        for (size_t i = 0; i < count; i++)
            indices[i] = first + i;
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
    td_validation validation = {0, NAN};
    TD_TRY(run_loss(validator, &validation.loss, error));
    if (validator->recipe->training.validation_metric == TD_RECIPE_METRIC_BLEU)
        TD_TRY(run_bleu(validator, &validation.bleu, error));
    *ret_validation = validation;
    return TD_OK;
}
