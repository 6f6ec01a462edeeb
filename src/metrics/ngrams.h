/* How many n-grams of one hypothesis its references have too: the count under BLEU and chrF. Only the hypothesis'
 * n-grams are stored; those that references alone have cannot match. */
#ifndef TD_METRICS_NGRAMS_H
#define TD_METRICS_NGRAMS_H

#include "metrics/text.h"

typedef struct td_ngram_count {
    uint32_t hypothesis, reference;
    uint32_t best; /* the most that one reference had */
} td_ngram_count;

typedef struct td_ngrams {
    td_sequence_map map;
    td_ngram_count *counts;
    size_t capacity, order;
} td_ngrams;

void td_ngrams_init(td_ngrams *ngrams);
void td_ngrams_free(td_ngrams *ngrams);
/* Forgets what was before and counts the n-grams of 1 to `order` elements. `hypothesis` must outlive the counting. */
td_status td_ngrams_start(td_ngrams *ngrams, td_codes hypothesis, size_t order, td_error *error);
void td_ngrams_add_reference(td_ngrams *ngrams, td_codes reference);
void td_ngrams_forget_references(td_ngrams *ngrams);
/* Clipped matches by order: ret_matches [order]. */
void td_ngrams_matches(const td_ngrams *ngrams, uint32_t *ret_matches);

static inline uint32_t td_ngram_total(size_t length, size_t n)
{
    return length >= n ? (uint32_t)(length - n + 1) : 0;
}

#endif
