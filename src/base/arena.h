/* Bump allocator for one step's memory. After a step that needed several blocks, reset merges them into one of the
 * whole size, so that from the second like-sized step on there is no allocation. */
#ifndef TD_BASE_ARENA_H
#define TD_BASE_ARENA_H

#include "base/memory.h"

typedef struct td_arena_block td_arena_block;
typedef struct td_arena {
    td_arena_block *blocks; /* newest first */
    size_t used;            /* in the newest block */
    size_t total;           /* in all blocks since the last reset */
    size_t peak;            /* largest total ever */
    size_t limit;           /* 0: none; allocations that would exceed it fail */
    bool refused;           /* one did since the last reset */
} td_arena;

/* A position that td_arena_release_to can return to; only valid until an older mark is released. */
typedef struct td_arena_mark {
    td_arena_block *block;
    size_t used;
    size_t total;
} td_arena_mark;

void td_arena_init(td_arena *arena);
void td_arena_free(td_arena *arena);
/* 64-byte aligned, uninitialised; NULL when out of memory or over the limit. Valid until reset. */
void *td_arena_allocate(td_arena *arena, size_t bytes);
void *td_arena_allocate_array(td_arena *arena, size_t count, size_t size);
void *td_arena_zeroed_array(td_arena *arena, size_t count, size_t size);
/* Of an emptied arena: prepares it for a step of `bytes`, as if it had seen one. Without memory it stays as it is. */
void td_arena_expect(td_arena *arena, size_t bytes);
/* Forgets everything allocated. */
void td_arena_reset(td_arena *arena);
td_arena_mark td_arena_get_mark(const td_arena *arena);
void td_arena_release_to(td_arena *arena, td_arena_mark mark);
/* Gives `take` the memory between two marks that are still valid, `from` the older: one piece for each block it lies in. */
void td_arena_between(td_arena_mark from, td_arena_mark to, void (*take)(void *context, void *data, size_t bytes), void *context);

#endif
