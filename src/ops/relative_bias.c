/* A bias of attention that depends on the distance between two positions alone: the rows of a table, one for each bucket of
 * distances, laid out by head and distance so that a query's biases follow one another. */
#include "ops/ops.h"

#include <string.h>

typedef struct relative_bias_operation {
    td_tensor *table, *y;
    int32_t *buckets;
} relative_bias_operation;

static void relative_bias_backward(td_graph *graph, void *operation)
{
    relative_bias_operation *op = operation;
    td_real *dtable = td_gradient(graph, op->table);
    if (!dtable || !op->y->gradient)
        return;
    for (size_t head = 0; head < op->y->rows; head++)
        for (size_t i = 0; i < op->y->columns; i++)
            dtable[(size_t)op->buckets[i] * op->table->columns + head] += op->y->gradient[head * op->y->columns + i];
}

td_tensor *td_relative_bias(td_graph *graph, td_tensor *table, const int32_t *buckets, size_t count)
{
    TD_PROFILE(graph->recorder, "relative bias");
    if (!table || !buckets)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (buckets[i] < 0 || (size_t)buckets[i] >= table->rows)
            return td_graph_fail(graph, TD_ERROR_INTERNAL, "relative_bias: bucket %d of %zu", buckets[i], table->rows);
    td_tensor *y = td_tensor_new(graph, table->columns, count, td_needs_gradient(table));
    if (!y)
        return NULL;
    for (size_t head = 0; head < y->rows; head++)
        for (size_t i = 0; i < count; i++)
            y->data[head * count + i] = table->data[(size_t)buckets[i] * table->columns + head];
    relative_bias_operation *op = y->requires_gradient ? td_graph_allocate(graph, 1, sizeof *op) : NULL;
    int32_t *kept = op ? td_graph_allocate(graph, count, sizeof *kept) : NULL;
    if (kept) {
        memcpy(kept, buckets, count * sizeof *kept);
        *op = (relative_bias_operation){table, y, kept};
        td_record(graph, relative_bias_backward, op);
    }
    return y;
}
