/* Selection: a heap of the best so far, and blocks of the row that have nothing above its smallest are skipped whole.
 */
#include "decoding/select.h"

#include <math.h>

#define BLOCK 32

/* True when a ranks behind b. */
static int behind(const td_candidate *a, const td_candidate *b)
{
    return a->key < b->key || (a->key == b->key && a->id > b->id);
}

/* The heap has its last-ranked candidate at the root. */
static void sift_down(td_candidate *heap, size_t count, size_t at)
{
    td_candidate moved = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && behind(&heap[child + 1], &heap[child]))
            child++;
        if (!behind(&heap[child], &moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void sift_up(td_candidate *heap, size_t at)
{
    td_candidate moved = heap[at];
    while (at > 0 && behind(&moved, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moved;
}

static td_real block_maximum(const td_real *row, size_t n)
{
    td_real best = row[0];
    for (size_t i = 1; i < n; i++)
        best = row[i] > best ? row[i] : best;
    return best;
}

/* The `wanted` largest so far, as a heap. */
typedef struct selection {
    td_candidate *heap;
    size_t wanted, count;
    td_real threshold; /* what isn't above it comes too late */
} selection;

static inline void offer(selection *best, td_real value, size_t id)
{
    td_candidate candidate = {value, value, (int32_t)id};
    if (best->count < best->wanted) {
        best->heap[best->count] = candidate;
        sift_up(best->heap, best->count++);
    } else {
        best->heap[0] = candidate;
        sift_down(best->heap, best->count, 0);
    }
    if (best->count == best->wanted)
        best->threshold = best->heap[0].key;
}

/* Of what is at least `least`; returns how many there are. */
static size_t gather(const td_real *row, size_t n, const td_real *bounds, size_t block, size_t wanted, td_real least, td_candidate *heap)
{
    selection best = {heap, wanted, 0, -(td_real)INFINITY};
    for (size_t start = 0, b = 0; wanted > 0 && start < n; start += block, b++) {
        size_t length = n - start < block ? n - start : block;
        td_real bound = bounds ? bounds[b] : block_maximum(row + start, length);
        if (!(bound > best.threshold && bound >= least))
            continue;
        for (size_t i = start; i < start + length; i++)
            if (row[i] > best.threshold && row[i] >= least)
                offer(&best, row[i], i);
    }
    return best.count;
}

static void sort_heap(td_candidate *heap, size_t count)
{
    for (size_t left = count; left > 1; left--) {
        td_candidate last = heap[0];
        heap[0] = heap[left - 1];
        heap[left - 1] = last;
        sift_down(heap, left - 1, 0);
    }
}

/* As many blocks as are wanted reach the last of the largest bounds, so numbers below it need no look: unless those that reached it are
 * in the row no more, which shows in what was found. */
size_t td_select_bounded(const td_real *row, size_t n, const td_real *bounds, size_t block, size_t wanted, td_candidate *ret_candidates)
{
    size_t count = 0;
    td_real least = -INFINITY;
    if (bounds && wanted > 0) {
        count = gather(bounds, (n + block - 1) / block, NULL, BLOCK, wanted, least, ret_candidates);
        least = count == wanted ? ret_candidates[0].key : least;
    }
    count = gather(row, n, bounds, block, wanted, least, ret_candidates);
    if (count < wanted && least > -INFINITY)
        count = gather(row, n, bounds, block, wanted, -INFINITY, ret_candidates);
    sort_heap(ret_candidates, count);
    return count;
}

size_t td_select_largest(const td_real *row, size_t n, size_t wanted, td_candidate *ret_candidates)
{
    return td_select_bounded(row, n, NULL, BLOCK, wanted, ret_candidates);
}

size_t td_select_in_blocks(const td_real *row, size_t n, const int32_t *blocks, size_t block_count, size_t block, size_t wanted,
                           td_candidate *ret_candidates)
{
    selection best = {ret_candidates, wanted, 0, -(td_real)INFINITY};
    for (size_t b = 0; wanted > 0 && b < block_count; b++) {
        size_t start = (size_t)blocks[b] * block, end = n - start < block ? n : start + block;
        for (size_t i = start; i < end; i++)
            if (row[i] > best.threshold)
                offer(&best, row[i], i);
    }
    sort_heap(ret_candidates, best.count);
    return best.count;
}

size_t td_select_nucleus(const td_candidate *candidates, size_t count, double top_p, double min_p, size_t least, double *weights)
{
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += weights[i] = exp((double)candidates[i].value - (double)candidates[0].value);
    double before = 0;
    size_t kept = 0;
    while (kept < count && (kept < least || (before < top_p * total && weights[kept] >= min_p)))
        before += weights[kept++];
    return kept;
}

size_t td_select_random(const td_candidate *candidates, size_t count, td_random *random, double *weights)
{
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += weights[i] = exp((double)candidates[i].value - (double)candidates[0].value);
    double point = td_random_uniform(random) * total;
    for (size_t i = 0; i + 1 < count; i++) {
        if (point < weights[i])
            return i;
        point -= weights[i];
    }
    return count - 1;
}

/* Any fixed order will do: the likeliest first, then the others as they stand. */
size_t td_select_from_all(const td_kernels *kernels, td_real *row, size_t n, td_random *random, td_candidate *ret_candidates)
{
    size_t likely = td_select_largest(row, n, TD_SELECT_LIKELY < n ? TD_SELECT_LIKELY : n, ret_candidates), last = 0;
    if (likely == 0)
        return 0;
    double total = (double)kernels->exp_sum(row, row, ret_candidates[0].value, n), point = td_random_uniform(random) * total;
    for (size_t i = 0; i < likely; i++) {
        td_real *weight = &row[ret_candidates[i].id];
        if (point < (double)*weight) {
            ret_candidates[0] = ret_candidates[i];
            return 1;
        }
        point -= (double)*weight;
        *weight = 0;
    }
    for (size_t i = 0; i < n; i++) {
        last = row[i] > 0 ? i : last;
        if (row[i] > 0 && point < (double)row[i])
            break;
        point -= (double)row[i];
    }
    if (row[last] > 0)
        ret_candidates[0].id = (int32_t)last;
    return 1;
}
