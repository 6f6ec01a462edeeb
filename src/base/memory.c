#include "base/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void *default_allocate(void *context, size_t bytes)
{
    (void)context;
    return malloc(bytes);
}

static void *default_resize(void *context, void *block, size_t bytes)
{
    (void)context;
    return realloc(block, bytes);
}

static void default_release(void *context, void *block)
{
    (void)context;
    free(block);
}

static const td_allocator default_allocator = {default_allocate, default_resize, default_release, NULL};
static td_allocator process_allocator = {default_allocate, default_resize, default_release, NULL};
static atomic_uint_fast64_t allocation_count;

void td_set_allocator(const td_allocator *allocator)
{
    process_allocator = allocator ? *allocator : default_allocator;
}

uint64_t td_allocation_count(void)
{
    return atomic_load_explicit(&allocation_count, memory_order_relaxed);
}

void *td_allocate(size_t bytes)
{
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    return process_allocator.allocate(process_allocator.context, bytes ? bytes : 1);
}

void *td_allocate_array(size_t count, size_t size)
{
    size_t bytes;
    if (td_multiply_overflows(count, size, &bytes))
        return NULL;
    void *block = td_allocate(bytes);
    if (block)
        memset(block, 0, bytes);
    return block;
}

void *td_resize_array(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (td_multiply_overflows(count, size, &bytes))
        return NULL;
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    return process_allocator.resize(process_allocator.context, block, bytes ? bytes : 1);
}

bool td_grow_array(void *block, size_t count, size_t size)
{
    void **place = block, *grown = td_resize_array(*place, count, size);
    if (grown)
        *place = grown;
    return grown != NULL;
}

/* The block's start is kept in the pointer just below the aligned address. */
void *td_allocate_aligned(size_t bytes)
{
    size_t total;
    if (td_add_overflows(bytes, 64 + sizeof(void *), &total))
        return NULL;
    char *block = td_allocate(total);
    if (!block)
        return NULL;
    uintptr_t aligned = ((uintptr_t)block + sizeof(void *) + 63) & ~(uintptr_t)63;
    ((void **)aligned)[-1] = block;
    return (void *)aligned;
}

void td_release_aligned(void *block)
{
    if (block)
        td_release(((void **)block)[-1]);
}

void td_release(void *block)
{
    if (block)
        process_allocator.release(process_allocator.context, block);
}

char *td_copy_bytes(const char *bytes, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : td_allocate(length + 1);
    if (copy) {
        if (length)
            memcpy(copy, bytes, length);
        copy[length] = 0;
    }
    return copy;
}

char *td_copy_string(const char *text)
{
    return td_copy_bytes(text, strlen(text));
}
