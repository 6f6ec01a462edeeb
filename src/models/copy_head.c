#include "models/copy_head.h"

#include "ops/recurrent.h"

#include <math.h>
#include <string.h>

/* A step of a network that copies. */
typedef struct copy_pass {
    const td_copy_head *head;
    td_graph *graph;
    td_ragged ragged; /* targets */
    td_decoder_state *state;
} copy_pass;

void td_copy_head_declare(td_parameters *parameters, size_t width, td_copy_head *head)
{
    head->query_weight = td_parameters_declare(parameters, width, width, TD_INIT_XAVIER, 1, "tandem.copy.query.weight");
    head->query_bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "tandem.copy.query.bias");
    head->key_weight = td_parameters_declare(parameters, width, width, TD_INIT_XAVIER, 1, "tandem.copy.key.weight");
    head->key_bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "tandem.copy.key.bias");
    head->gate_weight = td_parameters_declare(parameters, 1, 2 * width, TD_INIT_XAVIER, 1, "tandem.copy.gate.weight");
    head->gate_bias = td_parameters_declare(parameters, 1, 0, TD_INIT_ZERO, 0, "tandem.copy.gate.bias");
}

static td_tensor *copy_keys(const td_copy_head *head, td_graph *graph, td_tensor *states)
{
    return td_linear_apply(graph, states, head->key_weight, head->key_bias);
}

void td_copy_head_begin(const td_copy_head *head, td_graph *graph, const td_memory *memory, td_decoder_state *state)
{
    td_tensor *parts[2] = {copy_keys(head, graph, memory->states), memory->states};
    td_cache_set_memory(&state->cache, state->added, graph, state->cache.layers, 1, td_concatenate(graph, parts, 2));
}

/* Rows of each its memory's length, end to end -> [T, longest], zeros after. */
static td_tensor *spread_weights(copy_pass *pass, const td_real *joined)
{
    size_t longest = 0;
    for (size_t row = 0; row < pass->ragged.count; row++) {
        size_t length = td_cache_memory_length(&pass->state->cache, row);
        longest = length > longest ? length : longest;
    }
    td_tensor *weights = td_tensor_zeroed(pass->graph, td_ragged_total(pass->ragged), longest, false);
    for (size_t row = 0; weights && joined && row < pass->ragged.count; row++) {
        size_t length = td_cache_memory_length(&pass->state->cache, row);
        for (int32_t i = pass->ragged.offsets[row]; i < pass->ragged.offsets[row + 1]; i++, joined += length)
            memcpy(weights->data + (size_t)i * weights->stride, joined, length * sizeof *joined);
    }
    return weights;
}

/* query [T, D] over the memory of this step -> what was read [T, D] */
static td_tensor *recorded_attention(copy_pass *pass, td_tensor *query, td_tensor **ret_weights)
{
    td_memory *memory = &pass->state->memory;
    td_tensor *keys = copy_keys(pass->head, pass->graph, memory->states), *values = memory->states;
    td_memory_segment *segments = td_graph_allocate(pass->graph, td_ragged_total(pass->ragged), sizeof *segments);
    if (!segments || !keys || !values)
        return NULL;
    td_recurrent_attention_options options = {.key_stride = keys->stride, .value_stride = values->stride, .value_width = values->columns};
    for (size_t row = 0; row < pass->ragged.count; row++) {
        size_t first = (size_t)memory->ragged.offsets[row], length = td_ragged_length(memory->ragged, row);
        options.longest = length > options.longest ? length : options.longest;
        for (int32_t i = pass->ragged.offsets[row]; i < pass->ragged.offsets[row + 1]; i++)
            segments[i] = (td_memory_segment){keys->data + first * keys->stride, values->data + first * values->stride, length};
    }
    query = td_scale(pass->graph, query, (td_real)(1 / sqrt((double)keys->columns)));
    return td_recurrent_attention(pass->graph, query, segments, &options, keys, values, NULL, NULL, NULL, ret_weights);
}

td_copying td_copy_head_apply(const td_copy_head *head, td_graph *graph, td_ragged targets, td_decoder_state *state, td_tensor *x,
                              const td_real **ret_attention)
{
    copy_pass pass = {head, graph, targets, state};
    td_copying copying = {0};
    td_tensor *query = td_linear_apply(graph, x, head->query_weight, head->query_bias), *read;
    *ret_attention = NULL;
    if (graph->recording) {
        read = recorded_attention(&pass, query, &copying.weights);
    } else {
        td_attention_options options = {.heads = 1};
        read = td_cache_cross_attention(&state->cache, graph, state->cache.layers, &options, targets, query,
                                        (td_attention_report){ret_attention, NULL});
        copying.weights = spread_weights(&pass, *ret_attention);
    }
    td_tensor *parts[2] = {x, read};
    copying.gate = td_linear_apply(graph, td_concatenate(graph, parts, 2), head->gate_weight, head->gate_bias);
    return copying;
}
