/* Connectionist temporal classification (Graves 2006): the probability of a short label sequence given longer frames, summed over
 * every way to stretch the labels over the frames with blanks between. */
#ifndef TD_OPS_CTC_H
#define TD_OPS_CTC_H

#include "tensor/graph.h"

typedef struct td_ctc_options {
    int32_t blank;
    td_real gradient_scale; /* usually the loss's weight / target tokens of the whole step */
} td_ctc_options;

/* logits [T, V] of ragged frames, targets ragged ids without blanks -> sum of -log p(targets | frames) [1, 1] over the sequences that
 * can be written at all. Labels take a frame each and equal neighbours a blank between them; a sequence with fewer frames has no
 * alignment: it is left out, gradient and all. ret_losses [count] (may be NULL): each sequence's loss, INFINITY where left out.
 * As in td_projected_cross_entropy the gradient is formed here, times `gradient_scale`, and backward only passes it on. */
td_tensor *td_ctc_loss(td_graph *graph, td_tensor *logits, td_ragged frames, const int32_t *targets, td_ragged labels,
                       const td_ctc_options *options, double *ret_losses);

/* The frames that `count` labels need. */
size_t td_ctc_least_frames(const int32_t *targets, size_t count);

#endif
