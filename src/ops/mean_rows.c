/* One row for a whole sequence: the mean of its rows. */
#include "ops/ops.h"

typedef struct mean_operation {
    td_tensor *x, *y;
    td_ragged ragged;
} mean_operation;

static void mean_backward(td_graph *graph, void *operation)
{
    mean_operation *op = operation;
    const td_real *dy = op->y->gradient;
    td_real *dx = td_gradient(graph, op->x);
    for (size_t i = 0; dx && dy && i < op->ragged.count; i++)
        for (int32_t row = op->ragged.offsets[i]; row < op->ragged.offsets[i + 1]; row++)
            graph->kernels->add_scaled(dx + (size_t)row * op->x->stride, dy + i * op->y->columns,
                                       1 / (td_real)td_ragged_length(op->ragged, i), op->y->columns);
}

td_tensor *td_mean_rows(td_graph *graph, td_tensor *x, td_ragged ragged)
{
    TD_PROFILE(graph->recorder, "mean of rows");
    if (!x)
        return NULL;
    if (td_ragged_total(ragged) != x->rows)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "mean_rows: %zu rows for sequences of %zu", x->rows, td_ragged_total(ragged));
    td_tensor *y = td_tensor_zeroed(graph, ragged.count, x->columns, td_needs_gradient(x));
    if (!y)
        return NULL;
    for (size_t i = 0; i < ragged.count; i++)
        for (int32_t row = ragged.offsets[i]; row < ragged.offsets[i + 1]; row++)
            graph->kernels->add_scaled(y->data + i * y->columns, x->data + (size_t)row * x->stride,
                                       1 / (td_real)td_ragged_length(ragged, i), y->columns);
    mean_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (mean_operation){x, y, ragged};
        td_record(graph, mean_backward, op);
    }
    return y;
}
