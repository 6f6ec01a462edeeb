/* Sums and scaling of tensors of one shape. */
#include "ops/ops.h"

#include <string.h>

typedef struct pair_operation {
    td_tensor *a, *b, *y;
    td_real factor;
} pair_operation;

static td_tensor *pair_output(td_graph *graph, const char *name, td_tensor *a, td_tensor *b)
{
    if (!a || !b)
        return NULL;
    if (a->rows != b->rows || a->columns != b->columns || a->stride != a->columns || b->stride != b->columns)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "%s: [%zu, %zu] and [%zu, %zu]", name, a->rows, a->columns, b->rows, b->columns);
    return td_tensor_new(graph, a->rows, a->columns, td_needs_gradient(a) || td_needs_gradient(b));
}

static void record_pair(td_graph *graph, void (*backward)(td_graph *, void *), td_tensor *a, td_tensor *b, td_tensor *y, td_real factor)
{
    pair_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (!op)
        return;
    *op = (pair_operation){a, b, y, factor};
    td_record(graph, backward, op);
}

static void add_backward(td_graph *graph, void *operation)
{
    pair_operation *op = operation;
    size_t count = op->y->rows * op->y->columns;
    td_real *da = td_gradient(graph, op->a), *db = td_gradient(graph, op->b);
    if (da && op->y->gradient)
        graph->kernels->add(da, op->y->gradient, count);
    if (db && op->y->gradient)
        graph->kernels->add(db, op->y->gradient, count);
}

typedef struct add_parts {
    const td_kernels *kernels;
    const td_tensor *a, *b;
    td_tensor *y;
    size_t parts;
} add_parts;

static void add_part(void *context, size_t part, size_t thread)
{
    (void)thread;
    const add_parts *parts = context;
    size_t columns = parts->y->columns, first = parts->y->rows * part / parts->parts * columns;
    size_t count = parts->y->rows * (part + 1) / parts->parts * columns - first;
    memcpy(parts->y->data + first, parts->a->data + first, count * sizeof *parts->y->data);
    parts->kernels->add(parts->y->data + first, parts->b->data + first, count);
}

td_tensor *td_add(td_graph *graph, td_tensor *a, td_tensor *b)
{
    TD_PROFILE(graph->recorder, "add");
    td_tensor *y = pair_output(graph, "add", a, b);
    if (!y)
        return NULL;
    add_parts parts = {graph->kernels, a, b, y, td_graph_parts(graph, y->rows * y->columns)};
    td_graph_run(graph, parts.parts, add_part, &parts);
    record_pair(graph, add_backward, a, b, y, 0);
    return y;
}

static void scale_backward(td_graph *graph, void *operation)
{
    pair_operation *op = operation;
    td_real *dx = td_gradient(graph, op->a);
    if (dx && op->y->gradient)
        graph->kernels->add_scaled(dx, op->y->gradient, op->factor, op->y->rows * op->y->columns);
}

td_tensor *td_scale(td_graph *graph, td_tensor *x, td_real factor)
{
    TD_PROFILE(graph->recorder, "scale");
    td_tensor *y = pair_output(graph, "scale", x, x);
    if (!y)
        return NULL;
    memset(y->data, 0, x->rows * x->columns * sizeof *y->data);
    graph->kernels->add_scaled(y->data, x->data, factor, x->rows * x->columns);
    record_pair(graph, scale_backward, x, NULL, y, factor);
    return y;
}
