/* x weight^T + bias, and the plain product. Backward: dx = dy weight, dweight = dy^T x, dbias = column sums of dy. */
#include "ops/ops.h"
#include "ops/packed_linear.h"
#include "ops/product.h"

#include <string.h>

typedef struct linear_operation {
    td_tensor *x, *weight, *bias, *y;
} linear_operation;

static void add_column_sums(const td_kernels *kernels, td_real *sums, const td_real *rows, size_t count, size_t columns, size_t stride)
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

static const td_packed *packed_of(const td_tensor *weight)
{
    return weight->parameter ? weight->parameter->packed : NULL;
}

static td_tensor *linear_packed(td_graph *graph, td_tensor *x, const td_tensor *weight, const td_tensor *bias, td_activation activation)
{
    const td_packed *packed = packed_of(weight);
    const td_real *biases = bias ? bias->data : NULL;
    return td_packed_linear(graph, x, &packed, &biases, 1, activation);
}

td_tensor *td_linear_activate(td_graph *graph, td_tensor *x, td_tensor *weight, td_tensor *bias, td_activation activation, td_real dropout)
{
    TD_PROFILE(graph->recorder, "linear");
    if (x && weight && packed_of(weight))
        return linear_packed(graph, x, weight, bias, activation);
    return td_activate(graph, td_linear(graph, x, weight, bias), activation, dropout);
}

td_tensor *td_linear_several(td_graph *graph, td_tensor *x, const td_parameter *const *weights, const td_parameter *const *biases,
                             size_t count)
{
    TD_PROFILE(graph->recorder, "linear");
    enum { MOST = 4 };
    if (!x)
        return NULL;
    if (count == 0 || count > MOST)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "linear: %zu weights side by side", count);
    if (weights[0]->packed) {
        const td_packed *packed[MOST];
        const td_real *bias[MOST];
        for (size_t i = 0; i < count; i++) {
            packed[i] = weights[i]->packed;
            bias[i] = biases ? biases[i]->data : NULL;
        }
        return td_packed_linear(graph, x, packed, bias, count, TD_IDENTITY);
    }
    td_parameter *whole = td_graph_allocate(graph, 2, sizeof *whole);
    if (!whole)
        return NULL;
    whole[0] = *weights[0];
    whole[0].rows *= count;
    whole[0].joined = count - 1;
    if (biases) {
        whole[1] = *biases[0];
        whole[1].columns *= count;
        whole[1].joined = count - 1;
    }
    return td_linear(graph, x, td_graph_parameter(graph, &whole[0]), biases ? td_graph_parameter(graph, &whole[1]) : NULL);
}

td_tensor *td_linear(td_graph *graph, td_tensor *x, td_tensor *weight, td_tensor *bias)
{
    TD_PROFILE(graph->recorder, "linear");
    if (!x || !weight)
        return NULL;
    if (x->columns != weight->columns || (bias && bias->columns != weight->rows))
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "linear: input [%zu, %zu], weight [%zu, %zu], bias [%zu]", x->rows, x->columns,
                             weight->rows, weight->columns, bias ? bias->columns : weight->rows);
    if (packed_of(weight))
        return linear_packed(graph, x, weight, bias, TD_IDENTITY);
    bool gradient = td_needs_gradient(x) || td_needs_gradient(weight) || td_needs_gradient(bias);
    td_tensor *y = td_tensor_new(graph, x->rows, weight->rows, gradient);
    if (!y)
        return NULL;
    td_product_biased(graph, x->rows, weight->rows, x->columns, x->data, x->stride, weight->data, weight->stride, bias ? bias->data : NULL,
                      y->data, y->stride);
    linear_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (op) {
        *op = (linear_operation){x, weight, bias, y};
        td_record(graph, linear_backward, op);
    }
    return y;
}
