/* Every operation: one file each, with its shape rule, forward and backward. An op takes and returns tensors of one graph; NULL in,
 * NULL out. Shapes are [rows, columns]; T is the total of rows of a ragged batch. */
#ifndef TD_OPS_OPS_H
#define TD_OPS_OPS_H

#include "tensor/graph.h"

/* x [T, I], weight [O, I], bias [1, O] or NULL -> x weight^T + bias [T, O]  (PyTorch's nn.Linear) */
td_tensor *td_linear(td_graph *graph, td_tensor *x, td_tensor *weight, td_tensor *bias);
/* activation(x weight^T + bias), then dropout (0: none) */
td_tensor *td_linear_activate(td_graph *graph, td_tensor *x, td_tensor *weight, td_tensor *bias, td_activation activation, td_real dropout);
/* x times `count` weights of one shape that were declared one after the other, and so were their biases (NULL: none), side by side:
 * one product instead of several. */
td_tensor *td_linear_several(td_graph *graph, td_tensor *x, const td_parameter *const *weights, const td_parameter *const *biases,
                             size_t count);
/* table [V, D], ids [count] -> scale * table[ids] [count, D]; an id outside 0..V-1 is an error */
td_tensor *td_embedding(td_graph *graph, td_tensor *table, const int32_t *ids, size_t count, td_real scale);
/* x [T, D] + table[positions + first] ; table may be constant (sinusoids) or learned; positions [T] */
td_tensor *td_add_positions(td_graph *graph, td_tensor *x, td_tensor *table, const int32_t *positions);
/* a + b, same shape */
td_tensor *td_add(td_graph *graph, td_tensor *a, td_tensor *b);
td_tensor *td_scale(td_graph *graph, td_tensor *x, td_real factor);
/* residual + dropout(x), same shape; the identity of dropout when not training or rate is 0 */
td_tensor *td_add_dropout(td_graph *graph, td_tensor *residual, td_tensor *x, td_real rate);
td_tensor *td_dropout(td_graph *graph, td_tensor *x, td_real rate);
/* elementwise activation, then dropout (0: none) in the same pass */
td_tensor *td_activate(td_graph *graph, td_tensor *x, td_activation activation, td_real dropout);
/* activation(x) and x + residual in the memory of x, which nothing else may read again, by value or to go back: that holds for results of
 * products, unless activated. Where going back needs what was there, in memory of their own. */
td_tensor *td_activate_in_place(td_graph *graph, td_tensor *x, td_activation activation);
td_tensor *td_add_in_place(td_graph *graph, td_tensor *x, td_tensor *residual);
/* (x - mean) / sqrt(variance + epsilon) * weight + bias for each row (Ba 2016) */
td_tensor *td_layer_norm(td_graph *graph, td_tensor *x, td_tensor *weight, td_tensor *bias, td_real epsilon);
/* x / sqrt(mean of squares + epsilon) * weight for each row (Zhang, Sennrich 2019) */
td_tensor *td_rms_norm(td_graph *graph, td_tensor *x, td_tensor *weight, td_real epsilon);
/* table [B, H], buckets [count] -> [H, count]: column i is the table's row buckets[i]. For td_attention_bias by distance. */
td_tensor *td_relative_bias(td_graph *graph, td_tensor *table, const int32_t *buckets, size_t count);
/* columns of a, then of b, ... [T, A + B + ...] */
td_tensor *td_concatenate(td_graph *graph, td_tensor *const *parts, size_t count);
/* rows x[index[0]], x[index[1]], ... ; a negative index gives a row of zeros. Backward adds into the rows. */
td_tensor *td_gather_rows(td_graph *graph, td_tensor *x, const int32_t *index, size_t count);

/* The mean of each sequence's rows: x [T, D] -> [count, D]; zeros for a sequence of none. */
td_tensor *td_mean_rows(td_graph *graph, td_tensor *x, td_ragged ragged);

/* Convolution over time of each sequence alone, between `padding` zeros on both sides: x [T, I], weight [O, I * kernel] (PyTorch's
 * [O, I, kernel]), bias [1, O] or NULL -> [T', O] and where its sequences begin (in the arena). A sequence shorter than the kernel
 * leaves no row. */
typedef struct td_convolution_options {
    size_t kernel, stride, padding;
} td_convolution_options;
td_tensor *td_conv_time(td_graph *graph, td_tensor *x, td_ragged ragged, td_tensor *weight, td_tensor *bias, td_convolution_options options,
                        td_ragged *ret_ragged);
/* Rows that a sequence of `length` rows becomes. */
size_t td_conv_time_length(size_t length, td_convolution_options options);
/* x [T, 2 D] -> x[:, :D] * activation(x[:, D:]) [T, D]; with TD_SIGMOID PyTorch's glu */
td_tensor *td_gated_linear(td_graph *graph, td_tensor *x, td_activation activation);
/* Each sequence as a whole: (x - mean) / sqrt(variance + epsilon) * weight + bias, weight and bias [1, D] by column (PyTorch's GroupNorm of
 * one group) */
td_tensor *td_sequence_norm(td_graph *graph, td_tensor *x, td_ragged ragged, td_tensor *weight, td_tensor *bias, td_real epsilon);

/* Cosine and sine of position * base^(-2i / dimensions) for each pair of columns i: [count, 2 * ceil(dimensions / 2)], in the arena. */
td_real *td_rotary_angles(td_graph *graph, const int32_t *positions, size_t count, size_t dimensions, td_real base);
typedef struct td_rotary_options {
    const td_real *angles;    /* a row for each of the tensor's */
    size_t pairs, head_width; /* columns 2i and 2i + 1 of a head turn, i < pairs */
    size_t first_left, left;  /* heads that are left as they are */
} td_rotary_options;
/* x [T, heads * head_width], turned (Su 2021, 3.2.2) */
td_tensor *td_rotary(td_graph *graph, td_tensor *x, const td_rotary_options *options);

/* Multi-head attention over ragged batches (Vaswani 2017, 3.2): for each sequence and head softmax(q k^T * scale) v.
 * q [Tq, H * D], k and v [Tk, H * D] -> [Tq, H * D]; query and key ragged have the same count of sequences.
 * causal: query i of a sequence of n queries and m keys sees keys 0 .. m - n + i.
 * dropout: on the probabilities. ret_probabilities (may be NULL): [sum over sequences of heads * n * m], see td_attention_weights. */
/* Added to the scores: of query i and key j in head h, values[h * head_step + first + i * row_step + j], where the queries of a
 * sequence count as its last positions: i runs from m - n. A row_step of -1 makes it a function of the distance alone. */
typedef struct td_attention_bias {
    td_tensor *values; /* NULL: none */
    size_t head_step, first;
    ptrdiff_t row_step;
    const size_t *of_sequence; /* added to `first`, one number for each sequence; NULL: nothing. In the arena */
} td_attention_bias;
/* `data` (the values or their gradient; NULL gives NULL) at a head's first query and key; past: m - n */
static inline td_real *td_attention_bias_at(const td_attention_bias *bias, td_real *data, size_t head, size_t past)
{
    return data ? data + (ptrdiff_t)(head * bias->head_step + bias->first) + (ptrdiff_t)past * bias->row_step : NULL;
}
typedef struct td_attention_options {
    size_t heads;
    bool causal;
    td_real scale; /* 0: 1 / sqrt(D) */
    td_real dropout;
    td_attention_bias bias;
} td_attention_options;
td_tensor *td_attention(td_graph *graph, td_tensor *query, td_ragged query_ragged, td_tensor *key, td_tensor *value, td_ragged key_ragged,
                        const td_attention_options *options, const td_real **ret_probabilities);

/* Output product, softmax and cross-entropy in one, in blocks of rows, so that the logits of a batch never exist.
 * hidden [T, D], weight [V, D], bias [1, V] or NULL, targets [T] -> sum of losses [1, 1]:
 * (1 - s) * nll(target) + s * mean over V of nll   (label smoothing as PyTorch and fairseq have it).
 * The gradients with respect to hidden, weight and bias are formed here, times `gradient_scale`; backward only passes them on
 * (the seed of td_backward is ignored). ret_nll (may be NULL): sum of plain nll. */
/* What a row may copy instead of generating: one of `ids`, of which those from V on are no ids of the vocabulary. */
typedef struct td_copy_source {
    const int32_t *ids;
    size_t length;
} td_copy_source;
/* The probability of id w is then g softmax(logits)(w) + (1 - g) * sum of the weights of source positions whose id is w, g = sigmoid(gate)
 * (See 2017, equation 9); targets may be ids of the row's source. Label smoothing spreads over the vocabulary's softmax alone. */
typedef struct td_copy_loss {
    td_tensor *weights;            /* [T, columns >= every source's length]: attention, each row sums to 1 over its source */
    td_tensor *gate;               /* [T, 1] */
    const td_copy_source *sources; /* [T] */
} td_copy_loss;
typedef struct td_cross_entropy_options {
    td_real label_smoothing;
    td_real gradient_scale;   /* usually 1 / target tokens of the whole step */
    td_real r_drop;           /* > 0: rows i and i + T/2 are the same positions under two dropout masks; adds
                                 r_drop * (KL(p|q) + KL(q|p)) / 2 to each pair's loss (Liang 2021) */
    const td_copy_loss *copy; /* NULL: targets are generated. Not with r_drop */
    const td_real *weights;   /* [T], of any sign: what each row's loss and its gradient are multiplied by; NULL: 1. Not with r_drop */
} td_cross_entropy_options;
td_tensor *td_projected_cross_entropy(td_graph *graph, td_tensor *hidden, td_tensor *weight, td_tensor *bias, const int32_t *targets,
                                      const td_cross_entropy_options *options, double *ret_nll);

/* Coverage loss (See 2017, equation 12): for every row of a sequence the sum over i of min(weights_i, earlier rows' weights_i), the total
 * over all sequences [1, 1]. weights [T, ...], targets: the sequences. The gradient, times `gradient_scale`, is formed here as in
 * td_projected_cross_entropy. */
td_tensor *td_coverage_loss(td_graph *graph, td_tensor *weights, td_ragged targets, td_real gradient_scale);

/* Doubly stochastic attention (Xu 2015): the sum over sequences and their source's parts i of (1 - sum over t of a_t,i)^2 -> [1, 1].
 * weights as above; sources: where each sequence's source lies, for its length. gradient_scale multiplies what is added to gradients. */
td_tensor *td_doubly_stochastic_loss(td_graph *graph, td_tensor *weights, td_ragged targets, td_ragged sources, td_real gradient_scale);

/* Recurrent layers: see ops/recurrent.h; pictures: ops/picture.h */
#endif
