#include "models/text_decoder.h"

#include "models/copying.h"

#include <string.h>

void td_two_stacks_release(td_network *network)
{
    td_two_stacks *model = network->family;
    td_release(model->encoder.layer);
    td_release(model->decoder.stack.layer);
    td_release(model);
    network->family = NULL;
}

td_projection td_text_decoder_projection(const td_network *network)
{
    const td_text_decoder *decoder = network->family;
    return (td_projection){decoder->logits_weight, decoder->logits_bias, decoder->logits_scale};
}

td_status td_text_decoder_state_new(const td_network *network, td_decoder_state **ret_state, td_error *error)
{
    const td_text_decoder *decoder = network->family;
    td_decoder_state *state = td_allocate_array(1, sizeof *state);
    if (!state)
        return td_fail_memory(error, sizeof *state);
    td_cache_init(&state->cache, decoder->stack.layers, td_stack_inner_width(&decoder->stack), td_parameters_rounded(&network->parameters));
    state->cache.extra_width = network->copies ? decoder->stack.width : 0;
    *ret_state = state;
    return TD_OK;
}

void td_text_decoder_state_free(td_decoder_state *state)
{
    if (state)
        td_cache_free(&state->cache);
    td_release(state);
}

td_status td_text_decoder_reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error)
{
    return td_cache_reorder(&state->cache, parents, rows, error);
}

void td_text_decoder_watch(td_decoder_state *state, td_watched_heads *heads)
{
    state->watched = heads;
}

size_t td_text_decoder_state_rows(const td_decoder_state *state)
{
    return state->cache.rows;
}

td_copying td_text_decoder_copying(const td_decoder_state *state)
{
    return state->copying;
}

td_status td_text_decoder_begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state)
{
    const td_text_decoder *decoder = network->family;
    TD_TRY(td_stack_begin(&decoder->stack, graph, memory, state));
    if (network->copies && !graph->recording)
        td_copy_head_begin(&decoder->copy, graph, memory, state);
    return graph->error.status;
}

static td_tensor *apply_head(const td_text_decoder *decoder, td_graph *graph, td_tensor *hidden)
{
    hidden = td_linear_activate(graph, hidden, td_graph_parameter(graph, decoder->head_weight),
                                td_graph_parameter(graph, decoder->head_bias), decoder->head_activation, 0);
    return td_norm_apply(graph, hidden, decoder->head_norm, decoder->stack.epsilon);
}

static td_tensor *embed_zero_start(const td_text_decoder *decoder, const td_network *network, td_graph *graph, const td_batch *targets,
                                   const int32_t *positions)
{
    size_t count = td_ragged_total(targets->ragged);
    if (graph->recording)
        return td_graph_fail(graph, TD_ERROR_UNSUPPORTED,
                             "a model whose decoder starts from zero (\"start_from_zero_embedding\") cannot be trained");
    const int32_t *ids = td_known_ids(network, graph, targets->ids, count);
    td_tensor *x = td_embedding(graph, td_graph_parameter(graph, decoder->stack.embedding), ids, count, decoder->embedding_scale);
    for (size_t i = 0; x && i < count; i++)
        if ((size_t)positions[i] == decoder->position_offset)
            memset(x->data + i * x->stride, 0, x->columns * sizeof *x->data);
    return td_stack_place(&decoder->stack, network, graph, x, positions);
}

td_status td_text_decoder_decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                                 td_tensor **ret_hidden, const td_real **ret_attention)
{
    const td_text_decoder *decoder = network->family;
    const td_real *attention = NULL;
    int32_t *positions = td_stack_extend(graph, state, targets->ragged, decoder->position_offset);
    if (ret_attention)
        *ret_attention = NULL;
    if (!positions)
        return graph->error.status;
    td_tensor *x = decoder->zero_start ? embed_zero_start(decoder, network, graph, targets, positions)
                                       : td_text_embed(&decoder->stack, network, graph, decoder->embedding_scale, targets->ids,
                                                       td_ragged_total(targets->ragged), positions);
    x = td_stack_decode(&decoder->stack, network, graph, targets->ragged, state, x, ret_attention && !network->copies ? &attention : NULL);
    if (decoder->head_weight)
        x = apply_head(decoder, graph, x);
    if (network->copies)
        state->copying = td_copy_head_apply(&decoder->copy, graph, targets->ragged, state, x, &attention);
    *ret_hidden = x;
    if (ret_attention)
        *ret_attention = attention;
    return graph->error.status;
}
