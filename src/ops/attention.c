/* Multi-head attention over ragged batches (Vaswani 2017, 3.2). Each sequence and head is a small problem of its own; the kernel does
 * one, this file walks them. Where weights are not kept for the way back, a problem is cut into blocks of queries: memory then grows
 * with the number of keys, not with its square. */
#include "ops/ops.h"

#include <math.h>
#include <string.h>

enum { QUERIES = 256 }; /* of a block */

typedef struct attention_operation {
    td_tensor *query, *key, *value, *y;
    td_ragged query_ragged, key_ragged;
    td_attention_options options;
    td_dropout_mask mask;
    td_real *probabilities;
    size_t longest_key;
    bool kept; /* probabilities of every head, else of one at a time */
} attention_operation;

static td_ragged keep_ragged(td_graph *graph, td_ragged ragged)
{
    int32_t *offsets = td_graph_allocate(graph, ragged.count + 1, sizeof *offsets);
    if (offsets)
        memcpy(offsets, ragged.offsets, (ragged.count + 1) * sizeof *offsets);
    return (td_ragged){ragged.count, offsets};
}

/* The bias as sequence i has it. */
static td_attention_bias bias_of(const attention_operation *op, size_t i)
{
    td_attention_bias bias = op->options.bias;
    bias.first += bias.of_sequence ? bias.of_sequence[i] : 0;
    return bias;
}

static size_t scratch_size(const attention_operation *op)
{
    size_t width = op->query->columns / op->options.heads;
    return (width + 1) * ((op->longest_key + 15) & ~(size_t)15);
}

/* Where nothing is kept and every query sees every key, the keys of long sequences are laid out once, and the weights of a few queries
 * at a time stay in the cache. */
typedef struct laid_heads {
    const td_kernels *kernels;
    const attention_operation *op;
    size_t size; /* of a thread's scratch */
    td_real *scratch;
} laid_heads;

static bool is_laid(const attention_operation *op, size_t keys)
{
    return !op->kept && !op->options.causal && !op->options.bias.values && !op->mask.threshold &&
           td_worth_laying(keys, op->query->columns / op->options.heads);
}

/* One sequence's heads, each cut into blocks of queries. Threads may share them. */
typedef struct attention_blocks {
    const td_kernels *kernels;
    const attention_operation *op;
    td_real *scratch;
    size_t scratch_size, weights_size; /* of a thread */
    size_t sequence, at;               /* at: attention weights before this sequence's */
    size_t count, queries;             /* blocks of a head, queries of a block */
} attention_blocks;

static void attend_block(void *context, size_t task, size_t thread)
{
    const attention_blocks *blocks = context;
    const attention_operation *op = blocks->op;
    const td_attention_bias bias = bias_of(op, blocks->sequence);
    size_t i = blocks->sequence, width = op->query->columns / op->options.heads, head = task / blocks->count;
    size_t queries = td_ragged_length(op->query_ragged, i), keys = td_ragged_length(op->key_ragged, i);
    size_t from = task % blocks->count * blocks->queries, to = from + blocks->queries < queries ? from + blocks->queries : queries;
    size_t later = op->options.causal ? queries - to : 0; /* keys that no query of the block may see */
    size_t q = (size_t)op->query_ragged.offsets[i] + from, k = (size_t)op->key_ragged.offsets[i], at = blocks->at + head * queries * keys;
    blocks->kernels->attention(
        op->query->data + q * op->query->stride + head * width, op->query->stride, op->key->data + k * op->key->stride + head * width,
        op->key->stride, op->value->data + k * op->value->stride + head * width, op->value->stride,
        op->y->data + q * op->y->stride + head * width, op->y->stride, op->probabilities + (op->kept ? at : thread * blocks->weights_size),
        blocks->scratch + thread * blocks->scratch_size, to - from, keys - later, width, op->options.scale, op->options.causal,
        td_attention_bias_at(&bias, bias.values ? bias.values->data : NULL, head, keys - queries + from), bias.row_step, op->mask,
        (uint32_t)at);
}

static void attention_forward(td_graph *graph, attention_blocks *blocks)
{
    const attention_operation *op = blocks->op;
    for (size_t i = 0; i < op->query_ragged.count; i++) {
        size_t queries = td_ragged_length(op->query_ragged, i), keys = td_ragged_length(op->key_ragged, i);
        blocks->sequence = i;
        blocks->count = op->kept || queries == 0 ? 1 : (queries + QUERIES - 1) / QUERIES;
        blocks->queries = op->kept ? queries : QUERIES;
        size_t tasks = is_laid(op, keys) ? 0 : op->options.heads * blocks->count;
        td_graph_run_if(graph, td_graph_parts(graph, queries * keys * op->query->columns) > 1, tasks, attend_block, blocks);
        blocks->at += op->options.heads * queries * keys;
    }
}

/* One head of one sequence, its keys laid out first. */
static void attend_laid(void *context, size_t index, size_t thread)
{
    const laid_heads *heads = context;
    const attention_operation *op = heads->op;
    size_t sequence = index / op->options.heads, width = op->query->columns / op->options.heads, column = index % op->options.heads * width;
    size_t queries = td_ragged_length(op->query_ragged, sequence), keys = td_ragged_length(op->key_ragged, sequence);
    const td_real *q = op->query->data + (size_t)op->query_ragged.offsets[sequence] * op->query->stride + column;
    td_real *y = op->y->data + (size_t)op->query_ragged.offsets[sequence] * op->y->stride + column;
    size_t k = (size_t)op->key_ragged.offsets[sequence];
    td_real *laid = heads->scratch + thread * heads->size, *p = laid + td_laid_keys(keys) * 2 * width;
    if (!is_laid(op, keys))
        return;
    heads->kernels->lay_keys(op->key->data + k * op->key->stride + column, op->key->stride,
                             op->value->data + k * op->value->stride + column, op->value->stride, keys, width, laid);
    for (size_t i = 0; i < queries; i += TD_LAID_ROWS)
        heads->kernels->attend_laid(q + i * op->query->stride, op->query->stride, queries - i < TD_LAID_ROWS ? queries - i : TD_LAID_ROWS,
                                    laid, keys, width, op->options.scale, y + i * op->y->stride, op->y->stride, p);
}

static void attention_laid(td_graph *graph, const attention_operation *op)
{
    size_t width = op->query->columns / op->options.heads;
    laid_heads heads = {graph->kernels, op, td_laid_keys(op->longest_key) * (2 * width + TD_LAID_ROWS), NULL};
    if (!is_laid(op, op->longest_key))
        return;
    heads.scratch = td_graph_allocate(graph, td_graph_threads(graph) * heads.size, sizeof *heads.scratch);
    if (heads.scratch)
        td_graph_run(graph, op->query_ragged.count * op->options.heads, attend_laid, &heads);
}

static void attention_backward(td_graph *graph, void *operation)
{
    attention_operation *op = operation;
    if (!op->y->gradient)
        return;
    td_real *dq = td_gradient(graph, op->query), *dk = td_gradient(graph, op->key), *dv = td_gradient(graph, op->value);
    td_real *dbias = td_gradient(graph, op->options.bias.values);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *scratch = td_graph_allocate(graph, scratch_size(op), sizeof *scratch);
    size_t width = op->query->columns / op->options.heads, at = 0;
    for (size_t i = 0; scratch && i < op->query_ragged.count; i++) {
        const td_attention_bias bias = bias_of(op, i);
        size_t queries = td_ragged_length(op->query_ragged, i), keys = td_ragged_length(op->key_ragged, i);
        size_t q = (size_t)op->query_ragged.offsets[i], k = (size_t)op->key_ragged.offsets[i];
        for (size_t head = 0; head < op->options.heads; head++, at += queries * keys) {
            size_t qh = q * op->query->stride + head * width, kh = k * op->key->stride + head * width;
            size_t vh = k * op->value->stride + head * width, yh = q * op->y->stride + head * width;
            graph->kernels->attention_backward(
                op->query->data + qh, op->query->stride, op->key->data + kh, op->key->stride, op->value->data + vh, op->value->stride,
                op->probabilities + at, op->y->gradient + yh, op->y->stride, dq ? dq + qh : NULL, dk ? dk + kh : NULL, dv ? dv + vh : NULL,
                scratch, queries, keys, width, op->options.scale, op->options.causal,
                td_attention_bias_at(&bias, dbias, head, keys - queries), bias.row_step, op->mask, (uint32_t)at);
        }
    }
    td_arena_release_to(graph->arena, mark);
}

static bool shapes_fit(td_graph *graph, const attention_operation *op)
{
    const td_tensor *q = op->query, *k = op->key, *v = op->value;
    bool fit = op->options.heads > 0 && q->columns % op->options.heads == 0 && k->columns == q->columns && v->columns == q->columns &&
               op->query_ragged.count == op->key_ragged.count && td_ragged_total(op->query_ragged) == q->rows &&
               td_ragged_total(op->key_ragged) == k->rows && v->rows == k->rows;
    if (!fit)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "attention: query [%zu, %zu], key [%zu, %zu], value [%zu, %zu], %zu heads", q->rows,
                      q->columns, k->rows, k->columns, v->rows, v->columns, op->options.heads);
    return fit;
}

/* The scores of the first and the last query of every sequence must have theirs in the tensor. */
static bool bias_fits(td_graph *graph, const attention_operation *op)
{
    const td_attention_bias *bias = &op->options.bias;
    if (!bias->values)
        return true;
    ptrdiff_t size = (ptrdiff_t)(bias->values->rows * bias->values->columns);
    bool fit = bias->values->stride == bias->values->columns;
    for (size_t i = 0; fit && i < op->query_ragged.count; i++) {
        ptrdiff_t queries = (ptrdiff_t)td_ragged_length(op->query_ragged, i), keys = (ptrdiff_t)td_ragged_length(op->key_ragged, i);
        ptrdiff_t top = (ptrdiff_t)bias_of(op, i).first + (keys - queries) * bias->row_step, bottom = top + (queries - 1) * bias->row_step;
        ptrdiff_t top_end = top + (op->options.causal ? keys - queries : keys - 1), bottom_end = bottom + keys - 1;
        ptrdiff_t highest = top_end > bottom_end ? top_end : bottom_end;
        fit = queries == 0 || keys == 0 ||
              ((top < bottom ? top : bottom) >= 0 && highest + (ptrdiff_t)((op->options.heads - 1) * bias->head_step) < size);
    }
    if (!fit)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "attention: a bias of [%zu, %zu] does not reach over the keys", bias->values->rows,
                      bias->values->columns);
    return fit;
}

td_tensor *td_attention(td_graph *graph, td_tensor *query, td_ragged query_ragged, td_tensor *key, td_tensor *value, td_ragged key_ragged,
                        const td_attention_options *options, const td_real **ret_probabilities)
{
    TD_PROFILE(graph->recorder, "attention");
    if (!query || !key || !value)
        return NULL;
    attention_operation *op = td_graph_allocate(graph, 1, sizeof *op);
    if (!op)
        return NULL;
    *op = (attention_operation){
        query, key, value, NULL, query_ragged, key_ragged, *options, {0}, NULL, 0, graph->recording || ret_probabilities};
    if (!shapes_fit(graph, op) || !bias_fits(graph, op))
        return NULL;
    if (op->options.scale == 0)
        op->options.scale = (td_real)(1 / sqrt((double)(query->columns / options->heads)));
    if (graph->training && options->dropout > 0)
        op->mask = td_dropout_mask_of(options->dropout, td_random_key(graph->dropout_key, graph->dropout_calls++, 0));
    size_t weights = 0, threads = td_graph_threads(graph);
    for (size_t i = 0; i < query_ragged.count; i++) {
        size_t keys = td_ragged_length(key_ragged, i), queries = td_ragged_length(query_ragged, i);
        size_t own = is_laid(op, keys) ? 0 : (op->kept || queries < QUERIES ? queries : QUERIES) * keys;
        weights = op->kept ? weights + options->heads * own : own > weights ? own : weights;
        op->longest_key = keys > op->longest_key ? keys : op->longest_key;
    }
    op->y = td_tensor_new(graph, query->rows, query->columns,
                          td_needs_gradient(query) || td_needs_gradient(key) || td_needs_gradient(value) ||
                              td_needs_gradient(options->bias.values));
    op->probabilities = td_graph_allocate(graph, op->kept ? weights : weights * threads, sizeof *op->probabilities);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    attention_blocks blocks = {.kernels = graph->kernels, .op = op, .weights_size = weights, .scratch_size = scratch_size(op)};
    blocks.scratch = td_graph_allocate(graph, blocks.scratch_size * threads, sizeof *blocks.scratch);
    if (!op->y || !op->probabilities || !blocks.scratch)
        return NULL;
    attention_forward(graph, &blocks);
    attention_laid(graph, op);
    td_arena_release_to(graph->arena, mark);
    if (ret_probabilities)
        *ret_probabilities = op->probabilities;
    if (op->y->requires_gradient) {
        op->query_ragged = keep_ragged(graph, query_ragged);
        op->key_ragged = keep_ragged(graph, key_ragged);
        td_record(graph, attention_backward, op);
    }
    return op->y;
}
