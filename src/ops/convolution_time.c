/* Convolution over time, sequence by sequence: the windows a kernel looks at become rows, and the rest is one product. A sequence is
 * surrounded by zeros of its own, never by its neighbours. */
#include "ops/ops.h"
#include "ops/product.h"

#include <string.h>

typedef struct convolution_operation {
    td_tensor *x, *weight, *bias, *y;
    td_ragged input, output;
    td_convolution_options options;
    td_real *windows; /* [rows of y, kernel * channels], a window's rows one after the other */
    td_real *laid;    /* the weight as [outputs, kernel, channels] */
} convolution_operation;

size_t td_conv_time_length(size_t length, td_convolution_options options)
{
    size_t padded = length + 2 * options.padding;
    return padded < options.kernel ? 0 : (padded - options.kernel) / options.stride + 1;
}

static bool output_ragged(td_graph *graph, td_ragged input, td_convolution_options options, td_ragged *ret_output)
{
    int32_t *offsets = td_graph_allocate(graph, input.count + 1, sizeof *offsets);
    if (!offsets)
        return false;
    size_t total = 0;
    offsets[0] = 0;
    for (size_t i = 0; i < input.count; i++) {
        total += td_conv_time_length(td_ragged_length(input, i), options);
        if (total > INT32_MAX) {
            td_graph_fail(graph, TD_ERROR_LIMIT, "convolution: more than %d rows", INT32_MAX);
            return false;
        }
        offsets[i + 1] = (int32_t)total;
    }
    *ret_output = (td_ragged){input.count, offsets};
    return true;
}

/* What a window meets of its sequence: window rows skip .. skip + rows are rows `first` .. of x, the others are padding. */
typedef struct window_span {
    size_t first, skip, rows;
} window_span;

static window_span span_of(const convolution_operation *op, size_t sequence, size_t t)
{
    size_t start = t * op->options.stride, padding = op->options.padding, length = td_ragged_length(op->input, sequence);
    size_t skip = start < padding ? padding - start : 0;
    size_t at = start + skip - padding; /* in the sequence */
    size_t left = at < length ? length - at : 0, room = op->options.kernel > skip ? op->options.kernel - skip : 0;
    return (window_span){(size_t)op->input.offsets[sequence] + at, skip, left < room ? left : room};
}

static void gather_windows(const convolution_operation *op)
{
    const td_tensor *x = op->x;
    size_t channels = x->columns, width = op->options.kernel * channels;
    td_real *window = op->windows;
    for (size_t sequence = 0; sequence < op->output.count; sequence++)
        for (size_t t = 0; t < td_ragged_length(op->output, sequence); t++, window += width) {
            window_span span = span_of(op, sequence, t);
            if (span.rows < op->options.kernel)
                memset(window, 0, width * sizeof *window);
            for (size_t i = 0; i < span.rows; i++)
                memcpy(window + (span.skip + i) * channels, x->data + (span.first + i) * x->stride, channels * sizeof *window);
        }
}

static void scatter_windows(td_graph *graph, const convolution_operation *op, const td_real *window, td_real *dx)
{
    size_t channels = op->x->columns, width = op->options.kernel * channels;
    for (size_t sequence = 0; sequence < op->output.count; sequence++)
        for (size_t t = 0; t < td_ragged_length(op->output, sequence); t++, window += width) {
            window_span span = span_of(op, sequence, t);
            for (size_t i = 0; i < span.rows; i++)
                graph->kernels->add(dx + (span.first + i) * op->x->stride, window + (span.skip + i) * channels, channels);
        }
}

/* [outputs, channels, kernel] <-> [outputs, kernel, channels] */
static void lay_weight(const convolution_operation *op)
{
    size_t channels = op->x->columns, kernel = op->options.kernel;
    for (size_t o = 0; o < op->weight->rows; o++)
        for (size_t i = 0; i < channels; i++)
            for (size_t k = 0; k < kernel; k++)
                op->laid[(o * kernel + k) * channels + i] = op->weight->data[o * op->weight->stride + i * kernel + k];
}

static void add_laid(const convolution_operation *op, const td_real *laid, td_real *dweight)
{
    size_t channels = op->x->columns, kernel = op->options.kernel;
    for (size_t o = 0; o < op->weight->rows; o++)
        for (size_t i = 0; i < channels; i++)
            for (size_t k = 0; k < kernel; k++)
                dweight[o * op->weight->stride + i * kernel + k] += laid[(o * kernel + k) * channels + i];
}

static void convolution_backward(td_graph *graph, void *operation)
{
    convolution_operation *op = operation;
    const td_real *dy = op->y->gradient;
    if (!dy)
        return;
    size_t rows = op->y->rows, outputs = op->y->columns, width = op->options.kernel * op->x->columns;
    td_real *dx = td_gradient(graph, op->x);
    td_real *dweight = td_gradient(graph, op->weight);
    td_real *dbias = td_gradient(graph, op->bias);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *dlaid = dweight ? td_graph_allocate(graph, outputs * width, sizeof *dlaid) : NULL;
    if (dlaid) {
        td_product(graph, true, false, outputs, width, rows, dy, outputs, op->windows, width, false, dlaid, width);
        add_laid(op, dlaid, dweight);
    }
    td_real *dwindows = dx ? td_graph_allocate(graph, rows * width, sizeof *dwindows) : NULL;
    if (dwindows) {
        td_product(graph, false, false, rows, width, outputs, dy, outputs, op->laid, width, false, dwindows, width);
        scatter_windows(graph, op, dwindows, dx);
    }
    td_arena_release_to(graph->arena, mark);
    for (size_t row = 0; dbias && row < rows; row++)
        graph->kernels->add(dbias, dy + row * outputs, outputs);
}

static void convolve(td_graph *graph, convolution_operation *op)
{
    td_tensor *y = op->y;
    size_t width = op->options.kernel * op->x->columns;
    op->windows = td_graph_allocate(graph, y->rows * width, sizeof *op->windows);
    op->laid = td_graph_allocate(graph, y->columns * width, sizeof *op->laid);
    if (!op->windows || !op->laid)
        return;
    gather_windows(op);
    lay_weight(op);
    for (size_t row = 0; op->bias && row < y->rows; row++)
        memcpy(y->data + row * y->columns, op->bias->data, y->columns * sizeof *y->data);
    if (y->rows)
        td_product(graph, false, true, y->rows, y->columns, width, op->windows, width, op->laid, width, op->bias != NULL, y->data,
                   y->columns);
}

td_tensor *td_conv_time(td_graph *graph, td_tensor *x, td_ragged ragged, td_tensor *weight, td_tensor *bias, td_convolution_options options,
                        td_ragged *ret_ragged)
{
    TD_PROFILE(graph->recorder, "convolution over time");
    convolution_operation made = {.x = x, .weight = weight, .bias = bias, .options = options};
    if (!x || !weight)
        return NULL;
    if (!options.kernel || !options.stride || weight->columns != x->columns * options.kernel || td_ragged_total(ragged) != x->rows ||
        (bias && bias->columns != weight->rows))
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "convolution: input [%zu, %zu], weight [%zu, %zu], kernel %zu, stride %zu", x->rows,
                             x->columns, weight->rows, weight->columns, options.kernel, options.stride);
    if (!output_ragged(graph, ragged, options, &made.output))
        return NULL;
    int32_t *kept = td_graph_allocate(graph, ragged.count + 1, sizeof *kept);
    bool gradient = td_needs_gradient(x) || td_needs_gradient(weight) || td_needs_gradient(bias);
    made.y = td_tensor_new(graph, td_ragged_total(made.output), weight->rows, gradient);
    if (!kept || !made.y)
        return NULL;
    memcpy(kept, ragged.offsets, (ragged.count + 1) * sizeof *kept);
    made.input = (td_ragged){ragged.count, kept};
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    convolve(graph, &made);
    convolution_operation *op = made.y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = made;
        td_record(graph, convolution_backward, op);
    } else {
        td_arena_release_to(graph->arena, mark);
    }
    if (!td_graph_ok(graph))
        return NULL;
    *ret_ragged = made.output;
    return made.y;
}
