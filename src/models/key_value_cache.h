/* Keys and values of an attention decoder between steps. Every token of every hypothesis owns a slot of a pool; a hypothesis is a list
 * of slot numbers, so that beams share their past and reordering moves indices alone. Keys and values of the memory are held once per
 * source sequence, in groups that were encoded together. */
#ifndef TD_MODELS_KEY_VALUE_CACHE_H
#define TD_MODELS_KEY_VALUE_CACHE_H

#include "models/architecture.h"
#include "ops/ops.h"

typedef struct td_memory_group {
    size_t references; /* rows that attend to it; 0: free for reuse */
    size_t capacity;   /* bytes of kv */
    int32_t *offsets;  /* [count + 1] */
    int32_t *places;   /* [count + 1]: of sequences in a layer's part of kv, in stored rows; long ones are laid out, which takes more */
    size_t count, offsets_capacity;
    char *kv; /* [layers, places[count], 2 * width] numbers as the cache stores them, then the extra layer; laid out, they are td_real */
} td_memory_group;

typedef struct td_cache_row {
    int32_t group, sequence; /* which memory */
    int32_t length;          /* tokens read */
} td_cache_row;

typedef struct td_key_value_cache {
    size_t layers, width;
    size_t number;      /* bytes of a stored one: of td_real, or of bfloat16 */
    size_t extra_width; /* of one more layer, number `layers`, that reads the memory alone; 0: there is none. Set before the first memory */
    size_t rows, row_capacity;
    td_cache_row *row, *spare_row;
    int32_t *past;                /* [rows] length before the present call of decode */
    int32_t *slots, *spare_slots; /* [row_capacity, length_capacity] */
    size_t length_capacity;
    char *kv; /* [slot_capacity, layers, 2 * width] */
    int32_t *slot_references, *free_slots;
    size_t slot_capacity, free_count;
    td_memory_group *groups;
    size_t group_count, group_capacity;
} td_key_value_cache;

/* rounded: keys and values are kept in bfloat16, for networks whose products are of rounded numbers too; not those that are laid out. */
void td_cache_init(td_key_value_cache *cache, size_t layers, size_t width, bool rounded);
void td_cache_free(td_key_value_cache *cache);
/* Appends one row per sequence; NULL after a failure (noted in the graph). Valid until the next call. */
td_memory_group *td_cache_add_memory(td_key_value_cache *cache, td_graph *graph, td_ragged ragged);
/* Rows of the memory that a row of the cache attends to. */
size_t td_cache_memory_length(const td_key_value_cache *cache, size_t row);
static inline bool td_cache_is_rounded(const td_key_value_cache *cache)
{
    return cache->number < sizeof(td_real);
}
/* Keys and values of that memory in a layer of `width` columns: [length, 2 * width] stored numbers, or laid out. */
const void *td_cache_memory(const td_key_value_cache *cache, size_t row, size_t layer, size_t width);
/* Of a token: [2 * width] stored numbers */
static inline void *td_cache_slot(const td_key_value_cache *cache, int32_t slot, size_t layer)
{
    return cache->kv + ((size_t)slot * cache->layers + layer) * 2 * cache->width * cache->number;
}
/* Numbers to where they are stored, and back. */
void td_cache_store(const td_key_value_cache *cache, const td_kernels *kernels, void *place, const td_real *values, size_t count);
void td_cache_load(const td_key_value_cache *cache, const td_kernels *kernels, td_real *values, const void *place, size_t count);
/* kv [total, 2 * width of the layer]. Keys of sequences that are long enough are laid out for many queries, head by head. */
void td_cache_set_memory(const td_key_value_cache *cache, td_memory_group *group, td_graph *graph, size_t layer, size_t heads,
                         const td_tensor *kv);
/* Takes slots for the tokens about to be read and advances the rows; `past` then holds where they were. */
bool td_cache_extend(td_key_value_cache *cache, td_graph *graph, td_ragged tokens);
td_status td_cache_reorder(td_key_value_cache *cache, const int32_t *parents, size_t rows, td_error *error);

#endif
