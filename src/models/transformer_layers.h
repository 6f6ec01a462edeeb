/* Layers of attention and feed-forward, in stacks, as every Transformer family has them; what differs between families (names, norms,
 * sizes) is data. A family makes rows of width `width`, gives them to a stack, and has the decoder's state from here too. */
#ifndef TD_MODELS_TRANSFORMER_LAYERS_H
#define TD_MODELS_TRANSFORMER_LAYERS_H

#include "models/architecture.h"
#include "models/cached_attention.h"
#include "models/relative_positions.h"
#include "ops/ops.h"

/* What weights are called behind a layer's prefix; two names where self- and cross-attention differ. */
typedef struct td_layer_names {
    const char *query[2], *key[2], *value[2], *output[2], *norm[2];
    const char *fc1, *fc2, *final_norm;
    const char *gate; /* of gated layers: the gate's own matrix; NULL: fc1 makes both */
    bool transposed;  /* files hold matrices as [inputs, outputs] (GPT-2) */
    bool joined; /* query, key and value of one tensor, q | k | v, called as `query` says; in cross-attention k | v, called as `key` says */
} td_layer_names;

extern const td_layer_names td_layer_names_bart;

typedef struct td_norm_layer {
    td_parameter *weight, *bias; /* bias NULL: root mean square */
} td_norm_layer;

/* Query, key and value are declared one after the other, as td_linear_several wants them; so are fc1 and the gate. Biases are NULL in
 * stacks that have none. */
typedef struct td_attention_layer {
    td_parameter *weight[3], *bias[3]; /* k, v, q: the memory's two products first, so that [k v] and [k v q] are both spans */
    td_parameter *output_weight, *output_bias;
    td_norm_layer norm;
} td_attention_layer;

typedef struct td_transformer_layer {
    td_attention_layer self, cross;                                            /* cross: decoder only */
    td_parameter *fc1_weight, *gate_weight, *fc1_bias, *fc2_weight, *fc2_bias; /* gate: NULL where fc1 makes it, or there is none */
    td_norm_layer norm;
} td_transformer_layer;

typedef struct td_transformer_stack {
    size_t layers, heads, feed_forward, width;
    size_t head_width;        /* 0: width / heads */
    size_t memory_width;      /* columns of what cross-attention looks at; 0: there is none */
    bool pre_norm;            /* norm before each block, and once more at the end; else after each */
    bool missing_bias;        /* files may lack biases of query, key and value: they are zero then */
    bool bare;                /* files may lack those of attention's output and of norms too */
    bool unbiased;            /* nothing has a bias, and norms are root mean square */
    bool unscaled;            /* scores are not divided by the root of a head's width; queries begin smaller by as much */
    bool normal;              /* matrices begin normal, of deviation 1 / sqrt(inputs), not as Glorot has them */
    bool final_dropout;       /* on what the stack gives, too */
    bool gated;               /* fc1 makes values and then gates, which are activated (Shazeer 2020) */
    size_t rotary_dimensions; /* columns of a head that turn with the position in self-attention (see td_rotary); 0: none */
    td_real rotary_base;
    td_relative_positions relative; /* of self-attention */
    td_real epsilon;
    td_activation activation;
    const td_layer_names *names;
    td_transformer_layer *layer;              /* owned */
    td_parameter *embedding, *positions;      /* positions: or NULL */
    td_parameter *token_types;                /* BERT: its first row is added to every position; or NULL */
    td_norm_layer embedding_norm, final_norm; /* final: applied when declared */
} td_transformer_stack;

/* Columns of queries, of keys and of values. */
size_t td_stack_inner_width(const td_transformer_stack *stack);
/* A width or a number of heads that no stack can have is an error naming `file` and the width's key. */
td_status td_stack_check(const td_transformer_stack *stack, const char *file, const char *width_key, td_error *error);
/* Allocates and declares layers "prefix.0", "prefix.1", ... */
td_status td_stack_declare(td_parameters *parameters, td_transformer_stack *stack, const char *prefix, td_error *error);
td_norm_layer td_norm_declare(td_parameters *parameters, size_t width, const char *prefix_format, ...) TD_PRINTF(3, 4);

td_tensor *td_norm_apply(td_graph *graph, td_tensor *x, td_norm_layer norm, td_real epsilon);
/* x weight^T + bias; bias may be NULL */
td_tensor *td_linear_apply(td_graph *graph, td_tensor *x, const td_parameter *weight, const td_parameter *bias);
/* x [total, width] through all layers and the final norm, each sequence looking at itself alone. */
td_tensor *td_stack_encode(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_ragged ragged, td_tensor *x);
/* Position of every row in its sequence, from first[sequence] (NULL: 0) + offset; in the arena. */
int32_t *td_count_positions(td_graph *graph, td_ragged ragged, const int32_t *first, size_t offset);

/* Row p: sin(p f_0) .. sin(p f_h-1), cos(p f_0) .. cos(p f_h-1), f_j = 10000^(-j / steps) (Vaswani 2017, 3.5), not interleaved. */
void td_fill_sinusoids(td_parameter *table, double steps);

/* Rows -> with what stands at their `positions` added, ready for the first layer. */
td_tensor *td_stack_place(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_tensor *x,
                          const int32_t *positions);
/* ids at `positions` -> embeddings times `scale`, ready for the first layer */
td_tensor *td_text_embed(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_real scale, const int32_t *ids,
                         size_t count, const int32_t *positions);
/* Words through the whole stack, the first at position `offset`. */
td_tensor *td_text_encode(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_real scale, size_t offset,
                          const td_batch *source);

/* ---- stacks with cross-attention ---- */

struct td_decoder_state {
    td_key_value_cache cache;
    td_memory memory; /* while recording: the memory of this step */
    size_t recorded_rows;
    td_memory_group *added;    /* by the last begin without a tape; valid until the next */
    td_copying copying;        /* of the last decode, of networks that copy */
    td_watched_heads *watched; /* or NULL */
};

/* td_architecture.begin, for the layers. */
td_status td_stack_begin(const td_transformer_stack *stack, td_graph *graph, const td_memory *memory, td_decoder_state *state);
/* Makes room for the targets; where they stand, in the arena. */
int32_t *td_stack_extend(td_graph *graph, td_decoder_state *state, td_ragged targets, size_t offset);
/* x [total, width], embedded, through all layers and the final norm. attention: as td_architecture.decode has it, or NULL. */
td_tensor *td_stack_decode(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_ragged targets,
                           td_decoder_state *state, td_tensor *x, const td_real **attention);

#endif
