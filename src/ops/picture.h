/* Operations on pictures. Pictures of one size lie end to end, row by row, a pixel (or a place of a feature map) a row of its
 * channels: picture n, line y, place x is row (n * height + y) * width + x. So a 1 x 1 convolution is td_linear. */
#ifndef TD_OPS_PICTURE_H
#define TD_OPS_PICTURE_H

#include "tensor/graph.h"

typedef struct td_grid {
    size_t count, height, width; /* pictures, lines of each, places of a line */
} td_grid;
static inline size_t td_grid_rows(td_grid grid)
{
    return grid.count * grid.height * grid.width;
}

/* What one place of the output sees. Padding is counted in places of zeros (for a maximum: places that never win). */
typedef struct td_window {
    size_t height, width, stride;
    size_t top, left, bottom, right; /* padding */
} td_window;

/* A square window with the same padding on all sides. */
td_window td_window_square(size_t size, size_t stride, size_t padding);
/* A square window with TensorFlow's "SAME" padding: ceil(size / stride) places come out, the odd place of padding goes below and to
 * the right. */
td_window td_window_same(size_t size, size_t stride, td_grid grid);
/* False when no whole window fits. */
bool td_window_output(td_window window, td_grid grid, td_grid *ret_grid);

/* x [rows of grid, I], weight [O, I * height * width] (PyTorch's [O, I, height, width]), bias [1, O] or NULL -> [rows, O] */
td_tensor *td_conv2d(td_graph *graph, td_tensor *x, td_grid grid, td_tensor *weight, td_tensor *bias, td_window window, td_grid *ret_grid);
/* The weight in the order in which a convolution reads it, places of the window first, channels last: a copy, arranged once for many
 * pictures. */
td_tensor *td_conv2d_arrange(td_graph *graph, td_tensor *weight, td_window window);
/* td_conv2d of an arranged weight; one of a window of a single place is arranged as it is. */
td_tensor *td_conv2d_arranged(td_graph *graph, td_tensor *x, td_grid grid, td_tensor *weight, td_tensor *bias, td_window window,
                              td_grid *ret_grid);
/* Each channel by a window of its own: weight [C, height * width] (PyTorch's [C, 1, height, width] with groups = C). */
td_tensor *td_conv2d_depthwise(td_graph *graph, td_tensor *x, td_grid grid, td_tensor *weight, td_tensor *bias, td_window window,
                               td_grid *ret_grid);

td_tensor *td_max_pool(td_graph *graph, td_tensor *x, td_grid grid, td_window window, td_grid *ret_grid);
/* Padding counts as zeros, as PyTorch has it. */
td_tensor *td_average_pool(td_graph *graph, td_tensor *x, td_grid grid, td_window window, td_grid *ret_grid);
/* The mean of each picture: [rows of grid, C] -> [count, C] */
td_tensor *td_global_average_pool(td_graph *graph, td_tensor *x, td_grid grid);

/* Batch normalisation (Ioffe, Szegedy 2015): (x - mean) / sqrt(variance + epsilon) * weight + bias for each channel. All [1, C]. */
typedef struct td_batch_norm_weights {
    td_tensor *weight, *bias, *mean, *variance; /* mean, variance: the running statistics */
    td_real epsilon;
} td_batch_norm_weights;
/* from_batch: mean and variance are those of the rows of x, and backward passes through them; where the running statistics have a
 * gradient's place (td_parameters_statistic), graph->share of the batch's mean and unbiased variance is added there.
 * Otherwise mean and variance are the running ones, as constants. */
td_tensor *td_batch_norm(td_graph *graph, td_tensor *x, const td_batch_norm_weights *norm, bool from_batch);
/* The running-statistics form as part of the convolution before it: *weight [O, ...] with its rows scaled, and *ret_bias [1, O]. What is no
 * parameter and needs no gradient is scaled in place. So nothing of the convolution's own result has to be kept to go back. */
bool td_batch_norm_fold(td_graph *graph, const td_batch_norm_weights *norm, td_tensor **weight, td_tensor **ret_bias);

#endif
