/* Rows picked by index, and columns put side by side. */
#include "ops/ops.h"

#include <string.h>

typedef struct gather_operation {
    td_tensor *x, *y;
    const int32_t *index;
} gather_operation;

static void gather_backward(td_graph *graph, void *operation)
{
    gather_operation *op = operation;
    const td_real *dy = op->y->gradient;
    td_real *dx = td_gradient(graph, op->x);
    for (size_t i = 0; dx && dy && i < op->y->rows; i++)
        if (op->index[i] >= 0)
            graph->kernels->add(dx + (size_t)op->index[i] * op->x->stride, dy + i * op->y->columns, op->y->columns);
}

td_tensor *td_gather_rows(td_graph *graph, td_tensor *x, const int32_t *index, size_t count)
{
    TD_PROFILE(graph->recorder, "gather");
    if (!x)
        return NULL;
    td_tensor *y = td_tensor_new(graph, count, x->columns, td_needs_gradient(x));
    int32_t *kept = td_graph_allocate(graph, count, sizeof *kept);
    if (!y || !kept)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        kept[i] = index[i];
        if (index[i] >= 0 && (size_t)index[i] >= x->rows)
            return td_graph_fail(graph, TD_ERROR_INTERNAL, "gather: row %d of %zu", index[i], x->rows);
        td_real *row = y->data + i * y->columns;
        if (index[i] < 0)
            memset(row, 0, y->columns * sizeof *row);
        else
            memcpy(row, x->data + (size_t)index[i] * x->stride, y->columns * sizeof *row);
    }
    gather_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (gather_operation){x, y, kept};
        td_record(graph, gather_backward, op);
    }
    return y;
}

typedef struct concatenate_operation {
    td_tensor **parts, *y;
    size_t count;
} concatenate_operation;

static void concatenate_backward(td_graph *graph, void *operation)
{
    concatenate_operation *op = operation;
    const td_real *dy = op->y->gradient;
    size_t first = 0;
    for (size_t part = 0; dy && part < op->count; part++) {
        td_tensor *x = op->parts[part];
        td_real *dx = td_gradient(graph, x);
        for (size_t row = 0; dx && row < x->rows; row++)
            graph->kernels->add(dx + row * x->stride, dy + row * op->y->columns + first, x->columns);
        first += x->columns;
    }
}

td_tensor *td_concatenate(td_graph *graph, td_tensor *const *parts, size_t count)
{
    TD_PROFILE(graph->recorder, "concatenate");
    size_t columns = 0;
    bool gradient = false;
    for (size_t part = 0; part < count; part++) {
        if (!parts[part])
            return NULL;
        if (parts[part]->rows != parts[0]->rows)
            return td_graph_fail(graph, TD_ERROR_INTERNAL, "concatenate: %zu rows and %zu rows", parts[0]->rows, parts[part]->rows);
        columns += parts[part]->columns;
        gradient |= td_needs_gradient(parts[part]);
    }
    td_tensor *y = td_tensor_new(graph, parts[0]->rows, columns, gradient);
    td_tensor **kept = td_graph_allocate(graph, count, sizeof *kept);
    if (!y || !kept)
        return NULL;
    for (size_t part = 0, first = 0; part < count; first += parts[part]->columns, part++) {
        kept[part] = parts[part];
        for (size_t row = 0; row < y->rows; row++)
            memcpy(y->data + row * columns + first, parts[part]->data + row * parts[part]->stride, parts[part]->columns * sizeof *y->data);
    }
    concatenate_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (concatenate_operation){kept, y, count};
        td_record(graph, concatenate_backward, op);
    }
    return y;
}
