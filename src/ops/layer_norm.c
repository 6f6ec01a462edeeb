/* Layer normalisation (Ba, Kiros, Hinton 2016) of each row. */
#include "ops/ops.h"

typedef struct layer_norm_operation {
    td_tensor *x, *weight, *bias, *y;
    td_real *mean, *inverse; /* [rows] */
} layer_norm_operation;

static void layer_norm_backward(td_graph *graph, void *operation)
{
    layer_norm_operation *op = operation;
    const td_real *dy = op->y->gradient;
    if (!dy)
        return;
    size_t columns = op->x->columns;
    td_real *dx = td_gradient(graph, op->x), *dweight = td_gradient(graph, op->weight), *dbias = td_gradient(graph, op->bias);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *scrap = td_graph_allocate(graph, columns, sizeof *scrap); /* takes what nobody asked for */
    for (size_t row = 0; scrap && row < op->x->rows; row++)
        graph->kernels->layer_norm_backward(dx ? dx + row * columns : scrap, dweight ? dweight : scrap, dbias ? dbias : scrap,
                                            op->x->data + row * columns, dy + row * columns, op->weight->data, op->mean[row],
                                            op->inverse[row], columns);
    td_arena_release_to(graph->arena, mark);
}

typedef struct norm_parts {
    const layer_norm_operation *op;
    const td_kernels *kernels;
    td_real epsilon;
    size_t parts;
} norm_parts;

static void norm_part(void *context, size_t part, size_t thread)
{
    (void)thread;
    const norm_parts *parts = context;
    const layer_norm_operation *op = parts->op;
    size_t columns = op->x->columns, end = op->x->rows * (part + 1) / parts->parts;
    for (size_t row = op->x->rows * part / parts->parts; row < end; row++)
        parts->kernels->layer_norm(op->y->data + row * columns, op->x->data + row * columns, op->weight->data, op->bias->data,
                                   parts->epsilon, columns, &op->mean[row], &op->inverse[row]);
}

td_tensor *td_layer_norm(td_graph *graph, td_tensor *x, td_tensor *weight, td_tensor *bias, td_real epsilon)
{
    TD_PROFILE(graph->recorder, "layer norm");
    if (!x || !weight || !bias)
        return NULL;
    if (weight->columns != x->columns || bias->columns != x->columns || x->stride != x->columns)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "layer_norm: rows of %zu, weight of %zu", x->columns, weight->columns);
    td_tensor *y = td_tensor_new(graph, x->rows, x->columns, td_needs_gradient(x) || td_needs_gradient(weight) || td_needs_gradient(bias));
    td_real *statistics = td_graph_allocate(graph, 2 * x->rows, sizeof *statistics);
    if (!y || !statistics)
        return NULL;
    layer_norm_operation made = {x, weight, bias, y, statistics, statistics + x->rows};
    norm_parts parts = {&made, graph->kernels, epsilon, td_graph_parts(graph, x->rows * x->columns)};
    td_graph_run(graph, parts.parts, norm_part, &parts);
    layer_norm_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = made;
        td_record(graph, layer_norm_backward, op);
    }
    return y;
}
