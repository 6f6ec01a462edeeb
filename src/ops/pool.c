/* Pooling: the largest or the mean of each window, and the mean of whole pictures. */
#include "ops/windows.h"

#include <math.h>
#include <string.h>

typedef struct pool_operation {
    td_tensor *x, *y;
    td_grid grid, output;
    td_window window;
    int32_t *winners; /* [rows of y, C]: the row of x that was largest */
} pool_operation;

static void max_backward(td_graph *graph, void *operation)
{
    pool_operation *op = operation;
    size_t channels = op->x->columns;
    td_real *dx = td_gradient(graph, op->x);
    if (!dx || !op->y->gradient)
        return;
    for (size_t i = 0; i < op->y->rows * channels; i++)
        if (op->winners[i] >= 0)
            dx[(size_t)op->winners[i] * channels + i % channels] += op->y->gradient[i];
}

/* NaN wins, as it does in PyTorch: it must not vanish. */
static void take_larger(td_real *restrict best, int32_t *winner, const td_real *restrict x, int32_t row, size_t channels)
{
    for (size_t c = 0; c < channels; c++) {
        bool larger = x[c] > best[c] || isnan(x[c]);
        best[c] = larger ? x[c] : best[c];
        if (winner)
            winner[c] = larger ? row : winner[c];
    }
}

static void max_forward(const pool_operation *op)
{
    size_t channels = op->x->columns;
    for (size_t row = 0; row < op->y->rows; row++) {
        td_real *best = op->y->data + row * channels;
        int32_t *winners = op->winners ? op->winners + row * channels : NULL;
        td_place place = td_window_place(op->grid, op->output, op->window, row);
        for (size_t c = 0; c < channels; c++) {
            best[c] = -(td_real)INFINITY;
            if (winners)
                winners[c] = -1;
        }
        for (size_t y = place.lines.first; y < place.lines.last; y++)
            for (size_t x = place.places.first; x < place.places.last; x++) {
                size_t input = place.input + y * place.width + x;
                take_larger(best, winners, op->x->data + input * channels, (int32_t)input, channels);
            }
    }
}

td_tensor *td_max_pool(td_graph *graph, td_tensor *x, td_grid grid, td_window window, td_grid *ret_grid)
{
    TD_PROFILE(graph->recorder, "pooling");
    td_grid output;
    if (!td_window_check(graph, "max_pool", x, grid, window, &output))
        return NULL;
    if (x->rows > INT32_MAX)
        return td_graph_fail(graph, TD_ERROR_LIMIT, "max_pool: %zu rows are too many", x->rows);
    td_tensor *y = td_tensor_new(graph, td_grid_rows(output), x->columns, td_needs_gradient(x));
    pool_operation *op = td_graph_allocate(graph, 1, sizeof *op);
    if (!y || !op)
        return NULL;
    *op = (pool_operation){x, y, grid, output, window, NULL};
    if (y->requires_gradient && !(op->winners = td_graph_allocate(graph, y->rows * y->columns, sizeof *op->winners)))
        return NULL;
    max_forward(op);
    if (y->requires_gradient)
        td_record(graph, max_backward, op);
    *ret_grid = output;
    return y;
}

/* Forward adds x to y, backward (dx given) dy to dx, each place of each window. */
static void average_pass(const td_graph *graph, const pool_operation *op, td_real *dx)
{
    size_t channels = op->x->columns;
    td_real share = (td_real)1 / (td_real)(op->window.height * op->window.width);
    for (size_t row = 0; row < op->y->rows; row++) {
        td_place place = td_window_place(op->grid, op->output, op->window, row);
        for (size_t y = place.lines.first; y < place.lines.last; y++)
            for (size_t x = place.places.first; x < place.places.last; x++) {
                size_t input = (place.input + y * place.width + x) * channels;
                if (dx)
                    graph->kernels->add_scaled(dx + input, op->y->gradient + row * channels, share, channels);
                else
                    graph->kernels->add_scaled(op->y->data + row * channels, op->x->data + input, share, channels);
            }
    }
}

static void average_backward(td_graph *graph, void *operation)
{
    pool_operation *op = operation;
    td_real *dx = td_gradient(graph, op->x);
    if (dx && op->y->gradient)
        average_pass(graph, op, dx);
}

td_tensor *td_average_pool(td_graph *graph, td_tensor *x, td_grid grid, td_window window, td_grid *ret_grid)
{
    TD_PROFILE(graph->recorder, "pooling");
    td_grid output;
    if (!td_window_check(graph, "average_pool", x, grid, window, &output))
        return NULL;
    td_tensor *y = td_tensor_zeroed(graph, td_grid_rows(output), x->columns, td_needs_gradient(x));
    pool_operation *op = td_graph_allocate(graph, 1, sizeof *op);
    if (!y || !op)
        return NULL;
    *op = (pool_operation){x, y, grid, output, window, NULL};
    average_pass(graph, op, NULL);
    if (y->requires_gradient)
        td_record(graph, average_backward, op);
    *ret_grid = output;
    return y;
}

td_tensor *td_global_average_pool(td_graph *graph, td_tensor *x, td_grid grid)
{
    td_grid output;
    return td_average_pool(graph, x, grid, (td_window){.height = grid.height, .width = grid.width, .stride = 1}, &output);
}
