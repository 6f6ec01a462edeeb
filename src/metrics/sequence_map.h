/* Numbers for sequences: words (of code points) and n-grams (of characters or word numbers) get 0, 1, 2, ... in order
 * of first sight, so that counts live in plain arrays. */
#ifndef TD_METRICS_SEQUENCE_MAP_H
#define TD_METRICS_SEQUENCE_MAP_H

#include "base/arena.h"

#define TD_SEQUENCE_ABSENT UINT32_MAX

typedef struct td_sequence_entry {
    const uint32_t *key;
    uint64_t hash;
    uint32_t length, slot;
} td_sequence_entry;

typedef struct td_sequence_map {
    td_arena keys;
    bool owns_keys; /* keys are copied; else they must outlive the next clear */
    td_sequence_entry *entries;
    uint32_t *slots; /* entry + 1, 0 when free */
    size_t count, entry_capacity, slot_count;
} td_sequence_map;

#define TD_SEQUENCE_SEED 0x243f6a8885a308d3u
/* The hash of a sequence is built one element at a time, so that all n-grams that start at one place share the work. */
uint64_t td_sequence_hash_add(uint64_t hash, uint32_t element);

void td_sequence_map_init(td_sequence_map *map, bool owns_keys);
void td_sequence_map_free(td_sequence_map *map);
void td_sequence_map_clear(td_sequence_map *map);
/* The sequence's number or TD_SEQUENCE_ABSENT. `hash` must be that of exactly these elements. */
uint32_t td_sequence_map_find(const td_sequence_map *map, const uint32_t *key, size_t length, uint64_t hash);
td_status td_sequence_map_add(td_sequence_map *map, const uint32_t *key, size_t length, uint64_t hash, uint32_t *ret_number,
                              td_error *error);

#endif
