/* Doubly stochastic attention (Xu 2015, equation 14): over a whole target every part of the source should get one in all. What each part's
 * sum lacks of one, or has above it, is charged squared. */
#include "ops/ops.h"

/* One sequence over `columns` parts. gradient NULL: only the loss. */
static double charge(const td_tensor *weights, size_t first, size_t count, size_t columns, td_real scale, td_real *lack, td_real *gradient)
{
    double loss = 0;
    for (size_t i = 0; i < columns; i++)
        lack[i] = 1;
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < columns; i++)
            lack[i] -= weights->data[(first + t) * weights->stride + i];
    for (size_t i = 0; i < columns; i++)
        loss += (double)lack[i] * (double)lack[i];
    for (size_t t = 0; gradient && t < count; t++)
        for (size_t i = 0; i < columns; i++)
            gradient[(first + t) * weights->stride + i] -= 2 * scale * lack[i];
    return loss;
}

td_tensor *td_doubly_stochastic_loss(td_graph *graph, td_tensor *weights, td_ragged targets, td_ragged sources, td_real gradient_scale)
{
    TD_PROFILE(graph->recorder, "doubly stochastic loss");
    if (!weights || !td_graph_ok(graph))
        return NULL;
    if (td_ragged_total(targets) != weights->rows || sources.count != targets.count)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "doubly_stochastic_loss: %zu rows of weights for %zu targets, %zu sources for %zu",
                             weights->rows, td_ragged_total(targets), sources.count, targets.count);
    td_tensor *loss = td_tensor_new(graph, 1, 1, false);
    td_real *gradient = td_gradient(graph, weights);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *lack = td_graph_allocate(graph, weights->columns, sizeof *lack);
    if (!td_graph_ok(graph))
        return NULL;
    double total = 0;
    for (size_t i = 0; i < targets.count; i++) {
        size_t columns = td_ragged_length(sources, i);
        columns = columns < weights->columns ? columns : weights->columns;
        total += charge(weights, (size_t)targets.offsets[i], td_ragged_length(targets, i), columns, gradient_scale, lack, gradient);
    }
    td_arena_release_to(graph->arena, mark);
    loss->data[0] = (td_real)total;
    return loss;
}
