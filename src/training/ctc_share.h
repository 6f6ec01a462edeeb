/* CTC's share of a step's loss. */
#ifndef TD_TRAINING_CTC_SHARE_H
#define TD_TRAINING_CTC_SHARE_H

#include "models/architecture.h"

/* The sum of CTC losses of targets (each with its end token, which CTC doesn't write) given their memories; the gradient is formed
 * times `gradient_scale`. ret_losses [count]: of each sequence, INFINITY for one with too few rows of memory, which is left out.
 * NULL after a failure, also where the network has no product for CTC. */
td_tensor *td_ctc_share(const td_network *network, td_graph *graph, const td_memory *memory, const int32_t *targets, td_ragged ragged,
                        double gradient_scale, double *ret_losses);

#endif
