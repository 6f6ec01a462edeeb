/* A small CNN to be trained from scratch: "channels": [32, 64, 128], one stage each of convolution, batch norm and activation;
 * "strides" (2 each unless given), "kernel_size" (3), "hidden_act" (relu). */
#include "models/cnn_kind.h"

#include "io/json.h"

#include <stdio.h>

static td_status build(td_cnn_builder *builder, const json_t *json, const char *file, td_error *error)
{
    size_t channels[TD_CNN_MAX_STAGES], strides[TD_CNN_MAX_STAGES], stages, given = 0, kernel;
    td_activation activation;
    TD_TRY(td_cnn_get_sizes(json, file, "channels", 1 << 14, channels, &stages, error));
    if (td_json_has(json, "strides"))
        TD_TRY(td_cnn_get_sizes(json, file, "strides", 8, strides, &given, error));
    if (given && given != stages)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"strides\" has %zu entries, \"channels\" %zu: one of each for a stage", file, given,
                       stages);
    TD_TRY(td_config_size_or(json, file, "kernel_size", 31, 3, &kernel, error));
    if (kernel % 2 == 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"kernel_size\" must be odd: 3, 5, ...", file);
    TD_TRY(td_config_activation(json, file, "hidden_act", "relu", &activation, error));
    for (size_t i = 0; i < stages; i++) {
        char name[32];
        snprintf(name, sizeof name, "stages.%zu", i);
        td_cnn_convolution(
            builder, (td_cnn_layer){i ? channels[i - 1] : 3, channels[i], kernel, given ? strides[i] : 2, .activation = activation}, name);
        td_cnn_end_block(builder, TD_CNN_PLAIN, TD_IDENTITY);
    }
    return TD_OK;
}

const td_cnn_kind td_cnn_tandem = {"tandem-cnn", "", true, build};
