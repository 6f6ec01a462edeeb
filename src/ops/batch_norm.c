/* Batch normalisation (Ioffe, Szegedy 2015) of channels: by the batch's statistics or by the running ones, and folded into the
 * convolution before it. */
#include "ops/picture.h"

#include <math.h>
#include <string.h>

enum { PARTIAL = 256 }; /* rows summed before they join the total: a sum over a million places keeps its digits */

typedef struct batch_norm_operation {
    td_tensor *x, *weight, *bias, *y;
    td_real *mean, *inverse; /* [C]; inverse of the deviation */
    bool from_batch;
} batch_norm_operation;

/* sums [C] = sum over rows of (x - shift) * other; other NULL: of x - shift (squared: of its square). scratch [2 C] */
static void sum_columns(const td_graph *graph, const td_tensor *x, const td_real *shift, const td_real *other, bool squared, td_real *sums,
                        td_real *scratch)
{
    size_t channels = x->columns;
    td_real *partial = scratch, *row = scratch + channels;
    memset(sums, 0, channels * sizeof *sums);
    memset(partial, 0, channels * sizeof *partial);
    for (size_t r = 0; r < x->rows; r++) {
        memcpy(row, x->data + r * channels, channels * sizeof *row);
        if (shift)
            graph->kernels->add_scaled(row, shift, -1, channels);
        if (squared || other)
            graph->kernels->add_product(partial, row, squared ? row : other + r * channels, channels);
        else
            graph->kernels->add(partial, row, channels);
        if ((r + 1) % PARTIAL == 0 || r + 1 == x->rows) {
            graph->kernels->add(sums, partial, channels);
            memset(partial, 0, channels * sizeof *partial);
        }
    }
}

/* Mean and variance of the batch -> op, and the graph's share of them to the running statistics' place. */
static bool use_batch(td_graph *graph, batch_norm_operation *op, const td_batch_norm_weights *norm)
{
    size_t channels = op->x->columns, rows = op->x->rows;
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *scratch = td_graph_allocate(graph, 2 * channels, sizeof *scratch);
    if (!scratch)
        return false;
    sum_columns(graph, op->x, NULL, NULL, false, op->mean, scratch);
    for (size_t c = 0; c < channels; c++)
        op->mean[c] /= (td_real)rows;
    sum_columns(graph, op->x, op->mean, NULL, true, op->inverse, scratch);
    td_arena_release_to(graph->arena, mark);
    if (norm->mean->gradient && graph->share > 0)
        graph->kernels->add_scaled(norm->mean->gradient, op->mean, graph->share, channels);
    if (norm->variance->gradient && graph->share > 0)
        graph->kernels->add_scaled(norm->variance->gradient, op->inverse, graph->share / (td_real)(rows > 1 ? rows - 1 : 1), channels);
    for (size_t c = 0; c < channels; c++)
        op->inverse[c] = 1 / (td_real)sqrt((double)(op->inverse[c] / (td_real)rows + norm->epsilon));
    return true;
}

static void use_running(batch_norm_operation *op, const td_batch_norm_weights *norm)
{
    for (size_t c = 0; c < op->x->columns; c++) {
        op->mean[c] = norm->mean->data[c];
        op->inverse[c] = 1 / (td_real)sqrt((double)(norm->variance->data[c] + norm->epsilon));
    }
}

/* dx = scale * (dy - mean(dy) - h * mean(dy h)) with h = (x - mean) * inverse, scale = weight * inverse; the means only when they
 * come from the batch. */
static void add_input_gradient(td_graph *graph, const batch_norm_operation *op, const td_real *sums, const td_real *products,
                               td_real *scratch, td_real *dx)
{
    size_t channels = op->x->columns;
    td_real *scale = scratch, *shift = scratch + channels, *slope = scratch + 2 * channels;
    td_real part = op->from_batch ? (td_real)1 / (td_real)op->x->rows : 0;
    for (size_t c = 0; c < channels; c++) {
        scale[c] = op->weight->data[c] * op->inverse[c];
        slope[c] = -scale[c] * op->inverse[c] * op->inverse[c] * products[c] * part;
        shift[c] = -scale[c] * sums[c] * part - slope[c] * op->mean[c];
    }
    for (size_t row = 0; row < op->x->rows; row++, dx += channels) {
        graph->kernels->add_product(dx, op->y->gradient + row * channels, scale, channels);
        if (!op->from_batch)
            continue;
        graph->kernels->add(dx, shift, channels);
        graph->kernels->add_product(dx, op->x->data + row * channels, slope, channels);
    }
}

static void batch_norm_backward(td_graph *graph, void *operation)
{
    batch_norm_operation *op = operation;
    size_t channels = op->x->columns;
    if (!op->y->gradient)
        return;
    td_real *dx = td_gradient(graph, op->x), *dweight = td_gradient(graph, op->weight), *dbias = td_gradient(graph, op->bias);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *scratch = td_graph_allocate(graph, 5 * channels, sizeof *scratch);
    if (!scratch)
        return;
    td_real *sums = scratch + 3 * channels, *products = scratch + 4 * channels;
    td_tensor gradient = {.data = op->y->gradient, .rows = op->x->rows, .columns = channels, .stride = channels};
    sum_columns(graph, &gradient, NULL, NULL, false, sums, scratch);
    sum_columns(graph, op->x, op->mean, op->y->gradient, false, products, scratch);
    if (dx)
        add_input_gradient(graph, op, sums, products, scratch, dx);
    if (dweight)
        graph->kernels->add_product(dweight, products, op->inverse, channels);
    if (dbias)
        graph->kernels->add(dbias, sums, channels);
    td_arena_release_to(graph->arena, mark);
}

static bool forward(td_graph *graph, const batch_norm_operation *op)
{
    size_t channels = op->x->columns;
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *scale = td_graph_allocate(graph, 2 * channels, sizeof *scale), *shift = scale + channels;
    if (!scale)
        return false;
    for (size_t c = 0; c < channels; c++) {
        scale[c] = op->weight->data[c] * op->inverse[c];
        shift[c] = op->bias->data[c] - op->mean[c] * scale[c];
    }
    for (size_t row = 0; row < op->x->rows; row++) {
        memcpy(op->y->data + row * channels, shift, channels * sizeof *shift);
        graph->kernels->add_product(op->y->data + row * channels, op->x->data + row * channels, scale, channels);
    }
    td_arena_release_to(graph->arena, mark);
    return true;
}

td_tensor *td_batch_norm(td_graph *graph, td_tensor *x, const td_batch_norm_weights *norm, bool from_batch)
{
    TD_PROFILE(graph->recorder, "batch norm");
    if (!x || !norm->weight || !norm->bias || !norm->mean || !norm->variance)
        return NULL;
    size_t channels = x->columns;
    if (x->stride != channels || norm->weight->columns != channels || norm->bias->columns != channels || norm->mean->columns != channels ||
        norm->variance->columns != channels || (from_batch && x->rows == 0))
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "batch_norm: [%zu, %zu], weight of %zu", x->rows, channels, norm->weight->columns);
    bool gradient = td_needs_gradient(x) || td_needs_gradient(norm->weight) || td_needs_gradient(norm->bias);
    td_tensor *y = td_tensor_new(graph, x->rows, channels, gradient);
    batch_norm_operation *op = td_graph_allocate(graph, 1, sizeof *op);
    td_real *statistics = td_graph_allocate(graph, 2 * channels, sizeof *statistics);
    if (!y || !op || !statistics)
        return NULL;
    *op = (batch_norm_operation){x, norm->weight, norm->bias, y, statistics, statistics + channels, from_batch};
    if (!from_batch)
        use_running(op, norm);
    else if (!use_batch(graph, op, norm))
        return NULL;
    if (!forward(graph, op))
        return NULL;
    if (y->requires_gradient)
        td_record(graph, batch_norm_backward, op);
    return y;
}

/* ---- folded ---- */

typedef struct fold_operation {
    td_batch_norm_weights norm;
    td_tensor *weight, *folded, *shift;
} fold_operation;

static td_real deviation_of(const td_batch_norm_weights *norm, size_t channel)
{
    return (td_real)sqrt((double)(norm->variance->data[channel] + norm->epsilon));
}

/* With s = weight of the norm / deviation, folded = s W and shift = bias - mean s: what z = W x has for a gradient is not needed. */
static void fold_backward(td_graph *graph, void *operation)
{
    const fold_operation *op = operation;
    const td_batch_norm_weights *norm = &op->norm;
    const td_real *dfolded = op->folded->gradient, *dshift = op->shift->gradient;
    td_real *dweight = td_gradient(graph, op->weight), *dscale = td_gradient(graph, norm->weight), *dbias = td_gradient(graph, norm->bias);
    size_t columns = op->weight->columns;
    for (size_t o = 0; dfolded && dshift && o < op->weight->rows; o++, dfolded += columns) {
        td_real deviation = deviation_of(norm, o);
        if (dweight)
            graph->kernels->add_scaled(dweight + o * columns, dfolded, norm->weight->data[o] / deviation, columns);
        if (dscale)
            dscale[o] +=
                (graph->kernels->dot(dfolded, op->weight->data + o * columns, columns) - norm->mean->data[o] * dshift[o]) / deviation;
        if (dbias)
            dbias[o] += dshift[o];
    }
}

bool td_batch_norm_fold(td_graph *graph, const td_batch_norm_weights *norm, td_tensor **weight, td_tensor **ret_bias)
{
    td_tensor *from = *weight;
    if (!from || !norm->weight || !norm->bias || !norm->mean || !norm->variance)
        return false;
    bool gradient = td_needs_gradient(from) || td_needs_gradient(norm->weight) || td_needs_gradient(norm->bias);
    td_tensor *folded = gradient || from->parameter ? td_tensor_new(graph, from->rows, from->columns, gradient) : from;
    td_tensor *shift = td_tensor_new(graph, 1, from->rows, gradient);
    fold_operation *op = gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    if (!folded || !shift || (gradient && !op))
        return false;
    for (size_t o = 0; o < from->rows; o++) {
        td_real scale = norm->weight->data[o] / deviation_of(norm, o);
        shift->data[o] = norm->bias->data[o] - norm->mean->data[o] * scale;
        for (size_t i = o * from->columns; i < (o + 1) * from->columns; i++)
            folded->data[i] = from->data[i] * scale;
    }
    if (op) {
        *op = (fold_operation){*norm, from, folded, shift};
        td_record(graph, fold_backward, op);
    }
    *weight = folded;
    *ret_bias = shift;
    return td_graph_ok(graph);
}
