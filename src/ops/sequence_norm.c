/* Group normalisation with one group (Wu 2018): each sequence as a whole, over time and channels. */
#include "ops/ops.h"

#include <math.h>
#include <string.h>

typedef struct sequence_norm_operation {
    td_tensor *x, *weight, *bias, *y;
    td_ragged ragged;
    td_real *mean, *inverse; /* [sequences] */
} sequence_norm_operation;

/* Mean and 1 / deviation of sequence i. Sums are in double precision: a sequence may have a million numbers. */
static void measure(sequence_norm_operation *op, size_t i, td_real epsilon)
{
    size_t columns = op->x->columns, count = td_ragged_length(op->ragged, i) * columns;
    const td_real *x = op->x->data + (size_t)op->ragged.offsets[i] * columns;
    double sum = 0, squares = 0;
    for (size_t k = 0; k < count; k++)
        sum += (double)x[k];
    double mean = count ? sum / (double)count : 0;
    for (size_t k = 0; k < count; k++)
        squares += ((double)x[k] - mean) * ((double)x[k] - mean);
    op->mean[i] = (td_real)mean;
    op->inverse[i] = (td_real)(1 / sqrt((count ? squares / (double)count : 0) + (double)epsilon));
}

/* With h the normalised x and g the gradient times the weight: dx = (g - mean g - h mean(g h)) / deviation. */
static void sequence_backward(sequence_norm_operation *op, size_t i, td_real *dx, td_real *dweight, td_real *dbias)
{
    size_t columns = op->x->columns, rows = td_ragged_length(op->ragged, i), first = (size_t)op->ragged.offsets[i] * columns;
    const td_real *x = op->x->data + first, *dy = op->y->gradient + first, *weight = op->weight->data;
    double sum = 0, slope = 0, count = (double)(rows * columns);
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < columns; c++) {
            td_real h = (x[row * columns + c] - op->mean[i]) * op->inverse[i], d = dy[row * columns + c];
            sum += (double)(d * weight[c]);
            slope += (double)(d * weight[c] * h);
            if (dweight)
                dweight[c] += d * h;
            if (dbias)
                dbias[c] += d;
        }
    td_real mean_sum = (td_real)(sum / count), mean_slope = (td_real)(slope / count);
    for (size_t k = 0; dx && k < rows * columns; k++) {
        td_real h = (x[k] - op->mean[i]) * op->inverse[i];
        dx[first + k] += op->inverse[i] * (dy[k] * weight[k % columns] - mean_sum - h * mean_slope);
    }
}

static void sequence_norm_backward(td_graph *graph, void *operation)
{
    sequence_norm_operation *op = operation;
    td_real *dx = td_gradient(graph, op->x), *dweight = td_gradient(graph, op->weight), *dbias = td_gradient(graph, op->bias);
    for (size_t i = 0; op->y->gradient && i < op->ragged.count; i++)
        sequence_backward(op, i, dx, dweight, dbias);
}

td_tensor *td_sequence_norm(td_graph *graph, td_tensor *x, td_ragged ragged, td_tensor *weight, td_tensor *bias, td_real epsilon)
{
    TD_PROFILE(graph->recorder, "sequence norm");
    if (!x || !weight || !bias)
        return NULL;
    size_t columns = x->columns;
    if (weight->columns != columns || bias->columns != columns || x->stride != columns || td_ragged_total(ragged) != x->rows)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "sequence_norm: [%zu, %zu], weight of %zu", x->rows, columns, weight->columns);
    sequence_norm_operation *op = td_graph_allocate(graph, 1, sizeof *op);
    int32_t *offsets = td_graph_allocate(graph, ragged.count + 1, sizeof *offsets);
    td_tensor *y = td_tensor_new(graph, x->rows, columns, td_needs_gradient(x) || td_needs_gradient(weight) || td_needs_gradient(bias));
    td_real *measured = td_graph_allocate(graph, 2 * ragged.count, sizeof *measured);
    if (!op || !offsets || !y || !measured)
        return NULL;
    memcpy(offsets, ragged.offsets, (ragged.count + 1) * sizeof *offsets);
    *op = (sequence_norm_operation){x, weight, bias, y, {ragged.count, offsets}, measured, measured + ragged.count};
    for (size_t i = 0; i < ragged.count; i++) {
        measure(op, i, epsilon);
        for (size_t k = (size_t)offsets[i] * columns; k < (size_t)offsets[i + 1] * columns; k++)
            y->data[k] = (x->data[k] - op->mean[i]) * op->inverse[i] * weight->data[k % columns] + bias->data[k % columns];
    }
    if (y->requires_gradient)
        td_record(graph, sequence_norm_backward, op);
    return y;
}
