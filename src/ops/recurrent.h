/* Recurrence: whole sequences in one operation, single steps for decoders that feed their output back, and the attention of
 * recurrent decoders. Semantics and order of gates are PyTorch's (LSTM i, f, g, o; GRU r, z, n with b_hn inside r * (...)). */
#ifndef TD_OPS_RECURRENT_H
#define TD_OPS_RECURRENT_H

#include "tensor/graph.h"

typedef enum td_cell_kind { TD_CELL_RNN_TANH, TD_CELL_RNN_RELU, TD_CELL_LSTM, TD_CELL_GRU } td_cell_kind;

/* Rows of weights per unit: 1, 4 or 3. */
static inline size_t td_cell_gates(td_cell_kind kind)
{
    return kind == TD_CELL_LSTM ? 4 : kind == TD_CELL_GRU ? 3 : 1;
}

/* w_ih [G * H, I], w_hh [G * H, H], both packed or neither; b_ih and b_hh [1, G * H] or NULL */
typedef struct td_recurrent_weights {
    td_tensor *w_ih, *w_hh, *b_ih, *b_hh;
} td_recurrent_weights;

typedef struct td_recurrent_options {
    td_cell_kind kind;
    size_t hidden;
    bool reverse; /* from the last row of each sequence to its first; y keeps the rows' order */
} td_recurrent_options;

/* x [T, I], h0 and c0 [count, H] or NULL (zeros; c0 is LSTM's alone) -> y [T, H]; ret_h, ret_c [count, H]: the states after
 * the last row read, ret_c only for LSTM (NULL otherwise); each may be NULL. A sequence of no rows passes its state on. */
td_tensor *td_recurrent(td_graph *graph, td_tensor *x, td_ragged ragged, const td_recurrent_options *options,
                        const td_recurrent_weights *weights, td_tensor *h0, td_tensor *c0, td_tensor **ret_h, td_tensor **ret_c);

/* Sequences by falling length (stable) and laid out step by step: at step t the rows starts[t] .. starts[t + 1] hold row t of the
 * sequences order[0], order[1], ... that have one. What packed sequences are in PyTorch. */
typedef struct td_packing {
    size_t count, total, steps;
    int32_t *order;  /* [count] sequence of each rank */
    int32_t *starts; /* [steps + 1] */
    int32_t *rows;   /* [total] packed row -> row */
    int32_t *places; /* [total] row -> packed row */
} td_packing;
bool td_pack(td_graph *graph, td_ragged ragged, bool reverse, td_packing *ret_packing);
static inline size_t td_packing_active(const td_packing *packing, size_t step)
{
    return (size_t)(packing->starts[step + 1] - packing->starts[step]);
}

/* ---- for decoders that feed each step's output to the next ---- */

/* Rows first .. first + rows of `x`, sharing its memory and gradient. */
td_tensor *td_tensor_rows(td_graph *graph, td_tensor *x, size_t first, size_t rows);
/* Rows of a, then of b, ... [A + B + ..., D] */
td_tensor *td_stack_rows(td_graph *graph, td_tensor *const *parts, size_t count);

/* One weight used at every step. Products go forward step by step, and so do gradients with respect to what is multiplied; the
 * gradient of the weight itself is one product over all steps, done when the tape is back at td_step_linear_begin. */
typedef struct td_step_linear td_step_linear;
/* weight [O, I] (may be a view of columns, unless it is packed), bias [1, O] or NULL; rows: of all steps together. */
td_step_linear *td_step_linear_begin(td_graph *graph, td_tensor *weight, td_tensor *bias, size_t rows);
/* x [N, I] -> x weight^T + bias [N, O]; added to `add` [N, O] if that is given. */
td_tensor *td_step_linear_apply(td_graph *graph, td_step_linear *linear, td_tensor *x, td_tensor *add);

/* One step of a cell. input_sums [N, G * H]: x w_ih^T + b_ih; hidden_sums [N, G * H]: h w_hh^T + b_hh, both as td_step_linear
 * gives them. -> h [N, H]; ret_c [N, H] for LSTM. */
td_tensor *td_recurrent_step(td_graph *graph, td_cell_kind kind, td_tensor *input_sums, td_tensor *hidden_sums, td_tensor *h, td_tensor *c,
                             td_tensor **ret_c);

/* ---- attention ---- */

/* Where a query row's memory lies: `length` rows of keys and values. */
typedef struct td_memory_segment {
    const td_real *keys, *values;
    size_t length;
} td_memory_segment;

typedef struct td_recurrent_attention_options {
    bool additive; /* v^T tanh(q + k) (Bahdanau 2015; "concat" of Luong 2015); else q . k ("dot", "general") */
    size_t key_stride, value_stride, value_width;
    size_t longest; /* >= every segment's length: width of the weights */
} td_recurrent_attention_options;

/* query [N, A] (already projected), one segment per row. keys and values: the tensors that the segments point into, for their
 * gradients; NULL when not recording. v [1, A] for additive; coverage [N, longest] (sum of earlier weights) with coverage_weight
 * [1, A], or both NULL. -> context [N, value_width]; ret_weights [N, longest]: softmax over each row's segment, zeros after. */
td_tensor *td_recurrent_attention(td_graph *graph, td_tensor *query, const td_memory_segment *segments,
                                  const td_recurrent_attention_options *options, td_tensor *keys, td_tensor *values, td_tensor *v,
                                  td_tensor *coverage, td_tensor *coverage_weight, td_tensor **ret_weights);

#endif
