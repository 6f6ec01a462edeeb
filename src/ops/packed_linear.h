/* Products of inference with packed weights. */
#ifndef TD_OPS_PACKED_LINEAR_H
#define TD_OPS_PACKED_LINEAR_H

#include "kernels/packed.h"
#include "tensor/graph.h"

/* x in the form that `packed` multiplies, in the arena; rows 0 after a failure. */
td_packed_input td_packed_input_of(td_graph *graph, const td_tensor *x, const td_packed *packed);
/* One product, measured. */
void td_packed_product(td_graph *graph, const td_packed_job *job);
/* activation(x w^T + bias) for weights side by side, all packed in one precision [T, sum of outputs]; biases [count] or NULL */
td_tensor *td_packed_linear(td_graph *graph, td_tensor *x, const td_packed *const *weights, const td_real *const *biases,
                            size_t count, td_activation activation);

#endif
