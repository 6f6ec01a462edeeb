#include "training/validate.h"

#include "training/model_config.h"
#include "training/writers.h"

#include <math.h>
#include <string.h>

struct td_validator {
    const td_recipe *recipe;
    const td_corpus *corpus;
    td_stepper *stepper;
    td_writers *writers;
    td_generation generation;
    size_t count;       /* sources */
    uint64_t *pairs;    /* [count] the first pair of each: a sound or picture may have several, one after the other */
    char **hypotheses;  /* [count] */
    char ***references; /* [reference_count][count] */
    size_t reference_count;
};

static td_status set_generation(td_validator *validator, const td_recipe *recipe, const td_tokenizer *tokenizer, td_error *error)
{
    validator->generation = td_generation_default();
    validator->generation.num_beams = (size_t)recipe->training.validation_beam;
    validator->generation.length_penalty = recipe->generation.length_penalty;
    validator->generation.ctc_weight = recipe->generation.ctc_weight;
    validator->generation.max_length = (size_t)recipe->generation.max_length;
    validator->generation.no_repeat_ngram_size = (size_t)recipe->generation.no_repeat_ngram;
    return td_model_starts(recipe, tokenizer, &validator->generation, error);
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

static td_status set_up(td_validator *validator, const td_network *network, const td_tokenizer *tokenizer, td_pool *pool, td_error *error)
{
    td_search_options options = {0};
    TD_TRY(find_sources(validator, (size_t)validator->recipe->training.validation_max_sentences, error));
    TD_TRY(copy_references(validator, error));
    TD_TRY(set_generation(validator, validator->recipe, tokenizer, error));
    return td_writers_new(network, tokenizer, validator->corpus, pool, &options, &validator->writers, error);
}

td_status td_validator_new(const td_recipe *recipe, const td_network *network, const td_tokenizer *tokenizer, const td_corpus *corpus,
                           td_stepper *stepper, td_pool *pool, td_validator **ret_validator, td_error *error)
{
    td_validator *validator = td_allocate_array(1, sizeof *validator);
    if (!validator)
        return td_fail_memory(error, sizeof *validator);
    *validator = (td_validator){.recipe = recipe, .corpus = corpus, .stepper = stepper};
    td_status status = set_up(validator, network, tokenizer, pool, error);
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
    td_writers_free(validator->writers);
    td_release(validator->hypotheses);
    td_release(validator->references);
    td_generation_free(&validator->generation);
    td_release(validator);
}

static td_status keep_text(void *context, size_t place, const td_output *output, const char *const *texts, td_error *error)
{
    (void)output;
    td_validator *validator = context;
    validator->hypotheses[place] = td_copy_string(texts[0]);
    return validator->hypotheses[place] ? TD_OK : td_fail_memory(error, strlen(texts[0]));
}

static td_status run_metric(td_validator *validator, const td_metric *metric, double *ret_score, td_error *error)
{
    forget_hypotheses(validator);
    TD_TRY(td_writers_run(validator->writers, &validator->generation, validator->pairs, validator->count, keep_text, validator, error));
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
