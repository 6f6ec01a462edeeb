/* The memory of gradients. Each is a block; when backward is done with it, the block waits for others to use, whole or in parts, with
 * its neighbours if they wait too. Where weights' gradients go to sums, a weight's block is added to them as soon as it is done with, so
 * that only few exist at a time, and the memory of results that backward has passed serves for gradients as well. */
#include "tensor/gradients.h"

#include "platform/thread.h"

#include <string.h>

enum { GRAIN = 16, LEAST = 1024 }; /* numbers: blocks are multiples of the first; less than the second is not worth keeping */

/* What a graph does with a weight. */
typedef struct td_weight_use {
    bool used, done;
    bool in_turn;           /* its turn has come: it may add to the sums */
    size_t first, together; /* the weights that share a gradient with it */
    size_t count;           /* numbers of the gradient */
    size_t born;            /* as in td_tensor, of the first tensor of it */
    size_t times;           /* that the graph reads it */
    td_real *gradient;      /* this graph's own; NULL: none */
} td_weight_use;

struct td_gradient_block {
    struct td_gradient_block *next;
    td_real *data;
    size_t count, born;
    td_weight_use *use; /* of a weight's gradient */
};

/* ---- blocks ---- */

static struct td_gradient_block *new_block(td_graph *graph)
{
    struct td_gradient_block *block = graph->spare;
    if (block)
        graph->spare = block->next;
    else
        block = td_graph_allocate(graph, 1, sizeof *block);
    return block;
}

static void drop_block(td_graph *graph, struct td_gradient_block *block)
{
    block->next = graph->spare;
    graph->spare = block;
}

/* Takes the block after `block` into it if it begins where that one ends. */
static void join_next(td_graph *graph, struct td_gradient_block *block)
{
    struct td_gradient_block *next = block->next;
    if (!next || block->data + block->count != next->data)
        return;
    block->count += next->count;
    block->next = next->next;
    drop_block(graph, next);
}

/* The idle are in order of their addresses. */
static void make_idle(td_graph *graph, struct td_gradient_block *block)
{
    struct td_gradient_block **link = &graph->idle, *before = NULL;
    while (*link && (*link)->data < block->data) {
        before = *link;
        link = &before->next;
    }
    block->next = *link;
    *link = block;
    join_next(graph, block);
    if (before)
        join_next(graph, before);
}

/* The smallest idle block that is large enough; what is left of it stays idle. */
static struct td_gradient_block *take_idle(td_graph *graph, size_t count)
{
    struct td_gradient_block **best = NULL;
    for (struct td_gradient_block **link = &graph->idle; *link; link = &(*link)->next)
        if ((*link)->count >= count && (!best || (*link)->count < (*best)->count))
            best = link;
    struct td_gradient_block *block = best ? *best : NULL, *rest;
    if (!block)
        return NULL;
    *best = block->next;
    if (block->count - count >= LEAST && (rest = new_block(graph))) {
        *rest = (struct td_gradient_block){.next = block->next, .data = block->data + count, .count = block->count - count};
        *best = rest;
        block->count = count;
    }
    return block;
}

/* A block of so many numbers, cleared. */
static td_real *take_block(td_graph *graph, size_t numbers, size_t born, td_weight_use *use)
{
    size_t count = (numbers + GRAIN - 1) / GRAIN * GRAIN;
    struct td_gradient_block *block = take_idle(graph, count);
    if (!block) {
        td_real *data = td_graph_allocate(graph, count, sizeof *data);
        block = data ? new_block(graph) : NULL;
        if (!block)
            return NULL;
        *block = (struct td_gradient_block){.data = data, .count = count};
        if (!graph->going_back) /* it lies between results and outlives them */
            graph->fresh = td_arena_get_mark(graph->arena);
    }
    block->born = born;
    block->use = use;
    block->next = graph->live;
    graph->live = block;
    memset(block->data, 0, numbers * sizeof *block->data);
    return block->data;
}

/* ---- sums ---- */

void td_graph_sum_begin(td_graph *graph, const td_gradient_sums *sums, size_t turn)
{
    graph->sums = sums;
    graph->turn = turn;
    graph->uses = td_graph_allocate(graph, sums->weights, sizeof *graph->uses);
    if (graph->uses)
        memset(graph->uses, 0, sums->weights * sizeof *graph->uses);
    graph->fresh = td_arena_get_mark(graph->arena);
}

void td_weight_used(td_graph *graph, const td_parameter *weight)
{
    if (!graph->uses)
        return;
    td_weight_use *use = &graph->uses[weight->index];
    bool fits = !use->used || (use->first == weight->index && use->together == weight->joined + 1);
    for (size_t i = 0; fits && !use->used && i <= weight->joined; i++)
        fits = !use[i].used;
    if (!fits) {
        td_graph_fail(graph, TD_ERROR_INTERNAL, "weight \"%s\" is read alone and as a part of several", weight->name);
        return;
    }
    for (size_t i = 0; !use->times && i <= weight->joined; i++)
        use[i] = (td_weight_use){.used = true,
                                 .first = weight->index,
                                 .together = weight->joined + 1,
                                 .count = weight->rows * weight->columns,
                                 .born = graph->nodes};
    use->times++;
}

/* Returns when the sums of the weight and those with it may be added to. The first graph begins them. */
static void enter(td_graph *graph, td_weight_use *use, bool begin)
{
    const td_gradient_sums *sums = graph->sums;
    if (use->in_turn)
        return;
    for (size_t i = use->first; i < use->first + use->together; i++)
        td_turns_wait(sums->turns, i, graph->turn);
    use->in_turn = true;
    if (begin && graph->turn == 0)
        memset(sums->sums + sums->offsets[use->first], 0, use->count * sizeof *sums->sums);
}

/* Adds what the graph has for the weight, and lets the next graph do so. */
static void add_to_sums(td_graph *graph, td_weight_use *use)
{
    const td_gradient_sums *sums = graph->sums;
    if (use->done)
        return;
    TD_PROFILE(graph->recorder, "sum of gradients");
    td_real *sum = sums->sums + sums->offsets[use->first];
    bool first = graph->turn == 0 && !use->in_turn;
    enter(graph, use, !use->gradient);
    if (use->gradient && first)
        memcpy(sum, use->gradient, use->count * sizeof *sum);
    else if (use->gradient)
        graph->kernels->add(sum, use->gradient, use->count);
    for (size_t i = use->first; i < use->first + use->together; i++) {
        graph->uses[i].done = true;
        td_turns_done(sums->turns, i);
    }
}

void td_graph_sum_finish(td_graph *graph)
{
    const td_gradient_sums *sums = graph->sums;
    for (size_t i = 0; i < sums->weights; i++) {
        td_weight_use unused = {.first = i, .together = 1, .count = sums->offsets[i + 1] - sums->offsets[i]};
        bool known = graph->uses && graph->uses[i].used;
        if (known && graph->uses[graph->uses[i].first].done)
            continue;
        if (known) {
            add_to_sums(graph, &graph->uses[graph->uses[i].first]);
            continue;
        }
        enter(graph, &unused, true);
        td_turns_done(sums->turns, i);
    }
}

static td_real *weight_gradient(td_graph *graph, td_tensor *tensor)
{
    td_weight_use *use = graph->uses ? &graph->uses[tensor->parameter->index] : NULL;
    if (use && !use->gradient)
        use->gradient = take_block(graph, use->count, use->born, use);
    return use ? use->gradient : NULL;
}

td_real *td_gradient_of_few_rows(td_graph *graph, td_tensor *tensor)
{
    td_weight_use *use = graph->sums && graph->uses && tensor->parameter ? &graph->uses[tensor->parameter->index] : NULL;
    if (!use || !td_needs_gradient(tensor) || use->gradient || use->times > 1)
        return td_gradient(graph, tensor);
    struct td_gradient_block *block = use->in_turn ? NULL : new_block(graph);
    if (block) { /* has no memory: only says when the weight is done with */
        *block = (struct td_gradient_block){.next = graph->live, .born = use->born, .use = use};
        graph->live = block;
        TD_PROFILE(graph->recorder, "sum of gradients");
        enter(graph, use, true);
    }
    return td_graph_ok(graph) ? graph->sums->sums + graph->sums->offsets[use->first] : NULL;
}

/* ---- backward ---- */

td_real *td_gradient(td_graph *graph, td_tensor *tensor)
{
    if (!td_needs_gradient(tensor))
        return NULL;
    if (tensor->gradient)
        return tensor->gradient;
    if (tensor->base) {
        td_real *gradient = td_gradient(graph, tensor->base);
        return tensor->gradient = gradient ? gradient + tensor->first_column : NULL;
    }
    if (tensor->parameter && graph->sums)
        return tensor->gradient = weight_gradient(graph, tensor);
    return tensor->gradient = take_block(graph, tensor->rows * tensor->columns, tensor->born, NULL);
}

void td_gradients_retire(td_graph *graph, size_t index)
{
    for (struct td_gradient_block **link = &graph->live; *link;) {
        struct td_gradient_block *block = *link;
        if (block->born < index) {
            link = &block->next;
            continue;
        }
        *link = block->next;
        if (block->use)
            add_to_sums(graph, block->use);
        if (block->data)
            make_idle(graph, block);
        else
            drop_block(graph, block);
    }
}

static void reuse_piece(void *context, void *data, size_t bytes)
{
    td_graph *graph = context;
    size_t count = bytes / sizeof(td_real) / GRAIN * GRAIN;
    struct td_gradient_block *block = count >= LEAST ? new_block(graph) : NULL;
    if (!block)
        return;
    *block = (struct td_gradient_block){.data = data, .count = count};
    make_idle(graph, block);
}

void td_gradients_reuse(td_graph *graph, td_arena_mark from, td_arena_mark to)
{
    td_arena_between(from, to, reuse_piece, graph);
}
