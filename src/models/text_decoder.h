/* A stack that writes text: ids to embeddings, layers with cross-attention and a cache of what was read, and the last product. */
#ifndef TD_MODELS_TEXT_DECODER_H
#define TD_MODELS_TEXT_DECODER_H

#include "models/copy_head.h"
#include "models/transformer_layers.h"

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
    td_real logits_scale; /* 0: 1 */
    td_copy_head copy;    /* of a network that copies */
} td_text_decoder;

/* With the stack that it looks at: what the structs of most families begin with. */
typedef struct td_two_stacks {
    td_text_decoder decoder; /* first: the shared functions look for it there */
    td_transformer_stack encoder;
} td_two_stacks;
/* td_architecture.release for those that own nothing else. */
void td_two_stacks_release(td_network *network);

td_projection td_text_decoder_projection(const td_network *network);
td_status td_text_decoder_state_new(const td_network *network, td_decoder_state **ret_state, td_error *error);
void td_text_decoder_state_free(td_decoder_state *state);
td_status td_text_decoder_begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state);
td_status td_text_decoder_decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                                 td_tensor **ret_hidden, const td_real **ret_attention);
td_status td_text_decoder_reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error);
void td_text_decoder_watch(td_decoder_state *state, td_watched_heads *heads);
size_t td_text_decoder_state_rows(const td_decoder_state *state);
td_copying td_text_decoder_copying(const td_decoder_state *state);

/* The decoder's part of a row of the table. */
#define TD_TEXT_DECODER_FUNCTIONS                                                                                                          \
    .projection = td_text_decoder_projection, .state_new = td_text_decoder_state_new, .state_free = td_text_decoder_state_free,            \
    .begin = td_text_decoder_begin, .decode = td_text_decoder_decode, .reorder = td_text_decoder_reorder,                                  \
    .state_rows = td_text_decoder_state_rows, .watch = td_text_decoder_watch, .copying = td_text_decoder_copying

#endif
