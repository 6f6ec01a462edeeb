/* What minimum risk training learns from: texts that the model itself writes for the sources of a step, and how good each is.
 *
 * Every source gets `samples` texts drawn from the model's distribution; each has the score of a sentence measure against the references
 * of its source (all targets of one sound or picture; a text's own target). How much better it is than the mean of the source's samples is
 * its advantage: the gradient of the expected score is that of the log-probabilities times the advantages (Ranzato 2016, Shen 2016; the
 * other samples as the baseline, Rennie 2017). Advantages are divided by their deviation over the step, so that any measure's are alike. */
#ifndef TD_TRAINING_CANDIDATES_H
#define TD_TRAINING_CANDIDATES_H

#include "models/architecture.h"
#include "platform/thread.h"
#include "training/corpus.h"

typedef struct td_candidates td_candidates;

typedef struct td_candidate_target {
    const int32_t *ids; /* [length] with the end token, if it was drawn */
    size_t length;      /* 1 at least */
    td_real advantage;
} td_candidate_target;

/* `corpus` was built with its text; recipe->training.minimum_risk says how many samples and by which measure. */
td_status td_candidates_new(const td_recipe *recipe, const td_network *network, const td_tokenizer *tokenizer, const td_corpus *corpus,
                            td_pool *pool, td_candidates **ret_candidates, td_error *error);
void td_candidates_free(td_candidates *candidates);
/* Draws for the pairs of a step; the same for (seed, step, pairs, weights) on any number of threads. ret_score: the samples'
 * mean. */
td_status td_candidates_draw(td_candidates *candidates, int64_t step, const uint64_t *indices, size_t count, double *ret_score,
                             td_error *error);
size_t td_candidates_samples(const td_candidates *candidates);
/* Of the pair at `place` of the last draw. */
td_candidate_target td_candidates_get(const td_candidates *candidates, size_t place, size_t sample);

#endif
