/* When tokens were said, by what the decoder looked at while it read them (Radford 2022; as transformers computes it). */
#ifndef TD_API_ALIGNMENT_H
#define TD_API_ALIGNMENT_H

#include "base/error.h"
#include "tensor/real.h"

#include <stddef.h>

typedef struct td_alignment_weights {
    td_real *weights; /* [heads][head_stride]: rows of tokens, each of `stride`, `frames` of it looked at; overwritten */
    size_t heads, head_stride, tokens, stride, frames;
    size_t median; /* odd width of the filter over frames */
} td_alignment_weights;

/* ret_frames [tokens]: the frame at which each token begins, never falling: the cheapest path through the weights, each head's brought
 * to mean 0 and deviation 1 over the tokens, smoothed by a median over frames, and averaged. */
td_status td_align(const td_alignment_weights *alignment, size_t *ret_frames, td_error *error);

#endif
