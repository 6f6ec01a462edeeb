#include "models/key_value_cache.h"

#include <string.h>

/* Blocks of keys and values begin so large that the system hands them out by pages: what isn't touched costs nothing, and what is
 * outgrown leaves no hole. */
enum { LEAST_BYTES = 1 << 20, MOST_SLOTS_AT_FIRST = 512 };

void td_cache_init(td_key_value_cache *cache, size_t layers, size_t width, bool rounded)
{
    size_t number = rounded ? sizeof(uint16_t) : sizeof(td_real);
    *cache = (td_key_value_cache){.layers = layers, .width = width, .number = number};
}

void td_cache_store(const td_key_value_cache *cache, const td_kernels *kernels, void *place, const td_real *values, size_t count)
{
    if (td_cache_is_rounded(cache))
        kernels->to_bfloat16(place, values, count);
    else
        memcpy(place, values, count * sizeof *values);
}

void td_cache_load(const td_key_value_cache *cache, const td_kernels *kernels, td_real *values, const void *place, size_t count)
{
    if (td_cache_is_rounded(cache))
        kernels->from_bfloat16(values, place, count);
    else
        memcpy(values, place, count * sizeof *values);
}

void td_cache_free(td_key_value_cache *cache)
{
    for (size_t i = 0; i < cache->group_count; i++) {
        td_release(cache->groups[i].offsets);
        td_release(cache->groups[i].places);
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

/* Widens the table of slots to [rows, length], keeping what it holds. */
static bool grow_rows(td_key_value_cache *cache, size_t rows, size_t length)
{
    size_t old_length = cache->length_capacity;
    if (rows <= cache->row_capacity && length <= old_length)
        return true;
    rows = rows > cache->row_capacity ? rows * 2 : cache->row_capacity;
    length = length > old_length ? (length < 16 ? 32 : length * 2) : old_length;
    size_t count;
    if (td_multiply_overflows(rows, length, &count) || !td_grow_array(&cache->row, rows, sizeof *cache->row) ||
        !td_grow_array(&cache->spare_row, rows, sizeof *cache->spare_row) || !td_grow_array(&cache->past, rows, sizeof *cache->past) ||
        !td_grow_array(&cache->slots, count, sizeof *cache->slots) || !td_grow_array(&cache->spare_slots, count, sizeof *cache->slots))
        return false;
    for (size_t row = cache->rows; old_length != length && row-- > 0;)
        memmove(cache->slots + row * length, cache->slots + row * old_length, old_length * sizeof *cache->slots);
    cache->row_capacity = rows;
    cache->length_capacity = length;
    return true;
}

static size_t least_slots(size_t slot_bytes)
{
    size_t least = slot_bytes ? LEAST_BYTES / slot_bytes + 1 : 1;
    return least < MOST_SLOTS_AT_FIRST ? least : MOST_SLOTS_AT_FIRST;
}

static bool grow_slots(td_key_value_cache *cache, size_t needed)
{
    if (needed <= cache->free_count)
        return true;
    size_t old = cache->slot_capacity, capacity = (old - cache->free_count + needed) * 2, count;
    size_t slot_bytes = cache->layers * 2 * cache->width * cache->number, least = least_slots(slot_bytes);
    capacity = capacity > least ? capacity : least;
    if (capacity > INT32_MAX || td_multiply_overflows(capacity, slot_bytes, &count) || !td_grow_array(&cache->kv, count, 1) ||
        !td_grow_array(&cache->slot_references, capacity, sizeof *cache->slot_references) ||
        !td_grow_array(&cache->free_slots, capacity, sizeof *cache->free_slots))
        return false;
    for (size_t slot = capacity; slot-- > old;) { /* the lowest is taken first: what is in use stays together */
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
        if (!td_grow_array(&cache->groups, capacity, sizeof *cache->groups))
            return NULL;
        cache->group_capacity = capacity;
    }
    cache->groups[cache->group_count] = (td_memory_group){0};
    return &cache->groups[cache->group_count++];
}

/* Rows that a sequence takes in kv; whether it is laid out, which is in td_real, depends on the layer's heads, too. */
static size_t stored_rows(const td_key_value_cache *cache, size_t length)
{
    return length >= TD_LAID_LEAST ? td_laid_keys(length) * (sizeof(td_real) / cache->number) : length;
}

static bool place_sequences(td_memory_group *group, const td_key_value_cache *cache, td_ragged ragged)
{
    if (ragged.count + 1 > group->offsets_capacity) {
        if (!td_grow_array(&group->offsets, ragged.count + 1, sizeof *group->offsets) ||
            !td_grow_array(&group->places, ragged.count + 1, sizeof *group->places))
            return false;
        group->offsets_capacity = ragged.count + 1;
    }
    memcpy(group->offsets, ragged.offsets, (ragged.count + 1) * sizeof *group->offsets);
    group->places[0] = 0;
    for (size_t i = 0; i < ragged.count; i++)
        if (__builtin_add_overflow(group->places[i], (int32_t)stored_rows(cache, td_ragged_length(ragged, i)), &group->places[i + 1]))
            return false;
    group->count = ragged.count;
    return true;
}

/* Nothing of it is needed any more. */
static bool renew(td_memory_group *group, size_t capacity)
{
    td_release(group->kv);
    group->kv = td_allocate(capacity);
    group->capacity = group->kv ? capacity : 0;
    return group->kv != NULL;
}

static bool size_group(td_memory_group *group, const td_key_value_cache *cache, td_ragged ragged)
{
    size_t bytes, row = 2 * (cache->layers * cache->width + cache->extra_width) * cache->number; /* of all layers */
    if (!place_sequences(group, cache, ragged) || td_multiply_overflows((size_t)group->places[ragged.count], row, &bytes))
        return false;
    return bytes <= group->capacity || renew(group, bytes + bytes / 4 > LEAST_BYTES ? bytes + bytes / 4 : LEAST_BYTES);
}

td_memory_group *td_cache_add_memory(td_key_value_cache *cache, td_graph *graph, td_ragged ragged)
{
    td_memory_group *group = take_group(cache);
    if (!group || !size_group(group, cache, ragged) || !grow_rows(cache, cache->rows + ragged.count, 1)) {
        td_graph_fail(graph, TD_ERROR_MEMORY, "out of memory for the keys and values of %zu sources", ragged.count);
        return NULL;
    }
    for (size_t i = 0; i < ragged.count; i++)
        cache->row[cache->rows++] = (td_cache_row){(int32_t)(group - cache->groups), (int32_t)i, 0};
    group->references = ragged.count;
    return group;
}

/* width: of that layer, which may be the extra one */
static void *sequence_data(const td_key_value_cache *cache, const td_memory_group *group, size_t layer, size_t width, size_t sequence)
{
    size_t before = layer * (size_t)group->places[group->count] * 2 * cache->width, at = (size_t)group->places[sequence] * 2 * width;
    return group->kv + (before + at) * cache->number;
}

typedef struct laid_memory {
    const td_kernels *kernels;
    const td_tensor *kv;
    const td_real *rows; /* of the sequence */
    td_real *data;
    size_t length, width, head_width;
} laid_memory;

static void lay_head(void *context, size_t head, size_t thread)
{
    (void)thread;
    const laid_memory *memory = context;
    const td_real *keys = memory->rows + head * memory->head_width;
    memory->kernels->lay_keys(keys, memory->kv->stride, keys + memory->width, memory->kv->stride, memory->length, memory->head_width,
                              memory->data + head * td_laid_keys(memory->length) * 2 * memory->head_width);
}

void td_cache_set_memory(const td_key_value_cache *cache, td_memory_group *group, td_graph *graph, size_t layer, size_t heads,
                         const td_tensor *kv)
{
    TD_PROFILE(graph->recorder, "keys laid out");
    size_t width = kv ? kv->columns / 2 : 0, head_width = width / heads;
    for (size_t i = 0; kv && i < group->count; i++) {
        size_t length = (size_t)(group->offsets[i + 1] - group->offsets[i]);
        const td_real *rows = kv->data + (size_t)group->offsets[i] * kv->stride;
        void *data = sequence_data(cache, group, layer, width, i);
        if (!td_worth_laying(length, head_width)) {
            td_cache_store(cache, graph->kernels, data, rows, length * 2 * width);
            continue;
        }
        laid_memory memory = {graph->kernels, kv, rows, data, length, width, head_width};
        td_graph_run(graph, heads, lay_head, &memory);
    }
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

size_t td_cache_memory_length(const td_key_value_cache *cache, size_t row)
{
    const int32_t *offsets = cache->groups[cache->row[row].group].offsets + cache->row[row].sequence;
    return (size_t)(offsets[1] - offsets[0]);
}

const void *td_cache_memory(const td_key_value_cache *cache, size_t row, size_t layer, size_t width)
{
    return sequence_data(cache, &cache->groups[cache->row[row].group], layer, width, (size_t)cache->row[row].sequence);
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
