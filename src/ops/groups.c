#include "ops/groups.h"

#include <string.h>

/* A group on its way. */
typedef struct piece {
    td_graph graph;
    td_tensor *x, *y;
} piece;

typedef struct groups_operation {
    td_groups groups;
    td_tensor *x, *y;
    piece *kept; /* [number of groups], or NULL */
} groups_operation;

static size_t items_of(const td_groups *groups, size_t index)
{
    size_t left = groups->count - index * groups->group;
    return left < groups->group ? left : groups->group;
}

/* Where group `index` begins in x (`rows` of an item) or y. */
static size_t begin_of(const td_groups *groups, size_t index, const td_tensor *tensor, size_t rows)
{
    return index * groups->group * rows * tensor->columns;
}

static bool run_piece(td_graph *graph, const groups_operation *op, size_t index, piece *it)
{
    const td_groups *groups = &op->groups;
    size_t items = items_of(groups, index);
    td_graph_nest(graph, op->y->requires_gradient, &it->graph);
    it->x = td_tensor_of(&it->graph, op->x->data + begin_of(groups, index, op->x, groups->input_rows), items * groups->input_rows,
                         op->x->columns);
    if (it->x)
        it->x->requires_gradient = td_needs_gradient(op->x) && op->y->requires_gradient;
    it->y = it->x ? groups->run(groups->context, &it->graph, it->x, items) : NULL;
    if (it->y && (it->y->rows != items * groups->output_rows || it->y->columns != op->y->columns))
        td_graph_fail(&it->graph, TD_ERROR_INTERNAL, "groups: [%zu, %zu] of %zu items of %zu rows", it->y->rows, it->y->columns, items,
                      groups->output_rows);
    if (!td_graph_ok(&it->graph))
        graph->error = it->graph.error;
    return td_graph_ok(graph);
}

static bool go_back(td_graph *graph, const groups_operation *op, size_t index, piece *it)
{
    const td_groups *groups = &op->groups;
    if (op->x->gradient)
        it->x->gradient = op->x->gradient + begin_of(groups, index, op->x, groups->input_rows);
    it->y->gradient = op->y->gradient + begin_of(groups, index, op->y, groups->output_rows);
    return td_backward(&it->graph, NULL, 0, &graph->error) == TD_OK;
}

/* Weights' gradients lie where releasing a group's memory leaves them. */
static void groups_backward(td_graph *graph, void *operation)
{
    const groups_operation *op = operation;
    size_t number = (op->groups.count + op->groups.group - 1) / op->groups.group;
    if (!op->y->gradient)
        return;
    td_gradient(graph, op->x);
    for (size_t i = 0; i < op->groups.weight_count; i++)
        td_gradient(graph, op->groups.weights[i]);
    bool going = td_graph_ok(graph);
    for (size_t i = number; going && i-- > 0;) {
        td_arena_mark mark = td_arena_get_mark(graph->arena);
        piece again;
        if (op->kept)
            going = go_back(graph, op, i, &op->kept[i]);
        else
            going = run_piece(graph, op, i, &again) && go_back(graph, op, i, &again);
        td_arena_release_to(graph->arena, mark);
    }
}

bool td_in_groups(td_graph *graph, td_tensor *x, const td_groups *groups, td_tensor *y)
{
    if (!x || !y || !td_graph_ok(graph))
        return false;
    if (!groups->group || x->rows != groups->count * groups->input_rows || y->rows != groups->count * groups->output_rows ||
        x->stride != x->columns || y->stride != y->columns) {
        td_graph_fail(graph, TD_ERROR_INTERNAL, "groups: [%zu, %zu] are not %zu items", x->rows, x->columns, groups->count);
        return false;
    }
    size_t number = (groups->count + groups->group - 1) / groups->group;
    bool keep = groups->keep && y->requires_gradient;
    groups_operation *op = td_graph_allocate(graph, 1, sizeof *op);
    piece *kept = keep ? td_graph_allocate(graph, number, sizeof *kept) : NULL;
    if (!op || (keep && !kept))
        return false;
    *op = (groups_operation){*groups, x, y, kept};
    for (size_t i = 0; i < number; i++) {
        td_arena_mark mark = td_arena_get_mark(graph->arena);
        piece once, *it = kept ? &kept[i] : &once;
        if (!run_piece(graph, op, i, it))
            return false;
        memcpy(y->data + begin_of(groups, i, y, groups->output_rows), it->y->data, it->y->rows * y->columns * sizeof *y->data);
        if (!kept)
            td_arena_release_to(graph->arena, mark);
    }
    if (y->requires_gradient)
        td_record(graph, groups_backward, op);
    return td_graph_ok(graph);
}
