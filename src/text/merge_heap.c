#include "text/merge_heap.h"

static bool comes_before(const td_merge *a, const td_merge *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

void td_merge_heap_push(td_merge_heap *heap, td_merge item)
{
    if (td_reserve_array(&heap->items, &heap->capacity, heap->count + 1, sizeof *heap->items, NULL) != TD_OK) {
        heap->failed = true;
        return;
    }
    size_t at = heap->count++;
    for (; at && comes_before(&item, &heap->items[(at - 1) / 2]); at = (at - 1) / 2)
        heap->items[at] = heap->items[(at - 1) / 2];
    heap->items[at] = item;
}

td_merge td_merge_heap_pop(td_merge_heap *heap)
{
    td_merge top = heap->items[0], last = heap->items[--heap->count];
    size_t at = 0;
    for (size_t child = 1; child < heap->count; child = 2 * at + 1) {
        if (child + 1 < heap->count && comes_before(&heap->items[child + 1], &heap->items[child]))
            child++;
        if (!comes_before(&heap->items[child], &last))
            break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = last;
    return top;
}
