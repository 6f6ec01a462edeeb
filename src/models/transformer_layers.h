/* Layers of attention and feed-forward, in stacks, as every Transformer family has them; what differs between families (names, norms,
 * sizes) is data. A family makes rows of width `width`, gives them to a stack, and has the decoder's state from here too. */
#ifndef TD_MODELS_TRANSFORMER_LAYERS_H
#define TD_MODELS_TRANSFORMER_LAYERS_H

#include "models/architecture.h"
#include "models/key_value_cache.h"
#include "ops/ops.h"

/* What weights are called behind a layer's prefix; two names where self- and cross-attention differ. */
typedef struct td_layer_names {
    const char *query[2], *key[2], *value[2], *output[2], *norm[2];
    const char *fc1, *fc2, *final_norm;
    bool transposed; /* files hold matrices as [inputs, outputs] (GPT-2) */
    bool joined; /* query, key and value of one tensor, q | k | v, called as `query` says; in cross-attention k | v, called as `key` says */
} td_layer_names;

extern const td_layer_names td_layer_names_bart;

typedef struct td_norm_layer {
    td_parameter *weight, *bias;
} td_norm_layer;

/* Query, key and value are declared one after the other, as td_linear_several wants them. */
typedef struct td_attention_layer {
    td_parameter *weight[3], *bias[3]; /* k, v, q: the memory's two products first, so that [k v] and [k v q] are both spans */
    td_parameter *output_weight, *output_bias;
    td_norm_layer norm;
} td_attention_layer;

typedef struct td_transformer_layer {
    td_attention_layer self, cross; /* cross: decoder only */
    td_parameter *fc1_weight, *fc1_bias, *fc2_weight, *fc2_bias;
    td_norm_layer norm;
} td_transformer_layer;

typedef struct td_transformer_stack {
    size_t layers, heads, feed_forward, width;
    size_t memory_width;      /* columns of what cross-attention looks at; 0: there is none */
    bool pre_norm;            /* norm before each block, and once more at the end; else after each */
    bool missing_bias;        /* files may lack biases of query, key and value: they are zero then */
    bool bare;                /* files may lack those of attention's output and of norms too */
    bool gated;               /* fc1 makes values and then gates, which are activated (Shazeer 2020) */
    size_t rotary_dimensions; /* columns of a head that turn with the position in self-attention (see td_rotary); 0: none */
    td_real rotary_base;
    td_real epsilon;
    td_activation activation;
    const td_layer_names *names;
    td_transformer_layer *layer;              /* owned */
    td_parameter *embedding, *positions;      /* positions: or NULL */
    td_parameter *token_types;                /* BERT: its first row is added to every position; or NULL */
    td_norm_layer embedding_norm, final_norm; /* final: applied when declared */
} td_transformer_stack;

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

/* ---- the decoder ---- */

struct td_decoder_state {
    td_key_value_cache cache;
    td_memory memory; /* while recording: the memory of this step */
    size_t recorded_rows;
    td_memory_group *added;    /* by the last begin without a tape; valid until the next */
    td_copying copying;        /* of the last decode, of networks that copy */
    td_watched_heads *watched; /* or NULL */
};

/* A decoder of text with attention. A family whose struct begins with one takes the functions below for its row of the table. */
typedef struct td_text_decoder {
    td_transformer_stack stack;
    td_real embedding_scale;
    size_t position_offset;                /* row of the first position */
    bool zero_start;                       /* the token at the first position is not looked up: its embedding is zero (Marian) */
    td_parameter *head_weight, *head_bias; /* BERT: hidden -> norm(activation(hidden weight^T + bias)) before the logits; or NULL */
    td_norm_layer head_norm;
    td_activation head_activation;
    td_parameter *logits_weight, *logits_bias;
} td_text_decoder;

/* ids at `positions` -> embeddings, ready for the first layer */
td_tensor *td_text_embed(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_real scale, const int32_t *ids,
                         size_t count, const int32_t *positions);
td_projection td_text_decoder_projection(const td_network *network);
td_status td_text_decoder_state_new(const td_network *network, td_decoder_state **ret_state, td_error *error);
void td_attention_state_free(td_decoder_state *state);
td_status td_text_decoder_begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state);
td_status td_text_decoder_decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                                 td_tensor **ret_hidden, const td_real **ret_attention);
td_status td_attention_reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error);
void td_attention_watch(td_decoder_state *state, td_watched_heads *heads);
size_t td_attention_state_rows(const td_decoder_state *state);

/* The decoder's part of a row of the table. */
#define TD_TEXT_DECODER_FUNCTIONS                                                                                                          \
    .projection = td_text_decoder_projection, .state_new = td_text_decoder_state_new, .state_free = td_attention_state_free,               \
    .begin = td_text_decoder_begin, .decode = td_text_decoder_decode, .reorder = td_attention_reorder,                                     \
    .state_rows = td_attention_state_rows, .watch = td_attention_watch
/* ---- reading configurations ---- */

/* A size from the configuration: `key` must be there and within 1..limit. */
td_status td_config_size(const json_t *config, const char *file, const char *key, size_t limit, size_t *ret_size, td_error *error);
td_status td_config_id(const json_t *config, const char *file, const char *key, int32_t *ret_id, td_error *error);
/* pad, eos, bos, decoder start; a key that is not there means what "model_type" usually has. */
td_status td_config_ids(const json_t *config, const char *file, td_network *network, td_error *error);
/* For families whose positions do not count padding, `pad`: a target that begins with it would have no first position. */
td_status td_config_counted_start(const char *file, int32_t pad, const td_network *network, td_error *error);
/* A size; `fallback` where it is not given. */
td_status td_config_size_or(const json_t *config, const char *file, const char *key, size_t limit, size_t fallback, size_t *ret_size,
                            td_error *error);
/* A number above 0. */
td_status td_config_real(const json_t *config, const char *file, const char *key, double fallback, td_real *ret_value, td_error *error);
/* The ids of the whole model where it names them, else those of its decoder's configuration. */
td_status td_config_nested_ids(const json_t *config, const json_t *decoder, const char *file, td_network *network, td_error *error);
td_status td_config_activation(const json_t *config, const char *file, const char *key, const char *fallback, td_activation *ret_activation,
                               td_error *error);
/* `key` must be `wanted` where it is given: another value would mean another network than `model_type` has here. */
td_status td_config_flag(const json_t *config, const char *file, const char *model_type, const char *key, bool wanted, td_error *error);

#endif
