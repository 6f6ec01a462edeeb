/* Gated linear units (Dauphin 2017, Shazeer 2020): one half of the columns, activated, opens and closes the other. */
#include "ops/ops.h"

#include <string.h>

typedef struct gated_operation {
    td_tensor *x, *y;
    td_activation activation;
    td_real *gate; /* the second half, activated: [rows, columns of y] */
} gated_operation;

static void gated_backward(td_graph *graph, void *operation)
{
    gated_operation *op = operation;
    td_real *dx = td_gradient(graph, op->x);
    const td_real *dy = op->y->gradient;
    size_t columns = op->y->columns, stride = op->x->stride;
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *dgate = td_graph_allocate(graph, columns, sizeof *dgate);
    for (size_t row = 0; dx && dy && dgate && row < op->y->rows; row++) {
        const td_real *value = op->x->data + row * stride, *d = dy + row * columns;
        graph->kernels->add_product(dx + row * stride, d, op->gate + row * columns, columns);
        memset(dgate, 0, columns * sizeof *dgate);
        graph->kernels->add_product(dgate, d, value, columns);
        graph->kernels->activate_backward(op->activation, dx + row * stride + columns, value + columns, dgate, columns);
    }
    td_arena_release_to(graph->arena, mark);
}

td_tensor *td_gated_linear(td_graph *graph, td_tensor *x, td_activation activation)
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
        graph->kernels->activate(activation, gate + row * columns, value + columns, columns);
        for (size_t i = 0; i < columns; i++)
            y->data[row * columns + i] = value[i] * gate[row * columns + i];
    }
    gated_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (gated_operation){x, y, activation, gate};
        td_record(graph, gated_backward, op);
    }
    return y;
}
