/* Coverage loss (See 2017, equation 12): attention that returns to where it has been is charged for the overlap. */
#include "ops/ops.h"

#include <string.h>

/* One sequence. d min(a_t, c_t) reaches a_t itself where it is the lesser, and through c_t every earlier row where c_t is. */
static double overlap(const td_tensor *weights, size_t first, size_t count, td_real *sums, bool *covered)
{
    size_t n = weights->columns;
    double loss = 0;
    memset(sums, 0, n * sizeof *sums);
    for (size_t t = 0; t < count; t++) {
        const td_real *row = weights->data + (first + t) * weights->stride;
        for (size_t i = 0; i < n; i++) {
            bool less = sums[i] < row[i];
            covered[t * n + i] = less;
            loss += (double)(less ? sums[i] : row[i]);
            sums[i] += row[i];
        }
    }
    return loss;
}

static void add_gradients(td_real *gradient, const td_tensor *weights, size_t first, size_t count, td_real scale, td_real *later,
                          const bool *covered)
{
    size_t n = weights->columns;
    memset(later, 0, n * sizeof *later);
    for (size_t t = count; t-- > 0;) {
        td_real *row = gradient + (first + t) * weights->stride;
        for (size_t i = 0; i < n; i++) {
            row[i] += later[i];
            if (covered[t * n + i])
                later[i] += scale;
            else
                row[i] += scale;
        }
    }
}

td_tensor *td_coverage_loss(td_graph *graph, td_tensor *weights, td_ragged targets, td_real gradient_scale)
{
    TD_PROFILE(graph->recorder, "coverage loss");
    if (!weights || !td_graph_ok(graph))
        return NULL;
    if (td_ragged_total(targets) != weights->rows)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "coverage_loss: %zu rows of weights for %zu targets", weights->rows,
                             td_ragged_total(targets));
    size_t longest = 0;
    for (size_t i = 0; i < targets.count; i++)
        longest = td_ragged_length(targets, i) > longest ? td_ragged_length(targets, i) : longest;
    td_tensor *loss = td_tensor_new(graph, 1, 1, false);
    td_real *gradient = td_gradient(graph, weights);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *sums = td_graph_allocate(graph, weights->columns, sizeof *sums);
    bool *covered = td_graph_allocate(graph, longest * weights->columns, sizeof *covered);
    if (!td_graph_ok(graph))
        return NULL;
    double total = 0;
    for (size_t i = 0; i < targets.count; i++) {
        size_t first = (size_t)targets.offsets[i], count = td_ragged_length(targets, i);
        total += overlap(weights, first, count, sums, covered);
        if (gradient)
            add_gradients(gradient, weights, first, count, gradient_scale, sums, covered);
    }
    td_arena_release_to(graph->arena, mark);
    loss->data[0] = (td_real)total;
    return loss;
}
