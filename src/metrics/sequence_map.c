/* Open addressing over an array of entries; clearing costs what was added, not the size of the table. */
#include "metrics/sequence_map.h"

#include "base/random.h"

#include <string.h>

uint64_t td_sequence_hash_add(uint64_t hash, uint32_t element)
{
    return td_mix64(hash ^ element);
}

void td_sequence_map_init(td_sequence_map *map, bool owns_keys)
{
    *map = (td_sequence_map){.owns_keys = owns_keys};
    td_arena_init(&map->keys);
}

void td_sequence_map_free(td_sequence_map *map)
{
    td_arena_free(&map->keys);
    td_release(map->entries);
    td_release(map->slots);
    *map = (td_sequence_map){0};
}

void td_sequence_map_clear(td_sequence_map *map)
{
    for (size_t i = 0; i < map->count; i++)
        map->slots[map->entries[i].slot] = 0;
    map->count = 0;
    if (map->owns_keys)
        td_arena_reset(&map->keys);
}

static size_t find_slot(const td_sequence_map *map, const uint32_t *key, size_t length, uint64_t hash)
{
    size_t slot = hash & (map->slot_count - 1);
    for (; map->slots[slot] != 0; slot = (slot + 1) & (map->slot_count - 1)) {
        const td_sequence_entry *entry = &map->entries[map->slots[slot] - 1];
        if (entry->hash == hash && entry->length == length && memcmp(entry->key, key, length * sizeof *key) == 0)
            break;
    }
    return slot;
}

uint32_t td_sequence_map_find(const td_sequence_map *map, const uint32_t *key, size_t length, uint64_t hash)
{
    if (map->count == 0)
        return TD_SEQUENCE_ABSENT;
    return map->slots[find_slot(map, key, length, hash)] - 1; /* a free slot wraps to TD_SEQUENCE_ABSENT */
}

static td_status grow(td_sequence_map *map, td_error *error)
{
    size_t capacity = map->entry_capacity ? 2 * map->entry_capacity : 64;
    if (capacity > UINT32_MAX / 4)
        return td_fail(error, TD_ERROR_LIMIT, "more than %zu different words or n-grams; score fewer segments at once",
                       map->entry_capacity);
    if (!td_grow_array(&map->entries, capacity, sizeof *map->entries))
        return td_fail_memory(error, capacity * sizeof *map->entries);
    uint32_t *slots = td_allocate_array(2 * capacity, sizeof *slots);
    if (!slots)
        return td_fail_memory(error, 2 * capacity * sizeof *slots);
    td_release(map->slots);
    map->slots = slots;
    map->slot_count = 2 * capacity;
    map->entry_capacity = capacity;
    for (size_t i = 0; i < map->count; i++) {
        size_t slot = map->entries[i].hash & (map->slot_count - 1);
        while (slots[slot] != 0)
            slot = (slot + 1) & (map->slot_count - 1);
        slots[slot] = (uint32_t)i + 1;
        map->entries[i].slot = (uint32_t)slot;
    }
    return TD_OK;
}

td_status td_sequence_map_add(td_sequence_map *map, const uint32_t *key, size_t length, uint64_t hash, uint32_t *ret_number,
                              td_error *error)
{
    if (map->count == map->entry_capacity)
        TD_TRY(grow(map, error));
    size_t slot = find_slot(map, key, length, hash);
    if (map->slots[slot] == 0) {
        if (length > UINT32_MAX)
            return td_fail(error, TD_ERROR_LIMIT, "a word of %zu characters", length);
        if (map->owns_keys) {
            uint32_t *copy = td_arena_allocate_array(&map->keys, length, sizeof *copy);
            if (!copy)
                return td_fail_memory(error, length * sizeof *copy);
            memcpy(copy, key, length * sizeof *copy);
            key = copy;
        }
        map->entries[map->count] = (td_sequence_entry){key, hash, (uint32_t)length, (uint32_t)slot};
        map->slots[slot] = (uint32_t)++map->count;
    }
    *ret_number = map->slots[slot] - 1;
    return TD_OK;
}
