/* Whisper (Radford 2022): two convolutions over a log-mel spectrogram, a pre-norm Transformer, positions stored on both sides. Every size
 * there is, 80 or 128 mel bins, English or all languages: the configuration says. */
#include "models/speech_encoder.h"

#include "io/json.h"
#include "models/configuration.h"

typedef struct whisper {
    td_two_stacks stacks; /* first: the shared functions look for it there */
    td_conv_layer conv[2];
} whisper;

static td_status read_sizes(const json_t *config, const char *file, td_network *network, size_t *ret_source_positions, td_error *error)
{
    TD_TRY(td_speech_sizes(config, file, network, "gelu", ret_source_positions, error));
    TD_TRY(td_config_size(config, file, "num_mel_bins", 1 << 16, &network->feature_width, error));
    /* "scale_embedding" is a flag of the family's files that nothing follows: embeddings are never scaled. */
    bool scaled;
    return td_json_get_bool(config, file, "scale_embedding", false, &scaled, error);
}

/* Logits are made by the embedding, or by a matrix of their own. */
static td_status declare_logits(const json_t *config, const char *file, td_network *network, td_error *error)
{
    bool tied;
    td_text_decoder *decoder = network->family;
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    decoder->logits_weight = decoder->stack.embedding;
    if (tied) {
        td_parameters_alias(&network->parameters, "proj_out.weight");
        return TD_OK;
    }
    decoder->logits_weight =
        td_parameters_declare(&network->parameters, network->vocabulary, decoder->stack.width, TD_INIT_NORMAL, 0.02, "proj_out.weight");
    td_parameters_product(&network->parameters);
    return TD_OK;
}

static td_status configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    whisper *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    size_t source_positions = 0;
    td_transformer_stack *encoder = &model->stacks.encoder, *decoder = &model->stacks.decoder.stack;
    TD_TRY(read_sizes(config, file, network, &source_positions, error));
    encoder->missing_bias = decoder->missing_bias = true; /* k_proj has none: it would add the same to all of a query's scores */
    model->stacks.decoder.embedding_scale = 1;
    TD_TRY(td_speech_stacks(network, file, error));
    td_parameters *parameters = &network->parameters;
    size_t width = encoder->width;
    model->conv[0] = td_conv_declare(parameters, network->feature_width, width, (td_convolution_options){3, 1, 1}, "model.encoder.conv1");
    model->conv[1] = td_conv_declare(parameters, width, width, (td_convolution_options){3, 2, 1}, "model.encoder.conv2");
    encoder->positions =
        td_parameters_declare(parameters, source_positions, width, TD_INIT_CONSTANT, 0, "model.encoder.embed_positions.weight");
    TD_TRY(td_stack_declare(parameters, encoder, "model.encoder.layers", error));
    encoder->final_norm = td_norm_declare(parameters, width, "model.encoder.layer_norm");
    decoder->embedding =
        td_parameters_declare(parameters, network->vocabulary, width, TD_INIT_NORMAL, 0.02, "model.decoder.embed_tokens.weight");
    td_parameters_product(parameters);
    TD_TRY(declare_logits(config, file, network, error));
    decoder->positions =
        td_parameters_declare(parameters, network->max_positions, width, TD_INIT_NORMAL, 0.02, "model.decoder.embed_positions.weight");
    TD_TRY(td_stack_declare(parameters, decoder, "model.decoder.layers", error));
    decoder->final_norm = td_norm_declare(parameters, width, "model.decoder.layer_norm");
    return TD_OK;
}

static void fill_constants(td_network *network)
{
    whisper *model = network->family;
    td_fill_sinusoids(model->stacks.encoder.positions, (double)(model->stacks.encoder.width / 2) - 1);
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const whisper *model = network->family;
    td_tensor *x = td_speech_input(graph, source, network->feature_width);
    td_ragged ragged = source->ragged;
    for (size_t i = 0; i < 2; i++) {
        x = td_conv_apply(graph, x, ragged, &model->conv[i], &ragged);
        x = td_activate(graph, x, TD_GELU, 0); /* whatever the layers' activation is */
    }
    return td_speech_encode(network, graph, x, ragged, 0, ret_memory);
}

extern const td_architecture td_architecture_whisper;
const td_architecture td_architecture_whisper = {
    .model_type = "whisper",
    .source = TD_AUDIO,
    .configure = configure,
    .fill_constants = fill_constants,
    .release = td_two_stacks_release,
    .encode = encode,
    TD_TEXT_DECODER_FUNCTIONS,
};
