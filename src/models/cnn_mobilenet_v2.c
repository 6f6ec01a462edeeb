/* MobileNetV2 (Sandler 2018): inverted residuals around depthwise convolutions, in transformers' layout. */
#include "models/cnn_kind.h"

#include "io/json.h"

#include <math.h>
#include <stdio.h>

typedef struct mobilenet_config {
    double depth_multiplier, expand_ratio;
    size_t divisor, smallest;
    bool first_is_expansion, fine_output;
    td_activation activation;
} mobilenet_config;

/* A multiple of the divisor near `channels`, not less than nine tenths of it. */
static size_t divisible(const mobilenet_config *config, double channels)
{
    double divisor = (double)config->divisor, rounded = floor((channels + divisor / 2) / divisor) * divisor;
    rounded = fmax(rounded, (double)config->smallest);
    return (size_t)(rounded < 0.9 * channels ? rounded + divisor : rounded);
}

static size_t scaled(const mobilenet_config *config, size_t channels)
{
    return divisible(config, rint((double)channels * config->depth_multiplier));
}

static td_status read_factor(const json_t *json, const char *file, const char *key, double fallback, double *ret_factor, td_error *error)
{
    TD_TRY(td_json_get_real(json, file, key, fallback, ret_factor, error));
    if (!(*ret_factor > 0 && *ret_factor <= 64))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a number above 0, at most 64", file, key);
    return TD_OK;
}

static td_status read(td_cnn_builder *builder, const json_t *json, const char *file, mobilenet_config *config, td_error *error)
{
    size_t stride;
    TD_TRY(read_factor(json, file, "depth_multiplier", 1, &config->depth_multiplier, error));
    TD_TRY(read_factor(json, file, "expand_ratio", 6, &config->expand_ratio, error));
    TD_TRY(td_config_size_or(json, file, "depth_divisible_by", 1024, 8, &config->divisor, error));
    TD_TRY(td_config_size_or(json, file, "min_depth", 1024, 8, &config->smallest, error));
    TD_TRY(td_json_get_bool(json, file, "first_layer_is_expansion", true, &config->first_is_expansion, error));
    TD_TRY(td_json_get_bool(json, file, "finegrained_output", true, &config->fine_output, error));
    TD_TRY(td_json_get_bool(json, file, "tf_padding", true, &builder->same_padding, error));
    TD_TRY(td_json_get_real(json, file, "layer_norm_eps", 0.001, &builder->epsilon, error));
    if (!(builder->epsilon > 0 && builder->epsilon < 1))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"layer_norm_eps\" must lie between 0 and 1", file);
    TD_TRY(td_config_activation(json, file, "hidden_act", "relu6", &config->activation, error));
    TD_TRY(td_config_size_or(json, file, "output_stride", 1 << 16, 32, &stride, error));
    if (stride != 32)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"output_stride\": %zu needs dilated convolutions, which are not supported (32)",
                       file, stride);
    return TD_OK;
}

static void convolution(td_cnn_builder *builder, td_cnn_layer layer, const char *block, const char *part)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", block, part);
    td_cnn_convolution(builder, layer, name);
}

static void depthwise_and_reduce(td_cnn_builder *builder, const mobilenet_config *config, const char *block, size_t width, size_t stride,
                                 size_t outputs)
{
    convolution(builder, (td_cnn_layer){width, width, 3, stride, .depthwise = true, .activation = config->activation}, block, "conv_3x3");
    convolution(builder, (td_cnn_layer){width, outputs, 1, 1, .activation = TD_IDENTITY}, block, "reduce_1x1");
}

static void build_stem(td_cnn_builder *builder, const mobilenet_config *config, size_t outputs)
{
    size_t width = scaled(config, 32);
    convolution(builder, (td_cnn_layer){3, width, 3, 2, .activation = config->activation}, "conv_stem", "first_conv");
    if (!config->first_is_expansion)
        convolution(builder, (td_cnn_layer){width, width, 1, 1, .activation = config->activation}, "conv_stem", "expand_1x1");
    depthwise_and_reduce(builder, config, "conv_stem", width, 1, outputs);
    td_cnn_end_block(builder, TD_CNN_PLAIN, TD_IDENTITY);
}

static td_status build(td_cnn_builder *builder, const json_t *json, const char *file, td_error *error)
{
    static const size_t widths[] = {16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320};
    static const size_t strides[] = {2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1};
    enum { BLOCKS = sizeof strides / sizeof *strides };
    mobilenet_config config;
    TD_TRY(read(builder, json, file, &config, error));
    build_stem(builder, &config, scaled(&config, widths[0]));
    for (size_t i = 0; i < BLOCKS; i++) {
        char name[32];
        size_t inputs = scaled(&config, widths[i]), outputs = scaled(&config, widths[i + 1]);
        size_t expanded = divisible(&config, rint((double)inputs * config.expand_ratio));
        snprintf(name, sizeof name, "layer.%zu", i);
        convolution(builder, (td_cnn_layer){inputs, expanded, 1, 1, .activation = config.activation}, name, "expand_1x1");
        depthwise_and_reduce(builder, &config, name, expanded, strides[i], outputs);
        td_cnn_end_block(builder, strides[i] == 1 && inputs == outputs ? TD_CNN_RESIDUAL : TD_CNN_PLAIN, TD_IDENTITY);
    }
    size_t last = config.fine_output && config.depth_multiplier < 1 ? 1280 : scaled(&config, 1280);
    td_cnn_convolution(builder, (td_cnn_layer){scaled(&config, widths[BLOCKS]), last, 1, 1, .activation = config.activation}, "conv_1x1");
    td_cnn_end_block(builder, TD_CNN_PLAIN, TD_IDENTITY);
    return TD_OK;
}

const td_cnn_kind td_cnn_mobilenet_v2 = {"mobilenet_v2", "mobilenet_v2.", false, build};
