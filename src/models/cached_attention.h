/* Attention of a decoder's rows over what the cache holds for them: their own past, and their source. */
#ifndef TD_MODELS_CACHED_ATTENTION_H
#define TD_MODELS_CACHED_ATTENTION_H

#include "models/key_value_cache.h"

/* What is wanted of a cross-attention besides its result. */
typedef struct td_attention_report {
    const td_real **average;   /* NULL: not wanted; else weights averaged over heads, as td_architecture.decode has them */
    td_watched_heads *watched; /* NULL: none */
} td_attention_report;

/* kvq [T, 3 * width]: stores keys and values, then attends causally over each row's past and present -> [T, width]. Of the options heads,
 * scale and bias count; a bias must reach over the longest row. */
td_tensor *td_cache_self_attention(td_key_value_cache *cache, td_graph *graph, size_t layer, const td_attention_options *options,
                                   td_ragged tokens, td_tensor *kvq);
/* query [T, width of the layer] -> the same shape. Of the options heads and scale count. */
td_tensor *td_cache_cross_attention(td_key_value_cache *cache, td_graph *graph, size_t layer, const td_attention_options *options,
                                    td_ragged tokens, td_tensor *query, td_attention_report report);

#endif
