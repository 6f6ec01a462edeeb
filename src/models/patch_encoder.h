/* A Transformer over the squares of a picture (Dosovitskiy 2020), with a class token (and DeiT's distillation token, Touvron 2020) in
 * front: the encoder of ViT, DeiT and BLIP. A picture comes as pixels, row by row from the top left. */
#ifndef TD_MODELS_PATCH_ENCODER_H
#define TD_MODELS_PATCH_ENCODER_H

#include "models/transformer_layers.h"

/* What weights are called behind the encoder's prefix. */
typedef struct td_patch_names {
    const char *model_type;
    const td_layer_names *layer;
    const char *tokens[2]; /* in front of the patches; NULL: one only */
    const char *positions, *projection, *layers, *final_norm;
    double epsilon; /* when the configuration does not say */
} td_patch_names;

extern const td_patch_names td_patch_names_blip;
/* ViT or DeiT, by "model_type"; NULL when it is none. */
const td_patch_names *td_patch_names_find(const char *model_type);

typedef struct td_patch_encoder {
    td_transformer_stack stack;
    size_t image_size, patch_size, channels;
    size_t tokens;
    td_parameter *token[2];
    td_parameter *patch_weight, *patch_bias;
} td_patch_encoder;

td_status td_patch_encoder_configure(const td_patch_names *names, const json_t *config, const char *file, const char *prefix,
                                     td_parameters *parameters, td_patch_encoder *encoder, td_error *error);
/* Squares of pixels as rows [pictures * squares, channels * patch^2], in the order of the weight: channel, row, column.
 * Zeros stand where the last squares reach beyond the picture. */
td_tensor *td_patch_rows(td_graph *graph, const td_batch *source, size_t height, size_t width, size_t patch);
/* pixels [pictures * image_size^2, channels] -> [pictures * (tokens + patches), width] */
td_tensor *td_patch_encode(const td_patch_encoder *encoder, const td_network *network, td_graph *graph, const td_batch *source,
                           td_ragged *ret_ragged);

#endif
