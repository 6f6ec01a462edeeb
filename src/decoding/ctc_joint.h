/* CTC inside td_generate: the scores beside a beam search's, or the whole decoding. */
#ifndef TD_DECODING_CTC_JOINT_H
#define TD_DECODING_CTC_JOINT_H

#include "decoding/search.h"

/* Fails where ctc_weight asks for what the network has not. */
td_status td_ctc_joint_check(const td_search *search, td_error *error);
/* Within the step that encoded them: CTC's frames of the sentences from live[first] on, in the order of `memory`. Nothing when
 * ctc_weight is 0. */
td_status td_ctc_joint_admit(td_search *search, size_t first, const td_memory *memory, td_error *error);
/* A row of log-probabilities of the path that reads it, before the processors. */
void td_ctc_joint_row(td_search *search, td_sentence *sentence, size_t row, td_real *scores);
/* The running paths have grown by a token; parents: the rows they continue. */
void td_ctc_joint_advance(const td_search *search, td_sentence *sentence, const int32_t *parents);
/* With ctc_weight 1: decodes and delivers all live sentences; the decoder has no part in it. */
td_status td_ctc_alone(td_search *search, td_error *error);
static inline bool td_ctc_is_alone(const td_search *search)
{
    return search->rules.generation->ctc_weight == 1;
}

#endif
