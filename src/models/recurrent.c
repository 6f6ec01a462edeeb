/* Recurrent encoder-decoders: a fixed vector between the two (Sutskever 2014; Cho 2014) or attention (Bahdanau 2015; Luong 2015),
 * in PyTorch's names of weights. Here the encoder and what starts the decoder; the decoder is in recurrent_decoder.c. */
#include "models/recurrent.h"

#include "ops/ops.h"

#include <string.h>

td_tensor *td_rnn_apply(td_graph *graph, td_rnn_linear linear, td_tensor *x)
{
    return td_linear(graph, x, td_graph_parameter(graph, linear.weight), linear.bias ? td_graph_parameter(graph, linear.bias) : NULL);
}

td_tensor *td_rnn_embed(const td_network *network, td_graph *graph, const td_parameter *table, const int32_t *ids, size_t count)
{
    td_tensor *x = td_embedding(graph, td_graph_parameter(graph, table), ids, count, 1);
    return td_dropout(graph, x, network->rates.dropout);
}

/* final_state: for each of h and c (LSTM), each layer's directions side by side. */
static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const td_rnn_network *model = network->family;
    size_t count = model->encoder.layers * td_recurrent_directions(&model->encoder), states = td_rnn_states(model);
    if (!source->ids)
        td_graph_fail(graph, TD_ERROR_UNSUPPORTED, "tandem-rnn reads text: token ids, not features");
    td_tensor **finals = td_graph_allocate(graph, 2 * count, sizeof *finals);
    if (!finals)
        return graph->error.status;
    td_tensor *x =
        td_rnn_embed(network, graph, model->source_embedding, td_known_ids(network, graph, source->ids, td_ragged_total(source->ragged)),
                     td_ragged_total(source->ragged));
    td_memory memory = {.ragged = source->ragged, .source_ids = source->ids};
    memory.states =
        td_recurrent_stack_apply(graph, &model->encoder, x, source->ragged, network->rates.dropout, NULL, NULL, finals, finals + count);
    memory.final_state = memory.states ? td_concatenate(graph, finals, states * count) : NULL;
    memory.states = td_dropout(graph, memory.states, network->rates.dropout);
    if (td_graph_ok(graph))
        *ret_memory = memory;
    return graph->error.status;
}

/* Decoder layer i starts from encoder layer i, or the last there is. */
static td_tensor *start_state(const td_rnn_network *model, td_graph *graph, const td_memory *memory)
{
    size_t layers = model->decoder.layers, parts = layers * td_rnn_states(model), encoder_layers = model->encoder.layers;
    td_tensor **part = td_graph_allocate(graph, parts + 1, sizeof *part);
    if (!part)
        return NULL;
    for (size_t i = 0; i < parts; i++) {
        size_t layer = i % layers, from = layer < encoder_layers ? layer : encoder_layers - 1;
        td_rnn_linear bridge = i < layers ? model->bridge_h[layer] : model->bridge_c[layer];
        part[i] = td_tensor_columns(graph, memory->final_state, (i / layers * encoder_layers + from) * model->memory, model->memory);
        if (bridge.weight)
            part[i] = td_activate(graph, td_rnn_apply(graph, bridge, part[i]), TD_TANH, 0);
    }
    if (model->context_feeding)
        part[parts++] = td_tensor_columns(graph, memory->final_state, (encoder_layers - 1) * model->memory, model->memory);
    td_tensor *start = td_concatenate(graph, part, parts);
    if (!model->input_feeding)
        return start;
    td_tensor *fed[2] = {start, start ? td_tensor_zeroed(graph, start->rows, model->feed, false) : NULL}; /* nothing to feed yet */
    return td_concatenate(graph, fed, 2);
}

/* The memory's side of the scores, once per sequence. */
static td_tensor *memory_keys(const td_rnn_network *model, td_graph *graph, td_tensor *states)
{
    if (model->attention == TD_RNN_ADDITIVE || model->attention == TD_RNN_GENERAL)
        return td_rnn_apply(graph, model->key, states);
    if (model->attention != TD_RNN_CONCAT)
        return states;
    td_tensor *weight = td_tensor_columns(graph, td_graph_parameter(graph, model->concat), model->decoder.hidden, model->memory);
    return td_step_linear_apply(graph, td_step_linear_begin(graph, weight, NULL, states ? states->rows : 0), states, NULL);
}

td_status td_rnn_begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state)
{
    const td_rnn_network *model = network->family;
    td_tensor *start = start_state(model, graph, memory);
    if (model->attention == TD_RNN_NONE)
        return td_rnn_state_append(state, graph, memory->ragged, start, NULL, NULL);
    td_tensor *keys = memory_keys(model, graph, memory->states);
    return td_rnn_state_append(state, graph, memory->ragged, start, keys, memory->states);
}

td_projection td_rnn_projection(const td_network *network)
{
    const td_rnn_network *model = network->family;
    return model->projection;
}

size_t td_rnn_state_rows(const td_decoder_state *state)
{
    return state->rows;
}

td_copying td_rnn_copying(const td_decoder_state *state)
{
    return state->copying;
}

extern const td_architecture td_architecture_tandem_rnn;
const td_architecture td_architecture_tandem_rnn = {
    .model_type = "tandem-rnn",
    .source = TD_TEXT,
    .configure = td_rnn_configure,
    .release = td_rnn_release,
    .projection = td_rnn_projection,
    .encode = encode,
    .state_new = td_rnn_state_new,
    .state_free = td_rnn_state_free,
    .begin = td_rnn_begin,
    .decode = td_rnn_decode,
    .reorder = td_rnn_state_reorder,
    .state_rows = td_rnn_state_rows,
    .copying = td_rnn_copying,
};
