/* Dropout (Srivastava 2014), alone, on a residual branch, or after an activation. The mask is a function of (key, index), so that
 * backward recomputes it and nothing is stored. */
#include "ops/ops.h"

#include <string.h>

typedef struct dropout_operation {
    td_tensor *residual, *x, *y;
    td_dropout_mask mask;
    td_activation activation;
} dropout_operation;

/* Whole rows only: the passes below run over memory as if it were one row. */
static bool is_whole(td_graph *graph, const td_tensor *x)
{
    if (x->stride != x->columns)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "%zu columns of a tensor of %zu where a whole tensor is needed", x->columns, x->stride);
    return x->stride == x->columns;
}

/* A mask for the next call of this graph; rate 0 outside training. */
static td_dropout_mask next_mask(td_graph *graph, td_real rate)
{
    uint64_t key = td_random_key(graph->dropout_key, graph->dropout_calls++, 0);
    return td_dropout_mask_of(graph->training ? rate : 0, key);
}

static void record(td_graph *graph, void (*backward)(td_graph *, void *), dropout_operation operation)
{
    dropout_operation *op = operation.y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (!op)
        return;
    *op = operation;
    td_record(graph, backward, op);
}

static void dropout_backward(td_graph *graph, void *operation)
{
    dropout_operation *op = operation;
    size_t count = op->y->rows * op->y->columns;
    const td_real *dy = op->y->gradient;
    td_real *dx = td_gradient(graph, op->x), *dresidual = td_gradient(graph, op->residual);
    if (dx && dy)
        graph->kernels->dropout(dx, dy, count, 0, op->mask, true);
    if (dresidual && dy)
        graph->kernels->add(dresidual, dy, count);
}

td_tensor *td_dropout(td_graph *graph, td_tensor *x, td_real rate)
{
    TD_PROFILE(graph->recorder, "dropout");
    if (!x || !graph->training || rate <= 0)
        return x;
    if (!is_whole(graph, x))
        return NULL;
    td_tensor *y = td_tensor_new(graph, x->rows, x->columns, td_needs_gradient(x));
    if (!y)
        return NULL;
    td_dropout_mask mask = next_mask(graph, rate);
    graph->kernels->dropout(y->data, x->data, x->rows * x->columns, 0, mask, false);
    record(graph, dropout_backward, (dropout_operation){NULL, x, y, mask, TD_IDENTITY});
    return y;
}

td_tensor *td_add_dropout(td_graph *graph, td_tensor *residual, td_tensor *x, td_real rate)
{
    TD_PROFILE(graph->recorder, "dropout and add");
    if (!graph->training || rate <= 0)
        return td_add(graph, residual, x);
    if (!residual || !x || !is_whole(graph, residual) || !is_whole(graph, x))
        return NULL;
    if (residual->rows != x->rows || residual->columns != x->columns)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "residual [%zu, %zu] and branch [%zu, %zu]", residual->rows, residual->columns,
                             x->rows, x->columns);
    td_tensor *y = td_tensor_new(graph, x->rows, x->columns, td_needs_gradient(x) || td_needs_gradient(residual));
    if (!y)
        return NULL;
    td_dropout_mask mask = next_mask(graph, rate);
    memcpy(y->data, residual->data, x->rows * x->columns * sizeof *y->data);
    graph->kernels->dropout(y->data, x->data, x->rows * x->columns, 0, mask, true);
    record(graph, dropout_backward, (dropout_operation){residual, x, y, mask, TD_IDENTITY});
    return y;
}

static void activate_backward(td_graph *graph, void *operation)
{
    dropout_operation *op = operation;
    size_t count = op->y->rows * op->y->columns;
    const td_real *dy = op->y->gradient;
    td_real *dx = td_gradient(graph, op->x);
    if (!dx || !dy)
        return;
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    if (op->mask.threshold) {
        td_real *masked = td_graph_allocate(graph, count, sizeof *masked);
        if (!masked)
            return;
        graph->kernels->dropout(masked, dy, count, 0, op->mask, false);
        dy = masked;
    }
    graph->kernels->activate_backward(op->activation, dx, op->x->data, dy, count);
    td_arena_release_to(graph->arena, mark);
}

typedef struct activate_parts {
    const td_kernels *kernels;
    const td_tensor *x;
    td_tensor *y;
    td_activation activation;
    size_t parts;
} activate_parts;

static void activate_part(void *context, size_t part, size_t thread)
{
    (void)thread;
    const activate_parts *parts = context;
    size_t columns = parts->x->columns, first = parts->x->rows * part / parts->parts * columns;
    size_t count = parts->x->rows * (part + 1) / parts->parts * columns - first;
    parts->kernels->activate(parts->activation, parts->y->data + first, parts->x->data + first, count);
}

td_tensor *td_activate(td_graph *graph, td_tensor *x, td_activation activation, td_real rate)
{
    TD_PROFILE(graph->recorder, "activation");
    if (!x || !is_whole(graph, x))
        return NULL;
    td_tensor *y = td_tensor_new(graph, x->rows, x->columns, td_needs_gradient(x));
    if (!y)
        return NULL;
    size_t count = x->rows * x->columns;
    activate_parts parts = {graph->kernels, x, y, activation, td_graph_parts(graph, count)};
    td_graph_run(graph, parts.parts, activate_part, &parts);
    td_dropout_mask mask = {0};
    if (graph->training && rate > 0) {
        mask = next_mask(graph, rate);
        graph->kernels->dropout(y->data, y->data, count, 0, mask, false);
    }
    record(graph, activate_backward, (dropout_operation){NULL, x, y, mask, activation});
    return y;
}
