/* Whisper (Radford 2022): two convolutions over a log-mel spectrogram, a pre-norm Transformer, positions stored on both sides. Every size
 * there is, 80 or 128 mel bins, English or all languages: the configuration says. */
#include "models/speech_encoder.h"

#include "io/json.h"

typedef struct whisper {
    td_text_decoder decoder; /* first: the shared functions look for it there */
    td_transformer_stack encoder;
    td_conv_layer conv[2];
} whisper;

static td_status read_sizes(const json_t *config, const char *file, td_network *network, whisper *model, size_t *ret_source_positions,
                            td_error *error)
{
    td_transformer_stack *encoder = &model->encoder, *decoder = &model->decoder.stack;
    TD_TRY(td_config_size(config, file, "d_model", 1 << 16, &encoder->width, error));
    TD_TRY(td_config_size(config, file, "encoder_layers", 1024, &encoder->layers, error));
    TD_TRY(td_config_size(config, file, "decoder_layers", 1024, &decoder->layers, error));
    TD_TRY(td_config_size(config, file, "encoder_attention_heads", 1 << 16, &encoder->heads, error));
    TD_TRY(td_config_size(config, file, "decoder_attention_heads", 1 << 16, &decoder->heads, error));
    TD_TRY(td_config_size(config, file, "encoder_ffn_dim", 1 << 20, &encoder->feed_forward, error));
    TD_TRY(td_config_size(config, file, "decoder_ffn_dim", 1 << 20, &decoder->feed_forward, error));
    TD_TRY(td_config_size(config, file, "vocab_size", 1 << 26, &network->vocabulary, error));
    TD_TRY(td_config_size(config, file, "num_mel_bins", 1 << 16, &network->feature_width, error));
    TD_TRY(td_config_size(config, file, "max_source_positions", 1 << 24, ret_source_positions, error));
    TD_TRY(td_config_size(config, file, "max_target_positions", 1 << 24, &network->max_positions, error));
    TD_TRY(td_config_activation(config, file, "activation_function", "gelu", &encoder->activation, error));
    TD_TRY(td_config_flag(config, file, "whisper", "is_encoder_decoder", true, error));
    TD_TRY(td_config_flag(config, file, "whisper", "tie_word_embeddings", true, error));
    TD_TRY(td_config_flag(config, file, "whisper", "scale_embedding", false, error));
    return td_config_ids(config, file, network, error);
}

/* What the configuration leaves no choice about. */
static td_status complete_stacks(whisper *model, const char *file, td_error *error)
{
    td_transformer_stack *encoder = &model->encoder, *decoder = &model->decoder.stack;
    encoder->pre_norm = true;
    encoder->missing_bias = true; /* k_proj has none: it would add the same to all of a query's scores */
    encoder->epsilon = (td_real)1e-5;
    encoder->names = &td_layer_names_bart;
    decoder->width = decoder->memory_width = encoder->width;
    decoder->activation = encoder->activation;
    decoder->pre_norm = decoder->missing_bias = true;
    decoder->epsilon = encoder->epsilon;
    decoder->names = encoder->names;
    model->decoder.embedding_scale = 1;
    TD_TRY(td_stack_check(encoder, file, "d_model", error));
    return td_stack_check(decoder, file, "d_model", error);
}

static td_status configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    whisper *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    size_t source_positions = 0;
    TD_TRY(read_sizes(config, file, network, model, &source_positions, error));
    TD_TRY(complete_stacks(model, file, error));
    td_parameters *parameters = &network->parameters;
    td_transformer_stack *encoder = &model->encoder, *decoder = &model->decoder.stack;
    size_t width = encoder->width;
    model->conv[0] = td_conv_declare(parameters, network->feature_width, width, (td_convolution_options){3, 1, 1}, "model.encoder.conv1");
    model->conv[1] = td_conv_declare(parameters, width, width, (td_convolution_options){3, 2, 1}, "model.encoder.conv2");
    encoder->positions = td_parameters_declare(parameters, source_positions, width, TD_INIT_CONSTANT, 0, "model.encoder.embed_positions.weight");
    TD_TRY(td_stack_declare(parameters, encoder, "model.encoder.layers", error));
    encoder->final_norm = td_norm_declare(parameters, width, "model.encoder.layer_norm");
    decoder->embedding = td_parameters_declare(parameters, network->vocabulary, width, TD_INIT_NORMAL, 0.02, "model.decoder.embed_tokens.weight");
    td_parameters_product(parameters);
    td_parameters_alias(parameters, "proj_out.weight");
    model->decoder.logits_weight = decoder->embedding;
    decoder->positions =
        td_parameters_declare(parameters, network->max_positions, width, TD_INIT_NORMAL, 0.02, "model.decoder.embed_positions.weight");
    TD_TRY(td_stack_declare(parameters, decoder, "model.decoder.layers", error));
    decoder->final_norm = td_norm_declare(parameters, width, "model.decoder.layer_norm");
    return TD_OK;
}

static void fill_constants(td_network *network)
{
    whisper *model = network->family;
    td_fill_sinusoids(model->encoder.positions, (double)(model->encoder.width / 2) - 1);
}

static void release(td_network *network)
{
    whisper *model = network->family;
    td_release(model->encoder.layer);
    td_release(model->decoder.stack.layer);
    td_release(model);
    network->family = NULL;
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
    x = td_speech_positions(graph, x, ragged, model->encoder.positions, 0);
    x = td_dropout(graph, x, network->rates.dropout);
    x = td_stack_encode(&model->encoder, network, graph, ragged, x);
    *ret_memory = (td_memory){ragged, x, NULL, NULL};
    return graph->error.status;
}

extern const td_architecture td_architecture_whisper;
const td_architecture td_architecture_whisper = {
    .model_type = "whisper",
    .source = TD_AUDIO,
    .configure = configure,
    .fill_constants = fill_constants,
    .release = release,
    .encode = encode,
    TD_TEXT_DECODER_FUNCTIONS,
};
