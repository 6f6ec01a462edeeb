/* The recurrent family's encoders of sound and pictures. Sound: convolutions that thin the frames out, then recurrent layers, as a
 * pyramid if wanted (Chan 2016). A picture: its cells, projected; the decoder starts from their mean (Vinyals 2015; Xu 2015). The
 * decoder is that of text. */
#include "io/json.h"
#include "models/configuration.h"
#include "models/picture_encoder.h"
#include "models/recurrent.h"

#include "ops/ops.h"

#include <stdio.h>

/* ---- configuration ---- */

/* "subsampling": the strides of the convolutions, [2, 2] for a quarter of the frames. */
static td_status read_strides(const json_t *config, const char *file, td_rnn_front *front, td_error *error)
{
    const json_t *strides = json_object_get(config, "subsampling");
    if (!strides || json_is_null(strides))
        return TD_OK;
    bool fits = json_is_array(strides) && json_array_size(strides) <= TD_RNN_MAX_CONVOLUTIONS;
    for (size_t i = 0; fits && i < json_array_size(strides); i++) {
        json_int_t stride = json_integer_value(json_array_get(strides, i));
        fits = stride >= 1 && stride <= 8;
        front->strides[front->convolutions++] = (size_t)stride;
    }
    return fits ? TD_OK
                : td_fail(error, TD_ERROR_FORMAT, "%s: \"subsampling\" must be a list of at most %d strides from 1 to 8, like [2, 2]", file,
                          TD_RNN_MAX_CONVOLUTIONS);
}

static td_status read_speech(const json_t *config, const char *file, td_network *network, td_error *error)
{
    td_rnn_network *model = network->family;
    td_rnn_front *front = &model->front;
    td_recurrent_stack *encoder = &model->encoder;
    TD_TRY(td_config_size(config, file, "feature_size", 1 << 16, &network->feature_width, error));
    TD_TRY(read_strides(config, file, front, error));
    TD_TRY(td_config_size_or(config, file, "subsampling_channels", 1 << 16, encoder->hidden, &front->channels, error));
    TD_TRY(td_config_size_or(config, file, "subsampling_kernel", 31, 3, &front->kernel, error));
    if (front->kernel % 2 == 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"subsampling_kernel\" must be odd: 3, 5, ...", file);
    int64_t pyramid;
    TD_TRY(td_json_get_integer(config, file, "pyramid_layers", 0, &pyramid, error));
    if (pyramid < 0 || (uint64_t)pyramid >= encoder->layers)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"pyramid_layers\" must be from 0 to \"encoder_layers\" - 1, that is %zu", file,
                       encoder->layers - 1);
    encoder->pyramid = (size_t)pyramid;
    encoder->inputs = front->convolutions ? front->channels : network->feature_width;
    return TD_OK;
}

static td_status read_image(const json_t *config, const char *file, td_network *network, td_error *error)
{
    td_rnn_network *model = network->family;
    TD_TRY(td_picture_encoder_configure(config, file, network, &model->front.cnn, &model->front.cell_width, error));
    model->encoder.layers = 1; /* one vector is what the decoder starts from */
    return td_config_size_or(config, file, "memory_size", 1 << 16, model->decoder.hidden, &model->memory, error);
}

td_status td_rnn_front_read(const json_t *config, const char *file, td_network *network, td_error *error)
{
    if (network->architecture->source == TD_TEXT)
        return TD_OK;
    return (network->architecture->source == TD_AUDIO ? read_speech : read_image)(config, file, network, error);
}

static void declare_convolutions(td_network *network)
{
    td_rnn_network *model = network->family;
    td_rnn_front *front = &model->front;
    for (size_t i = 0; i < front->convolutions; i++) {
        char name[64];
        size_t inputs = i ? front->channels : network->feature_width;
        td_rnn_linear *convolution = &front->convolution[i];
        snprintf(name, sizeof name, "encoder.convolution.%zu", i);
        convolution->weight =
            td_parameters_declare(&network->parameters, front->channels, inputs * front->kernel, TD_INIT_XAVIER, 1, "%s.weight", name);
        td_parameters_shape(&network->parameters, (size_t[]){front->channels, inputs, front->kernel}, 3);
        convolution->bias = td_parameters_declare(&network->parameters, front->channels, 0, TD_INIT_ZERO, 0, "%s.bias", name);
    }
}

td_status td_rnn_front_declare(const json_t *config, const char *file, td_network *network, td_error *error)
{
    td_rnn_network *model = network->family;
    bool ctc;
    if (network->architecture->source == TD_TEXT)
        return TD_OK;
    if (network->architecture->source == TD_IMAGE) {
        model->front.projection = td_rnn_declare_linear(&network->parameters, model->memory, model->front.cell_width, "encoder.projection");
        return TD_OK;
    }
    declare_convolutions(network);
    TD_TRY(td_json_get_bool(config, file, "ctc", false, &ctc, error));
    if (!ctc)
        return TD_OK;
    int64_t blank;
    TD_TRY(td_json_get_integer(config, file, "pad_token_id", -1, &blank, error));
    if (blank < 0 || (uint64_t)blank >= network->vocabulary)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"ctc\" needs \"pad_token_id\", which is its blank, from 0 to %zu", file,
                       network->vocabulary - 1);
    td_rnn_linear linear = td_rnn_declare_linear(&network->parameters, network->vocabulary, model->memory, "ctc");
    model->ctc = (td_projection){linear.weight, linear.bias, 0};
    return TD_OK;
}

/* ---- encoders ---- */

/* The source's rows as a tensor, or NULL when they are no features of this width. */
static td_tensor *features_of(const td_network *network, td_graph *graph, const td_batch *source)
{
    if (!source->features)
        return td_graph_fail(graph, TD_ERROR_UNSUPPORTED, "%s reads features, not token ids", network->architecture->model_type);
    if (source->width != network->feature_width)
        return td_graph_fail(graph, TD_ERROR_ARGUMENT, "features of %zu columns for a model that reads %zu", source->width,
                             network->feature_width);
    return td_tensor_of(graph, (td_real *)(uintptr_t)source->features, td_ragged_total(source->ragged), source->width);
}

static td_tensor *subsample(const td_rnn_front *front, td_graph *graph, td_tensor *x, td_ragged *ragged)
{
    for (size_t i = 0; i < front->convolutions && x; i++) {
        td_convolution_options options = {front->kernel, front->strides[i], front->kernel / 2};
        x = td_conv_time(graph, x, *ragged, td_graph_parameter(graph, front->convolution[i].weight),
                         td_graph_parameter(graph, front->convolution[i].bias), options, ragged);
        x = td_activate(graph, x, TD_RELU, 0);
    }
    return x;
}

static td_status encode_speech(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const td_rnn_network *model = network->family;
    size_t count = model->encoder.layers * td_recurrent_directions(&model->encoder);
    td_real dropout = network->rates.dropout;
    td_tensor **finals = td_graph_allocate(graph, 2 * count, sizeof *finals);
    td_memory memory = {.ragged = source->ragged};
    td_tensor *x = finals ? subsample(&model->front, graph, features_of(network, graph, source), &memory.ragged) : NULL;
    if (!x)
        return graph->error.status;
    if (model->front.convolutions)
        x = td_dropout(graph, x, dropout);
    memory.states = td_recurrent_pyramid_apply(graph, &model->encoder, x, memory.ragged, dropout, finals, finals + count, &memory.ragged);
    memory.final_state = memory.states ? td_concatenate(graph, finals, td_rnn_states(model) * count) : NULL;
    memory.states = td_dropout(graph, memory.states, dropout);
    if (td_graph_ok(graph))
        *ret_memory = memory;
    return graph->error.status;
}

/* final_state: the mean of the memory, for h and once more for the c of an LSTM. */
static td_status encode_image(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const td_rnn_network *model = network->family;
    td_memory memory = {0};
    td_tensor *x = td_dropout(graph, td_picture_cells(network, model->front.cnn, graph, source, &memory.ragged), network->rates.dropout);
    memory.states = x ? td_rnn_apply(graph, model->front.projection, x) : NULL;
    td_tensor *mean = !memory.states ? NULL : td_mean_rows(graph, memory.states, memory.ragged), *means[2] = {mean, mean};
    memory.final_state = mean ? td_concatenate(graph, means, td_rnn_states(model)) : NULL;
    if (td_graph_ok(graph))
        *ret_memory = memory;
    return graph->error.status;
}

static td_status frozen(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_features)
{
    const td_rnn_network *model = network->family;
    return td_picture_frozen(model->front.cnn, graph, source, ret_features);
}

static td_projection ctc(const td_network *network)
{
    const td_rnn_network *model = network->family;
    return model->ctc;
}

#define RECURRENT_ROW(symbol, name, modality, encoder, ctc_projection, frozen_part)                                                        \
    extern const td_architecture td_architecture_##symbol;                                                                                 \
    const td_architecture td_architecture_##symbol = {                                                                                     \
        .model_type = name,                                                                                                                \
        .source = modality,                                                                                                                \
        .configure = td_rnn_configure,                                                                                                     \
        .release = td_rnn_release,                                                                                                         \
        .projection = td_rnn_projection,                                                                                                   \
        .encode = encoder,                                                                                                                 \
        .state_new = td_rnn_state_new,                                                                                                     \
        .state_free = td_rnn_state_free,                                                                                                   \
        .begin = td_rnn_begin,                                                                                                             \
        .decode = td_rnn_decode,                                                                                                           \
        .reorder = td_rnn_state_reorder,                                                                                                   \
        .state_rows = td_rnn_state_rows,                                                                                                   \
        .copying = td_rnn_copying,                                                                                                         \
        .ctc = ctc_projection,                                                                                                             \
        .frozen = frozen_part,                                                                                                             \
    };

RECURRENT_ROW(tandem_rnn_speech, "tandem-rnn-speech", TD_AUDIO, encode_speech, ctc, NULL)
RECURRENT_ROW(tandem_rnn_image, "tandem-rnn-image", TD_IMAGE, encode_image, NULL, frozen)
