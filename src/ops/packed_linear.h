/* Products of inference with packed weights. */
#ifndef TD_OPS_PACKED_LINEAR_H
#define TD_OPS_PACKED_LINEAR_H

#include "kernels/packed.h"
#include "tensor/graph.h"

/* x in the form that `packed` multiplies, in the arena; rows 0 after a failure. */
td_packed_input td_packed_input_of(td_graph *graph, const td_tensor *x, const td_packed *packed);
/* Into how many parts of `panels` panels a product with so many rows is cut; 1 where the graph has one thread, or handing over would
 * take longer than the work. */
size_t td_packed_parts(const td_graph *graph, const td_packed *weights, size_t rows, size_t panels);
/* One product on the calling thread. recorder: of that thread, or NULL. */
void td_packed_product(const td_graph *graph, td_recorder *recorder, const td_packed_job *job);
/* Whole products of one input, measured; the graph's threads share their panels. */
void td_packed_products(td_graph *graph, const td_packed_job *jobs, size_t count);
/* y = x w^T + bias for memory that is there already: y's rows are ldy apart; bias [outputs] or NULL */
void td_packed_linear_into(td_graph *graph, const td_tensor *x, const td_packed *weights, const td_real *bias, td_real *y, size_t ldy);
/* activation(x w^T + bias) for weights side by side, all packed in one precision [T, sum of outputs]; biases [count] or NULL */
td_tensor *td_packed_linear(td_graph *graph, td_tensor *x, const td_packed *const *weights, const td_real *const *biases, size_t count,
                            td_activation activation);

#endif
