/* Shared by the operations that slide a window: the shape check, and the part of a window that lies inside the picture. */
#ifndef TD_OPS_WINDOWS_H
#define TD_OPS_WINDOWS_H

#include "ops/picture.h"

/* Checks x against its grid; false after noting the failure under `name`. */
static inline bool td_window_check(td_graph *graph, const char *name, const td_tensor *x, td_grid grid, td_window window, td_grid *ret_grid)
{
    if (!x)
        return false;
    if (x->rows != td_grid_rows(grid) || x->stride != x->columns) {
        td_graph_fail(graph, TD_ERROR_INTERNAL, "%s: [%zu, %zu] are not %zu pictures of %zu x %zu", name, x->rows, x->columns, grid.count,
                      grid.height, grid.width);
        return false;
    }
    if (!td_window_output(window, grid, ret_grid)) {
        td_graph_fail(graph, TD_ERROR_ARGUMENT, "%s: a picture of %zu x %zu is smaller than the window of %zu x %zu", name, grid.height,
                      grid.width, window.height, window.width);
        return false;
    }
    return true;
}

/* Places first .. last of a window of `size` whose input `start - padding + place` lies in 0 .. length - 1. */
typedef struct td_span {
    size_t first, last;
} td_span;
static inline td_span td_window_span(size_t start, size_t padding, size_t size, size_t length)
{
    td_span span = {start < padding ? padding - start : 0, size};
    if (start + size > length + padding)
        span.last = length + padding > start ? length + padding - start : 0;
    if (span.first > span.last)
        span.first = span.last;
    return span;
}

/* One place of the output and what it sees. */
typedef struct td_place {
    size_t row;   /* of the output */
    size_t input; /* row of the input under the window's first place; wraps where that is padding */
    size_t width; /* of the input */
    td_span lines, places;
} td_place;
static inline td_place td_window_place(td_grid grid, td_grid output, td_window window, size_t row)
{
    size_t x = row % output.width * window.stride, y = row / output.width % output.height * window.stride;
    size_t picture = row / output.width / output.height;
    return (td_place){row, (picture * grid.height + y - window.top) * grid.width + x - window.left, grid.width,
                      td_window_span(y, window.top, window.height, grid.height), td_window_span(x, window.left, window.width, grid.width)};
}

#endif
