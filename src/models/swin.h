/* A hierarchical Transformer over a picture (Liu 2021): attention within windows, shifted in every second layer, and
 * cells merged four to one between stages. The encoder of Swin and Donut (Kim 2022). A picture comes as pixels, row by
 * row from the top left. */
#ifndef TD_MODELS_SWIN_H
#define TD_MODELS_SWIN_H

#include "models/transformer_layers.h"

typedef struct td_swin td_swin;

/* Whether "model_type" is one of this family's. */
bool td_swin_is(const char *model_type);
td_status td_swin_configure(const json_t *config, const char *file, const char *prefix, td_parameters *parameters, td_swin **ret_swin,
                            td_error *error);
void td_swin_free(td_swin *swin);
size_t td_swin_width(const td_swin *swin);    /* columns of a cell */
size_t td_swin_channels(const td_swin *swin); /* of a pixel */
/* Of a picture, in the last stage. */
void td_swin_cells(const td_swin *swin, size_t *ret_rows, size_t *ret_columns);
/* pixels [pictures * height * width, channels] -> [pictures * cells, width] */
td_tensor *td_swin_encode(const td_swin *swin, const td_network *network, td_graph *graph, const td_batch *source, td_ragged *ret_ragged);

#endif
