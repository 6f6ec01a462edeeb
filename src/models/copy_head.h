/* Copying in a Transformer: a head of its own on top of the decoder reads the source; its attention is the distribution over source
 * positions, and a gate decides between that and the vocabulary (See 2017). What is done with them: models/copying.h. */
#ifndef TD_MODELS_COPY_HEAD_H
#define TD_MODELS_COPY_HEAD_H

#include "models/transformer_layers.h"

typedef struct td_copy_head {
    td_parameter *query_weight, *query_bias, *key_weight, *key_bias;
    td_parameter *gate_weight, *gate_bias; /* [1, 2 D]: of the decoder's state and what the head read */
} td_copy_head;

/* For a decoder and an encoder of one width D. */
void td_copy_head_declare(td_parameters *parameters, size_t width, td_copy_head *head);
/* After the layers' begin without a tape: the head's keys and values of the memory that it added. */
void td_copy_head_begin(const td_copy_head *head, td_graph *graph, const td_memory *memory, td_decoder_state *state);
/* x: the decoder's hidden rows. ret_attention: while nothing is recorded, as td_architecture.decode has it. */
td_copying td_copy_head_apply(const td_copy_head *head, td_graph *graph, td_ragged targets, td_decoder_state *state, td_tensor *x,
                              const td_real **ret_attention);

#endif
