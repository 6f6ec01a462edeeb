/* x weight^T + bias, and the plain product. Backward: dx = dy weight, dweight = dy^T x, dbias = column sums of dy. */
#include "ops/ops.h"
#include "ops/product.h"

#include <string.h>

typedef struct linear_operation {
    td_tensor *x, *weight, *bias, *y;
} linear_operation;

static void add_column_sums(const td_kernels *kernels, td_real *sums, const td_real *rows, size_t count, size_t columns,
                            size_t stride)
{
    for (size_t row = 0; row < count; row++)
        kernels->add(sums, rows + row * stride, columns);
}

static void linear_backward(td_graph *graph, void *operation)
{
    linear_operation *op = operation;
    const td_real *dy = op->y->gradient;
    if (!dy)
        return;
    size_t rows = op->x->rows, inputs = op->x->columns, outputs = op->y->columns;
    td_real *dx = td_gradient(graph, op->x);
    td_real *dweight = td_gradient(graph, op->weight);
    td_real *dbias = td_gradient(graph, op->bias);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_operand gradient = td_operand_of(graph, dy, rows, outputs, outputs);
    if (dx)
        td_product_operands(graph, false, false, rows, inputs, outputs, gradient,
                            td_operand_of(graph, op->weight->data, outputs, inputs, inputs), true, dx, op->x->stride);
    if (dweight)
        td_product_operands(graph, true, false, outputs, inputs, rows, gradient,
                            td_operand_of(graph, op->x->data, rows, inputs, op->x->stride), true, dweight, inputs);
    td_arena_release_to(graph->arena, mark);
    if (dbias)
        add_column_sums(graph->kernels, dbias, dy, rows, outputs, outputs);
}

td_tensor *td_linear(td_graph *graph, td_tensor *x, td_tensor *weight, td_tensor *bias)
{
    if (!x || !weight)
        return NULL;
    if (x->columns != weight->columns || (bias && bias->columns != weight->rows))
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "linear: input [%zu, %zu], weight [%zu, %zu], bias [%zu]", x->rows,
                             x->columns, weight->rows, weight->columns, bias ? bias->columns : weight->rows);
    bool gradient = td_needs_gradient(x) || td_needs_gradient(weight) || td_needs_gradient(bias);
    td_tensor *y = td_tensor_new(graph, x->rows, weight->rows, gradient);
    if (!y)
        return NULL;
    for (size_t row = 0; bias && row < y->rows; row++)
        memcpy(y->data + row * y->columns, bias->data, y->columns * sizeof *y->data);
    td_product(graph, false, true, x->rows, weight->rows, x->columns, x->data, x->stride, weight->data, weight->stride, bias != NULL,
            y->data, y->stride);
    linear_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (linear_operation){x, weight, bias, y};
        td_record(graph, linear_backward, op);
    }
    return y;
}

static void matmul_backward(td_graph *graph, void *operation)
{
    linear_operation *op = operation;
    td_tensor *a = op->x, *b = op->weight;
    const td_real *dy = op->y->gradient;
    if (!dy)
        return;
    td_real *da = td_gradient(graph, a), *db = td_gradient(graph, b);
    if (da)
        td_product(graph, false, true, a->rows, a->columns, b->columns, dy, b->columns, b->data, b->stride, true, da, a->stride);
    if (db)
        td_product(graph, true, false, b->rows, b->columns, a->rows, a->data, a->stride, dy, b->columns, true, db, b->stride);
}

td_tensor *td_matmul(td_graph *graph, td_tensor *a, td_tensor *b)
{
    if (!a || !b)
        return NULL;
    if (a->columns != b->rows)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "matmul: [%zu, %zu] by [%zu, %zu]", a->rows, a->columns, b->rows,
                             b->columns);
    td_tensor *y = td_tensor_new(graph, a->rows, b->columns, td_needs_gradient(a) || td_needs_gradient(b));
    if (!y)
        return NULL;
    td_product(graph, false, false, a->rows, b->columns, a->columns, a->data, a->stride, b->data, b->stride, false, y->data, y->stride);
    linear_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (linear_operation){a, b, NULL, y};
        td_record(graph, matmul_backward, op);
    }
    return y;
}
