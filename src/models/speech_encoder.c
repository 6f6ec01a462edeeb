#include "models/speech_encoder.h"

#include "models/configuration.h"

td_status td_speech_sizes(const json_t *config, const char *file, td_network *network, const char *activation, size_t *ret_source_positions,
                          td_error *error)
{
    td_two_stacks *model = network->family;
    td_transformer_stack *encoder = &model->encoder, *decoder = &model->decoder.stack;
    TD_TRY(td_config_size(config, file, "d_model", 1 << 16, &encoder->width, error));
    TD_TRY(td_config_size(config, file, "encoder_layers", 1024, &encoder->layers, error));
    TD_TRY(td_config_size(config, file, "decoder_layers", 1024, &decoder->layers, error));
    TD_TRY(td_config_size(config, file, "encoder_attention_heads", 1 << 16, &encoder->heads, error));
    TD_TRY(td_config_size(config, file, "decoder_attention_heads", 1 << 16, &decoder->heads, error));
    TD_TRY(td_config_size(config, file, "encoder_ffn_dim", 1 << 20, &encoder->feed_forward, error));
    TD_TRY(td_config_size(config, file, "decoder_ffn_dim", 1 << 20, &decoder->feed_forward, error));
    TD_TRY(td_config_size(config, file, "vocab_size", 1 << 26, &network->vocabulary, error));
    TD_TRY(td_config_size(config, file, "max_source_positions", 1 << 24, ret_source_positions, error));
    TD_TRY(td_config_size(config, file, "max_target_positions", 1 << 24, &network->max_positions, error));
    TD_TRY(td_config_activation(config, file, "activation_function", activation, &encoder->activation, error));
    TD_TRY(td_config_flag(config, file, network->architecture->model_type, "is_encoder_decoder", true, error));
    return td_config_ids(config, file, network, error);
}

td_status td_speech_stacks(td_network *network, const char *file, td_error *error)
{
    td_two_stacks *model = network->family;
    td_transformer_stack *encoder = &model->encoder, *decoder = &model->decoder.stack;
    encoder->pre_norm = true;
    encoder->epsilon = (td_real)1e-5;
    encoder->names = &td_layer_names_bart;
    decoder->width = decoder->memory_width = encoder->width;
    decoder->activation = encoder->activation;
    decoder->pre_norm = true;
    decoder->epsilon = encoder->epsilon;
    decoder->names = encoder->names;
    TD_TRY(td_stack_check(encoder, file, "d_model", error));
    return td_stack_check(decoder, file, "d_model", error);
}

td_conv_layer td_conv_declare(td_parameters *parameters, size_t inputs, size_t outputs, td_convolution_options options, const char *prefix)
{
    td_conv_layer layer = {.options = options};
    size_t shape[3] = {outputs, inputs, options.kernel};
    layer.weight = td_parameters_declare(parameters, outputs, inputs * options.kernel, TD_INIT_XAVIER, 1, "%s.weight", prefix);
    td_parameters_shape(parameters, shape, 3);
    layer.bias = td_parameters_declare(parameters, outputs, 0, TD_INIT_ZERO, 0, "%s.bias", prefix);
    return layer;
}

td_tensor *td_conv_apply(td_graph *graph, td_tensor *x, td_ragged ragged, const td_conv_layer *layer, td_ragged *ret_ragged)
{
    return td_conv_time(graph, x, ragged, td_graph_parameter(graph, layer->weight), td_graph_parameter(graph, layer->bias), layer->options,
                        ret_ragged);
}

td_tensor *td_speech_input(td_graph *graph, const td_batch *source, size_t width)
{
    if (!source->features || source->width != width)
        return td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: features of %zu columns; this model reads %zu",
                             source->features ? source->width : 0, width);
    for (size_t i = 0; i < source->ragged.count; i++)
        if (td_ragged_length(source->ragged, i) == 0)
            return td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: a recording without a single frame");
    return td_tensor_of(graph, (td_real *)(uintptr_t)source->features, td_ragged_total(source->ragged), width);
}

/* x + table[position + offset] */
static td_tensor *add_positions(td_graph *graph, td_tensor *x, td_ragged ragged, const td_parameter *table, size_t offset)
{
    if (!x)
        return NULL;
    for (size_t i = 0; i < ragged.count; i++)
        if (td_ragged_length(ragged, i) + offset > table->rows)
            return td_graph_fail(graph, TD_ERROR_ARGUMENT,
                                 "source: a recording that makes %zu positions; this model has %zu: cut it in pieces",
                                 td_ragged_length(ragged, i), table->rows - offset);
    int32_t *positions = td_count_positions(graph, ragged, NULL, offset);
    return positions ? td_add_positions(graph, x, td_graph_parameter(graph, table), positions) : NULL;
}

td_status td_speech_encode(const td_network *network, td_graph *graph, td_tensor *x, td_ragged ragged, size_t offset, td_memory *ret_memory)
{
    const td_transformer_stack *encoder = &((const td_two_stacks *)network->family)->encoder;
    x = td_dropout(graph, add_positions(graph, x, ragged, encoder->positions, offset), network->rates.dropout);
    *ret_memory = (td_memory){ragged, td_stack_encode(encoder, network, graph, ragged, x), NULL, NULL};
    return graph->error.status;
}
