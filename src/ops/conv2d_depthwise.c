/* Depthwise convolution (Howard 2017): every channel by its own window. Too few multiplications a number for a matrix product, so
 * the window's places are taken one by one, each for all channels at once. */
#include "ops/windows.h"

#include <string.h>

typedef struct depthwise_operation {
    td_tensor *x, *weight, *bias, *y;
    td_grid grid, output;
    td_window window;
    td_real *taps; /* [places, C]: the weight turned */
} depthwise_operation;

static void turn(const td_real *x, size_t rows, size_t columns, td_real *y)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < columns; column++)
            y[column * rows + row] = x[row * columns + column];
}

static void depthwise_backward(td_graph *graph, void *operation)
{
    depthwise_operation *op = operation;
    size_t channels = op->x->columns, places = op->window.height * op->window.width;
    if (!op->y->gradient)
        return;
    td_real *dx = td_gradient(graph, op->x), *dweight = td_gradient(graph, op->weight), *dbias = td_gradient(graph, op->bias);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *dtaps = td_graph_allocate(graph, 2 * channels * places, sizeof *dtaps);
    if (!dtaps)
        return;
    memset(dtaps, 0, channels * places * sizeof *dtaps);
    for (size_t row = 0; row < op->y->rows; row++) {
        const td_real *dy = op->y->gradient + row * channels;
        td_place place = td_window_place(op->grid, op->output, op->window, row);
        for (size_t y = place.lines.first; y < place.lines.last; y++)
            for (size_t x = place.places.first; x < place.places.last; x++) {
                size_t input = (place.input + y * place.width + x) * channels, tap = (y * op->window.width + x) * channels;
                if (dx)
                    graph->kernels->add_product(dx + input, dy, op->taps + tap, channels);
                graph->kernels->add_product(dtaps + tap, dy, op->x->data + input, channels);
            }
        if (dbias)
            graph->kernels->add(dbias, dy, channels);
    }
    turn(dtaps, places, channels, dtaps + channels * places);
    if (dweight)
        graph->kernels->add(dweight, dtaps + channels * places, channels * places);
    td_arena_release_to(graph->arena, mark);
}

static void forward(td_graph *graph, const depthwise_operation *op)
{
    size_t channels = op->x->columns;
    for (size_t row = 0; row < op->y->rows; row++) {
        td_real *out = op->y->data + row * channels;
        td_place place = td_window_place(op->grid, op->output, op->window, row);
        if (op->bias)
            memcpy(out, op->bias->data, channels * sizeof *out);
        else
            memset(out, 0, channels * sizeof *out);
        for (size_t y = place.lines.first; y < place.lines.last; y++)
            for (size_t x = place.places.first; x < place.places.last; x++)
                graph->kernels->add_product(out, op->x->data + (place.input + y * place.width + x) * channels,
                                            op->taps + (y * op->window.width + x) * channels, channels);
    }
}

td_tensor *td_conv2d_depthwise(td_graph *graph, td_tensor *x, td_grid grid, td_tensor *weight, td_tensor *bias, td_window window,
                               td_grid *ret_grid)
{
    TD_PROFILE(graph->recorder, "depthwise convolution");
    td_grid output;
    if (!weight || !td_window_check(graph, "conv2d_depthwise", x, grid, window, &output))
        return NULL;
    size_t places = window.height * window.width, channels = x->columns;
    if (weight->rows != channels || weight->columns != places || (bias && bias->columns != channels))
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "conv2d_depthwise: %zu channels, window %zu x %zu, weight [%zu, %zu]", channels,
                             window.height, window.width, weight->rows, weight->columns);
    bool gradient = td_needs_gradient(x) || td_needs_gradient(weight) || td_needs_gradient(bias);
    depthwise_operation *op = td_graph_allocate(graph, 1, sizeof *op);
    td_tensor *y = td_tensor_new(graph, td_grid_rows(output), channels, gradient);
    td_real *taps = td_graph_allocate(graph, places * channels, sizeof *taps);
    if (!op || !y || !taps)
        return NULL;
    turn(weight->data, channels, places, taps);
    *op = (depthwise_operation){x, weight, bias, y, grid, output, window, taps};
    forward(graph, op);
    if (y->requires_gradient)
        td_record(graph, depthwise_backward, op);
    *ret_grid = output;
    return y;
}
