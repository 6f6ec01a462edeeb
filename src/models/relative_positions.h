/* Positions as T5 has them (Raffel 2020, 2.1): nothing is added to embeddings; a number for each head and bucket of distances is added to
 * the scores of self-attention, from one table that all layers of a stack share. */
#ifndef TD_MODELS_RELATIVE_POSITIONS_H
#define TD_MODELS_RELATIVE_POSITIONS_H

#include "ops/ops.h"

typedef struct td_relative_positions {
    td_parameter *table; /* [buckets, heads]; NULL: the stack has none */
    size_t farthest;     /* from this distance on, all are in the last bucket */
    bool both_ways;      /* half of the buckets are for keys after the query; else those count as distance 0 */
} td_relative_positions;

/* The biases of every distance that occurs among `longest` positions: one computation for all layers. */
td_attention_bias td_relative_positions_bias(const td_relative_positions *positions, td_graph *graph, size_t longest);

#endif
