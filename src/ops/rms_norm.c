/* Root mean square normalisation (Zhang, Sennrich 2019) of each row: no mean is taken away and nothing is added. */
#include "ops/ops.h"

#include <math.h>

typedef struct rms_norm_operation {
    td_tensor *x, *weight, *y;
    td_real *inverse; /* [rows] */
} rms_norm_operation;

static void rms_norm_backward(td_graph *graph, void *operation)
{
    rms_norm_operation *op = operation;
    const td_real *dy = op->y->gradient;
    if (!dy)
        return;
    size_t columns = op->x->columns;
    td_real *dx = td_gradient(graph, op->x), *dweight = td_gradient(graph, op->weight);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *weighed = td_graph_allocate(graph, columns, sizeof *weighed);
    for (size_t row = 0; weighed && row < op->x->rows; row++) {
        const td_real *x = op->x->data + row * columns, *g = dy + row * columns, *weight = op->weight->data;
        td_real inverse = op->inverse[row];
        for (size_t i = 0; i < columns; i++)
            weighed[i] = g[i] * weight[i];
        td_real slope = graph->kernels->dot(weighed, x, columns) * inverse * inverse / (td_real)columns;
        for (size_t i = 0; dx && i < columns; i++)
            dx[row * columns + i] += inverse * (weighed[i] - x[i] * slope);
        for (size_t i = 0; dweight && i < columns; i++)
            dweight[i] += g[i] * x[i] * inverse;
    }
    td_arena_release_to(graph->arena, mark);
}

td_tensor *td_rms_norm(td_graph *graph, td_tensor *x, td_tensor *weight, td_real epsilon)
{
    TD_PROFILE(graph->recorder, "rms norm");
    if (!x || !weight)
        return NULL;
    size_t columns = x->columns;
    if (weight->columns != columns || x->stride != columns)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "rms_norm: rows of %zu, weight of %zu", columns, weight->columns);
    td_tensor *y = td_tensor_new(graph, x->rows, columns, td_needs_gradient(x) || td_needs_gradient(weight));
    td_real *inverse = td_graph_allocate(graph, x->rows, sizeof *inverse);
    if (!y || !inverse)
        return NULL;
    for (size_t row = 0; row < x->rows; row++) {
        const td_real *from = x->data + row * columns;
        double squares = (double)graph->kernels->dot(from, from, columns) / (double)columns;
        inverse[row] = (td_real)(1 / sqrt(squares + (double)epsilon));
        for (size_t i = 0; i < columns; i++)
            y->data[row * columns + i] = from[i] * inverse[row] * weight->data[i];
    }
    rms_norm_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (rms_norm_operation){x, weight, y, inverse};
        td_record(graph, rms_norm_backward, op);
    }
    return y;
}
