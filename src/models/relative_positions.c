#include "models/relative_positions.h"

#include <math.h>

/* Near distances have a bucket each, farther ones share buckets that widen logarithmically. In single precision and in this order, so
 * that a distance on the border of two buckets falls where it fell in training. */
static int32_t bucket_of(const td_relative_positions *positions, int64_t distance)
{
    bool both_ways = positions->both_ways;
    size_t buckets = both_ways ? positions->table->rows / 2 : positions->table->rows, exact = buckets / 2;
    size_t base = both_ways && distance > 0 ? buckets : 0;
    uint64_t away = distance <= 0 ? (uint64_t)-distance : both_ways ? (uint64_t)distance : 0;
    if (away < exact)
        return (int32_t)(base + (size_t)away);
    float ratio = logf((float)away / (float)exact) / (float)log((double)positions->farthest / (double)exact) * (float)(buckets - exact);
    size_t bucket = exact + (size_t)ratio;
    return (int32_t)(base + (bucket < buckets ? bucket : buckets - 1));
}

td_attention_bias td_relative_positions_bias(const td_relative_positions *positions, td_graph *graph, size_t longest)
{
    size_t past = longest ? longest - 1 : 0, count = positions->both_ways ? 2 * past + 1 : past + 1;
    int32_t *buckets = td_graph_allocate(graph, count, sizeof *buckets);
    for (size_t i = 0; buckets && i < count; i++)
        buckets[i] = bucket_of(positions, (int64_t)i - (int64_t)past);
    td_tensor *values = buckets ? td_relative_bias(graph, td_graph_parameter(graph, positions->table), buckets, count) : NULL;
    return (td_attention_bias){.values = values, .head_step = count, .first = past, .row_step = -1};
}
