/* Convolutional encoders of pictures, as a part that any family can have in front: pixels -> feature map, the grid of the last
 * layer. The kinds (mobilenet_v2, resnet, tandem-cnn) are a table in cnn.c; names and shapes of the weights are those of Hugging
 * Face's checkpoints.
 *
 * A kind's batch norms use their running statistics in every graph, and are fine-tuned with those held fast, as is usual for the small
 * batches of fine-tuning; only tandem-cnn, which is trained from scratch, normalises by the batch (one shard of a step) while
 * graph->training, and its running statistics follow, see td_parameters_statistic: the same numbers on any number of threads. */
#ifndef TD_MODELS_CNN_H
#define TD_MODELS_CNN_H

#include "layers/parameters.h"
#include "ops/picture.h"

#include <jansson.h>

typedef struct td_cnn td_cnn;

/* config: the object whose "model_type" names the kind; file: for messages. Declares the weights as prefix + their name in the kind's
 * own checkpoints ("encoder." + "conv_stem.first_conv.convolution.weight"), under which, with and without the kind's own prefix
 * ("mobilenet_v2."), files may hold them too. trained_blocks: how many of the last blocks (a stage of the kind's list: a convolution or a
 * few with a residual around them) are trained; those before them are kept as they are (saved, not trained) and their gradients never
 * computed. Call before td_parameters_allocate. */
#define TD_CNN_ALL SIZE_MAX
td_status td_cnn_configure(const json_t *config, const char *file, const char *prefix, size_t trained_blocks, td_parameters *parameters,
                           td_cnn **ret_cnn, td_error *error);
void td_cnn_free(td_cnn *cnn); /* NULL is fine */
/* Bytes of results of pictures that go together in training (64 MB), and of all of a graph up to which they are kept until the way back
 * (256 MB). */
void td_cnn_set_memory(td_cnn *cnn, size_t group, size_t kept);

size_t td_cnn_channels(const td_cnn *cnn);        /* columns of the feature map */
size_t td_cnn_frozen_channels(const td_cnn *cnn); /* of td_cnn_frozen's result; 0: everything is trained */
/* Size of the feature map of pictures of this size; an error when a picture is too small. */
td_status td_cnn_output(const td_cnn *cnn, td_grid pictures, td_grid *ret_map, td_error *error);

/* pixels [rows of pictures, 3], normalised as the checkpoint wants them -> feature map [rows of *ret_map, channels], that is
 * transformers' last_hidden_state. But for norms of the batch, which are folded into the convolutions otherwise, pictures do not depend on
 * each other. When nothing needs a gradient, they are done one after the other in the same memory, each with the result it has alone;
 * what the arena keeps is the map. Where gradients are wanted, they go in groups, one picture at least, and when all groups
 * together would be large, only the map is kept and each is done once more on the way back; the bits do not depend on that. The pooled
 * vectors (transformers' pooler_output) are td_global_average_pool(graph, map, *ret_map). NULL after a failure, noted in the graph. */
td_tensor *td_cnn_forward(const td_cnn *cnn, td_graph *graph, td_tensor *pixels, td_grid pictures, td_grid *ret_map);
/* Its two halves: what is not trained makes of pixels, and what the trained blocks make of that (x itself where there are none). */
td_tensor *td_cnn_frozen(const td_cnn *cnn, td_graph *graph, td_tensor *pixels, td_grid pictures, td_grid *ret_map);
td_tensor *td_cnn_trained(const td_cnn *cnn, td_graph *graph, td_tensor *x, td_grid pictures, td_grid *ret_map);

#endif
