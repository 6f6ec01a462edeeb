#include "models/transformer_layers.h"

#include "io/json.h"
#include "models/copying.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const td_layer_names td_layer_names_bart = {
    .query = {"self_attn.q_proj", "encoder_attn.q_proj"},
    .key = {"self_attn.k_proj", "encoder_attn.k_proj"},
    .value = {"self_attn.v_proj", "encoder_attn.v_proj"},
    .output = {"self_attn.out_proj", "encoder_attn.out_proj"},
    .norm = {"self_attn_layer_norm", "encoder_attn_layer_norm"},
    .fc1 = "fc1",
    .fc2 = "fc2",
    .final_norm = "final_layer_norm",
};

/* What one pass over a batch needs. */
typedef struct stack_pass {
    const td_network *network;
    const td_transformer_stack *stack;
    td_graph *graph;
    td_ragged ragged;
    td_decoder_state *state;   /* decoder only */
    const td_real **attention; /* takes the weights of the last cross-attention; or NULL */
    const td_real *angles;     /* of rotary positions, or NULL */
} stack_pass;

/* ---- declaration ---- */

td_status td_stack_check(const td_transformer_stack *stack, const char *file, const char *width_key, td_error *error)
{
    if (stack->width % 16)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\" must be a multiple of 16", file, width_key);
    if (stack->heads == 0 || stack->width % stack->heads)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" %zu is not a multiple of the number of heads", file, width_key, stack->width);
    return TD_OK;
}

td_norm_layer td_norm_declare(td_parameters *parameters, size_t width, const char *prefix_format, ...)
{
    char prefix[256];
    va_list arguments;
    va_start(arguments, prefix_format);
    vsnprintf(prefix, sizeof prefix, prefix_format, arguments);
    va_end(arguments);
    td_norm_layer norm;
    norm.weight = td_parameters_declare(parameters, width, 0, TD_INIT_ONE, 0, "%s.weight", prefix);
    norm.bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.bias", prefix);
    return norm;
}

/* Part i of k, v, q lies in files as these rows of q | k | v, or of k | v. */
static void place_in_joined(td_parameters *parameters, const td_transformer_stack *stack, bool cross, size_t i, const char *prefix,
                            const char *kind)
{
    static const size_t order[3] = {1, 2, 0};
    const td_layer_names *names = stack->names;
    if (!names->joined)
        return;
    size_t rows = stack->width, part = cross ? (i == 2 ? 0 : i) : order[i], parts = cross ? (i == 2 ? 1 : 2) : 3;
    const char *name = cross && i != 2 ? names->key[1] : names->query[cross];
    td_parameters_part(parameters, part * rows, parts * rows, "%s.%s.%s", prefix, name, kind);
}

/* A weight that products alone read. */
static td_parameter *declare_matrix(td_parameters *parameters, const td_transformer_stack *stack, size_t outputs, size_t inputs,
                                    double spread, const char *prefix, const char *name)
{
    td_parameter *weight = td_parameters_declare(parameters, outputs, inputs, TD_INIT_XAVIER, spread, "%s.%s.weight", prefix, name);
    td_parameters_product(parameters);
    if (stack->names->transposed)
        td_parameters_transposed(parameters);
    return weight;
}

static td_norm_layer declare_norm(td_parameters *parameters, const td_transformer_stack *stack, const char *prefix, const char *name)
{
    td_norm_layer norm = td_norm_declare(parameters, stack->width, "%s.%s", prefix, name);
    if (stack->bare)
        td_parameters_optional(parameters);
    return norm;
}

static td_attention_layer declare_attention(td_parameters *parameters, const td_transformer_stack *stack, bool cross, const char *prefix)
{
    const td_layer_names *names = stack->names;
    const char *const inputs[3] = {names->key[cross], names->value[cross], names->query[cross]};
    size_t width = stack->width;
    td_attention_layer attention;
    for (size_t i = 0; i < 3; i++) { /* spread: as if the three were one matrix (fairseq's 1/sqrt 2) */
        attention.weight[i] =
            declare_matrix(parameters, stack, width, cross && i < 2 ? stack->memory_width : width, 0.70710678, prefix, inputs[i]);
        place_in_joined(parameters, stack, cross, i, prefix, "weight");
    }
    for (size_t i = 0; i < 3; i++) {
        attention.bias[i] = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.%s.bias", prefix, inputs[i]);
        place_in_joined(parameters, stack, cross, i, prefix, "bias");
        if (stack->missing_bias)
            td_parameters_optional(parameters);
    }
    attention.output_weight = declare_matrix(parameters, stack, width, width, 1, prefix, names->output[cross]);
    attention.output_bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.%s.bias", prefix, names->output[cross]);
    if (stack->bare)
        td_parameters_optional(parameters);
    attention.norm = declare_norm(parameters, stack, prefix, names->norm[cross]);
    return attention;
}

static void declare_layer(td_parameters *parameters, const td_transformer_stack *stack, const char *prefix, td_transformer_layer *layer)
{
    const td_layer_names *names = stack->names;
    layer->self = declare_attention(parameters, stack, false, prefix);
    if (stack->memory_width)
        layer->cross = declare_attention(parameters, stack, true, prefix);
    size_t inner = stack->feed_forward * (stack->gated ? 2 : 1);
    layer->fc1_weight = declare_matrix(parameters, stack, inner, stack->width, 1, prefix, names->fc1);
    layer->fc1_bias = td_parameters_declare(parameters, inner, 0, TD_INIT_ZERO, 0, "%s.%s.bias", prefix, names->fc1);
    layer->fc2_weight = declare_matrix(parameters, stack, stack->width, stack->feed_forward, 1, prefix, names->fc2);
    layer->fc2_bias = td_parameters_declare(parameters, stack->width, 0, TD_INIT_ZERO, 0, "%s.%s.bias", prefix, names->fc2);
    layer->norm = declare_norm(parameters, stack, prefix, names->final_norm);
}

td_status td_stack_declare(td_parameters *parameters, td_transformer_stack *stack, const char *prefix, td_error *error)
{
    stack->layer = td_allocate_array(stack->layers, sizeof *stack->layer);
    if (!stack->layer)
        return td_fail_memory(error, stack->layers * sizeof *stack->layer);
    for (size_t i = 0; i < stack->layers; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s.%zu", prefix, i);
        declare_layer(parameters, stack, name, &stack->layer[i]);
    }
    return TD_OK;
}

/* ---- layers ---- */

td_tensor *td_norm_apply(td_graph *graph, td_tensor *x, td_norm_layer norm, td_real epsilon)
{
    return td_layer_norm(graph, x, td_graph_parameter(graph, norm.weight), td_graph_parameter(graph, norm.bias), epsilon);
}

td_tensor *td_linear_apply(td_graph *graph, td_tensor *x, const td_parameter *weight, const td_parameter *bias)
{
    return td_linear(graph, x, td_graph_parameter(graph, weight), bias ? td_graph_parameter(graph, bias) : NULL);
}

/* x times `count` of the projections, from `first`, in one product. */
static td_tensor *fused_linear(td_graph *graph, td_tensor *x, const td_attention_layer *attention, size_t first, size_t count)
{
    const td_parameter *weights[3], *biases[3];
    for (size_t i = 0; i < count; i++) {
        weights[i] = attention->weight[first + i];
        biases[i] = attention->bias[first + i];
    }
    return td_linear_several(graph, x, weights, biases, count);
}

static td_tensor *attend(stack_pass *pass, bool causal, td_tensor *query, td_tensor *key_value, td_ragged memory)
{
    td_attention_options options = {.heads = pass->stack->heads, .causal = causal, .dropout = pass->network->rates.attention};
    size_t width = pass->stack->width;
    return td_attention(pass->graph, query, pass->ragged, td_tensor_columns(pass->graph, key_value, 0, width),
                        td_tensor_columns(pass->graph, key_value, width, width), memory, &options, NULL);
}

/* Keys and queries, of k | v | q, turn; values do not. */
static td_tensor *rotate(stack_pass *pass, td_tensor *kvq)
{
    const td_transformer_stack *stack = pass->stack;
    if (!stack->rotary_dimensions)
        return kvq;
    td_rotary_options options = {pass->angles, (stack->rotary_dimensions + 1) / 2, stack->width / stack->heads, stack->heads, stack->heads};
    return td_rotary(pass->graph, kvq, &options);
}

static td_tensor *self_attention(stack_pass *pass, size_t index, td_tensor *x)
{
    const td_attention_layer *attention = &pass->stack->layer[index].self;
    size_t width = pass->stack->width;
    bool decoder = pass->state != NULL;
    td_tensor *kvq = rotate(pass, fused_linear(pass->graph, x, attention, 0, 3)), *mixed;
    if (decoder && !pass->graph->recording)
        mixed = td_cache_self_attention(&pass->state->cache, pass->graph, index, pass->stack->heads, pass->ragged, kvq);
    else
        mixed = attend(pass, decoder, td_tensor_columns(pass->graph, kvq, 2 * width, width), kvq, pass->ragged);
    return td_linear_apply(pass->graph, mixed, attention->output_weight, attention->output_bias);
}

static td_tensor *cross_attention(stack_pass *pass, size_t index, td_tensor *x)
{
    const td_attention_layer *attention = &pass->stack->layer[index].cross;
    td_tensor *query = fused_linear(pass->graph, x, attention, 2, 1), *mixed;
    if (pass->graph->recording) {
        td_memory *memory = &pass->state->memory;
        mixed = attend(pass, false, query, fused_linear(pass->graph, memory->states, attention, 0, 2), memory->ragged);
    } else {
        td_attention_report report = {index + 1 == pass->stack->layers ? pass->attention : NULL, pass->state->watched};
        mixed = td_cache_cross_attention(&pass->state->cache, pass->graph, index, pass->stack->heads, pass->ragged, query, report);
    }
    return td_linear_apply(pass->graph, mixed, attention->output_weight, attention->output_bias);
}

static td_tensor *feed_forward(stack_pass *pass, size_t index, td_tensor *x)
{
    const td_transformer_layer *layer = &pass->stack->layer[index];
    if (pass->stack->gated) {
        td_tensor *gated =
            td_gated_linear(pass->graph, td_linear_apply(pass->graph, x, layer->fc1_weight, layer->fc1_bias), pass->stack->activation);
        return td_linear_apply(pass->graph, td_dropout(pass->graph, gated, pass->network->rates.activation), layer->fc2_weight,
                               layer->fc2_bias);
    }
    td_tensor *hidden =
        td_linear_activate(pass->graph, x, td_graph_parameter(pass->graph, layer->fc1_weight),
                           td_graph_parameter(pass->graph, layer->fc1_bias), pass->stack->activation, pass->network->rates.activation);
    return td_linear_apply(pass->graph, hidden, layer->fc2_weight, layer->fc2_bias);
}

typedef td_tensor *sublayer(stack_pass *pass, size_t index, td_tensor *x);

/* Pre-norm: x + f(norm(x)); post-norm: norm(x + f(x)). */
static td_tensor *residual(stack_pass *pass, size_t index, td_tensor *x, sublayer *function, td_norm_layer norm)
{
    const td_transformer_stack *stack = pass->stack;
    td_tensor *branch = function(pass, index, stack->pre_norm ? td_norm_apply(pass->graph, x, norm, stack->epsilon) : x);
    td_tensor *sum = td_add_dropout(pass->graph, x, branch, pass->network->rates.dropout);
    return stack->pre_norm ? sum : td_norm_apply(pass->graph, sum, norm, stack->epsilon);
}

/* While nothing is recorded, a layer's memory is given back once its result has been moved; the last one's attention is asked for. */
static td_tensor *run_stack(stack_pass *pass, td_tensor *x)
{
    const td_transformer_stack *stack = pass->stack;
    td_tensor *kept = pass->graph->recording || !x ? NULL : td_tensor_new(pass->graph, x->rows, x->columns, false);
    for (size_t i = 0; i < stack->layers; i++) {
        td_arena_mark mark = td_arena_get_mark(pass->graph->arena);
        x = residual(pass, i, x, self_attention, stack->layer[i].self.norm);
        if (pass->state)
            x = residual(pass, i, x, cross_attention, stack->layer[i].cross.norm);
        x = residual(pass, i, x, feed_forward, stack->layer[i].norm);
        if (x && kept && i + 1 < stack->layers) {
            memcpy(kept->data, x->data, x->rows * x->columns * sizeof *x->data);
            td_arena_release_to(pass->graph->arena, mark);
            x = kept;
        }
    }
    return stack->final_norm.weight ? td_norm_apply(pass->graph, x, stack->final_norm, stack->epsilon) : x;
}

static const td_real *find_angles(const td_transformer_stack *stack, td_graph *graph, td_ragged ragged, const int32_t *positions)
{
    return positions ? td_rotary_angles(graph, positions, td_ragged_total(ragged), stack->rotary_dimensions, stack->rotary_base) : NULL;
}

td_tensor *td_stack_encode(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_ragged ragged, td_tensor *x)
{
    stack_pass pass = {network, stack, graph, ragged, NULL, NULL, NULL};
    if (stack->rotary_dimensions)
        pass.angles = find_angles(stack, graph, ragged, td_count_positions(graph, ragged, NULL, 0));
    return run_stack(&pass, x);
}

int32_t *td_count_positions(td_graph *graph, td_ragged ragged, const int32_t *first, size_t offset)
{
    int32_t *positions = td_graph_allocate(graph, td_ragged_total(ragged), sizeof *positions);
    for (size_t row = 0; positions && row < ragged.count; row++)
        for (int32_t i = ragged.offsets[row]; i < ragged.offsets[row + 1]; i++)
            positions[i] = i - ragged.offsets[row] + (first ? first[row] : 0) + (int32_t)offset;
    return positions;
}

void td_fill_sinusoids(td_parameter *table, double steps)
{
    size_t half = table->columns / 2;
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)row * pow(10000.0, -(double)i / steps);
            table->data[row * table->columns + i] = (td_real)sin(angle);
            table->data[row * table->columns + half + i] = (td_real)cos(angle);
        }
    }
}

/* ---- the decoder ---- */

/* All tokens are of the first type: a second text beside the first is nothing that these models are given. */
static td_tensor *add_token_types(const td_transformer_stack *stack, td_graph *graph, td_tensor *x)
{
    int32_t *types = x ? td_graph_allocate(graph, x->rows, sizeof *types) : NULL;
    if (!types)
        return NULL;
    memset(types, 0, x->rows * sizeof *types);
    return td_add_positions(graph, x, td_graph_parameter(graph, stack->token_types), types);
}

td_tensor *td_stack_place(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_tensor *x,
                          const int32_t *positions)
{
    if (stack->positions)
        x = td_add_positions(graph, x, td_graph_parameter(graph, stack->positions), positions);
    if (stack->token_types)
        x = add_token_types(stack, graph, x);
    if (stack->embedding_norm.weight)
        x = td_norm_apply(graph, x, stack->embedding_norm, stack->epsilon);
    return td_dropout(graph, x, network->rates.dropout);
}

td_tensor *td_text_embed(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_real scale, const int32_t *ids,
                         size_t count, const int32_t *positions)
{
    ids = td_known_ids(network, graph, ids, count);
    td_tensor *x = td_embedding(graph, td_graph_parameter(graph, stack->embedding), ids, count, scale);
    return td_stack_place(stack, network, graph, x, positions);
}

td_projection td_text_decoder_projection(const td_network *network)
{
    const td_text_decoder *decoder = network->family;
    return (td_projection){decoder->logits_weight, decoder->logits_bias, 0};
}

td_status td_text_decoder_state_new(const td_network *network, td_decoder_state **ret_state, td_error *error)
{
    const td_text_decoder *decoder = network->family;
    td_decoder_state *state = td_allocate_array(1, sizeof *state);
    if (!state)
        return td_fail_memory(error, sizeof *state);
    td_cache_init(&state->cache, decoder->stack.layers, decoder->stack.width);
    *ret_state = state;
    return TD_OK;
}

void td_attention_state_free(td_decoder_state *state)
{
    if (state)
        td_cache_free(&state->cache);
    td_release(state);
}

td_status td_attention_reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error)
{
    return td_cache_reorder(&state->cache, parents, rows, error);
}

void td_attention_watch(td_decoder_state *state, td_watched_heads *heads)
{
    state->watched = heads;
}

size_t td_attention_state_rows(const td_decoder_state *state)
{
    return state->cache.rows;
}

td_status td_text_decoder_begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state)
{
    const td_text_decoder *decoder = network->family;
    if (!td_graph_ok(graph))
        return graph->error.status;
    if (graph->recording) {
        state->memory = *memory;
        state->recorded_rows = memory->ragged.count;
        return TD_OK;
    }
    td_memory_group *group = state->added = td_cache_add_memory(&state->cache, graph, memory->ragged);
    for (size_t i = 0; group && i < decoder->stack.layers; i++) {
        td_arena_mark mark = td_arena_get_mark(graph->arena);
        td_tensor *kv = fused_linear(graph, memory->states, &decoder->stack.layer[i].cross, 0, 2);
        td_cache_set_memory(group, graph, i, decoder->stack.heads, kv);
        td_arena_release_to(graph->arena, mark);
    }
    return graph->error.status;
}

/* Makes room for the targets; where they stand. */
static int32_t *target_positions(td_graph *graph, td_decoder_state *state, td_ragged targets, size_t offset)
{
    size_t rows = graph->recording ? state->recorded_rows : state->cache.rows;
    if (targets.count != rows)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "decode: %zu rows of targets for %zu rows of state", targets.count, rows);
    if (!td_graph_ok(graph))
        return NULL;
    if (!graph->recording)
        td_cache_extend(&state->cache, graph, targets);
    return td_count_positions(graph, targets, graph->recording ? NULL : state->cache.past, offset);
}

static td_tensor *apply_head(const td_text_decoder *decoder, td_graph *graph, td_tensor *hidden)
{
    hidden = td_linear_activate(graph, hidden, td_graph_parameter(graph, decoder->head_weight),
                                td_graph_parameter(graph, decoder->head_bias), decoder->head_activation, 0);
    return td_norm_apply(graph, hidden, decoder->head_norm, decoder->stack.epsilon);
}

static td_tensor *embed_zero_start(const td_text_decoder *decoder, const td_network *network, td_graph *graph, const td_batch *targets,
                                   const int32_t *positions)
{
    size_t count = td_ragged_total(targets->ragged);
    if (graph->recording)
        return td_graph_fail(graph, TD_ERROR_UNSUPPORTED,
                             "a model whose decoder starts from zero (\"start_from_zero_embedding\") cannot be trained");
    const int32_t *ids = td_known_ids(network, graph, targets->ids, count);
    td_tensor *x = td_embedding(graph, td_graph_parameter(graph, decoder->stack.embedding), ids, count, decoder->embedding_scale);
    for (size_t i = 0; x && i < count; i++)
        if ((size_t)positions[i] == decoder->position_offset)
            memset(x->data + i * x->stride, 0, x->columns * sizeof *x->data);
    return td_stack_place(&decoder->stack, network, graph, x, positions);
}

td_status td_text_decoder_decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                                 td_tensor **ret_hidden, const td_real **ret_attention)
{
    const td_text_decoder *decoder = network->family;
    stack_pass pass = {network, &decoder->stack, graph, targets->ragged, state, ret_attention, NULL};
    int32_t *positions = target_positions(graph, state, targets->ragged, decoder->position_offset);
    if (ret_attention)
        *ret_attention = NULL;
    if (!positions)
        return graph->error.status;
    if (decoder->stack.rotary_dimensions)
        pass.angles = find_angles(&decoder->stack, graph, targets->ragged, positions);
    td_tensor *x = decoder->zero_start ? embed_zero_start(decoder, network, graph, targets, positions)
                                       : td_text_embed(&decoder->stack, network, graph, decoder->embedding_scale, targets->ids,
                                                       td_ragged_total(targets->ragged), positions);
    *ret_hidden = run_stack(&pass, x);
    if (decoder->head_weight)
        *ret_hidden = apply_head(decoder, graph, *ret_hidden);
    return graph->error.status;
}

/* ---- reading configurations ---- */

td_status td_config_size(const json_t *config, const char *file, const char *key, size_t limit, size_t *ret_size, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, key, -1, &value, error));
    if (value < 1 || (uint64_t)value > limit)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be an integer from 1 to %zu", file, key, limit);
    *ret_size = (size_t)value;
    return TD_OK;
}

td_status td_config_size_or(const json_t *config, const char *file, const char *key, size_t limit, size_t fallback, size_t *ret_size,
                            td_error *error)
{
    if (td_json_has(config, key))
        return td_config_size(config, file, key, limit, ret_size, error);
    *ret_size = fallback;
    return TD_OK;
}

td_status td_config_real(const json_t *config, const char *file, const char *key, double fallback, td_real *ret_value, td_error *error)
{
    const json_t *value = json_object_get(config, key);
    if (value && !(json_is_number(value) && json_number_value(value) > 0))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a number above 0", file, key);
    *ret_value = (td_real)(value ? json_number_value(value) : fallback);
    return TD_OK;
}

td_status td_config_activation(const json_t *config, const char *file, const char *key, const char *fallback, td_activation *ret_activation,
                               td_error *error)
{
    static const struct {
        const char *name;
        td_activation activation;
    } names[] = {{"relu", TD_RELU},
                 {"gelu", TD_GELU},
                 {"swish", TD_SWISH},
                 {"silu", TD_SWISH},
                 {"tanh", TD_TANH},
                 {"gelu_new", TD_GELU_TANH},
                 {"gelu_pytorch_tanh", TD_GELU_TANH}};
    const char *name;
    TD_TRY(td_json_get_string(config, file, key, fallback, &name, error));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i].name) == 0) {
            *ret_activation = names[i].activation;
            return TD_OK;
        }
    }
    return td_fail(error, TD_ERROR_UNSUPPORTED,
                   "%s: \"%s\": \"%s\" is not supported (relu, gelu, gelu_new, gelu_pytorch_tanh, swish, silu, tanh)", file, key, name);
}

td_status td_config_id(const json_t *config, const char *file, const char *key, int32_t *ret_id, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, key, -1, &value, error));
    if (value < -1 || value > INT32_MAX)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a token id", file, key);
    *ret_id = (int32_t)value;
    return TD_OK;
}

/* Token ids of families (and of decoders within larger ones) whose configuration does not have the key; -1: none. */
static const struct usual_ids {
    const char *model_type;
    int32_t pad, eos, bos, start;
} usual[] = {
    {"marian", 58100, 0, -1, 58100}, {"bart", 1, 2, 0, 2},     {"mbart", 1, 2, 0, -1},         {"pegasus", 0, 1, -1, 0},
    {"m2m_100", 1, 2, 0, 2},         {"t5", 0, 1, -1, 0},      {"mt5", 0, 1, -1, 0},           {"whisper", 50256, 50256, 50256, 50257},
    {"moonshine", -1, 2, 1, 1},      {"trocr", 1, 2, 0, 2},    {"speech_to_text", 1, 2, 0, 2}, {"gpt2", -1, 50256, 50256, -1},
    {"bert", 0, -1, -1, -1},         {"roberta", 1, 2, 0, -1},
};

static const struct usual_ids *find_usual(const json_t *config)
{
    static const struct usual_ids none = {"", -1, -1, -1, -1};
    const char *model_type = json_string_value(json_object_get(config, "model_type"));
    for (size_t i = 0; model_type && i < sizeof usual / sizeof *usual; i++)
        if (strcmp(usual[i].model_type, model_type) == 0)
            return &usual[i];
    return &none;
}

/* A key that is null says that there is no such token; one that is missing means the family's, where the vocabulary has it: Marian's 58100
 * is no token of a smaller model. */
td_status td_config_ids(const json_t *config, const char *file, td_network *network, td_error *error)
{
    const struct usual_ids *ids = find_usual(config);
    const struct {
        const char *key;
        int32_t *id, usual;
    } keys[] = {{"pad_token_id", &network->pad_id, ids->pad},
                {"eos_token_id", &network->eos_id, ids->eos},
                {"bos_token_id", &network->bos_id, ids->bos},
                {"decoder_start_token_id", &network->decoder_start_id, ids->start}};
    int64_t words;
    TD_TRY(td_json_get_integer(config, file, "vocab_size", INT32_MAX, &words, error));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        TD_TRY(td_config_id(config, file, keys[i].key, keys[i].id, error));
        if (!json_object_get(config, keys[i].key) && keys[i].usual < words)
            *keys[i].id = keys[i].usual;
    }
    return TD_OK;
}

td_status td_config_counted_start(const char *file, int32_t pad, const td_network *network, td_error *error)
{
    if (pad < 0 || pad != network->decoder_start_id)
        return TD_OK;
    return td_fail(error, TD_ERROR_UNSUPPORTED,
                   "%s: \"pad_token_id\" %d must not be \"decoder_start_token_id\" too: padding has no position", file, pad);
}

td_status td_config_nested_ids(const json_t *config, const json_t *decoder, const char *file, td_network *network, td_error *error)
{
    TD_TRY(td_config_ids(decoder, file, network, error));
    td_network whole = {.pad_id = -1};
    TD_TRY(td_config_ids(config, file, &whole, error));
    network->pad_id = whole.pad_id >= 0 ? whole.pad_id : network->pad_id;
    network->eos_id = whole.eos_id >= 0 ? whole.eos_id : network->eos_id;
    network->bos_id = whole.bos_id >= 0 ? whole.bos_id : network->bos_id;
    network->decoder_start_id = whole.decoder_start_id >= 0 ? whole.decoder_start_id : network->decoder_start_id;
    return TD_OK;
}

td_status td_config_flag(const json_t *config, const char *file, const char *model_type, const char *key, bool wanted, td_error *error)
{
    bool value;
    TD_TRY(td_json_get_bool(config, file, key, wanted, &value, error));
    if (value != wanted)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": %s is not supported for model type %s (%s is)", file, key,
                       value ? "true" : "false", model_type, wanted ? "true" : "false");
    return TD_OK;
}
