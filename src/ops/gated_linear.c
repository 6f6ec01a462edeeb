/* The gated linear unit (Dauphin 2017): one half of the columns opens and closes the other. */
#include "ops/ops.h"

typedef struct gated_operation {
    td_tensor *x, *y;
    td_real *gate; /* sigmoid of the second half, [rows, columns of y] */
} gated_operation;

static void gated_backward(td_graph *graph, void *operation)
{
    gated_operation *op = operation;
    td_real *dx = td_gradient(graph, op->x);
    const td_real *dy = op->y->gradient;
    size_t columns = op->y->columns, stride = op->x->stride;
    for (size_t row = 0; dx && dy && row < op->y->rows; row++) {
        const td_real *gate = op->gate + row * columns, *d = dy + row * columns, *y = op->y->data + row * columns;
        td_real *first = dx + row * stride, *second = first + columns;
        for (size_t i = 0; i < columns; i++) {
            first[i] += d[i] * gate[i];
            second[i] += d[i] * y[i] * (1 - gate[i]); /* y' = value gate (1 - gate) = y (1 - gate) */
        }
    }
}

td_tensor *td_gated_linear(td_graph *graph, td_tensor *x)
{
    TD_PROFILE(graph->recorder, "gated linear");
    if (!x)
        return NULL;
    size_t columns = x->columns / 2;
    if (x->columns % 2)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "gated linear unit of %zu columns", x->columns);
    td_tensor *y = td_tensor_new(graph, x->rows, columns, td_needs_gradient(x));
    td_real *gate = td_graph_allocate(graph, x->rows * columns, sizeof *gate);
    if (!y || !gate)
        return NULL;
    for (size_t row = 0; row < x->rows; row++) {
        const td_real *value = x->data + row * x->stride;
        graph->kernels->activate(TD_SIGMOID, gate + row * columns, value + columns, columns);
        for (size_t i = 0; i < columns; i++)
            y->data[row * columns + i] = value[i] * gate[row * columns + i];
    }
    gated_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (gated_operation){x, y, gate};
        td_record(graph, gated_backward, op);
    }
    return y;
}
