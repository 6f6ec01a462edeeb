/* Inside tensor/: the memory of gradients, and the sums that the weights' gradients of several graphs go to. */
#ifndef TD_TENSOR_GRADIENTS_H
#define TD_TENSOR_GRADIENTS_H

#include "tensor/graph.h"

/* Notes that a weight is read by the graph, which has sums. */
void td_weight_used(td_graph *graph, const td_parameter *weight);
/* Backward has passed node `index`: gradients of what was made since it was noted are done with. */
void td_gradients_retire(td_graph *graph, size_t index);
/* Nobody reads the arena between these positions any more. */
void td_gradients_reuse(td_graph *graph, td_arena_mark from, td_arena_mark to);

#endif
