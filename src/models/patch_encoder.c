#include "models/patch_encoder.h"

#include "io/json.h"
#include "models/configuration.h"

#include <stdio.h>
#include <string.h>

static const td_layer_names vit_layer = {
    .query = {"attention.attention.query"},
    .key = {"attention.attention.key"},
    .value = {"attention.attention.value"},
    .output = {"attention.output.dense"},
    .norm = {"layernorm_before"},
    .fc1 = "intermediate.dense",
    .fc2 = "output.dense",
    .final_norm = "layernorm_after",
};

static const td_layer_names blip_layer = {
    .query = {"self_attn.qkv"},
    .key = {"self_attn.qkv.key"},
    .value = {"self_attn.qkv.value"},
    .output = {"self_attn.projection"},
    .norm = {"layer_norm1"},
    .fc1 = "mlp.fc1",
    .fc2 = "mlp.fc2",
    .final_norm = "layer_norm2",
    .joined = true,
};

#define VIT_PARTS                                                                                                                          \
    .layer = &vit_layer, .positions = "embeddings.position_embeddings", .projection = "embeddings.patch_embeddings.projection",            \
    .layers = "encoder.layer", .final_norm = "layernorm", .epsilon = 1e-12

static const td_patch_names kinds[] = {
    {.model_type = "vit", .tokens = {"embeddings.cls_token"}, VIT_PARTS},
    {.model_type = "deit", .tokens = {"embeddings.cls_token", "embeddings.distillation_token"}, VIT_PARTS},
};

const td_patch_names td_patch_names_blip = {
    .model_type = "blip_vision_model",
    .layer = &blip_layer,
    .tokens = {"embeddings.class_embedding"},
    .positions = "embeddings.position_embedding",
    .projection = "embeddings.patch_embedding",
    .layers = "encoder.layers",
    .final_norm = "post_layernorm",
    .epsilon = 1e-5,
};

const td_patch_names *td_patch_names_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].model_type, model_type) == 0)
            return &kinds[i];
    return NULL;
}

static td_status read_sizes(const td_patch_names *names, const json_t *config, const char *file, td_patch_encoder *encoder, td_error *error)
{
    td_transformer_stack *stack = &encoder->stack;
    bool biased;
    TD_TRY(td_config_size_or(config, file, "hidden_size", 1 << 16, 768, &stack->width, error));
    TD_TRY(td_config_size_or(config, file, "num_hidden_layers", 1024, 12, &stack->layers, error));
    TD_TRY(td_config_size_or(config, file, "num_attention_heads", 1 << 16, 12, &stack->heads, error));
    TD_TRY(td_config_size_or(config, file, "intermediate_size", 1 << 20, 3072, &stack->feed_forward, error));
    TD_TRY(td_config_size_or(config, file, "image_size", 1 << 13, names == &td_patch_names_blip ? 384 : 224, &encoder->image_size, error));
    TD_TRY(td_config_size_or(config, file, "patch_size", 1 << 13, 16, &encoder->patch_size, error));
    TD_TRY(td_config_size_or(config, file, "num_channels", 64, 3, &encoder->channels, error));
    TD_TRY(td_config_activation(config, file, "hidden_act", "gelu", &stack->activation, error));
    TD_TRY(td_config_real(config, file, "layer_norm_eps", names->epsilon, &stack->epsilon, error));
    TD_TRY(td_json_get_bool(config, file, "qkv_bias", true, &biased, error));
    stack->missing_bias = !biased;
    stack->pre_norm = true;
    stack->names = names->layer;
    encoder->tokens = names->tokens[1] ? 2 : 1;
    if (encoder->image_size % encoder->patch_size)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"image_size\" %zu is not a multiple of \"patch_size\" %zu", file,
                       encoder->image_size, encoder->patch_size);
    return td_stack_check(stack, file, "hidden_size", error);
}

td_status td_patch_encoder_configure(const td_patch_names *names, const json_t *config, const char *file, const char *prefix,
                                     td_parameters *parameters, td_patch_encoder *encoder, td_error *error)
{
    char layers[128];
    td_transformer_stack *stack = &encoder->stack;
    TD_TRY(read_sizes(names, config, file, encoder, error));
    size_t width = stack->width, side = encoder->image_size / encoder->patch_size, patch = encoder->patch_size;
    for (size_t i = 0; i < encoder->tokens; i++) {
        encoder->token[i] = td_parameters_declare(parameters, 1, width, TD_INIT_NORMAL, 0.02, "%s.%s", prefix, names->tokens[i]);
        td_parameters_shape(parameters, (size_t[]){1, 1, width}, 3);
    }
    size_t rows = side * side + encoder->tokens;
    stack->positions = td_parameters_declare(parameters, rows, width, TD_INIT_NORMAL, 0.02, "%s.%s", prefix, names->positions);
    td_parameters_shape(parameters, (size_t[]){1, rows, width}, 3);
    encoder->patch_weight = td_parameters_declare(parameters, width, encoder->channels * patch * patch, TD_INIT_XAVIER, 1, "%s.%s.weight",
                                                  prefix, names->projection);
    td_parameters_shape(parameters, (size_t[]){width, encoder->channels, patch, patch}, 4);
    encoder->patch_bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.%s.bias", prefix, names->projection);
    snprintf(layers, sizeof layers, "%s.%s", prefix, names->layers);
    TD_TRY(td_stack_declare(parameters, stack, layers, error));
    stack->final_norm = td_norm_declare(parameters, width, "%s.%s", prefix, names->final_norm);
    return TD_OK;
}

td_tensor *td_patch_rows(td_graph *graph, const td_batch *source, size_t height, size_t width, size_t patch)
{
    size_t channels = source->width, down = (height + patch - 1) / patch, across = (width + patch - 1) / patch;
    td_tensor *rows = td_tensor_new(graph, source->ragged.count * down * across, channels * patch * patch, false);
    td_real *to = rows ? rows->data : NULL;
    for (size_t i = 0; to && i < source->ragged.count; i++) {
        const td_real *pixels = source->features + (size_t)source->ragged.offsets[i] * channels;
        for (size_t at = 0; at < down * across; at++)
            for (size_t c = 0; c < channels; c++)
                for (size_t y = at / across * patch; y < (at / across + 1) * patch; y++)
                    for (size_t x = at % across * patch; x < (at % across + 1) * patch; x++)
                        *to++ = y < height && x < width ? pixels[(y * width + x) * channels + c] : 0;
    }
    return rows;
}

/* The tokens in front of every picture's patches. */
static td_tensor *insert_tokens(const td_patch_encoder *encoder, td_graph *graph, td_tensor *patches, size_t pictures, size_t length)
{
    size_t count = pictures * length, each = length - encoder->tokens;
    int32_t *index = td_graph_allocate(graph, count, sizeof *index);
    for (size_t i = 0; index && i < count; i++)
        index[i] = i % length < encoder->tokens ? -1 : (int32_t)(i / length * each + i % length - encoder->tokens);
    td_tensor *x = index ? td_gather_rows(graph, patches, index, count) : NULL;
    for (size_t k = 0; k < encoder->tokens; k++) {
        for (size_t i = 0; index && i < count; i++)
            index[i] = i % length == k ? 0 : -1;
        x = td_add(graph, x, index ? td_gather_rows(graph, td_graph_parameter(graph, encoder->token[k]), index, count) : NULL);
    }
    return x;
}

static bool check_pictures(const td_patch_encoder *encoder, td_graph *graph, const td_batch *source)
{
    size_t pixels = encoder->image_size * encoder->image_size;
    if (!source->features || source->width != encoder->channels)
        td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: this model reads pixels of %zu channels", encoder->channels);
    for (size_t i = 0; i < source->ragged.count; i++)
        if (td_ragged_length(source->ragged, i) != pixels)
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: a picture of %zu pixels; this model reads %zu x %zu",
                          td_ragged_length(source->ragged, i), encoder->image_size, encoder->image_size);
    return td_graph_ok(graph);
}

td_tensor *td_patch_encode(const td_patch_encoder *encoder, const td_network *network, td_graph *graph, const td_batch *source,
                           td_ragged *ret_ragged)
{
    size_t side = encoder->image_size / encoder->patch_size, length = side * side + encoder->tokens, count = source->ragged.count;
    int32_t *offsets = check_pictures(encoder, graph, source) ? td_graph_allocate(graph, count + 1, sizeof *offsets) : NULL;
    if (!offsets)
        return NULL;
    for (size_t i = 0; i <= count; i++)
        offsets[i] = (int32_t)(i * length);
    td_ragged ragged = {count, offsets};
    td_tensor *x = td_linear_apply(graph, td_patch_rows(graph, source, encoder->image_size, encoder->image_size, encoder->patch_size),
                                   encoder->patch_weight, encoder->patch_bias);
    x = insert_tokens(encoder, graph, x, count, length);
    int32_t *positions = td_count_positions(graph, ragged, NULL, 0);
    x = positions ? td_add_positions(graph, x, td_graph_parameter(graph, encoder->stack.positions), positions) : NULL;
    *ret_ragged = ragged;
    return td_stack_encode(&encoder->stack, network, graph, ragged, td_dropout(graph, x, network->rates.dropout));
}
