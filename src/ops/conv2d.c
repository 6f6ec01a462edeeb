/* Convolution of pictures as a product: what each place of the output sees is laid out as a row, block by block of places, so that
 * the rows of a whole batch never exist. A row holds the window's places in order, all channels of each, because those lie side by
 * side in the picture; the weight is arranged to match. */
#include "ops/ops.h"
#include "ops/product.h"
#include "ops/windows.h"

#include <string.h>

typedef struct conv2d_operation {
    td_tensor *x, *weight, *bias, *y; /* weight: arranged */
    td_grid grid, output;
    td_window window;
} conv2d_operation;

/* Rows of `width` numbers that are laid out at a time: enough for the product to be worth its start, few enough to stay in the cache
 * until it has read them. */
static size_t block_rows(size_t rows, size_t width)
{
    size_t block = ((size_t)1 << 16) / width;
    block = block < 256 ? 256 : block;
    return block < rows ? block : rows;
}

static void lay_out(const conv2d_operation *op, size_t first, size_t count, td_real *rows)
{
    size_t channels = op->x->columns, line = op->window.width * channels, width = op->window.height * line;
    for (size_t i = 0; i < count; i++, rows += width) {
        td_place place = td_window_place(op->grid, op->output, op->window, first + i);
        size_t skipped = place.places.first * channels, inside = (place.places.last - place.places.first) * channels;
        if (inside < line || place.lines.last - place.lines.first < op->window.height)
            memset(rows, 0, width * sizeof *rows);
        for (size_t y = place.lines.first; y < place.lines.last; y++)
            memcpy(rows + y * line + skipped, op->x->data + (place.input + y * place.width + place.places.first) * channels,
                   inside * sizeof *rows);
    }
}

static void add_back(td_graph *graph, const conv2d_operation *op, size_t first, size_t count, const td_real *rows, td_real *dx)
{
    size_t channels = op->x->columns, line = op->window.width * channels, width = op->window.height * line;
    for (size_t i = 0; i < count; i++, rows += width) {
        td_place place = td_window_place(op->grid, op->output, op->window, first + i);
        size_t skipped = place.places.first * channels, inside = (place.places.last - place.places.first) * channels;
        for (size_t y = place.lines.first; y < place.lines.last; y++)
            graph->kernels->add(dx + (place.input + y * place.width + place.places.first) * channels, rows + y * line + skipped, inside);
    }
}

/* [O, I, places] -> [O, places, I] */
static void arrange(const td_real *weight, size_t outputs, size_t inputs, size_t places, td_real *arranged)
{
    for (size_t o = 0; o < outputs; o++, weight += inputs * places, arranged += inputs * places)
        for (size_t i = 0; i < inputs; i++)
            for (size_t p = 0; p < places; p++)
                arranged[p * inputs + i] = weight[i * places + p];
}

static void add_arranged_back(const td_real *arranged, size_t outputs, size_t inputs, size_t places, td_real *weight)
{
    for (size_t o = 0; o < outputs; o++, weight += inputs * places, arranged += inputs * places)
        for (size_t i = 0; i < inputs; i++)
            for (size_t p = 0; p < places; p++)
                weight[i * places + p] += arranged[p * inputs + i];
}

/* The inner loop of backward: dx and dweight, either may be NULL. */
static void backward_blocks(td_graph *graph, conv2d_operation *op, td_real *dx, td_real *dweight)
{
    size_t outputs = op->y->columns, width = op->weight->columns, total = op->y->rows, block = block_rows(total, width);
    td_real *rows = td_graph_allocate(graph, block * width, sizeof *rows);
    for (size_t first = 0; rows && first < total && td_graph_ok(graph); first += block) {
        size_t count = total - first < block ? total - first : block;
        const td_real *dy = op->y->gradient + first * outputs;
        if (dweight) {
            lay_out(op, first, count, rows);
            td_product(graph, true, false, outputs, width, count, dy, outputs, rows, width, true, dweight, width);
        }
        if (dx) {
            td_product(graph, false, false, count, width, outputs, dy, outputs, op->weight->data, width, false, rows, width);
            add_back(graph, op, first, count, rows, dx);
        }
    }
}

static void conv2d_backward(td_graph *graph, void *operation)
{
    conv2d_operation *op = operation;
    size_t outputs = op->y->columns;
    if (!op->y->gradient)
        return;
    td_real *dx = td_gradient(graph, op->x), *dweight = td_gradient(graph, op->weight), *dbias = td_gradient(graph, op->bias);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    if (dx || dweight)
        backward_blocks(graph, op, dx, dweight);
    td_arena_release_to(graph->arena, mark);
    for (size_t row = 0; dbias && row < op->y->rows; row++)
        graph->kernels->add(dbias, op->y->gradient + row * outputs, outputs);
}

static void forward(td_graph *graph, const conv2d_operation *op)
{
    size_t outputs = op->y->columns, width = op->weight->columns, total = op->y->rows, block = block_rows(total, width);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *rows = td_graph_allocate(graph, block * width, sizeof *rows);
    for (size_t first = 0; rows && first < total; first += block) {
        size_t count = total - first < block ? total - first : block;
        td_real *y = op->y->data + first * outputs;
        for (size_t row = 0; op->bias && row < count; row++)
            memcpy(y + row * outputs, op->bias->data, outputs * sizeof *y);
        lay_out(op, first, count, rows);
        td_product(graph, false, true, count, outputs, width, rows, width, op->weight->data, width, op->bias != NULL, y, outputs);
    }
    td_arena_release_to(graph->arena, mark);
}

/* The checked operation with its output allocated; y is NULL after a failure. */
static conv2d_operation prepare(td_graph *graph, td_tensor *x, td_grid grid, td_tensor *weight, td_tensor *bias, td_window window)
{
    conv2d_operation op = {x, weight, bias, NULL, grid, {0}, window};
    if (!weight || !td_window_check(graph, "conv2d", x, grid, window, &op.output))
        return op;
    if (weight->columns != x->columns * window.height * window.width || (bias && bias->columns != weight->rows)) {
        td_graph_fail(graph, TD_ERROR_INTERNAL, "conv2d: %zu channels, window %zu x %zu, weight [%zu, %zu]", x->columns, window.height,
                      window.width, weight->rows, weight->columns);
        return op;
    }
    bool gradient = td_needs_gradient(x) || td_needs_gradient(weight) || td_needs_gradient(bias);
    op.y = td_tensor_new(graph, td_grid_rows(op.output), weight->rows, gradient);
    return op;
}

static bool is_linear(td_window window)
{
    return window.height == 1 && window.width == 1 && window.stride == 1 && !window.top && !window.left && !window.bottom && !window.right;
}

typedef struct arrange_operation {
    td_tensor *weight, *arranged;
    size_t places;
} arrange_operation;

static void arrange_backward(td_graph *graph, void *operation)
{
    const arrange_operation *op = operation;
    const td_tensor *weight = op->weight;
    td_real *dweight = td_gradient(graph, op->weight);
    if (dweight && op->arranged->gradient)
        add_arranged_back(op->arranged->gradient, weight->rows, weight->columns / op->places, op->places, dweight);
}

td_tensor *td_conv2d_arrange(td_graph *graph, td_tensor *weight, td_window window)
{
    TD_PROFILE(graph->recorder, "convolution");
    size_t places = window.height * window.width;
    td_tensor *arranged = weight ? td_tensor_new(graph, weight->rows, weight->columns, td_needs_gradient(weight)) : NULL;
    if (!arranged)
        return NULL;
    arrange(weight->data, weight->rows, weight->columns / places, places, arranged->data);
    arrange_operation *op = arranged->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (arrange_operation){weight, arranged, places};
        td_record(graph, arrange_backward, op);
    }
    return arranged;
}

td_tensor *td_conv2d_arranged(td_graph *graph, td_tensor *x, td_grid grid, td_tensor *weight, td_tensor *bias, td_window window,
                              td_grid *ret_grid)
{
    TD_PROFILE(graph->recorder, "convolution");
    if (is_linear(window)) {
        *ret_grid = grid;
        return td_linear(graph, x, weight, bias);
    }
    conv2d_operation op = prepare(graph, x, grid, weight, bias, window);
    if (!op.y)
        return NULL;
    forward(graph, &op);
    conv2d_operation *kept = op.y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *kept) : NULL;
    if (kept) {
        *kept = op;
        td_record(graph, conv2d_backward, kept);
    }
    *ret_grid = op.output;
    return op.y;
}

td_tensor *td_conv2d(td_graph *graph, td_tensor *x, td_grid grid, td_tensor *weight, td_tensor *bias, td_window window, td_grid *ret_grid)
{
    td_tensor *arranged = is_linear(window) ? weight : td_conv2d_arrange(graph, weight, window);
    return td_conv2d_arranged(graph, x, grid, arranged, bias, window, ret_grid);
}
