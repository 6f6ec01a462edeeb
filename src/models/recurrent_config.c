/* config.json of a recurrent encoder-decoder -> sizes and declared weights. */
#include "io/json.h"
#include "models/cnn.h"
#include "models/configuration.h"
#include "models/recurrent.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct choice {
    const char *name;
    int value;
} choice;

static const choice cells[] = {{"lstm", TD_CELL_LSTM}, {"gru", TD_CELL_GRU}, {"rnn", TD_CELL_RNN_TANH}, {NULL, 0}};
static const choice nonlinearities[] = {{"tanh", TD_CELL_RNN_TANH}, {"relu", TD_CELL_RNN_RELU}, {NULL, 0}};
static const choice attentions[] = {{"none", TD_RNN_NONE},       {"additive", TD_RNN_ADDITIVE}, {"dot", TD_RNN_DOT},
                                    {"general", TD_RNN_GENERAL}, {"concat", TD_RNN_CONCAT},     {NULL, 0}};
enum { TIE_NONE, TIE_TWO_WAY, TIE_THREE_WAY };
static const choice ties[] = {{"none", TIE_NONE}, {"two-way", TIE_TWO_WAY}, {"three-way", TIE_THREE_WAY}, {NULL, 0}};

static td_status get_choice(const json_t *config, const char *file, const char *key, const choice *choices, int *ret_value, td_error *error)
{
    const char *name;
    TD_TRY(td_json_get_string(config, file, key, choices[0].name, &name, error));
    td_buffer names = TD_BUFFER_INIT;
    for (size_t i = 0; choices[i].name; i++) {
        if (strcmp(choices[i].name, name) == 0) {
            *ret_value = choices[i].value;
            td_buffer_free(&names);
            return TD_OK;
        }
        td_buffer_format(&names, "%s%s", i ? ", " : "", choices[i].name);
    }
    td_status status = td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": \"%s\" is not supported by tandem-rnn (%s)", file, key, name,
                               td_buffer_text(&names));
    td_buffer_free(&names);
    return status;
}

static td_status read_cells(const json_t *config, const char *file, td_network *network, td_error *error)
{
    td_rnn_network *model = network->family;
    int cell, nonlinearity;
    TD_TRY(get_choice(config, file, "cell", cells, &cell, error));
    TD_TRY(get_choice(config, file, "nonlinearity", nonlinearities, &nonlinearity, error));
    td_cell_kind kind = cell == TD_CELL_RNN_TANH ? (td_cell_kind)nonlinearity : (td_cell_kind)cell;
    td_recurrent_stack *encoder = &model->encoder, *decoder = &model->decoder;
    encoder->kind = decoder->kind = kind;
    TD_TRY(td_config_size(config, file, "embedding_size", 1 << 16, &model->embedding, error));
    TD_TRY(td_config_size(config, file, "hidden_size", 1 << 16, &decoder->hidden, error));
    TD_TRY(td_config_size_or(config, file, "encoder_hidden_size", 1 << 16, decoder->hidden, &encoder->hidden, error));
    TD_TRY(td_config_size_or(config, file, "attention_size", 1 << 16, decoder->hidden, &model->attention_width, error));
    TD_TRY(td_config_size_or(config, file, "encoder_layers", 64, 1, &encoder->layers, error));
    TD_TRY(td_config_size_or(config, file, "decoder_layers", 64, 1, &decoder->layers, error));
    TD_TRY(td_json_get_bool(config, file, "encoder_bidirectional", false, &encoder->bidirectional, error));
    TD_TRY(td_json_get_bool(config, file, "reverse_source", false, &encoder->reverse, error));
    encoder->inputs = model->embedding;
    model->memory = td_recurrent_width(encoder);
    return td_rnn_front_read(config, file, network, error);
}

static td_status read_attention(const json_t *config, const char *file, td_rnn_network *model, td_error *error)
{
    int attention;
    TD_TRY(get_choice(config, file, "attention", attentions, &attention, error));
    model->attention = (td_rnn_attention)attention;
    TD_TRY(td_json_get_bool(config, file, "input_feeding", false, &model->input_feeding, error));
    TD_TRY(td_json_get_bool(config, file, "coverage", false, &model->coverage, error));
    TD_TRY(td_json_get_bool(config, file, "context_feeding", false, &model->context_feeding, error));
    bool luong = attention == TD_RNN_DOT || attention == TD_RNN_GENERAL || attention == TD_RNN_CONCAT;
    if (model->input_feeding && !luong)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"input_feeding\" needs \"attention\" dot, general or concat", file);
    if (model->coverage && attention != TD_RNN_ADDITIVE && attention != TD_RNN_CONCAT)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"coverage\" needs \"attention\" additive or concat", file);
    if (model->context_feeding && attention != TD_RNN_NONE)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"context_feeding\" needs \"attention\" none", file);
    if (attention == TD_RNN_DOT && model->memory != model->decoder.hidden)
        return td_fail(error, TD_ERROR_UNSUPPORTED,
                       "%s: \"attention\": \"dot\" needs encoder states of the decoder's width: %zu, not %zu (general has no such bound)",
                       file, model->decoder.hidden, model->memory);
    return TD_OK;
}

td_rnn_linear td_rnn_declare_linear(td_parameters *parameters, size_t outputs, size_t inputs, const char *name)
{
    td_rnn_linear linear;
    linear.weight = td_parameters_declare(parameters, outputs, inputs, TD_INIT_XAVIER, 1, "%s.weight", name);
    td_parameters_product(parameters);
    linear.bias = td_parameters_declare(parameters, outputs, 0, TD_INIT_ZERO, 0, "%s.bias", name);
    return linear;
}

static void declare_embeddings(td_network *network, td_rnn_network *model, size_t source_words, int tie)
{
    td_parameters *parameters = &network->parameters;
    double spread = 1 / sqrt((double)model->embedding);
    if (tie == TIE_THREE_WAY) {
        model->source_embedding = model->target_embedding =
            td_parameters_declare(parameters, source_words, model->embedding, TD_INIT_NORMAL, spread, "shared.weight");
        td_parameters_product(parameters);
        td_parameters_alias(parameters, "encoder.embedding.weight");
        td_parameters_alias(parameters, "decoder.embedding.weight");
    } else {
        if (network->architecture->source == TD_TEXT) {
            model->source_embedding =
                td_parameters_declare(parameters, source_words, model->embedding, TD_INIT_NORMAL, spread, "encoder.embedding.weight");
            td_parameters_product(parameters);
        }
        model->target_embedding =
            td_parameters_declare(parameters, network->vocabulary, model->embedding, TD_INIT_NORMAL, spread, "decoder.embedding.weight");
        td_parameters_product(parameters);
    }
}

/* Where neither width nor number of directions agree, each decoder layer's start is a learned map of an encoder layer's end; for
 * pictures, always, of the pooled memory. */
static td_status declare_bridge(td_parameters *parameters, td_rnn_network *model, td_error *error)
{
    size_t layers = model->decoder.layers;
    model->bridge_h = td_allocate_array(layers, sizeof *model->bridge_h);
    model->bridge_c = td_allocate_array(layers, sizeof *model->bridge_c);
    if (!model->bridge_h || !model->bridge_c)
        return td_fail_memory(error, layers * sizeof *model->bridge_h);
    if (!model->encoder.bidirectional && model->encoder.hidden == model->decoder.hidden && !model->front.projection.weight)
        return TD_OK;
    for (size_t i = 0; i < layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "bridge.h.%zu", i);
        model->bridge_h[i] = td_rnn_declare_linear(parameters, model->decoder.hidden, model->memory, name);
        snprintf(name, sizeof name, "bridge.c.%zu", i);
        if (model->decoder.kind == TD_CELL_LSTM)
            model->bridge_c[i] = td_rnn_declare_linear(parameters, model->decoder.hidden, model->memory, name);
    }
    return TD_OK;
}

static void declare_attention(td_parameters *parameters, td_rnn_network *model)
{
    size_t width = model->attention_width, hidden = model->decoder.hidden, memory = model->memory;
    if (model->attention == TD_RNN_ADDITIVE) {
        model->query.weight = td_parameters_declare(parameters, width, hidden, TD_INIT_XAVIER, 1, "attention.query.weight");
        td_parameters_product(parameters);
        model->key = td_rnn_declare_linear(parameters, width, memory, "attention.key");
    }
    if (model->attention == TD_RNN_GENERAL) {
        model->key.weight = td_parameters_declare(parameters, hidden, memory, TD_INIT_XAVIER, 1, "attention.key.weight");
        td_parameters_product(parameters);
    }
    if (model->attention == TD_RNN_CONCAT)
        model->concat = td_parameters_declare(parameters, width, hidden + memory, TD_INIT_XAVIER, 1, "attention.weight");
    if (model->attention == TD_RNN_ADDITIVE || model->attention == TD_RNN_CONCAT)
        model->v = td_parameters_declare(parameters, width, 0, TD_INIT_UNIFORM, 1 / sqrt((double)width), "attention.v");
    if (model->coverage)
        model->coverage_weight =
            td_parameters_declare(parameters, width, 0, TD_INIT_UNIFORM, 1 / sqrt((double)width), "attention.coverage");
}

/* The readout's width is the embedding's where that spares a product: for tied outputs, and for additive attention always. */
static void declare_output(td_network *network, td_rnn_network *model, int tie)
{
    td_parameters *parameters = &network->parameters;
    size_t hidden = model->decoder.hidden, width = hidden;
    if (model->attention == TD_RNN_ADDITIVE)
        model->readout = td_rnn_declare_linear(parameters, model->readout_width, hidden + model->memory + model->embedding, "readout");
    else if (model->attention != TD_RNN_NONE)
        model->readout = td_rnn_declare_linear(parameters, model->readout_width, hidden + model->memory, "readout");
    if (network->copies) { /* one output: not worth a panel */
        model->gate.weight = td_parameters_declare(parameters, 1, model->readout.weight->columns, TD_INIT_XAVIER, 1, "copy.gate.weight");
        model->gate.bias = td_parameters_declare(parameters, 1, 0, TD_INIT_ZERO, 0, "copy.gate.bias");
    }
    if (model->attention != TD_RNN_NONE)
        width = model->readout_width;
    if (tie != TIE_NONE && width != model->embedding) {
        model->reduce = td_rnn_declare_linear(parameters, model->embedding, width, "reduce");
        width = model->embedding;
    }
    double spread = 1 / sqrt((double)width);
    model->projection.weight = model->target_embedding;
    if (tie == TIE_NONE) {
        model->projection.weight = td_parameters_declare(parameters, network->vocabulary, width, TD_INIT_UNIFORM, spread, "output.weight");
        td_parameters_product(parameters);
    }
    model->projection.bias = td_parameters_declare(parameters, network->vocabulary, 0, TD_INIT_ZERO, 0, "output.bias");
}

static td_status declare_weights(const json_t *config, const char *file, td_network *network, td_rnn_network *model, td_error *error)
{
    size_t words = 0;
    int tie = TIE_NONE;
    TD_TRY(td_config_size(config, file, "vocab_size", 1 << 26, &words, error));
    TD_TRY(td_config_size_or(config, file, "decoder_vocab_size", 1 << 26, words, &network->vocabulary, error));
    TD_TRY(get_choice(config, file, "tie_embeddings", ties, &tie, error));
    if (tie == TIE_THREE_WAY && network->vocabulary != words)
        return td_fail(error, TD_ERROR_FORMAT,
                       "%s: \"decoder_vocab_size\" differs from \"vocab_size\" though \"tie_embeddings\" is three-way", file);
    if (tie == TIE_THREE_WAY && network->architecture->source != TD_TEXT)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"tie_embeddings\": three-way needs words on both sides (two-way or none)", file);
    TD_TRY(td_copying_configure(config, file, words, network, error));
    if (network->copies && model->attention == TD_RNN_NONE)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"copy\" needs \"attention\" other than none", file);
    bool additive = model->attention == TD_RNN_ADDITIVE;
    model->readout_width = additive ? model->embedding : model->decoder.hidden;
    model->feed = additive || model->context_feeding ? model->memory : model->input_feeding ? model->readout_width : 0;
    model->decoder.inputs = model->embedding + model->feed;
    /* Additive context is computed anew at each step: nothing of it is state. */
    model->state = model->decoder.layers * model->decoder.hidden * td_rnn_states(model) + (additive ? 0 : model->feed);
    declare_embeddings(network, model, words, tie);
    TD_TRY(td_rnn_front_declare(config, file, network, error));
    if (!model->front.projection.weight)
        TD_TRY(td_recurrent_stack_declare(&model->encoder, &network->parameters, "encoder.rnn.", error));
    TD_TRY(declare_bridge(&network->parameters, model, error));
    TD_TRY(td_recurrent_stack_declare(&model->decoder, &network->parameters, "decoder.rnn.", error));
    declare_attention(&network->parameters, model);
    declare_output(network, model, tie);
    return TD_OK;
}

td_status td_rnn_configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    td_rnn_network *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    TD_TRY(read_cells(config, file, network, error));
    TD_TRY(read_attention(config, file, model, error));
    TD_TRY(td_config_id(config, file, "pad_token_id", &network->pad_id, error));
    TD_TRY(td_config_id(config, file, "eos_token_id", &network->eos_id, error));
    TD_TRY(td_config_id(config, file, "bos_token_id", &network->bos_id, error));
    TD_TRY(td_config_id(config, file, "decoder_start_token_id", &network->decoder_start_id, error));
    return declare_weights(config, file, network, model, error);
}

void td_rnn_release(td_network *network)
{
    td_rnn_network *model = network->family;
    td_recurrent_stack_free(&model->encoder);
    td_recurrent_stack_free(&model->decoder);
    td_release(model->bridge_h);
    td_release(model->bridge_c);
    td_cnn_free(model->front.cnn);
    td_release(model);
    network->family = NULL;
}
