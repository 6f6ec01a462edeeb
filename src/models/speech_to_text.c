/* Speech to text of fairseq (Wang 2020): convolutions that halve the frames, each gated, before a pre-norm Transformer. A recording has as
 * many positions as its own frames leave; transformers pads a batch to its longest and lets the second convolution read what the first
 * made of the padding. Speech models trained here are saved in this layout, with a head for CTC where "tandem": {"ctc": true} asks. */
#include "models/speech_encoder.h"

#include "io/json.h"
#include "models/configuration.h"

#include <math.h>
#include <stdio.h>

enum { MAX_CONVOLUTIONS = 8 };

typedef struct speech_to_text {
    td_two_stacks stacks; /* first: the shared functions look for it there */
    size_t conv_count, conv_channels;
    td_conv_layer conv[MAX_CONVOLUTIONS];
    td_parameter *ctc_weight, *ctc_bias; /* NULL: none */
} speech_to_text;

static td_status read_convolutions(const json_t *config, const char *file, td_network *network, speech_to_text *model, td_error *error)
{
    size_t bins = 0, channels = 1;
    TD_TRY(td_config_size(config, file, "input_feat_per_channel", 1 << 16, &bins, error));
    if (td_json_has(config, "input_channels"))
        TD_TRY(td_config_size(config, file, "input_channels", 64, &channels, error));
    network->feature_width = bins * channels;
    TD_TRY(td_config_size(config, file, "num_conv_layers", MAX_CONVOLUTIONS, &model->conv_count, error));
    TD_TRY(td_config_size(config, file, "conv_channels", 1 << 16, &model->conv_channels, error));
    const json_t *kernels = json_object_get(config, "conv_kernel_sizes");
    if (json_array_size(kernels) != model->conv_count)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"conv_kernel_sizes\" must be a list of %zu sizes, as \"num_conv_layers\" says", file,
                       model->conv_count);
    for (size_t i = 0; i < model->conv_count; i++) {
        json_int_t kernel = json_integer_value(json_array_get(kernels, i));
        if (kernel < 1 || kernel > 255)
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"conv_kernel_sizes\" must be integers from 1 to 255", file);
        model->conv[i].options = (td_convolution_options){(size_t)kernel, 2, (size_t)kernel / 2};
    }
    if (model->conv_channels % 2 && model->conv_count > 1)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"conv_channels\" must be even: half of them gate the others", file);
    return TD_OK;
}

static td_status read_sizes(const json_t *config, const char *file, td_network *network, speech_to_text *model,
                            size_t *ret_source_positions, td_error *error)
{
    TD_TRY(td_speech_sizes(config, file, network, "relu", ret_source_positions, error));
    if (network->pad_id >= 1 << 24)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"pad_token_id\" %d is too large: positions begin after it", file,
                       network->pad_id);
    return read_convolutions(config, file, network, model, error);
}

static td_status complete_stacks(speech_to_text *model, td_network *network, const json_t *config, const char *file, td_error *error)
{
    bool scale;
    TD_TRY(td_json_get_bool(config, file, "scale_embedding", true, &scale, error));
    model->stacks.decoder.embedding_scale = scale ? (td_real)sqrt((double)model->stacks.encoder.width) : 1;
    model->stacks.decoder.position_offset = network->pad_id >= 0 ? (size_t)network->pad_id + 1 : 2;
    TD_TRY(td_config_counted_start(file, network->pad_id, network, error));
    return td_speech_stacks(network, file, error);
}

static void declare_convolutions(td_network *network, speech_to_text *model)
{
    size_t inputs = network->feature_width;
    for (size_t i = 0; i < model->conv_count; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "model.encoder.conv.conv_layers.%zu", i);
        size_t outputs = i + 1 < model->conv_count ? model->conv_channels : 2 * model->stacks.encoder.width;
        model->conv[i] = td_conv_declare(&network->parameters, inputs, outputs, model->conv[i].options, prefix);
        inputs = outputs / 2;
    }
}

static td_status declare_ctc(td_network *network, speech_to_text *model, const json_t *config, const char *file, td_error *error)
{
    bool wanted = false;
    const json_t *ours = json_object_get(config, "tandem");
    if (ours)
        TD_TRY(td_json_get_bool(ours, file, "ctc", false, &wanted, error));
    if (!wanted)
        return TD_OK;
    model->ctc_weight = td_parameters_declare(&network->parameters, network->vocabulary, model->stacks.encoder.width, TD_INIT_XAVIER, 1,
                                              "model.encoder.ctc_proj.weight");
    model->ctc_bias = td_parameters_declare(&network->parameters, network->vocabulary, 0, TD_INIT_ZERO, 0, "model.encoder.ctc_proj.bias");
    return TD_OK;
}

static void declare_text(td_network *network, speech_to_text *model, bool tied)
{
    td_parameters *parameters = &network->parameters;
    td_transformer_stack *decoder = &model->stacks.decoder.stack;
    double spread = 1 / sqrt((double)decoder->width);
    decoder->embedding =
        td_parameters_declare(parameters, network->vocabulary, decoder->width, TD_INIT_NORMAL, spread, "model.decoder.embed_tokens.weight");
    td_parameters_product(parameters);
    if (tied)
        td_parameters_alias(parameters, "lm_head.weight");
    decoder->positions = td_parameters_declare(parameters, network->max_positions + model->stacks.decoder.position_offset, decoder->width,
                                               TD_INIT_CONSTANT, 0, "model.decoder.embed_positions.weights");
    model->stacks.decoder.logits_weight = decoder->embedding;
    if (!tied) {
        model->stacks.decoder.logits_weight =
            td_parameters_declare(parameters, network->vocabulary, decoder->width, TD_INIT_NORMAL, spread, "lm_head.weight");
        td_parameters_product(parameters);
    }
}

static td_status configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    speech_to_text *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    size_t source_positions = 0;
    bool tied;
    TD_TRY(read_sizes(config, file, network, model, &source_positions, error));
    TD_TRY(complete_stacks(model, network, config, file, error));
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    td_parameters *parameters = &network->parameters;
    td_transformer_stack *encoder = &model->stacks.encoder, *decoder = &model->stacks.decoder.stack;
    declare_convolutions(network, model);
    encoder->positions = td_parameters_declare(parameters, source_positions + model->stacks.decoder.position_offset, encoder->width,
                                               TD_INIT_CONSTANT, 0, "model.encoder.embed_positions.weights");
    TD_TRY(td_stack_declare(parameters, encoder, "model.encoder.layers", error));
    encoder->final_norm = td_norm_declare(parameters, encoder->width, "model.encoder.layer_norm");
    declare_text(network, model, tied);
    TD_TRY(td_stack_declare(parameters, decoder, "model.decoder.layers", error));
    decoder->final_norm = td_norm_declare(parameters, decoder->width, "model.decoder.layer_norm");
    return declare_ctc(network, model, config, file, error);
}

static void fill_constants(td_network *network)
{
    speech_to_text *model = network->family;
    double steps = (double)(model->stacks.encoder.width / 2) - 1;
    td_fill_sinusoids(model->stacks.encoder.positions, steps);
    td_fill_sinusoids(model->stacks.decoder.stack.positions, steps);
}

static td_projection ctc(const td_network *network)
{
    const speech_to_text *model = network->family;
    return (td_projection){model->ctc_weight, model->ctc_bias, 0};
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const speech_to_text *model = network->family;
    td_tensor *x = td_speech_input(graph, source, network->feature_width);
    td_ragged ragged = source->ragged;
    for (size_t i = 0; i < model->conv_count; i++)
        x = td_gated_linear(graph, td_conv_apply(graph, x, ragged, &model->conv[i], &ragged), TD_SIGMOID);
    if (model->stacks.decoder.embedding_scale != 1)
        x = td_scale(graph, x, model->stacks.decoder.embedding_scale);
    return td_speech_encode(network, graph, x, ragged, model->stacks.decoder.position_offset, ret_memory);
}

extern const td_architecture td_architecture_speech_to_text;
const td_architecture td_architecture_speech_to_text = {
    .model_type = "speech_to_text",
    .source = TD_AUDIO,
    .configure = configure,
    .fill_constants = fill_constants,
    .release = td_two_stacks_release,
    .encode = encode,
    TD_TEXT_DECODER_FUNCTIONS,
    .ctc = ctc,
};
