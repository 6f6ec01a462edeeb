#include "base/arena.h"

#include <string.h>

struct td_arena_block {
    td_arena_block *next;
    size_t size;
    char *data;
};

enum { ALIGNMENT = 64, SMALLEST_BLOCK = 1 << 20 };

void td_arena_init(td_arena *arena)
{
    *arena = (td_arena){0};
}

static void release_block(td_arena_block *block)
{
    td_release_aligned(block->data);
    td_release(block);
}

void td_arena_free(td_arena *arena)
{
    while (arena->blocks) {
        td_arena_block *next = arena->blocks->next;
        release_block(arena->blocks);
        arena->blocks = next;
    }
    td_arena_init(arena);
}

static bool push_block(td_arena *arena, size_t size)
{
    td_arena_block *block = td_allocate(sizeof *block);
    char *data = td_allocate_aligned(size);
    if (!block || !data) {
        td_release(block);
        td_release_aligned(data);
        return false;
    }
    *block = (td_arena_block){arena->blocks, size, data};
    arena->blocks = block;
    arena->used = 0;
    return true;
}

void *td_arena_allocate(td_arena *arena, size_t bytes)
{
    size_t size;
    if (td_add_overflows(bytes, ALIGNMENT - 1, &size))
        return NULL;
    size = (size & ~(size_t)(ALIGNMENT - 1)) + (bytes ? 0 : ALIGNMENT);
    if (arena->limit && (size > arena->limit || arena->total > arena->limit - size)) {
        arena->refused = true;
        return NULL;
    }
    if (!arena->blocks || size > arena->blocks->size - arena->used) {
        /* Large enough for the system to take back: smaller ones would leave holes when they are merged. What isn't touched costs
         * nothing. */
        size_t wanted = arena->blocks ? 2 * arena->blocks->size : SMALLEST_BLOCK;
        if (arena->limit && wanted > arena->limit - arena->total)
            wanted = arena->limit - arena->total;
        if (!push_block(arena, size > wanted ? size : wanted))
            return NULL;
    }
    void *memory = arena->blocks->data + arena->used;
    arena->used += size;
    arena->total += size;
    if (arena->total > arena->peak)
        arena->peak = arena->total;
    return memory;
}

void *td_arena_allocate_array(td_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return td_multiply_overflows(count, size, &bytes) ? NULL : td_arena_allocate(arena, bytes);
}

void *td_arena_zeroed_array(td_arena *arena, size_t count, size_t size)
{
    void *memory = td_arena_allocate_array(arena, count, size);
    if (memory)
        memset(memory, 0, count * size);
    return memory;
}

/* One block for all that is expected in the place of whatever there is. */
static void replace_blocks(td_arena *arena, size_t peak)
{
    size_t limit = arena->limit;
    td_arena_free(arena);
    push_block(arena, peak + peak / 8); /* on failure the next allocation tries again, and reports */
    arena->peak = peak;
    arena->limit = limit;
}

void td_arena_expect(td_arena *arena, size_t bytes)
{
    if (bytes > arena->peak && arena->used == 0)
        replace_blocks(arena, bytes);
}

/* One block large enough for what was used replaces several or a smaller one: the next such step allocates nothing. */
void td_arena_reset(td_arena *arena)
{
    if (arena->peak && (!arena->blocks || arena->blocks->next || arena->blocks->size < arena->peak))
        replace_blocks(arena, arena->peak);
    arena->used = 0;
    arena->total = 0;
    arena->refused = false;
}

td_arena_mark td_arena_get_mark(const td_arena *arena)
{
    return (td_arena_mark){arena->blocks, arena->used, arena->total};
}

/* Blocks pushed after the mark go back too: what a first step holds at once is then what it needs at once, and reset makes one block
 * of that size. */
void td_arena_release_to(td_arena *arena, td_arena_mark mark)
{
    while (arena->blocks && arena->blocks != mark.block) {
        td_arena_block *next = arena->blocks->next;
        release_block(arena->blocks);
        arena->blocks = next;
    }
    arena->used = mark.used;
    arena->total = mark.total;
}

void td_arena_between(td_arena_mark from, td_arena_mark to, void (*take)(void *context, void *data, size_t bytes), void *context)
{
    for (td_arena_block *block = to.block; block; block = block->next) {
        size_t end = block == to.block ? to.used : block->size, first = block == from.block ? from.used : 0;
        if (end > first)
            take(context, block->data + first, end - first);
        if (block == from.block)
            break;
    }
}
