/* Allocation with overflow-checked sizes, through the allocator of the process. */
#ifndef TD_BASE_MEMORY_H
#define TD_BASE_MEMORY_H

#include "base/error.h"

#include <stdbool.h>

/* Returns uninitialised memory, or NULL. Never returns NULL for 0 bytes unless out of memory. */
void *td_allocate(size_t bytes) __attribute__((malloc, warn_unused_result));
/* Zeroed array; NULL when count * size overflows or memory is out. */
void *td_allocate_array(size_t count, size_t size) __attribute__((malloc, warn_unused_result));
/* Grows or shrinks; the old block stays valid on failure (NULL). */
void *td_resize_array(void *block, size_t count, size_t size) __attribute__((warn_unused_result));
/* Resizes what the pointer at `block` points to; false: there is no memory, and it is as it was. */
bool td_grow_array(void *block, size_t count, size_t size) __attribute__((warn_unused_result));
/* 64-byte aligned block; release with td_release_aligned. */
void *td_allocate_aligned(size_t bytes) __attribute__((malloc, warn_unused_result));
void td_release_aligned(void *block);
void td_release(void *block);
char *td_copy_string(const char *text) __attribute__((malloc, warn_unused_result));
char *td_copy_bytes(const char *bytes, size_t length) __attribute__((malloc, warn_unused_result)); /* adds a final 0 */

/* Calls made to allocate and resize since the process started (relaxed atomic): tests hold the steady state to zero. */
uint64_t td_allocation_count(void);

static inline bool td_multiply_overflows(size_t a, size_t b, size_t *ret_product)
{
    return __builtin_mul_overflow(a, b, ret_product);
}

static inline bool td_add_overflows(size_t a, size_t b, size_t *ret_sum)
{
    return __builtin_add_overflow(a, b, ret_sum);
}

#endif
