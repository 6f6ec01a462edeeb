/* Inside td_search: shared by generation and scoring. */
#ifndef TD_DECODING_SEARCH_H
#define TD_DECODING_SEARCH_H

#include "decoding/sentence.h"
#include "models/copying.h"
#include "platform/thread.h"

struct td_search {
    const td_network *network;
    td_search_options options;
    td_arena arena;        /* one step */
    td_graph graph;        /* over it */
    td_pool *pool;         /* of the threads that share products, or NULL */
    td_recorder *recorder; /* of the thread that searches; NULL: nothing is measured */
    td_decoder_state *state;
    td_rules rules;
    td_sentence **live, **spare; /* in the order of the state's rows; ended ones for reuse */
    size_t live_count, spare_count, capacity;
    size_t cost; /* of the live */
    const td_generate_callbacks *callbacks;
    size_t widest;            /* ids a row of scores may hold: the vocabulary's and those a source extends it by */
    td_real *row;             /* [widest] scratch */
    td_candidate *candidates; /* [candidate_capacity]: of one row, then of one sentence */
    td_candidate *merged;
    int32_t *merged_parents;
    td_real *merged_logprobs;
    double *weights;
    size_t candidate_capacity;
    td_hypothesis *hypotheses; /* of the result being delivered */
    int32_t *result_ids;
    td_real *result_logprobs, *result_attention;
    size_t hypothesis_capacity, result_capacity, attention_capacity;
};

#define TD_PROJECTED_ROWS 64 /* rows of logits that exist at once: enough for the product, little enough for the cache */

/* A fresh step: empty arena, graph without tape. */
void td_search_step(td_search *search);
/* Within a step: encodes the sources and appends a state row for each. ret_memory: what they became, valid during the step. */
td_status td_search_admit(td_search *search, const td_source *const *sources, size_t count, td_memory *ret_memory, td_error *error);
/* Turns a failed call on the graph into an error that says which. */
td_status td_search_failure(td_search *search, td_status status, const char *what, td_error *error);
/* Makes room for rows of `width` scores. */
td_status td_search_widen(td_search *search, size_t width, td_error *error);
/* Scores (td_next_scores) of hidden rows index[0..count) (count <= TD_PROJECTED_ROWS), in the arena. sources: each
 * row's. most: as td_project_summed has it. Where the network copies, only `values` are set. False after a failure. */
bool td_search_scores(td_search *search, td_tensor *hidden, const int32_t *index, size_t count, const td_copy_source *sources, size_t most,
                      td_logits *ret_scores);
/* One row of them: log-probabilities are values - maximum - log_sum. Valid until the next where only some blocks exist. */
typedef struct td_score_row {
    td_real *values;             /* [rules.vocabulary] */
    const td_real *block_maxima; /* of blocks of TD_LOGIT_BLOCK as they came from the network, or NULL */
    const int32_t *blocks;       /* [block_count] in rising order: those of `values` that mean something; NULL: all */
    size_t block_count;
    td_real maximum, log_sum;
} td_score_row;
/* Fails when the sum isn't finite. */
td_status td_search_row(td_search *search, td_logits *scores, size_t index, td_score_row *ret_row, td_error *error);
static inline td_copy_source td_search_copied(const td_source *source)
{
    return (td_copy_source){source->ids, source->length};
}
/* log sum exp of a row [rules.vocabulary]; fails when it isn't finite. */
td_status td_search_normaliser(td_search *search, const td_real *row, td_real *ret_maximum, td_real *ret_log_sum, td_error *error);

#endif
