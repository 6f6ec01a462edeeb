#include "training/metric.h"

#include "metrics/sentence_score.h"

static td_status score_bleu(const td_metric_texts *texts, double *ret_score, td_error *error)
{
    td_bleu_options options = TD_BLEU_OPTIONS_INIT;
    options.tokenizer = (td_metric_tokenizer)texts->tokenize;
    td_bleu_result result;
    TD_TRY(td_bleu(&options, texts->hypotheses, texts->references, texts->reference_count, texts->count, &result, error));
    *ret_score = result.score;
    return TD_OK;
}

static td_status score_rouge(const td_metric_texts *texts, double *ret_score, td_error *error)
{
    td_rouge_result result;
    TD_TRY(td_rouge(NULL, texts->hypotheses, texts->references, texts->reference_count, texts->count, &result, error));
    *ret_score = td_rouge_mean(&result);
    return TD_OK;
}

static td_status score_cider(const td_metric_texts *texts, double *ret_score, td_error *error)
{
    td_cider_options options = TD_CIDER_OPTIONS_INIT;
    options.tokenizer = (td_metric_tokenizer)texts->tokenize;
    return td_cider(&options, texts->hypotheses, texts->references, texts->reference_count, texts->count, ret_score, error);
}

static td_status score_errors(const td_metric_texts *texts, bool characters, double *ret_score, td_error *error)
{
    td_error_rate_options options = TD_ERROR_RATE_OPTIONS_INIT;
    options.characters = characters;
    td_error_rate_result result;
    TD_TRY(td_error_rate(&options, texts->hypotheses, texts->references[0], texts->count, &result, error));
    *ret_score = result.score;
    return TD_OK;
}

static td_status score_wer(const td_metric_texts *texts, double *ret_score, td_error *error)
{
    return score_errors(texts, false, ret_score, error);
}

static td_status score_cer(const td_metric_texts *texts, double *ret_score, td_error *error)
{
    return score_errors(texts, true, ret_score, error);
}

static td_status score_exact(const td_metric_texts *texts, double *ret_score, td_error *error)
{
    return td_exact_match(false, texts->hypotheses, texts->references, texts->reference_count, texts->count, ret_score, error);
}

const td_metric *td_metric_find(int metric)
{
    static const td_metric metrics[] = {
        [TD_RECIPE_METRIC_BLEU] = {"BLEU", false, score_bleu},    [TD_RECIPE_METRIC_ROUGE] = {"ROUGE", false, score_rouge},
        [TD_RECIPE_METRIC_CIDER] = {"CIDEr", false, score_cider}, [TD_RECIPE_METRIC_WER] = {"WER", true, score_wer},
        [TD_RECIPE_METRIC_CER] = {"CER", true, score_cer},        [TD_RECIPE_METRIC_EXACT] = {"exact", false, score_exact},
    };
    return metric == TD_RECIPE_METRIC_LOSS ? NULL : &metrics[metric];
}
