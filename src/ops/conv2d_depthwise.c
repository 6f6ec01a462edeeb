/* Depthwise convolution (Howard 2017): every channel by its own window. Too few multiplications a number for a matrix product, so
 * each row is summed over the window's places, all channels at once. */
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

enum { MOST_FACTORS = 64 }; /* of one call */

/* What is added to one row, collected so that it stays in registers meanwhile. */
typedef struct depthwise_sum {
    const td_kernels *kernels;
    size_t channels, count;
    td_real *y;
    td_factors factors[MOST_FACTORS];
} depthwise_sum;

static void flush(depthwise_sum *sum)
{
    if (sum->count)
        sum->kernels->add_products(sum->y, sum->factors, sum->count, sum->channels);
    sum->count = 0;
}

static void add_to(depthwise_sum *sum, const td_real *a, const td_real *b)
{
    if (sum->count == MOST_FACTORS)
        flush(sum);
    sum->factors[sum->count++] = (td_factors){a, b};
}

/* Windows first .. last of those along one side, of so many, see the place. */
static td_span windows_over(size_t place, size_t padding, size_t size, size_t stride, size_t windows)
{
    size_t at = place + padding, last = at / stride + 1;
    td_span span = {at < size ? 0 : (at - size) / stride + 1, last < windows ? last : windows};
    if (span.first > span.last)
        span.first = span.last;
    return span;
}

/* One line of dx: what the windows over each of its places have for it. `spans`: those windows, of every place of a line. */
static void add_line_gradient(depthwise_sum *sum, const depthwise_operation *op, size_t line, const td_span *spans, td_real *dx)
{
    const td_window *window = &op->window;
    size_t channels = sum->channels, y = line % op->grid.height, picture = line / op->grid.height;
    td_span lines = windows_over(y, window->top, window->height, window->stride, op->output.height);
    for (size_t x = 0; x < op->grid.width; x++) {
        sum->y = dx + (line * op->grid.width + x) * channels;
        for (size_t i = lines.first; i < lines.last; i++)
            for (size_t k = spans[x].first; k < spans[x].last; k++) {
                size_t tap = (y + window->top - i * window->stride) * window->width + x + window->left - k * window->stride;
                size_t from = (picture * op->output.height + i) * op->output.width + k;
                add_to(sum, op->y->gradient + from * channels, op->taps + tap * channels);
            }
        flush(sum);
    }
}

static void add_input_gradient(td_graph *graph, depthwise_sum *sum, const depthwise_operation *op, td_real *dx)
{
    const td_window *window = &op->window;
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_span *spans = td_graph_allocate(graph, op->grid.width, sizeof *spans);
    for (size_t x = 0; spans && x < op->grid.width; x++)
        spans[x] = windows_over(x, window->left, window->width, window->stride, op->output.width);
    for (size_t line = 0; spans && line < op->grid.count * op->grid.height; line++)
        add_line_gradient(sum, op, line, spans, dx);
    td_arena_release_to(graph->arena, mark);
}

/* dtaps [places, C]: for each line of the output, each tap's products along it. */
static void add_tap_gradient(depthwise_sum *sum, const depthwise_operation *op, td_real *dtaps)
{
    const td_window *window = &op->window;
    size_t channels = sum->channels, width = op->output.width;
    for (size_t row = 0; row < op->y->rows; row += width) {
        td_place place = td_window_place(op->grid, op->output, *window, row);
        for (size_t y = place.lines.first; y < place.lines.last; y++)
            for (size_t x = 0; x < window->width; x++) {
                size_t first = x < window->left ? (window->left - x + window->stride - 1) / window->stride : 0,
                       input = place.input + y * place.width + x;
                sum->y = dtaps + (y * window->width + x) * channels;
                for (size_t i = first; i < width && i * window->stride + x < place.width + window->left; i++)
                    add_to(sum, op->y->gradient + (row + i) * channels, op->x->data + (input + i * window->stride) * channels);
                flush(sum);
            }
    }
}

static void depthwise_backward(td_graph *graph, void *operation)
{
    depthwise_operation *op = operation;
    size_t channels = op->x->columns, places = op->window.height * op->window.width;
    depthwise_sum sum = {.kernels = graph->kernels, .channels = channels};
    if (!op->y->gradient)
        return;
    td_real *dx = td_gradient(graph, op->x), *dweight = td_gradient(graph, op->weight), *dbias = td_gradient(graph, op->bias);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *dtaps = td_graph_allocate(graph, 2 * channels * places, sizeof *dtaps);
    if (!dtaps)
        return;
    if (dx)
        add_input_gradient(graph, &sum, op, dx);
    if (dweight) {
        memset(dtaps, 0, channels * places * sizeof *dtaps);
        add_tap_gradient(&sum, op, dtaps);
        turn(dtaps, places, channels, dtaps + channels * places);
        graph->kernels->add(dweight, dtaps + channels * places, channels * places);
    }
    for (size_t row = 0; dbias && row < op->y->rows; row++)
        graph->kernels->add(dbias, op->y->gradient + row * channels, channels);
    td_arena_release_to(graph->arena, mark);
}

/* Output places `row` on, to the end of their line. */
static void sum_line(depthwise_sum *sum, const depthwise_operation *op, size_t row)
{
    const td_window *window = &op->window;
    size_t channels = sum->channels;
    td_place place = td_window_place(op->grid, op->output, *window, row);
    for (size_t i = 0; i < op->output.width; i++, place.input += window->stride) {
        td_span places = td_window_span(i * window->stride, window->left, window->width, place.width);
        sum->y = op->y->data + (row + i) * channels;
        if (op->bias)
            memcpy(sum->y, op->bias->data, channels * sizeof *sum->y);
        else
            memset(sum->y, 0, channels * sizeof *sum->y);
        for (size_t y = place.lines.first; y < place.lines.last; y++)
            for (size_t x = places.first; x < places.last; x++)
                add_to(sum, op->x->data + (place.input + y * place.width + x) * channels, op->taps + (y * window->width + x) * channels);
        flush(sum);
    }
}

static void forward(td_graph *graph, const depthwise_operation *op)
{
    depthwise_sum sum = {.kernels = graph->kernels, .channels = op->x->columns};
    for (size_t row = 0; row < op->y->rows; row += op->output.width)
        sum_line(&sum, op, row);
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
