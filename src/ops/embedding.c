/* Rows of a table by id, and positions added to rows. Backward touches only the rows that were read. */
#include "kernels/packed.h"
#include "ops/ops.h"

#include <string.h>

typedef struct embedding_operation {
    td_tensor *table, *y;
    const int32_t *ids;
    td_real scale;
} embedding_operation;

static void embedding_backward(td_graph *graph, void *operation)
{
    embedding_operation *op = operation;
    td_real *dtable = op->y->gradient ? td_gradient_of_few_rows(graph, op->table) : NULL;
    if (!dtable)
        return;
    size_t columns = op->table->columns;
    for (size_t i = 0; i < op->y->rows; i++)
        graph->kernels->add_scaled(dtable + (size_t)op->ids[i] * columns, op->y->gradient + i * columns, op->scale, columns);
}

/* The caller's ids may be gone by the time of backward. */
static const int32_t *keep_ids(td_graph *graph, const int32_t *ids, size_t count)
{
    int32_t *copy = td_graph_allocate(graph, count, sizeof *copy);
    if (copy)
        memcpy(copy, ids, count * sizeof *copy);
    return copy;
}

static bool ids_in_range(td_graph *graph, const char *what, const int32_t *ids, size_t count, size_t bound)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= bound) {
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "%s %d is outside 0 to %zu", what, ids[i], bound - 1);
            return false;
        }
    }
    return true;
}

static td_tensor *read_packed(td_graph *graph, const td_packed *packed, const int32_t *ids, td_real scale, td_tensor *y)
{
#ifdef TD_DOUBLE
    (void)packed, (void)ids, (void)scale, (void)y;
    return td_graph_fail(graph, TD_ERROR_INTERNAL, "weights are packed in single precision only");
#else
    if (graph->recording)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "packed weights cannot be trained");
    for (size_t i = 0; i < y->rows; i++)
        td_packed_row(packed, (size_t)ids[i], scale, y->data + i * y->columns);
    return y;
#endif
}

td_tensor *td_embedding(td_graph *graph, td_tensor *table, const int32_t *ids, size_t count, td_real scale)
{
    TD_PROFILE(graph->recorder, "embedding");
    if (!table || !ids_in_range(graph, "token id", ids, count, table->rows))
        return NULL;
    td_tensor *y = td_tensor_new(graph, count, table->columns, td_needs_gradient(table));
    if (!y)
        return NULL;
    if (table->parameter && table->parameter->packed)
        return read_packed(graph, table->parameter->packed, ids, scale, y);
    for (size_t i = 0; i < count; i++) {
        const td_real *row = table->data + (size_t)ids[i] * table->columns;
        for (size_t column = 0; column < y->columns; column++)
            y->data[i * y->columns + column] = row[column] * scale;
    }
    embedding_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (embedding_operation){table, y, keep_ids(graph, ids, count), scale};
        td_record(graph, embedding_backward, op);
    }
    return y;
}

typedef struct positions_operation {
    td_tensor *x, *table, *y;
    const int32_t *positions;
} positions_operation;

static void positions_backward(td_graph *graph, void *operation)
{
    positions_operation *op = operation;
    const td_real *dy = op->y->gradient;
    if (!dy)
        return;
    td_real *dx = td_gradient(graph, op->x), *dtable = td_gradient(graph, op->table);
    size_t columns = op->y->columns;
    if (dx)
        graph->kernels->add(dx, dy, op->y->rows * columns);
    for (size_t i = 0; dtable && i < op->y->rows; i++)
        graph->kernels->add(dtable + (size_t)op->positions[i] * columns, dy + i * columns, columns);
}

td_tensor *td_add_positions(td_graph *graph, td_tensor *x, td_tensor *table, const int32_t *positions)
{
    TD_PROFILE(graph->recorder, "positions");
    if (!x || !table || !ids_in_range(graph, "position", positions, x->rows, table->rows))
        return NULL;
    if (x->columns != table->columns || x->stride != x->columns)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "positions of width %zu for rows of width %zu", table->columns, x->columns);
    td_tensor *y = td_tensor_new(graph, x->rows, x->columns, td_needs_gradient(x) || td_needs_gradient(table));
    if (!y)
        return NULL;
    memcpy(y->data, x->data, x->rows * x->columns * sizeof *y->data);
    for (size_t i = 0; i < x->rows; i++)
        graph->kernels->add(y->data + i * x->columns, table->data + (size_t)positions[i] * x->columns, x->columns);
    positions_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (positions_operation){x, table, y, keep_ids(graph, positions, x->rows)};
        td_record(graph, positions_backward, op);
    }
    return y;
}
