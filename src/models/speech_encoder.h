/* What speech families share in front of their encoders: convolutions over time that make fewer rows of the frames, then positions. */
#ifndef TD_MODELS_SPEECH_ENCODER_H
#define TD_MODELS_SPEECH_ENCODER_H

#include "models/text_decoder.h"

typedef struct td_conv_layer {
    td_convolution_options options;
    td_parameter *weight, *bias;
} td_conv_layer;

/* Of networks whose family begins with td_two_stacks. */

/* The keys that all families write alike; the activation where `activation_function` is absent. */
td_status td_speech_sizes(const json_t *config, const char *file, td_network *network, const char *activation, size_t *ret_source_positions,
                          td_error *error);
/* What the configuration leaves no choice about: pre-norm stacks of one width under BART's names, checked. */
td_status td_speech_stacks(td_network *network, const char *file, td_error *error);

td_conv_layer td_conv_declare(td_parameters *parameters, size_t inputs, size_t outputs, td_convolution_options options, const char *prefix);
td_tensor *td_conv_apply(td_graph *graph, td_tensor *x, td_ragged ragged, const td_conv_layer *layer, td_ragged *ret_ragged);
/* The features as a tensor, after checking them: `width` columns, at least one row each. */
td_tensor *td_speech_input(td_graph *graph, const td_batch *source, size_t width);
/* What the convolutions made, with what stands at positions from `offset` on, through the encoder's layers. A recording of more rows than
 * there are positions is an error that says how many. */
td_status td_speech_encode(const td_network *network, td_graph *graph, td_tensor *x, td_ragged ragged, size_t offset,
                           td_memory *ret_memory);

#endif
