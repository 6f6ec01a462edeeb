/* Moonshine (Jeffries 2024): three convolutions over the samples themselves, pre-norm stacks with rotary positions, gated feed-forward
 * layers in the decoder. A recording has as many positions as its own samples leave. */
#include "models/speech_encoder.h"

#include "io/json.h"
#include "models/configuration.h"

#include <string.h>

enum { CONVOLUTIONS = 3 };

typedef struct moonshine {
    td_two_stacks stacks; /* first: the shared functions look for it there */
    td_conv_layer conv[CONVOLUTIONS];
    td_norm_layer sound_norm; /* after the first convolution */
} moonshine;

#define ATTENTION_NAMES                                                                                                                    \
    .query = {"self_attn.q_proj", "encoder_attn.q_proj"}, .key = {"self_attn.k_proj", "encoder_attn.k_proj"},                              \
    .value = {"self_attn.v_proj", "encoder_attn.v_proj"}, .output = {"self_attn.o_proj", "encoder_attn.o_proj"},                           \
    .norm = {"input_layernorm", "post_attention_layernorm"}, .fc1 = "mlp.fc1", .fc2 = "mlp.fc2"

static const td_layer_names encoder_names = {ATTENTION_NAMES, .final_norm = "post_attention_layernorm"};
static const td_layer_names decoder_names = {ATTENTION_NAMES, .final_norm = "final_layernorm"};

/* ---- configuration ---- */

/* Heads of keys and values that several queries share are in no published checkpoint. */
static td_status read_heads(const json_t *config, const char *file, moonshine *model, td_error *error)
{
    size_t *encoder = &model->stacks.encoder.heads, *decoder = &model->stacks.decoder.stack.heads, shared[2];
    TD_TRY(td_config_size_or(config, file, "encoder_num_attention_heads", 1 << 12, 8, encoder, error));
    TD_TRY(td_config_size_or(config, file, "decoder_num_attention_heads", 1 << 12, 8, decoder, error));
    TD_TRY(td_config_size_or(config, file, "encoder_num_key_value_heads", 1 << 12, *encoder, &shared[0], error));
    TD_TRY(td_config_size_or(config, file, "decoder_num_key_value_heads", 1 << 12, *decoder, &shared[1], error));
    if (*encoder != *decoder) /* transformers builds the decoder with the encoder's then */
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"decoder_num_attention_heads\" %zu must equal the encoder's %zu", file, *decoder,
                       *encoder);
    if (shared[0] != *encoder || shared[1] != *decoder)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s_num_key_value_heads\" other than the attention heads are not supported", file,
                       shared[0] != *encoder ? "encoder" : "decoder");
    return TD_OK;
}

/* Older files keep "rope_theta" and "partial_rotary_factor" beside the other keys, newer ones in "rope_parameters". */
static td_status read_rotation(const json_t *config, const char *file, td_transformer_stack *stack, td_error *error)
{
    json_t *newer = NULL;
    const char *kind;
    double factor;
    TD_TRY(td_json_get_object(config, file, "rope_parameters", &newer, error));
    if (json_is_object(json_object_get(config, "rope_scaling")))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"rope_scaling\" must be null", file);
    const json_t *from = newer ? newer : config;
    TD_TRY(td_json_get_string(from, file, "rope_type", "default", &kind, error));
    if (strcmp(kind, "default") != 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"rope_type\": \"%s\" is not supported (default)", file, kind);
    TD_TRY(td_config_real(from, file, "rope_theta", 10000, &stack->rotary_base, error));
    TD_TRY(td_json_get_real(from, file, "partial_rotary_factor", newer && !json_object_get(config, "partial_rotary_factor") ? 1 : 0.9,
                            &factor, error));
    double dimensions = (double)(stack->width / stack->heads) * factor;
    if (!(factor > 0 && factor <= 1 && dimensions >= 1))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"partial_rotary_factor\" %g turns no part of a head", file, factor);
    stack->rotary_dimensions = (size_t)dimensions;
    if (stack->rotary_dimensions % 2 && stack->rotary_dimensions == stack->width / stack->heads)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"hidden_size\": heads of an odd width %zu cannot turn as a whole", file,
                       stack->width / stack->heads);
    return TD_OK;
}

static td_status read_sizes(const json_t *config, const char *file, td_network *network, moonshine *model, td_error *error)
{
    td_transformer_stack *encoder = &model->stacks.encoder, *decoder = &model->stacks.decoder.stack;
    TD_TRY(td_config_size_or(config, file, "hidden_size", 1 << 14, 288, &encoder->width, error));
    TD_TRY(td_config_size_or(config, file, "intermediate_size", 1 << 20, 1152, &encoder->feed_forward, error));
    TD_TRY(td_config_size_or(config, file, "encoder_num_hidden_layers", 1024, 6, &encoder->layers, error));
    TD_TRY(td_config_size_or(config, file, "decoder_num_hidden_layers", 1024, 6, &decoder->layers, error));
    TD_TRY(td_config_size_or(config, file, "vocab_size", 1 << 26, 32768, &network->vocabulary, error));
    TD_TRY(td_config_activation(config, file, "encoder_hidden_act", "gelu", &encoder->activation, error));
    TD_TRY(td_config_activation(config, file, "decoder_hidden_act", "silu", &decoder->activation, error));
    TD_TRY(td_config_flag(config, file, "moonshine", "is_encoder_decoder", true, error));
    decoder->width = decoder->memory_width = encoder->width;
    decoder->feed_forward = encoder->feed_forward;
    decoder->gated = true;
    encoder->names = &encoder_names;
    decoder->names = &decoder_names;
    encoder->pre_norm = decoder->pre_norm = true;
    encoder->missing_bias = decoder->missing_bias = encoder->bare = decoder->bare = true;
    encoder->epsilon = decoder->epsilon = (td_real)1e-5;
    model->stacks.decoder.embedding_scale = 1;
    TD_TRY(read_heads(config, file, model, error));
    TD_TRY(td_stack_check(encoder, file, "hidden_size", error));
    TD_TRY(read_rotation(config, file, encoder, error));
    decoder->rotary_dimensions = encoder->rotary_dimensions;
    decoder->rotary_base = encoder->rotary_base;
    return TD_OK;
}

static td_norm_layer declare_plain_norm(td_parameters *parameters, size_t width, const char *name)
{
    td_norm_layer norm = td_norm_declare(parameters, width, "%s", name);
    td_parameters_optional(parameters);
    return norm;
}

static void declare_convolutions(td_parameters *parameters, moonshine *model, size_t width)
{
    model->conv[0] = td_conv_declare(parameters, 1, width, (td_convolution_options){127, 64, 0}, "model.encoder.conv1");
    td_parameters_optional(parameters); /* its bias */
    model->conv[1] = td_conv_declare(parameters, width, 2 * width, (td_convolution_options){7, 3, 0}, "model.encoder.conv2");
    model->conv[2] = td_conv_declare(parameters, 2 * width, width, (td_convolution_options){3, 2, 0}, "model.encoder.conv3");
    model->sound_norm = td_norm_declare(parameters, width, "model.encoder.groupnorm");
}

static td_status configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    moonshine *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    network->feature_width = 1;
    bool tied;
    TD_TRY(read_sizes(config, file, network, model, error));
    TD_TRY(td_config_ids(config, file, network, error));
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    td_parameters *parameters = &network->parameters;
    td_transformer_stack *encoder = &model->stacks.encoder, *decoder = &model->stacks.decoder.stack;
    size_t width = encoder->width;
    declare_convolutions(parameters, model, width);
    TD_TRY(td_stack_declare(parameters, encoder, "model.encoder.layers", error));
    encoder->final_norm = declare_plain_norm(parameters, width, "model.encoder.layer_norm");
    decoder->embedding =
        td_parameters_declare(parameters, network->vocabulary, width, TD_INIT_NORMAL, 0.02, "model.decoder.embed_tokens.weight");
    td_parameters_product(parameters);
    model->stacks.decoder.logits_weight = decoder->embedding;
    if (tied) {
        td_parameters_alias(parameters, "proj_out.weight");
    } else {
        model->stacks.decoder.logits_weight =
            td_parameters_declare(parameters, network->vocabulary, width, TD_INIT_NORMAL, 0.02, "proj_out.weight");
        td_parameters_product(parameters);
    }
    TD_TRY(td_stack_declare(parameters, decoder, "model.decoder.layers", error));
    decoder->final_norm = declare_plain_norm(parameters, width, "model.decoder.norm");
    return TD_OK;
}

/* ---- the encoder ---- */

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    static const td_activation activations[CONVOLUTIONS] = {TD_TANH, TD_GELU, TD_GELU}; /* whatever the layers' are */
    const moonshine *model = network->family;
    td_tensor *x = td_speech_input(graph, source, network->feature_width);
    td_ragged ragged = source->ragged;
    for (size_t i = 0; x && i < CONVOLUTIONS; i++) {
        x = td_activate(graph, td_conv_apply(graph, x, ragged, &model->conv[i], &ragged), activations[i], 0);
        if (i == 0)
            x = td_sequence_norm(graph, x, ragged, td_graph_parameter(graph, model->sound_norm.weight),
                                 td_graph_parameter(graph, model->sound_norm.bias), (td_real)1e-5);
    }
    for (size_t i = 0; x && i < ragged.count; i++)
        if (td_ragged_length(ragged, i) == 0)
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: %zu samples are too few; the convolutions of this model need 895",
                          td_ragged_length(source->ragged, i));
    x = td_graph_ok(graph) ? td_stack_encode(&model->stacks.encoder, network, graph, ragged, x) : NULL;
    *ret_memory = (td_memory){ragged, x, NULL, NULL};
    return graph->error.status;
}

extern const td_architecture td_architecture_moonshine;
const td_architecture td_architecture_moonshine = {
    .model_type = "moonshine",
    .source = TD_AUDIO,
    .configure = configure,
    .release = td_two_stacks_release,
    .encode = encode,
    TD_TEXT_DECODER_FUNCTIONS,
};
