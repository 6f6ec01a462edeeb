#include "metrics/sentence_score.h"

#include "metrics/one_segment.h"

#include <math.h>
#include <string.h>

static td_status score_bleu(const char *candidate, const char *const *references, size_t count, td_metric_tokenizer tokenizer,
                            double *ret_score, td_error *error)
{
    td_bleu_options options = TD_BLEU_OPTIONS_INIT;
    options.smoothing = TD_SMOOTHING_ADD_K;
    options.tokenizer = tokenizer;
    td_bleu_result result;
    td_one_segment one;
    td_one_segment_set(&one, candidate, references, count);
    TD_TRY(td_bleu(&options, &candidate, one.rows, one.segments.reference_count, 1, &result, error));
    double wanted = (double)result.reference_length + (count > 1), length = (double)result.hypothesis_length;
    bool counts = length > 0 && result.brevity_penalty > 0;
    *ret_score = counts ? result.score / result.brevity_penalty * (length < wanted ? exp(1 - wanted / length) : 1) : 0;
    return TD_OK;
}

static td_status score_chrf(const char *candidate, const char *const *references, size_t count, td_metric_tokenizer tokenizer,
                            double *ret_score, td_error *error)
{
    (void)tokenizer;
    td_one_segment one;
    td_one_segment_set(&one, candidate, references, count);
    return td_chrf(NULL, &candidate, one.rows, one.segments.reference_count, 1, ret_score, error);
}

static td_status score_rouge(const char *candidate, const char *const *references, size_t count, td_metric_tokenizer tokenizer,
                             double *ret_score, td_error *error)
{
    (void)tokenizer;
    td_rouge_result result;
    td_one_segment one;
    td_one_segment_set(&one, candidate, references, count);
    TD_TRY(td_rouge(NULL, &candidate, one.rows, one.segments.reference_count, 1, &result, error));
    *ret_score = td_rouge_mean(&result);
    return TD_OK;
}

static td_status score_errors(bool characters, const char *candidate, const char *const *references, size_t count, double *ret_score,
                              td_error *error)
{
    td_error_rate_options options = TD_ERROR_RATE_OPTIONS_INIT;
    options.characters = characters;
    for (size_t i = 0; i < count; i++) {
        td_error_rate_result result;
        TD_TRY(td_error_rate(&options, &candidate, &references[i], 1, &result, error));
        double score = -(double)(result.substitutions + result.deletions + result.insertions);
        *ret_score = i == 0 || score > *ret_score ? score : *ret_score;
    }
    return TD_OK;
}

static td_status score_wer(const char *candidate, const char *const *references, size_t count, td_metric_tokenizer tokenizer,
                           double *ret_score, td_error *error)
{
    (void)tokenizer;
    return score_errors(false, candidate, references, count, ret_score, error);
}

static td_status score_cer(const char *candidate, const char *const *references, size_t count, td_metric_tokenizer tokenizer,
                           double *ret_score, td_error *error)
{
    (void)tokenizer;
    return score_errors(true, candidate, references, count, ret_score, error);
}

td_sentence_score td_sentence_score_find(const char *name)
{
    static const struct {
        const char *name;
        td_sentence_score score;
    } scores[] = {{"bleu", score_bleu}, {"chrf", score_chrf}, {"rouge", score_rouge}, {"wer", score_wer}, {"cer", score_cer}};
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        if (strcmp(scores[i].name, name) == 0)
            return scores[i].score;
    return NULL;
}
