/* Operations whose result takes the memory of their input, and its gradient that of the result: what comes out says enough to go back. */
#include "ops/ops.h"

#include <math.h>

typedef struct in_place_operation {
    td_tensor *x, *residual;
    td_activation activation;
} in_place_operation;

static void note(td_graph *graph, void (*backward)(td_graph *, void *), in_place_operation operation)
{
    in_place_operation *op = td_graph_allocate(graph, 1, sizeof *op);
    if (!op)
        return;
    *op = operation;
    td_record(graph, backward, op);
}

/* ReLU and its like are open where their result is strictly between its bounds. */
static bool tells_its_slope(td_activation activation)
{
    return activation == TD_RELU || activation == TD_RELU6;
}

static void activate_backward(td_graph *graph, void *operation)
{
    (void)graph;
    const in_place_operation *op = operation;
    size_t count = op->x->rows * op->x->columns;
    const td_real *y = op->x->data, upper = op->activation == TD_RELU6 ? 6 : (td_real)INFINITY;
    td_real *gradient = op->x->gradient;
    for (size_t i = 0; gradient && i < count; i++)
        gradient[i] = y[i] > 0 && y[i] < upper ? gradient[i] : 0;
}

td_tensor *td_activate_in_place(td_graph *graph, td_tensor *x, td_activation activation)
{
    if (!x || activation == TD_IDENTITY)
        return x;
    if (x->stride != x->columns || (td_needs_gradient(x) && !tells_its_slope(activation)))
        return td_activate(graph, x, activation, 0);
    TD_PROFILE(graph->recorder, "activation");
    graph->kernels->activate((int)activation, x->data, x->data, x->rows * x->columns);
    if (td_needs_gradient(x))
        note(graph, activate_backward, (in_place_operation){x, NULL, activation});
    return x;
}

static void add_backward(td_graph *graph, void *operation)
{
    const in_place_operation *op = operation;
    td_real *dresidual = td_gradient(graph, op->residual);
    if (dresidual && op->x->gradient)
        graph->kernels->add(dresidual, op->x->gradient, op->x->rows * op->x->columns);
}

td_tensor *td_add_in_place(td_graph *graph, td_tensor *x, td_tensor *residual)
{
    if (!x || !residual)
        return NULL;
    bool alike = x->rows == residual->rows && x->columns == residual->columns && x->stride == x->columns && residual->stride == x->columns;
    if (!alike || (td_needs_gradient(residual) && !td_needs_gradient(x)))
        return td_add(graph, x, residual);
    TD_PROFILE(graph->recorder, "add");
    graph->kernels->add(x->data, residual->data, x->rows * x->columns);
    if (td_needs_gradient(residual))
        note(graph, add_backward, (in_place_operation){x, residual, TD_IDENTITY});
    return x;
}
