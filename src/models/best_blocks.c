#include "models/best_blocks.h"

#include <math.h>
#include <string.h>

bool td_best_blocks_new(td_graph *graph, size_t lists, size_t most, td_best_blocks *ret_best)
{
    size_t blocks;
    if (td_multiply_overflows(lists, most, &blocks)) {
        td_graph_fail(graph, TD_ERROR_MEMORY, "out of memory for %zu rows of scores", lists);
        return false;
    }
    td_best_blocks best = {.most = most,
                           .count = td_graph_allocate(graph, lists, sizeof *best.count),
                           .block = td_graph_allocate(graph, blocks, sizeof *best.block),
                           .maximum = td_graph_allocate(graph, blocks, sizeof *best.maximum),
                           .values = td_graph_allocate(graph, blocks, TD_LOGIT_BLOCK * sizeof *best.values),
                           .threshold = td_graph_allocate(graph, lists, sizeof *best.threshold),
                           .last = td_graph_allocate(graph, lists, sizeof *best.last)};
    if (!td_graph_ok(graph))
        return false;
    memset(best.count, 0, lists * sizeof *best.count);
    for (size_t list = 0; list < lists; list++)
        best.threshold[list] = -(td_real)INFINITY;
    *ret_best = best;
    return true;
}

/* Whether block a of a row goes before block b. */
static bool is_ahead(td_real a_maximum, int32_t a, td_real b_maximum, int32_t b)
{
    return a_maximum > b_maximum || (a_maximum == b_maximum && a < b);
}

static void find_last(td_best_blocks *best, size_t list)
{
    const int32_t *block = best->block + list * best->most;
    const td_real *maximum = best->maximum + list * best->most;
    size_t last = 0;
    for (size_t i = 1; i < best->most; i++)
        if (is_ahead(maximum[last], block[last], maximum[i], block[i]))
            last = i;
    best->last[list] = (int32_t)last;
    best->threshold[list] = maximum[last];
}

void td_best_blocks_take(td_best_blocks *best, size_t list, int32_t block, td_real maximum, const td_real *values, size_t count)
{
    size_t first = list * best->most, place = first + (size_t)best->count[list];
    if ((size_t)best->count[list] == best->most) {
        place = first + (size_t)best->last[list];
        if (!is_ahead(maximum, block, best->maximum[place], best->block[place]))
            return;
    } else {
        best->count[list]++;
    }
    best->block[place] = block;
    best->maximum[place] = maximum;
    memcpy(best->values + place * TD_LOGIT_BLOCK, values, count * sizeof *values);
    if ((size_t)best->count[list] == best->most)
        find_last(best, list);
}

/* Numbers of a block in a row of n. */
static size_t block_length(int32_t block, size_t n)
{
    size_t left = n - (size_t)block * TD_LOGIT_BLOCK;
    return left < TD_LOGIT_BLOCK ? left : TD_LOGIT_BLOCK;
}

void td_best_blocks_join(td_best_blocks *best, size_t list, size_t other, size_t n)
{
    for (size_t i = 0; i < (size_t)best->count[other]; i++) {
        size_t at = other * best->most + i;
        td_best_blocks_offer(best, list, best->block[at], best->maximum[at], best->values + at * TD_LOGIT_BLOCK,
                             block_length(best->block[at], n));
    }
}

/* The maxima, not asked for any more, stay as they were. */
void td_best_blocks_place(td_best_blocks *best, size_t list, size_t n, td_real *row)
{
    int32_t *block = best->block + list * best->most;
    for (size_t i = 0; i < (size_t)best->count[list]; i++)
        memcpy(row + (size_t)block[i] * TD_LOGIT_BLOCK, best->values + (list * best->most + i) * TD_LOGIT_BLOCK,
               block_length(block[i], n) * sizeof *row);
    for (size_t i = 1; i < (size_t)best->count[list]; i++) {
        int32_t moved = block[i];
        size_t at = i;
        for (; at > 0 && block[at - 1] > moved; at--)
            block[at] = block[at - 1];
        block[at] = moved;
    }
}
