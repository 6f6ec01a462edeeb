/* Residual networks (He 2016) in transformers' layout: basic blocks (ResNet-18, 34) or bottlenecks (50 and more). */
#include "models/cnn_kind.h"

#include "io/json.h"

#include <stdio.h>
#include <string.h>

typedef struct resnet_config {
    size_t embedding, widths[TD_CNN_MAX_STAGES], depths[TD_CNN_MAX_STAGES], stages;
    bool bottleneck, stride_in_first_stage, stride_in_first_layer;
    td_activation activation;
} resnet_config;

static td_status read(const json_t *json, const char *file, resnet_config *config, td_error *error)
{
    const char *layer;
    size_t depths;
    TD_TRY(td_json_get_string(json, file, "layer_type", "bottleneck", &layer, error));
    config->bottleneck = strcmp(layer, "bottleneck") == 0;
    if (!config->bottleneck && strcmp(layer, "basic") != 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"layer_type\": \"%s\" is not supported by resnet (basic, bottleneck)", file,
                       layer);
    TD_TRY(td_config_size_or(json, file, "embedding_size", 1 << 14, 64, &config->embedding, error));
    TD_TRY(td_cnn_get_sizes(json, file, "hidden_sizes", 1 << 14, config->widths, &config->stages, error));
    TD_TRY(td_cnn_get_sizes(json, file, "depths", 256, config->depths, &depths, error));
    if (depths != config->stages)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"depths\" has %zu entries, \"hidden_sizes\" %zu: one of each for a stage", file,
                       depths, config->stages);
    for (size_t i = 0; config->bottleneck && i < config->stages; i++)
        if (config->widths[i] < 4)
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"hidden_sizes\" must be at least 4 with bottlenecks", file);
    TD_TRY(td_json_get_bool(json, file, "downsample_in_first_stage", false, &config->stride_in_first_stage, error));
    TD_TRY(td_json_get_bool(json, file, "downsample_in_bottleneck", false, &config->stride_in_first_layer, error));
    return td_config_activation(json, file, "hidden_act", "relu", &config->activation, error);
}

static void convolution(td_cnn_builder *builder, td_cnn_layer layer, const char *block, const char *part)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", block, part);
    td_cnn_convolution(builder, layer, name);
}

static void add_layer(td_cnn_builder *builder, const resnet_config *config, const char *name, size_t inputs, size_t outputs, size_t stride)
{
    size_t width = config->bottleneck ? outputs / 4 : outputs;
    const td_activation inner = TD_RELU; /* in transformers "hidden_act" is that of whole blocks only */
    if (config->bottleneck) {
        size_t first = config->stride_in_first_layer ? stride : 1;
        convolution(builder, (td_cnn_layer){inputs, width, 1, first, .activation = inner}, name, "layer.0");
        convolution(builder, (td_cnn_layer){width, width, 3, stride / first, .activation = inner}, name, "layer.1");
        convolution(builder, (td_cnn_layer){width, outputs, 1, 1, .activation = TD_IDENTITY}, name, "layer.2");
    } else {
        convolution(builder, (td_cnn_layer){inputs, width, 3, stride, .activation = inner}, name, "layer.0");
        convolution(builder, (td_cnn_layer){width, outputs, 3, 1, .activation = TD_IDENTITY}, name, "layer.1");
    }
    bool shortcut = inputs != outputs || stride != 1;
    if (shortcut)
        convolution(builder, (td_cnn_layer){inputs, outputs, 1, stride, .activation = TD_IDENTITY}, name, "shortcut");
    td_cnn_end_block(builder, shortcut ? TD_CNN_SHORTCUT : TD_CNN_RESIDUAL, config->activation);
}

static td_status build(td_cnn_builder *builder, const json_t *json, const char *file, td_error *error)
{
    resnet_config config;
    TD_TRY(read(json, file, &config, error));
    td_cnn_convolution(builder, (td_cnn_layer){3, config.embedding, 7, 2, .activation = config.activation}, "embedder.embedder");
    td_cnn_end_block(builder, TD_CNN_PLAIN, TD_IDENTITY);
    td_cnn_max_pool(builder);
    size_t inputs = config.embedding;
    for (size_t stage = 0; stage < config.stages; stage++)
        for (size_t i = 0; i < config.depths[stage]; i++) {
            char name[64];
            size_t stride = i == 0 && (stage > 0 || config.stride_in_first_stage) ? 2 : 1;
            snprintf(name, sizeof name, "encoder.stages.%zu.layers.%zu", stage, i);
            add_layer(builder, &config, name, inputs, config.widths[stage], stride);
            inputs = config.widths[stage];
        }
    return TD_OK;
}

const td_cnn_kind td_cnn_resnet = {"resnet", "resnet.", false, build};
