/* The table of families. */
#include "models/architecture.h"

#include "io/json.h"
#include "ops/ops.h"

#include <string.h>

/* A row a line. */
/* clang-format off */
#define TD_ARCHITECTURES(X) \
    X(td_architecture_marian) \
    X(td_architecture_bart) \
    X(td_architecture_mbart) \
    X(td_architecture_pegasus) \
    X(td_architecture_m2m_100) \
    X(td_architecture_t5) \
    X(td_architecture_mt5) \
    X(td_architecture_whisper) \
    X(td_architecture_moonshine) \
    X(td_architecture_speech_to_text) \
    X(td_architecture_vision_encoder_decoder) \
    X(td_architecture_encoder_decoder) \
    X(td_architecture_blip) \
    X(td_architecture_tandem_rnn) \
    X(td_architecture_tandem_rnn_speech) \
    X(td_architecture_tandem_rnn_image) \
    X(td_architecture_picture) \
    X(td_architecture_general)
/* clang-format on */

#define X(row) extern const td_architecture row;
TD_ARCHITECTURES(X)
#undef X

static const td_architecture *const table[] = {
#define X(row) &row,
    TD_ARCHITECTURES(X)
#undef X
};

const td_architecture *td_architecture_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i]->model_type, model_type) == 0)
            return table[i];
    return NULL;
}

void td_architecture_list(td_buffer *names)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        td_buffer_format(names, "%s%s", i ? ", " : "", table[i]->model_type);
}

td_status td_network_configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    const char *model_type = json_string_value(json_object_get(config, "model_type"));
    if (!model_type)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"model_type\" is missing", file);
    const td_architecture *architecture = td_architecture_find(model_type);
    if (!architecture) {
        td_buffer names = TD_BUFFER_INIT;
        td_architecture_list(&names);
        td_status status = td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"model_type\": \"%s\" is not supported (%s)", file, model_type,
                                   td_buffer_text(&names));
        td_buffer_free(&names);
        return status;
    }
    td_network made = {.architecture = architecture, .pad_id = -1, .eos_id = -1, .decoder_start_id = -1, .bos_id = -1};
    td_status status = architecture->configure(config, file, &made, error);
    if (status == TD_OK)
        status = td_parameters_allocate(&made.parameters, error);
    if (status == TD_OK && architecture->fill_constants)
        architecture->fill_constants(&made);
    if (status != TD_OK) {
        td_network_free(&made);
        return status;
    }
    *network = made;
    return TD_OK;
}

void td_network_free(td_network *network)
{
    if (network->architecture && network->family)
        network->architecture->release(network);
    td_parameters_free(&network->parameters);
    *network = (td_network){0};
}

td_tensor *td_project_ctc(const td_network *network, td_graph *graph, td_tensor *states)
{
    if (!td_network_has_ctc(network))
        return td_graph_fail(graph, TD_ERROR_UNSUPPORTED, "this model has no CTC output (\"ctc\": true in its config.json)");
    td_projection projection = network->architecture->ctc(network);
    return td_linear(graph, states, td_graph_parameter(graph, projection.weight),
                     projection.bias ? td_graph_parameter(graph, projection.bias) : NULL);
}

td_tensor *td_project(const td_network *network, td_graph *graph, td_tensor *hidden)
{
    td_projection projection = network->architecture->projection(network);
    if (projection.scale != 0 && projection.scale != 1)
        hidden = td_scale(graph, hidden, projection.scale);
    return td_linear(graph, hidden, td_graph_parameter(graph, projection.weight),
                     projection.bias ? td_graph_parameter(graph, projection.bias) : NULL);
}
