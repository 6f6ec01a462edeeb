/* The public recurrent layers: padded arrays in and out, ragged rows within. */
#include "tandem/layers.h"

#include "layers/recurrent.h"

#include <string.h>

struct td_layer {
    td_recurrent_stack stack;
    td_parameters parameters;
    td_real *gradients; /* [parameters.size] */
    td_real dropout;
    bool batch_first, training;
    uint64_t seed, calls;
    /* Of the last forward. */
    td_arena arena;
    td_graph graph;
    size_t batch, time;
    int32_t *offsets; /* [batch + 1], in the arena */
    td_tensor *input, *output;
    td_tensor **h0, **c0, **h_n, **c_n; /* [layers * directions] */
    bool can_go_back;
};

static size_t directions_in_all(const td_layer *layer)
{
    return layer->stack.layers * td_recurrent_directions(&layer->stack);
}

static td_status check_options(const td_layer_options *options, td_error *error)
{
    if (!options || options->struct_size < sizeof *options)
        return td_fail(error, TD_ERROR_ARGUMENT, "options must begin as TD_LAYER_OPTIONS_INIT");
    if (!options->input_size || !options->hidden_size || !options->num_layers)
        return td_fail(error, TD_ERROR_ARGUMENT, "input_size, hidden_size and num_layers must be at least 1");
    if (options->input_size > 1 << 20 || options->hidden_size > 1 << 20 || options->num_layers > 1024)
        return td_fail(error, TD_ERROR_LIMIT, "input_size and hidden_size go up to %d, num_layers to 1024", 1 << 20);
    if (!(options->dropout >= 0 && options->dropout < 1))
        return td_fail(error, TD_ERROR_ARGUMENT, "dropout must be at least 0 and below 1");
    return TD_OK;
}

static td_status build(td_layer *layer, td_error *error)
{
    TD_TRY(td_recurrent_stack_declare(&layer->stack, &layer->parameters, "", error));
    TD_TRY(td_parameters_allocate(&layer->parameters, error));
    td_parameters_initialise(&layer->parameters, layer->seed);
    layer->gradients = td_allocate_array(layer->parameters.size, sizeof *layer->gradients);
    return layer->gradients ? TD_OK : td_fail_memory(error, layer->parameters.size * sizeof *layer->gradients);
}

static td_status layer_new(td_cell_kind kind, const td_layer_options *options, td_layer **ret_layer, td_error *error)
{
    TD_TRY(check_options(options, error));
    td_layer *layer = td_allocate_array(1, sizeof *layer);
    if (!layer)
        return td_fail_memory(error, sizeof *layer);
    layer->stack = (td_recurrent_stack){.kind = kind,
                                        .inputs = options->input_size,
                                        .hidden = options->hidden_size,
                                        .layers = options->num_layers,
                                        .bidirectional = options->bidirectional != 0,
                                        .no_bias = !options->bias};
    layer->dropout = (td_real)options->dropout;
    layer->batch_first = options->batch_first != 0;
    layer->training = true;
    layer->seed = options->seed;
    td_arena_init(&layer->arena);
    td_status status = build(layer, error);
    if (status != TD_OK) {
        td_layer_free(layer);
        return status;
    }
    *ret_layer = layer;
    return TD_OK;
}

td_status td_lstm_new(const td_layer_options *options, td_lstm **ret_layer, td_error *error)
{
    return layer_new(TD_CELL_LSTM, options, ret_layer, error);
}

td_status td_gru_new(const td_layer_options *options, td_gru **ret_layer, td_error *error)
{
    return layer_new(TD_CELL_GRU, options, ret_layer, error);
}

td_status td_rnn_new(const td_layer_options *options, td_rnn **ret_layer, td_error *error)
{
    const char *name = options && options->nonlinearity ? options->nonlinearity : "tanh";
    if (strcmp(name, "relu") && strcmp(name, "tanh"))
        return td_fail(error, TD_ERROR_ARGUMENT, "nonlinearity \"%s\" is not supported (tanh, relu)", name);
    return layer_new(strcmp(name, "relu") ? TD_CELL_RNN_TANH : TD_CELL_RNN_RELU, options, ret_layer, error);
}

void td_layer_free(td_layer *layer)
{
    if (!layer)
        return;
    td_recurrent_stack_free(&layer->stack);
    td_parameters_free(&layer->parameters);
    td_release(layer->gradients);
    td_arena_free(&layer->arena);
    td_release(layer);
}

void td_layer_set_training(td_layer *layer, int training)
{
    layer->training = training != 0;
}

/* ---- weights ---- */

static td_parameter *find(const td_layer *layer, const char *name)
{
    for (size_t i = 0; i < layer->parameters.count; i++)
        if (strcmp(layer->parameters.entries[i]->parameter.name, name) == 0)
            return &layer->parameters.entries[i]->parameter;
    return NULL;
}

size_t td_layer_weight_count(const td_layer *layer)
{
    return layer->parameters.count;
}

const char *td_layer_weight_name(const td_layer *layer, size_t index)
{
    return index < layer->parameters.count ? layer->parameters.entries[index]->parameter.name : NULL;
}

float *td_layer_weight(td_layer *layer, const char *name, size_t *ret_rows, size_t *ret_columns)
{
    td_parameter *parameter = find(layer, name);
    if (!parameter)
        return NULL;
    if (ret_rows)
        *ret_rows = parameter->rows;
    if (ret_columns)
        *ret_columns = parameter->columns;
    return parameter->data;
}

td_status td_layer_set_weight(td_layer *layer, const char *name, const float *values, size_t count, td_error *error)
{
    td_parameter *parameter = find(layer, name);
    if (!parameter)
        return td_fail(error, TD_ERROR_ARGUMENT, "the layer has no weight \"%s\" (weight_ih_l0, weight_hh_l0, bias_ih_l0, ...)", name);
    if (count != parameter->rows * parameter->columns)
        return td_fail(error, TD_ERROR_ARGUMENT, "weight \"%s\" has %zu x %zu numbers, not %zu", name, parameter->rows, parameter->columns,
                       count);
    memcpy(parameter->data, values, count * sizeof *values);
    return TD_OK;
}

const float *td_layer_gradient(const td_layer *layer, const char *name)
{
    const td_parameter *parameter = find(layer, name);
    return parameter ? layer->gradients + parameter->offset : NULL;
}

void td_layer_zero_gradients(td_layer *layer)
{
    memset(layer->gradients, 0, layer->parameters.size * sizeof *layer->gradients);
}

/* ---- forward and backward ---- */

static td_ragged ragged_of(const td_layer *layer)
{
    return (td_ragged){layer->batch, layer->offsets};
}

static size_t padded_row(const td_layer *layer, size_t sequence, size_t t)
{
    return layer->batch_first ? sequence * layer->time + t : t * layer->batch + sequence;
}

static void read_rows(const td_layer *layer, const float *padded, td_real *rows, size_t width)
{
    for (size_t i = 0; i < layer->batch; i++)
        for (size_t t = 0; t < td_ragged_length(ragged_of(layer), i); t++)
            memcpy(rows + ((size_t)layer->offsets[i] + t) * width, padded + padded_row(layer, i, t) * width, width * sizeof *rows);
}

/* Padding becomes 0. */
static void write_rows(const td_layer *layer, float *padded, const td_real *rows, size_t width)
{
    for (size_t i = 0; i < layer->batch; i++) {
        for (size_t t = 0; t < layer->time; t++) {
            float *to = padded + padded_row(layer, i, t) * width;
            if (t < td_ragged_length(ragged_of(layer), i))
                memcpy(to, rows + ((size_t)layer->offsets[i] + t) * width, width * sizeof *rows);
            else
                memset(to, 0, width * sizeof *to);
        }
    }
}

static td_status read_lengths(td_layer *layer, const size_t *lengths, td_error *error)
{
    size_t total;
    if (td_multiply_overflows(layer->batch, layer->time, &total) || total > INT32_MAX)
        return td_fail(error, TD_ERROR_LIMIT, "a batch of %zu x %zu is too large", layer->batch, layer->time);
    layer->offsets = td_graph_allocate(&layer->graph, layer->batch + 1, sizeof *layer->offsets);
    if (!layer->offsets)
        return td_fail_memory(error, layer->batch * sizeof *layer->offsets);
    layer->offsets[0] = 0;
    for (size_t i = 0; i < layer->batch; i++) {
        size_t length = lengths ? lengths[i] : layer->time;
        if (length > layer->time)
            return td_fail(error, TD_ERROR_ARGUMENT, "length %zu of sequence %zu is over the batch's time of %zu", length, i, layer->time);
        layer->offsets[i + 1] = layer->offsets[i] + (int32_t)length;
    }
    return TD_OK;
}

/* [layers * directions, batch, hidden] -> one tensor each, whose gradients may be asked for. */
static void read_states(td_layer *layer, const float *values, td_tensor **ret_states)
{
    size_t size = layer->batch * layer->stack.hidden;
    for (size_t i = 0; i < directions_in_all(layer); i++) {
        ret_states[i] = td_tensor_new(&layer->graph, layer->batch, layer->stack.hidden, true);
        if (ret_states[i] && values)
            memcpy(ret_states[i]->data, values + i * size, size * sizeof *values);
        else if (ret_states[i])
            memset(ret_states[i]->data, 0, size * sizeof *values);
    }
}

static void write_states(const td_layer *layer, td_tensor *const *states, float *values)
{
    size_t size = layer->batch * layer->stack.hidden;
    for (size_t i = 0; values && i < directions_in_all(layer); i++)
        memcpy(values + i * size, states[i]->data, size * sizeof *values);
}

static td_status run(td_layer *layer, const float *input, const float *h0, const float *c0)
{
    td_graph *graph = &layer->graph;
    size_t all = directions_in_all(layer);
    td_tensor **states = td_graph_allocate(graph, 4 * all, sizeof *states);
    layer->input = td_tensor_new(graph, td_ragged_total(ragged_of(layer)), layer->stack.inputs, true);
    if (!states || !layer->input)
        return graph->error.status;
    layer->h0 = states, layer->c0 = states + all, layer->h_n = states + 2 * all, layer->c_n = states + 3 * all;
    bool lstm = layer->stack.kind == TD_CELL_LSTM;
    read_rows(layer, input, layer->input->data, layer->stack.inputs);
    read_states(layer, h0, layer->h0);
    if (lstm)
        read_states(layer, c0, layer->c0);
    layer->output = td_recurrent_stack_apply(graph, &layer->stack, layer->input, ragged_of(layer), layer->dropout, layer->h0,
                                             lstm ? layer->c0 : NULL, layer->h_n, layer->c_n);
    return graph->error.status;
}

td_status td_layer_forward(td_layer *layer, const float *input, size_t batch, size_t time, const size_t *lengths, const float *h0,
                           const float *c0, float *output, float *h_n, float *c_n, td_error *error)
{
    bool lstm = layer->stack.kind == TD_CELL_LSTM;
    layer->can_go_back = false;
    if (!batch || !time)
        return td_fail(error, TD_ERROR_ARGUMENT, "a batch must have at least 1 sequence and 1 time step");
    if ((c0 || c_n) && !lstm)
        return td_fail(error, TD_ERROR_ARGUMENT, "c0 and c_n are for LSTM layers alone");
    td_arena_reset(&layer->arena);
    td_graph_begin(&layer->graph, &layer->arena, layer->training);
    layer->graph.training = layer->training;
    layer->graph.gradients = layer->gradients;
    layer->graph.dropout_key = td_random_key(layer->seed, 0xd409, layer->calls++);
    layer->batch = batch;
    layer->time = time;
    TD_TRY(read_lengths(layer, lengths, error));
    if (run(layer, input, h0, c0) != TD_OK) {
        if (error)
            *error = layer->graph.error;
        return layer->graph.error.status;
    }
    write_rows(layer, output, layer->output->data, layer->output->columns);
    write_states(layer, layer->h_n, h_n);
    if (lstm)
        write_states(layer, layer->c_n, c_n);
    layer->can_go_back = layer->training;
    return TD_OK;
}

static void set_state_gradients(td_layer *layer, td_tensor **states, const float *gradients)
{
    size_t size = layer->batch * layer->stack.hidden;
    for (size_t i = 0; gradients && i < directions_in_all(layer); i++) {
        td_real *gradient = td_gradient(&layer->graph, states[i]);
        if (gradient)
            memcpy(gradient, gradients + i * size, size * sizeof *gradients);
    }
}

static void get_state_gradients(td_layer *layer, td_tensor **states, float *gradients)
{
    size_t size = layer->batch * layer->stack.hidden;
    for (size_t i = 0; gradients && i < directions_in_all(layer); i++) {
        const td_real *gradient = td_gradient(&layer->graph, states[i]);
        if (gradient)
            memcpy(gradients + i * size, gradient, size * sizeof *gradients);
    }
}

td_status td_layer_backward(td_layer *layer, const float *doutput, const float *dh_n, const float *dc_n, float *dinput, float *dh0,
                            float *dc0, td_error *error)
{
    bool lstm = layer->stack.kind == TD_CELL_LSTM;
    if (!layer->can_go_back)
        return td_fail(error, TD_ERROR_ARGUMENT, "backward needs a forward in training just before it");
    if ((dc_n || dc0) && !lstm)
        return td_fail(error, TD_ERROR_ARGUMENT, "dc_n and dc0 are for LSTM layers alone");
    layer->can_go_back = false;
    td_graph *graph = &layer->graph;
    td_real *gradient = td_gradient(graph, layer->output);
    if (gradient && doutput)
        read_rows(layer, doutput, gradient, layer->output->columns);
    set_state_gradients(layer, layer->h_n, dh_n);
    if (lstm)
        set_state_gradients(layer, layer->c_n, dc_n);
    TD_TRY(td_backward(graph, NULL, 0, error));
    td_real *of_input = dinput ? td_gradient(graph, layer->input) : NULL;
    if (of_input)
        write_rows(layer, dinput, of_input, layer->stack.inputs);
    get_state_gradients(layer, layer->h0, dh0);
    if (lstm)
        get_state_gradients(layer, layer->c0, dc0);
    if (!td_graph_ok(graph) && error)
        *error = graph->error;
    return graph->error.status;
}
