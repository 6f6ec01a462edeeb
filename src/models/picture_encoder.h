/* What captioners have in front: cells of a picture, made by a convolutional network that belongs to the model, or given. */
#ifndef TD_MODELS_PICTURE_ENCODER_H
#define TD_MODELS_PICTURE_ENCODER_H

#include "models/architecture.h"
#include "models/cnn.h"

/* "encoder": the network's own configuration, its weights under "encoder.cnn."; "encoder_frozen": whether it is left as it is (true), but
 * for the last "encoder_trained_blocks" (0) of it. Then sources are pixels, three columns, or what the frozen part makes of them. Without
 * "encoder" they are cells of "feature_size" columns. ret_cnn: NULL without. ret_width: columns of a cell. */
td_status td_picture_encoder_configure(const json_t *config, const char *file, td_network *network, td_cnn **ret_cnn, size_t *ret_width,
                                       td_error *error);
/* The cells of square pictures or, where the source has a cell's columns already, the source. ret_ragged: where each picture's begin. */
td_tensor *td_picture_cells(const td_network *network, const td_cnn *cnn, td_graph *graph, const td_batch *source, td_ragged *ret_ragged);
/* architecture->frozen of a captioner. */
td_status td_picture_frozen(const td_cnn *cnn, td_graph *graph, const td_batch *source, td_memory *ret_features);

#endif
