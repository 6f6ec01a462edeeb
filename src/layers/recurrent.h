/* Stacks of recurrent layers as PyTorch's nn.RNN, nn.LSTM and nn.GRU have them: names of weights, both directions side by side,
 * dropout between layers. */
#ifndef TD_LAYERS_RECURRENT_H
#define TD_LAYERS_RECURRENT_H

#include "layers/parameters.h"
#include "ops/recurrent.h"

typedef struct td_recurrent_layer {
    const td_parameter *w_ih, *w_hh, *b_ih, *b_hh; /* biases NULL without */
} td_recurrent_layer;

typedef struct td_recurrent_stack {
    td_cell_kind kind;
    size_t inputs, hidden, layers;
    bool bidirectional, no_bias;
    bool reverse;              /* every layer reads from the end: the same as reversing the input and the output */
    size_t pyramid;            /* after each of the first so many layers two neighbouring rows become one (Chan 2016); < layers */
    td_recurrent_layer *layer; /* [layers * directions], the forward one of each layer first; owned */
} td_recurrent_stack;

static inline size_t td_recurrent_directions(const td_recurrent_stack *stack)
{
    return stack->bidirectional ? 2 : 1;
}
static inline size_t td_recurrent_width(const td_recurrent_stack *stack)
{
    return stack->hidden * td_recurrent_directions(stack);
}

/* Declares PREFIXweight_ih_l0, PREFIXweight_hh_l0, PREFIXbias_ih_l0, PREFIXbias_hh_l0, ... (_reverse for the second direction),
 * uniform in +-1 / sqrt(hidden). Release with td_recurrent_stack_free. */
td_status td_recurrent_stack_declare(td_recurrent_stack *stack, td_parameters *parameters, const char *prefix, td_error *error);
void td_recurrent_stack_free(td_recurrent_stack *stack);
/* The weights of one layer and direction as tensors. */
td_recurrent_weights td_recurrent_layer_weights(td_graph *graph, const td_recurrent_layer *layer);
/* x [T, inputs] -> [T, directions * hidden]. h0, c0, ret_h, ret_c: one [count, hidden] per layer and direction, each array or any
 * h0 or c0 in it may be NULL. */
td_tensor *td_recurrent_stack_apply(td_graph *graph, const td_recurrent_stack *stack, td_tensor *x, td_ragged ragged, td_real dropout,
                                    td_tensor *const *h0, td_tensor *const *c0, td_tensor **ret_h, td_tensor **ret_c);

/* The same for a stack with a pyramid, from zero states. ret_ragged: where the sequences of the result begin; an odd last row is joined
 * with zeros. */
td_tensor *td_recurrent_pyramid_apply(td_graph *graph, const td_recurrent_stack *stack, td_tensor *x, td_ragged ragged, td_real dropout,
                                      td_tensor **ret_h, td_tensor **ret_c, td_ragged *ret_ragged);

#endif
