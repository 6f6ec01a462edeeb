/* Scores of single sentences, for choosing between candidates: the corpus measures of tandem/metrics.h, made to tell bad from worse. */
#ifndef TD_METRICS_SENTENCE_SCORE_H
#define TD_METRICS_SENTENCE_SCORE_H

#include "tandem/metrics.h"

enum { TD_MOST_REFERENCES = 64 }; /* of one sentence that are looked at */

/* Higher is better: percent, or minus the number of errors (wer in words, cer in characters; of the reference with the fewest). */
typedef td_status (*td_sentence_score)(const char *candidate, const char *const *references, size_t count, td_metric_tokenizer tokenizer,
                                       double *ret_score, td_error *error);

/* bleu: one is added to matches and totals from bigrams on, since a sentence without a common 4-gram is not worthless (Lin and Och 2004),
 * and of several references one to the closest one's length, or short texts would gain by both (Nakov, Guzman and Vogel 2012); chrf; rouge:
 * the mean of ROUGE-1, 2 and L; wer; cer. NULL: no such measure. The tokenizer is BLEU's. */
td_sentence_score td_sentence_score_find(const char *name);

/* One number of the three. */
static inline double td_rouge_mean(const td_rouge_result *result)
{
    return (result->rouge1.f + result->rouge2.f + result->rougeL.f) / 3;
}

#endif
