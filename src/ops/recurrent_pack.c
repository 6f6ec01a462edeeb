/* Orders a ragged batch by time: what lets a recurrence touch only rows that exist. */
#include "ops/recurrent.h"

/* Counting sort: stable, and linear in sequences and steps. */
static void sort_by_length(td_ragged ragged, int32_t *counts, td_packing *packing)
{
    for (size_t i = 0; i <= packing->steps; i++)
        counts[i] = 0;
    for (size_t i = 0; i < ragged.count; i++)
        counts[td_ragged_length(ragged, i)]++;
    int32_t before = 0;
    for (size_t length = packing->steps + 1; length-- > 0;) {
        int32_t here = counts[length];
        counts[length] = before;
        before += here;
    }
    for (size_t i = 0; i < ragged.count; i++)
        packing->order[counts[td_ragged_length(ragged, i)]++] = (int32_t)i;
}

bool td_pack(td_graph *graph, td_ragged ragged, bool reverse, td_packing *ret_packing)
{
    td_packing packing = {.count = ragged.count, .total = td_ragged_total(ragged)};
    for (size_t i = 0; i < ragged.count; i++)
        if (td_ragged_length(ragged, i) > packing.steps)
            packing.steps = td_ragged_length(ragged, i);
    int32_t *counts = td_graph_allocate(graph, packing.steps + 1, sizeof *counts);
    packing.order = td_graph_allocate(graph, packing.count, sizeof(int32_t));
    packing.starts = td_graph_allocate(graph, packing.steps + 1, sizeof(int32_t));
    packing.rows = td_graph_allocate(graph, packing.total, sizeof(int32_t));
    packing.places = td_graph_allocate(graph, packing.total, sizeof(int32_t));
    if (!td_graph_ok(graph))
        return false;
    sort_by_length(ragged, counts, &packing);
    size_t active = packing.count;
    int32_t next = 0;
    for (size_t t = 0; t < packing.steps; t++) {
        packing.starts[t] = next;
        while (active && td_ragged_length(ragged, (size_t)packing.order[active - 1]) <= t)
            active--;
        for (size_t r = 0; r < active; r++, next++) {
            const int32_t *bounds = ragged.offsets + packing.order[r];
            int32_t row = reverse ? bounds[1] - 1 - (int32_t)t : bounds[0] + (int32_t)t;
            packing.rows[next] = row;
            packing.places[row] = next;
        }
    }
    packing.starts[packing.steps] = next;
    *ret_packing = packing;
    return true;
}
