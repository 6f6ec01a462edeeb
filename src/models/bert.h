/* BERT as the encoder and the decoder of larger models (Devlin 2019; Rothe 2020 on joining two): norms after each block, learned positions,
 * an embedding norm, and a head that transforms the states once more before the product with the vocabulary. RoBERTa counts positions
 * from after the padding's; BLIP's text decoder has no token types. */
#ifndef TD_MODELS_BERT_H
#define TD_MODELS_BERT_H

#include "models/text_decoder.h"

typedef struct td_bert_kind {
    const char *model_type; /* as nested configurations name it */
    const char *base;       /* the model's name below one with a head */
    const char *head;       /* prefixes of the head's parts */
    const char *head_norm, *head_bias, *head_output;
    const char *head_activation; /* NULL: as "hidden_act" */
    bool token_types;
    bool offset;                  /* positions begin after the padding's */
    size_t words, positions, pad; /* when the configuration does not say */
} td_bert_kind;

extern const td_bert_kind td_bert_kind_blip;
/* By "model_type"; NULL when it is none. */
const td_bert_kind *td_bert_kind_find(const char *model_type);

/* What a configuration says of the tables. */
typedef struct td_bert_sizes {
    size_t words, positions, types, offset;
} td_bert_sizes;

td_status td_bert_read(const td_bert_kind *kind, const json_t *config, const char *file, td_transformer_stack *stack,
                       td_bert_sizes *ret_sizes, td_error *error);
/* Declares "prefix.embeddings" and "prefix.encoder.layer". */
td_status td_bert_declare(td_parameters *parameters, const td_bert_kind *kind, const td_bert_sizes *sizes, td_transformer_stack *stack,
                          const char *prefix, td_error *error);
/* Reads and declares a decoder under "prefix." whose memory has `memory_width` columns, with its head; sets the network's vocabulary and
 * limits its positions. */
td_status td_bert_decoder_configure(const td_bert_kind *kind, const json_t *config, const char *file, const char *prefix,
                                    size_t memory_width, td_network *network, td_text_decoder *decoder, td_error *error);

#endif
