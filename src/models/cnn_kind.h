/* What a kind of CNN gives: from its configuration it builds a list of blocks of convolutions. */
#ifndef TD_MODELS_CNN_KIND_H
#define TD_MODELS_CNN_KIND_H

#include "models/cnn.h"
#include "models/configuration.h"

/* Convolution, batch norm, activation. */
typedef struct td_cnn_layer {
    size_t inputs, outputs, size, stride;
    bool depthwise;
    td_activation activation;
    const td_parameter *weight, *norm_weight, *norm_bias, *mean, *variance; /* set by td_cnn_convolution */
} td_cnn_layer;

typedef enum td_cnn_residual { TD_CNN_PLAIN, TD_CNN_RESIDUAL, TD_CNN_SHORTCUT } td_cnn_residual;

/* Convolutions first .. first + count, one after the other; RESIDUAL adds the block's input to the result, SHORTCUT what the convolution
 * after the last makes of the input; then the activation. */
typedef struct td_cnn_block {
    size_t first, count;
    td_cnn_residual residual;
    td_activation activation;
    bool max_pool; /* instead of all that: 3 x 3, stride 2, padding 1 */
} td_cnn_block;

/* The CNN while a kind builds it. Failures are kept in parameters->error. */
typedef struct td_cnn_builder {
    td_cnn *cnn;
    td_parameters *parameters;
    const char *prefix, *own_prefix; /* own_prefix: of the kind's checkpoints with a head on top, "resnet." */
    bool statistics;                 /* of the batch in training */
    bool same_padding;               /* TensorFlow's; else half the window's size on all sides */
    double epsilon;
} td_cnn_builder;

/* Adds a convolution; name: what comes before ".convolution.weight". */
void td_cnn_convolution(td_cnn_builder *builder, td_cnn_layer layer, const char *name);
/* Makes a block of the convolutions added since the last one. */
void td_cnn_end_block(td_cnn_builder *builder, td_cnn_residual residual, td_activation activation);
void td_cnn_max_pool(td_cnn_builder *builder);

typedef struct td_cnn_kind {
    const char *name, *own_prefix;
    bool statistics;
    td_status (*build)(td_cnn_builder *builder, const json_t *config, const char *file, td_error *error);
} td_cnn_kind;
extern const td_cnn_kind td_cnn_mobilenet_v2, td_cnn_resnet, td_cnn_tandem;

/* A list of 1 .. TD_CNN_MAX_STAGES integers from 1 to limit. */
enum { TD_CNN_MAX_STAGES = 16 };
td_status td_cnn_get_sizes(const json_t *config, const char *file, const char *key, size_t limit, size_t sizes[TD_CNN_MAX_STAGES],
                           size_t *ret_count, td_error *error);

#endif
