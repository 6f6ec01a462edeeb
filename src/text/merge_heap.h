/* The merges that byte-pair encoding may do next in a word, best first. */
#ifndef TD_TEXT_MERGE_HEAP_H
#define TD_TEXT_MERGE_HEAP_H

#include "base/array.h"

typedef struct td_merge {
    int32_t rank;
    uint32_t mark; /* the caller's: tells whether what was to be joined is still there */
    size_t left;   /* place of the first of both */
} td_merge;

/* Smallest rank first, then leftmost. Zeroed it is empty; `failed`: there was no memory. */
typedef struct td_merge_heap {
    td_merge *items;
    size_t count, capacity;
    bool failed;
} td_merge_heap;

void td_merge_heap_push(td_merge_heap *heap, td_merge item);
td_merge td_merge_heap_pop(td_merge_heap *heap); /* of one that is not empty */

#endif
