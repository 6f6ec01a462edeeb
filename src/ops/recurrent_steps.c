/* Products inside a loop over positions: each step's forward and input gradient are done in the step, the weight's gradient once
 * for all steps. Also the row views and the stacking that such a loop needs. */
#include "ops/packed_linear.h"
#include "ops/product.h"
#include "ops/recurrent.h"

#include <string.h>

/* A view need not be of columns: all that counts is where it starts and how far rows are apart. */
td_tensor *td_tensor_rows(td_graph *graph, td_tensor *x, size_t first, size_t rows)
{
    td_tensor *view = x ? td_tensor_columns(graph, x, first * x->stride, x->columns) : NULL;
    if (view)
        view->rows = rows;
    return view;
}

typedef struct stack_pass {
    td_tensor **parts, *y;
    size_t count;
} stack_pass;

static void stack_backward(td_graph *graph, void *operation)
{
    stack_pass *pass = operation;
    const td_real *dy = pass->y->gradient;
    for (size_t p = 0; dy && p < pass->count; p++) {
        td_tensor *part = pass->parts[p];
        td_real *dx = td_gradient(graph, part);
        for (size_t i = 0; dx && i < part->rows; i++)
            graph->kernels->add(dx + i * part->stride, dy + i * pass->y->stride, part->columns);
        dy += part->rows * pass->y->stride;
    }
}

td_tensor *td_stack_rows(td_graph *graph, td_tensor *const *parts, size_t count)
{
    TD_PROFILE(graph->recorder, "stack rows");
    size_t rows = 0;
    bool trains = false;
    for (size_t p = 0; p < count; p++) {
        if (!td_graph_ok(graph) || !parts[p])
            return NULL;
        if (parts[p]->columns != parts[0]->columns)
            return td_graph_fail(graph, TD_ERROR_ARGUMENT, "rows of %zu cannot be stacked on rows of %zu", parts[p]->columns,
                                 parts[0]->columns);
        rows += parts[p]->rows;
        trains = trains || td_needs_gradient(parts[p]);
    }
    stack_pass *pass = td_graph_allocate(graph, 1, sizeof *pass);
    td_tensor **kept = td_graph_allocate(graph, count, sizeof(td_tensor *));
    td_tensor *y = td_tensor_new(graph, rows, count ? parts[0]->columns : 0, trains);
    if (!pass || !kept || !y)
        return NULL;
    td_real *to = y->data;
    for (size_t p = 0; p < count; p++) {
        kept[p] = parts[p];
        for (size_t i = 0; i < parts[p]->rows; i++, to += y->stride)
            memcpy(to, parts[p]->data + i * parts[p]->stride, y->columns * sizeof *to);
    }
    *pass = (stack_pass){kept, y, count};
    if (trains)
        td_record(graph, stack_backward, pass);
    return y;
}

struct td_step_linear {
    td_tensor *weight, *bias;
    const td_packed *packed;      /* of a model that is only run: takes the place of the forms below */
    td_operand forward, backward; /* the weight in the form of the steps' products; the second from the first step back */
    size_t rows, used;            /* of the two below */
    td_real *x, *dy;              /* [rows, I], [rows, O]: from backward of the steps */
};

typedef struct linear_step {
    td_step_linear *linear;
    td_tensor *x, *add, *y;
} linear_step;

static bool weight_trains(const td_step_linear *linear)
{
    return td_needs_gradient(linear->weight) || td_needs_gradient(linear->bias);
}

static void flush(td_graph *graph, void *operation)
{
    td_step_linear *linear = operation;
    size_t inputs = linear->weight->columns, outputs = linear->weight->rows;
    if (!linear->used)
        return;
    td_real *dw = td_gradient(graph, linear->weight), *db = td_gradient(graph, linear->bias);
    if (dw)
        td_product(graph, true, false, outputs, inputs, linear->used, linear->dy, outputs, linear->x, inputs, true, dw,
                   linear->weight->stride);
    for (size_t i = 0; db && i < linear->used; i++)
        graph->kernels->add(db, linear->dy + i * outputs, outputs);
}

td_step_linear *td_step_linear_begin(td_graph *graph, td_tensor *weight, td_tensor *bias, size_t rows)
{
    if (!td_graph_ok(graph) || !weight)
        return NULL;
    if (bias && bias->columns != weight->rows) {
        td_graph_fail(graph, TD_ERROR_ARGUMENT, "a bias of %zu does not fit %zu outputs", bias->columns, weight->rows);
        return NULL;
    }
    td_step_linear *linear = td_graph_allocate(graph, 1, sizeof *linear);
    if (!linear)
        return NULL;
    *linear = (td_step_linear){.weight = weight, .bias = bias, .rows = rows};
    linear->packed = weight->parameter ? weight->parameter->packed : NULL;
    if (linear->packed)
        return linear;
    linear->forward = td_right_operand(graph, true, weight->data, weight->columns, weight->rows, weight->stride);
    if (graph->recording && weight_trains(linear)) {
        linear->x = td_graph_allocate(graph, rows * weight->columns, sizeof(td_real));
        linear->dy = td_graph_allocate(graph, rows * weight->rows, sizeof(td_real));
        if (!linear->x || !linear->dy)
            return NULL;
        td_record(graph, flush, linear);
    }
    return linear;
}

/* out [rows, ...] (+)= x op(weight) */
static void step_product(td_graph *graph, td_step_linear *linear, bool transpose, const td_real *x, size_t rows, size_t stride,
                         bool accumulate, td_real *out, size_t out_stride)
{
    size_t inputs = linear->weight->columns, outputs = linear->weight->rows, n = transpose ? outputs : inputs,
           k = transpose ? inputs : outputs;
    if (!transpose && !linear->backward.data)
        linear->backward = td_right_operand(graph, false, linear->weight->data, k, n, linear->weight->stride);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_operand left = td_operand_of(graph, x, rows, k, stride);
    td_product_operands(graph, false, transpose, rows, n, k, left, transpose ? linear->forward : linear->backward, accumulate, out,
                        out_stride);
    td_arena_release_to(graph->arena, mark);
}

static void keep(td_real *to, const td_real *from, size_t stride, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows; i++)
        memcpy(to + i * columns, from + i * stride, columns * sizeof *to);
}

static void linear_backward(td_graph *graph, void *operation)
{
    linear_step *step = operation;
    td_step_linear *linear = step->linear;
    const td_tensor *x = step->x, *y = step->y, *weight = linear->weight;
    if (!y->gradient)
        return;
    if (linear->x) {
        keep(linear->x + linear->used * weight->columns, x->data, x->stride, x->rows, x->columns);
        keep(linear->dy + linear->used * weight->rows, y->gradient, y->stride, y->rows, y->columns);
        linear->used += x->rows;
    }
    td_real *dx = td_gradient(graph, step->x);
    if (dx)
        step_product(graph, linear, false, y->gradient, y->rows, y->stride, true, dx, x->stride);
    td_real *dadd = td_gradient(graph, step->add);
    for (size_t i = 0; dadd && i < y->rows; i++)
        graph->kernels->add(dadd + i * step->add->stride, y->gradient + i * y->stride, y->columns);
}

/* y starts as what is added to the product. */
static void start_rows(td_graph *graph, td_tensor *y, const td_tensor *add, const td_tensor *bias)
{
    for (size_t i = 0; i < y->rows; i++) {
        td_real *row = y->data + i * y->stride;
        if (add)
            memcpy(row, add->data + i * add->stride, y->columns * sizeof *row);
        else if (bias)
            memcpy(row, bias->data, y->columns * sizeof *row);
        if (add && bias)
            graph->kernels->add(row, bias->data, y->columns);
    }
}

static td_tensor *apply_packed(td_graph *graph, const td_step_linear *linear, td_tensor *x, const td_tensor *add)
{
    const td_real *bias = linear->bias ? linear->bias->data : NULL;
    td_tensor *y = td_packed_linear(graph, x, &linear->packed, &bias, 1, TD_IDENTITY);
    for (size_t i = 0; y && add && i < y->rows; i++)
        graph->kernels->add(y->data + i * y->stride, add->data + i * add->stride, y->columns);
    return y;
}

td_tensor *td_step_linear_apply(td_graph *graph, td_step_linear *linear, td_tensor *x, td_tensor *add)
{
    TD_PROFILE(graph->recorder, "linear");
    if (!td_graph_ok(graph) || !linear || !x)
        return NULL;
    const td_tensor *weight = linear->weight;
    if (x->columns != weight->columns || (add && (add->rows != x->rows || add->columns != weight->rows)))
        return td_graph_fail(graph, TD_ERROR_ARGUMENT, "rows of %zu do not fit a weight of %zu x %zu", x->columns, weight->rows,
                             weight->columns);
    if (linear->packed)
        return apply_packed(graph, linear, x, add);
    bool trains = weight_trains(linear) || td_needs_gradient(x) || td_needs_gradient(add);
    td_tensor *y = td_tensor_new(graph, x->rows, weight->rows, trains);
    linear_step *step = td_graph_allocate(graph, 1, sizeof *step);
    if (!y || !step)
        return NULL;
    *step = (linear_step){linear, x, add, y};
    start_rows(graph, y, add, linear->bias);
    step_product(graph, linear, true, x->data, x->rows, x->stride, add || linear->bias, y->data, y->stride);
    if (trains)
        td_record(graph, linear_backward, step);
    return y;
}
