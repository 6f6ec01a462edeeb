#include "models/key_value_cache.h"

#include <math.h>
#include <string.h>

void td_cache_init(td_key_value_cache *cache, size_t layers, size_t width)
{
    *cache = (td_key_value_cache){.layers = layers, .memory_layers = layers, .width = width};
}

void td_cache_free(td_key_value_cache *cache)
{
    for (size_t i = 0; i < cache->group_count; i++) {
        td_release(cache->groups[i].offsets);
        td_release(cache->groups[i].kv);
    }
    td_release(cache->groups);
    td_release(cache->row);
    td_release(cache->spare_row);
    td_release(cache->past);
    td_release(cache->slots);
    td_release(cache->spare_slots);
    td_release(cache->kv);
    td_release(cache->slot_references);
    td_release(cache->free_slots);
    *cache = (td_key_value_cache){0};
}

static bool grow_array(void *array, size_t count, size_t size)
{
    void **block = array;
    void *grown = td_resize_array(*block, count, size);
    if (grown)
        *block = grown;
    return grown != NULL;
}

/* Widens the table of slots to [rows, length], keeping what it holds. */
static bool grow_rows(td_key_value_cache *cache, size_t rows, size_t length)
{
    size_t old_length = cache->length_capacity;
    if (rows <= cache->row_capacity && length <= old_length)
        return true;
    rows = rows > cache->row_capacity ? rows * 2 : cache->row_capacity;
    length = length > old_length ? (length < 16 ? 32 : length * 2) : old_length;
    size_t count;
    if (td_multiply_overflows(rows, length, &count) || !grow_array(&cache->row, rows, sizeof *cache->row) ||
        !grow_array(&cache->spare_row, rows, sizeof *cache->spare_row) || !grow_array(&cache->past, rows, sizeof *cache->past) ||
        !grow_array(&cache->slots, count, sizeof *cache->slots) || !grow_array(&cache->spare_slots, count, sizeof *cache->slots))
        return false;
    for (size_t row = cache->rows; old_length != length && row-- > 0;)
        memmove(cache->slots + row * length, cache->slots + row * old_length, old_length * sizeof *cache->slots);
    cache->row_capacity = rows;
    cache->length_capacity = length;
    return true;
}

static bool grow_slots(td_key_value_cache *cache, size_t needed)
{
    if (needed <= cache->free_count)
        return true;
    size_t old = cache->slot_capacity, capacity = (old - cache->free_count + needed) * 2, count;
    if (capacity > INT32_MAX || td_multiply_overflows(capacity, cache->layers * 2 * cache->width, &count) ||
        !grow_array(&cache->kv, count, sizeof *cache->kv) ||
        !grow_array(&cache->slot_references, capacity, sizeof *cache->slot_references) ||
        !grow_array(&cache->free_slots, capacity, sizeof *cache->free_slots))
        return false;
    for (size_t slot = capacity; slot-- > old;) {
        cache->slot_references[slot] = 0;
        cache->free_slots[cache->free_count++] = (int32_t)slot;
    }
    cache->slot_capacity = capacity;
    return true;
}

/* A group nobody attends to any more is used again, with its memory. */
static td_memory_group *take_group(td_key_value_cache *cache)
{
    for (size_t i = 0; i < cache->group_count; i++)
        if (cache->groups[i].references == 0)
            return &cache->groups[i];
    if (cache->group_count == cache->group_capacity) {
        size_t capacity = cache->group_capacity ? cache->group_capacity * 2 : 4;
        if (!grow_array(&cache->groups, capacity, sizeof *cache->groups))
            return NULL;
        cache->group_capacity = capacity;
    }
    cache->groups[cache->group_count] = (td_memory_group){0};
    return &cache->groups[cache->group_count++];
}

static bool size_group(td_memory_group *group, size_t layers, size_t width, td_ragged ragged)
{
    size_t total = td_ragged_total(ragged), count;
    if (td_multiply_overflows(total, layers * 2 * width, &count))
        return false;
    if (count > group->capacity) {
        if (!grow_array(&group->kv, count + count / 4, sizeof *group->kv))
            return false;
        group->capacity = count + count / 4;
    }
    if (ragged.count + 1 > group->offsets_capacity) {
        if (!grow_array(&group->offsets, ragged.count + 1, sizeof *group->offsets))
            return false;
        group->offsets_capacity = ragged.count + 1;
    }
    memcpy(group->offsets, ragged.offsets, (ragged.count + 1) * sizeof *group->offsets);
    group->layers = layers;
    group->width = width;
    group->total = total;
    group->count = ragged.count;
    return true;
}

td_memory_group *td_cache_add_memory(td_key_value_cache *cache, td_graph *graph, td_ragged ragged)
{
    td_memory_group *group = take_group(cache);
    if (!group || !size_group(group, cache->memory_layers, cache->width, ragged) || !grow_rows(cache, cache->rows + ragged.count, 1)) {
        td_graph_fail(graph, TD_ERROR_MEMORY, "out of memory for the keys and values of %zu sources", ragged.count);
        return NULL;
    }
    for (size_t i = 0; i < ragged.count; i++)
        cache->row[cache->rows++] = (td_cache_row){(int32_t)(group - cache->groups), (int32_t)i, 0};
    group->references = ragged.count;
    return group;
}

void td_cache_set_memory(td_memory_group *group, size_t layer, const td_tensor *kv)
{
    size_t count = group->total * 2 * group->width;
    if (kv)
        memcpy(group->kv + layer * count, kv->data, count * sizeof *kv->data);
}

bool td_cache_extend(td_key_value_cache *cache, td_graph *graph, td_ragged tokens)
{
    if (!td_graph_ok(graph))
        return false;
    size_t longest = 1;
    for (size_t row = 0; row < cache->rows; row++) {
        size_t length = (size_t)cache->row[row].length + td_ragged_length(tokens, row);
        longest = length > longest ? length : longest;
    }
    if (!grow_rows(cache, cache->rows, longest) || !grow_slots(cache, td_ragged_total(tokens))) {
        td_graph_fail(graph, TD_ERROR_MEMORY, "out of memory for the keys and values of %zu hypotheses", cache->rows);
        return false;
    }
    for (size_t row = 0; row < cache->rows; row++) {
        int32_t *slots = cache->slots + row * cache->length_capacity;
        cache->past[row] = cache->row[row].length;
        for (size_t i = 0; i < td_ragged_length(tokens, row); i++) {
            int32_t slot = cache->free_slots[--cache->free_count];
            cache->slot_references[slot] = 1;
            slots[cache->row[row].length++] = slot;
        }
    }
    return true;
}

static td_real *slot_data(td_key_value_cache *cache, int32_t slot, size_t layer)
{
    return cache->kv + ((size_t)slot * cache->layers + layer) * 2 * cache->width;
}

td_tensor *td_cache_self_attention(td_key_value_cache *cache, td_graph *graph, size_t layer, size_t heads, td_ragged tokens,
                                   td_tensor *kvq)
{
    TD_PROFILE(graph->recorder, "attention");
    if (!kvq)
        return NULL;
    size_t width = cache->width, head_width = width / heads, longest = 0, most = heads; /* most: rows of weights at once */
    td_tensor *mixed = td_tensor_new(graph, kvq->rows, width, false);
    for (size_t row = 0; row < cache->rows; row++) {
        longest = (size_t)cache->row[row].length > longest ? (size_t)cache->row[row].length : longest;
        most = td_ragged_length(tokens, row) > most ? td_ragged_length(tokens, row) : most;
    }
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    size_t padded = (longest + 15) & ~(size_t)15;
    td_real *gathered = td_graph_allocate(graph, longest * 2 * width, sizeof *gathered);
    td_real *scratch = td_graph_allocate(graph, (head_width + 1) * padded, sizeof *scratch);
    td_real *weights = td_graph_allocate(graph, longest * most + 16, sizeof *weights);
    const td_real **places = td_graph_allocate(graph, longest, sizeof *places);
    td_real scale = cache->scale != 0 ? cache->scale : (td_real)(1 / sqrt((double)head_width));
    for (size_t row = 0; mixed && gathered && scratch && places && row < cache->rows; row++) {
        const int32_t *slots = cache->slots + row * cache->length_capacity;
        size_t first = (size_t)tokens.offsets[row], count = td_ragged_length(tokens, row), length = (size_t)cache->row[row].length;
        for (size_t i = 0; i < count; i++)
            memcpy(slot_data(cache, slots[length - count + i], layer), kvq->data + (first + i) * kvq->stride, 2 * width * sizeof *gathered);
        if (count == 1 && !cache->bias.values) {
            for (size_t i = 0; i < length; i++)
                places[i] = slot_data(cache, slots[i], layer);
            graph->kernels->attend_rows(kvq->data + first * kvq->stride + 2 * width, places, length, heads, head_width, scale,
                                        mixed->data + first * width, weights);
            continue;
        }
        for (size_t i = 0; i < length; i++)
            memcpy(gathered + i * 2 * width, slot_data(cache, slots[i], layer), 2 * width * sizeof *gathered);
        for (size_t head = 0; head < heads; head++)
            graph->kernels->attention(kvq->data + first * kvq->stride + 2 * width + head * head_width, kvq->stride,
                                      gathered + head * head_width, 2 * width, gathered + width + head * head_width, 2 * width,
                                      mixed->data + first * width + head * head_width, width, weights, scratch, count, length,
                                      head_width, scale, true,
                                      td_attention_bias_at(&cache->bias, cache->bias.values ? cache->bias.values->data : NULL, head,
                                                           length - count),
                                      cache->bias.row_step, (td_dropout_mask){0}, 0);
    }
    td_arena_release_to(graph->arena, mark);
    return td_graph_ok(graph) ? mixed : NULL;
}

size_t td_cache_memory_length(const td_key_value_cache *cache, size_t row)
{
    const int32_t *offsets = cache->groups[cache->row[row].group].offsets + cache->row[row].sequence;
    return (size_t)(offsets[1] - offsets[0]);
}

static void average_heads(td_real *average, const td_real *weights, size_t heads, size_t count)
{
    memset(average, 0, count * sizeof *average);
    for (size_t head = 0; head < heads; head++)
        for (size_t i = 0; i < count; i++)
            average[i] += weights[head * count + i] / (td_real)heads;
}

td_tensor *td_cache_cross_attention(td_key_value_cache *cache, td_graph *graph, size_t layer, size_t heads, td_ragged tokens,
                                    td_tensor *query, const td_real **ret_weights)
{
    TD_PROFILE(graph->recorder, "attention");
    if (!query)
        return NULL;
    size_t width = cache->width, head_width = width / heads, longest = 0, most = 0, total = 0;
    for (size_t row = 0; row < cache->rows; row++) {
        size_t length = td_cache_memory_length(cache, row), pairs = length * td_ragged_length(tokens, row);
        longest = length > longest ? length : longest;
        most = pairs > most ? pairs : most;
        total += pairs;
    }
    td_tensor *mixed = td_tensor_new(graph, query->rows, width, false);
    td_real *averages = ret_weights ? td_graph_allocate(graph, total, sizeof *averages) : NULL, *average = averages;
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *scratch = td_graph_allocate(graph, (head_width + 1) * ((longest + 15) & ~(size_t)15), sizeof *scratch);
    td_real *weights = td_graph_allocate(graph, heads * most + 16, sizeof *weights);
    const td_real **places = td_graph_allocate(graph, longest, sizeof *places);
    td_real scale = cache->scale != 0 ? cache->scale : (td_real)(1 / sqrt((double)head_width));
    for (size_t row = 0; mixed && scratch && weights && places && row < cache->rows; row++) {
        const td_memory_group *group = &cache->groups[cache->row[row].group];
        size_t start = (size_t)group->offsets[cache->row[row].sequence], length = td_cache_memory_length(cache, row);
        const td_real *kv = group->kv + (layer * group->total + start) * 2 * width;
        size_t first = (size_t)tokens.offsets[row], count = td_ragged_length(tokens, row);
        for (size_t i = 0; count == 1 && i < length; i++)
            places[i] = kv + i * 2 * width;
        if (count == 1)
            graph->kernels->attend_rows(query->data + first * query->stride, places, length, heads, head_width, scale,
                                        mixed->data + first * width, weights);
        for (size_t head = 0; count > 1 && head < heads; head++)
            graph->kernels->attention(query->data + first * query->stride + head * head_width, query->stride, kv + head * head_width,
                                      2 * width, kv + width + head * head_width, 2 * width,
                                      mixed->data + first * width + head * head_width, width, weights + head * count * length, scratch,
                                      count, length, head_width, scale, false, NULL, 0, (td_dropout_mask){0}, 0);
        if (average) {
            average_heads(average, weights, heads, count * length);
            average += count * length;
        }
    }
    td_arena_release_to(graph->arena, mark);
    if (ret_weights)
        *ret_weights = averages;
    return td_graph_ok(graph) ? mixed : NULL;
}

static void count_references(td_key_value_cache *cache, size_t rows)
{
    for (size_t i = 0; i < cache->group_count; i++)
        cache->groups[i].references = 0;
    for (size_t slot = 0; slot < cache->slot_capacity; slot++)
        cache->slot_references[slot] = 0;
    for (size_t row = 0; row < rows; row++) {
        cache->groups[cache->row[row].group].references++;
        for (int32_t i = 0; i < cache->row[row].length; i++)
            cache->slot_references[cache->slots[row * cache->length_capacity + (size_t)i]]++;
    }
    cache->free_count = 0;
    for (size_t slot = cache->slot_capacity; slot-- > 0;)
        if (cache->slot_references[slot] == 0)
            cache->free_slots[cache->free_count++] = (int32_t)slot;
}

td_status td_cache_reorder(td_key_value_cache *cache, const int32_t *parents, size_t rows, td_error *error)
{
    if (!grow_rows(cache, rows, 1))
        return td_fail_memory(error, rows * cache->length_capacity * sizeof *cache->slots);
    for (size_t row = 0; row < rows; row++) {
        if (parents[row] < 0 || (size_t)parents[row] >= cache->rows)
            return td_fail(error, TD_ERROR_ARGUMENT, "reorder: row %d of %zu", parents[row], cache->rows);
        size_t parent = (size_t)parents[row];
        cache->spare_row[row] = cache->row[parent];
        memcpy(cache->spare_slots + row * cache->length_capacity, cache->slots + parent * cache->length_capacity,
               (size_t)cache->row[parent].length * sizeof *cache->slots);
    }
    td_cache_row *row = cache->row;
    int32_t *slots = cache->slots;
    cache->row = cache->spare_row;
    cache->spare_row = row;
    cache->slots = cache->spare_slots;
    cache->spare_slots = slots;
    cache->rows = rows;
    count_references(cache, rows);
    return TD_OK;
}
