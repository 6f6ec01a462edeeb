#include "models/cached_attention.h"

#include <math.h>
#include <string.h>

/* All heads of one query over rows that lie anywhere. */
static void attend_places(const td_key_value_cache *cache, const td_kernels *kernels, const td_real *query, const void *const *places,
                          size_t length, size_t heads, size_t head_width, td_real scale, const td_real *bias, size_t bias_step,
                          td_real *mixed, td_real *weights)
{
    if (td_cache_is_rounded(cache))
        kernels->attend_rounded(query, (const uint16_t *const *)places, length, heads, head_width, scale, bias, bias_step, mixed, weights);
    else
        kernels->attend_rows(query, (const td_real *const *)places, length, heads, head_width, scale, bias, bias_step, mixed, weights);
}

/* ---- self-attention ---- */

/* A row of the cache and its part of a self-attention. */
typedef struct self_span {
    const td_kernels *kernels;
    const td_attention_options *options;
    size_t layer, heads, head_width, length; /* length: past and present */
    td_real scale;
    const int32_t *slots;
    size_t queries, query_stride;
    const td_real *query;
    td_real *mixed; /* [queries, heads * head_width] */
} self_span;

/* Memory for one row at a time. */
typedef struct self_scratch {
    const void **places;                   /* [longest] */
    td_real *gathered, *weights, *scratch; /* gathered: [longest, 2 * width] */
} self_scratch;

static const td_real *bias_of(const self_span *span, size_t head)
{
    const td_attention_bias *bias = &span->options->bias;
    return td_attention_bias_at(bias, bias->values ? bias->values->data : NULL, head, span->length - span->queries);
}

/* One query reads keys and values in their slots. */
static void attend_to_slots(const td_key_value_cache *cache, const self_span *span, const self_scratch *memory)
{
    for (size_t i = 0; i < span->length; i++)
        memory->places[i] = td_cache_slot(cache, span->slots[i], span->layer);
    attend_places(cache, span->kernels, span->query, memory->places, span->length, span->heads, span->head_width, span->scale,
                  bias_of(span, 0), span->options->bias.head_step, span->mixed, memory->weights);
}

static void attend_to_gathered(const td_key_value_cache *cache, const self_span *span, const self_scratch *memory)
{
    size_t width = span->heads * span->head_width;
    for (size_t i = 0; i < span->length; i++)
        td_cache_load(cache, span->kernels, memory->gathered + i * 2 * width, td_cache_slot(cache, span->slots[i], span->layer), 2 * width);
    for (size_t head = 0; head < span->heads; head++) {
        size_t column = head * span->head_width;
        span->kernels->attention(span->query + column, span->query_stride, memory->gathered + column, 2 * width,
                                 memory->gathered + width + column, 2 * width, span->mixed + column, width, memory->weights,
                                 memory->scratch, span->queries, span->length, span->head_width, span->scale, true, bias_of(span, head),
                                 span->options->bias.row_step, (td_dropout_mask){0}, 0);
    }
}

static bool new_scratch(const td_key_value_cache *cache, td_graph *graph, size_t heads, td_ragged tokens, self_scratch *ret_scratch)
{
    size_t longest = 0, most = heads; /* most: rows of weights at once */
    for (size_t row = 0; row < cache->rows; row++) {
        longest = (size_t)cache->row[row].length > longest ? (size_t)cache->row[row].length : longest;
        most = td_ragged_length(tokens, row) > most ? td_ragged_length(tokens, row) : most;
    }
    size_t padded = (longest + 15) & ~(size_t)15;
    ret_scratch->gathered = td_graph_allocate(graph, longest * 2 * cache->width, sizeof *ret_scratch->gathered);
    ret_scratch->scratch = td_graph_allocate(graph, (cache->width / heads + 1) * padded, sizeof *ret_scratch->scratch);
    ret_scratch->weights = td_graph_allocate(graph, longest * most + 16, sizeof *ret_scratch->weights);
    ret_scratch->places = td_graph_allocate(graph, longest, sizeof *ret_scratch->places);
    return td_graph_ok(graph);
}

static td_real scale_of(const td_attention_options *options, size_t head_width)
{
    return options->scale != 0 ? options->scale : (td_real)(1 / sqrt((double)head_width));
}

td_tensor *td_cache_self_attention(td_key_value_cache *cache, td_graph *graph, size_t layer, const td_attention_options *options,
                                   td_ragged tokens, td_tensor *kvq)
{
    TD_PROFILE(graph->recorder, "attention");
    if (!kvq)
        return NULL;
    size_t width = cache->width, head_width = width / options->heads;
    td_tensor *mixed = td_tensor_new(graph, kvq->rows, width, false);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    self_scratch memory;
    bool ready = new_scratch(cache, graph, options->heads, tokens, &memory);
    for (size_t row = 0; ready && row < cache->rows; row++) {
        const int32_t *slots = cache->slots + row * cache->length_capacity;
        size_t first = (size_t)tokens.offsets[row], count = td_ragged_length(tokens, row), length = (size_t)cache->row[row].length;
        for (size_t i = 0; i < count; i++)
            td_cache_store(cache, graph->kernels, td_cache_slot(cache, slots[length - count + i], layer),
                           kvq->data + (first + i) * kvq->stride, 2 * width);
        self_span span = {.kernels = graph->kernels,
                          .options = options,
                          .layer = layer,
                          .heads = options->heads,
                          .head_width = head_width,
                          .length = length,
                          .scale = scale_of(options, head_width),
                          .slots = slots,
                          .queries = count,
                          .query_stride = kvq->stride,
                          .query = kvq->data + first * kvq->stride + 2 * width,
                          .mixed = mixed->data + first * width};
        if (count == 1)
            attend_to_slots(cache, &span, &memory);
        else
            attend_to_gathered(cache, &span, &memory);
    }
    td_arena_release_to(graph->arena, mark);
    return td_graph_ok(graph) ? mixed : NULL;
}

/* ---- cross-attention ---- */

/* Rows of the cache that look at one memory, and their part of a cross-attention. */
typedef struct cross_span {
    const td_key_value_cache *cache;
    const td_kernels *kernels;
    size_t layer, heads, head_width;
    td_real scale;
    size_t queries, length, stride; /* stride: of weights, one query's to the next's */
    const td_real *query;
    const void *memory;
    size_t query_stride;
    td_real *mixed;   /* [queries, heads * head_width] */
    td_real *weights; /* [heads, queries, stride] */
} cross_span;

/* Few keys where they lie, for one query. */
static void attend_single(const cross_span *span, const void **places)
{
    for (size_t i = 0; i < span->length; i++)
        places[i] = (const char *)span->memory + i * 2 * span->heads * span->head_width * span->cache->number;
    attend_places(span->cache, span->kernels, span->query, places, span->length, span->heads, span->head_width, span->scale, NULL, 0,
                  span->mixed, span->weights);
}

/* widened: room for the keys and values, where they are rounded */
static void attend_several(const cross_span *span, td_real *widened, td_real *scratch)
{
    size_t width = span->heads * span->head_width;
    const td_real *rows = td_cache_is_rounded(span->cache) ? widened : span->memory;
    if (rows == widened)
        td_cache_load(span->cache, span->kernels, widened, span->memory, span->length * 2 * width);
    for (size_t head = 0; head < span->heads; head++) {
        size_t column = head * span->head_width;
        span->kernels->attention(span->query + column, span->query_stride, rows + column, 2 * width, rows + width + column, 2 * width,
                                 span->mixed + column, width, span->weights + head * span->queries * span->stride, scratch, span->queries,
                                 span->length, span->head_width, span->scale, false, NULL, 0, (td_dropout_mask){0}, 0);
    }
}

static void attend_laid(void *context, size_t head, size_t thread)
{
    (void)thread;
    const cross_span *span = context;
    size_t column = head * span->head_width;
    span->kernels->attend_laid(span->query + column, span->query_stride, span->queries,
                               (const td_real *)span->memory + head * span->stride * 2 * span->head_width, span->length, span->head_width,
                               span->scale, span->mixed + column, span->heads * span->head_width,
                               span->weights + head * span->queries * span->stride);
}

static void attend_heads(td_graph *graph, cross_span *span)
{
    size_t numbers = span->heads * span->queries * span->length * span->head_width / 16;
    td_graph_run_if(graph, td_graph_parts(graph, numbers) > 1, span->heads, attend_laid, span);
}

/* The next rows of the same memory: beams read its keys and values once for all of them, where those are laid out. */
static size_t rows_together(const td_key_value_cache *cache, size_t row, bool laid)
{
    size_t end = row + 1;
    while (laid && end < cache->rows && cache->row[end].group == cache->row[row].group &&
           cache->row[end].sequence == cache->row[row].sequence)
        end++;
    return end - row;
}

static void average_heads(td_real *average, const cross_span *span)
{
    memset(average, 0, span->queries * span->length * sizeof *average);
    for (size_t head = 0; head < span->heads; head++)
        for (size_t q = 0; q < span->queries; q++)
            for (size_t i = 0; i < span->length; i++)
                average[q * span->length + i] += span->weights[(head * span->queries + q) * span->stride + i] / (td_real)span->heads;
}

static void keep_watched(const td_watched_heads *watched, const cross_span *span)
{
    for (size_t i = 0; watched && i < watched->count; i++)
        for (size_t q = 0; (size_t)watched->layer[i] == span->layer && q < span->queries; q++)
            memcpy(watched->weights + (i * span->queries + q) * span->length,
                   span->weights + ((size_t)watched->head[i] * span->queries + q) * span->stride, span->length * sizeof *span->weights);
}

/* What decides how much scratch memory there must be: the longest memory, the most weights, those of all averages. */
typedef struct cross_sizes {
    size_t longest, most, total;
    size_t several; /* the longest that has several queries and is rounded */
} cross_sizes;

static cross_sizes measure_cross(const td_key_value_cache *cache, td_ragged tokens, size_t head_width)
{
    cross_sizes sizes = {0};
    for (size_t row = 0; row < cache->rows;) {
        size_t length = td_cache_memory_length(cache, row);
        bool laid = td_worth_laying(length, head_width);
        size_t count = rows_together(cache, row, laid);
        size_t queries = (size_t)(tokens.offsets[row + count] - tokens.offsets[row]), pairs = td_laid_keys(length) * queries;
        sizes.several = td_cache_is_rounded(cache) && !laid && queries > 1 && length > sizes.several ? length : sizes.several;
        sizes.longest = length > sizes.longest ? length : sizes.longest;
        sizes.most = pairs > sizes.most ? pairs : sizes.most;
        sizes.total += length * queries;
        row += count;
    }
    return sizes;
}

td_tensor *td_cache_cross_attention(td_key_value_cache *cache, td_graph *graph, size_t layer, const td_attention_options *options,
                                    td_ragged tokens, td_tensor *query, td_attention_report report)
{
    TD_PROFILE(graph->recorder, "attention");
    if (!query)
        return NULL;
    size_t heads = options->heads, width = query->columns, head_width = width / heads;
    cross_sizes sizes = measure_cross(cache, tokens, head_width);
    td_tensor *mixed = td_tensor_new(graph, query->rows, width, false);
    td_real *averages = report.average ? td_graph_allocate(graph, sizes.total, sizeof *averages) : NULL, *average = averages;
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *scratch = td_graph_allocate(graph, (head_width + 1) * td_laid_keys(sizes.longest), sizeof *scratch);
    td_real *weights = td_graph_allocate(graph, heads * sizes.most + 16, sizeof *weights);
    td_real *widened = td_graph_allocate(graph, sizes.several * 2 * width, sizeof *widened);
    const void **places = td_graph_allocate(graph, sizes.longest, sizeof *places);
    for (size_t row = 0, count; mixed && scratch && weights && widened && places && row < cache->rows; row += count) {
        size_t length = td_cache_memory_length(cache, row), first = (size_t)tokens.offsets[row];
        bool laid = td_worth_laying(length, head_width);
        count = rows_together(cache, row, laid);
        cross_span span = {.cache = cache,
                           .kernels = graph->kernels,
                           .layer = layer,
                           .heads = heads,
                           .head_width = head_width,
                           .scale = scale_of(options, head_width),
                           .length = length,
                           .weights = weights,
                           .queries = (size_t)tokens.offsets[row + count] - first,
                           .stride = laid ? td_laid_keys(length) : length,
                           .memory = td_cache_memory(cache, row, layer, width),
                           .query = query->data + first * query->stride,
                           .query_stride = query->stride,
                           .mixed = mixed->data + first * width};
        if (laid)
            attend_heads(graph, &span);
        else if (span.queries == 1)
            attend_single(&span, places);
        else
            attend_several(&span, widened, scratch);
        keep_watched(report.watched, &span);
        if (average)
            average_heads(average, &span);
        average += average ? span.queries * length : 0;
    }
    td_arena_release_to(graph->arena, mark);
    if (report.average)
        *report.average = averages;
    return td_graph_ok(graph) ? mixed : NULL;
}
