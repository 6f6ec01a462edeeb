#include "models/transformer_layers.h"

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
    td_attention_bias bias;    /* of self-attention */
} stack_pass;

/* ---- declaration ---- */

size_t td_stack_inner_width(const td_transformer_stack *stack)
{
    return stack->head_width ? stack->heads * stack->head_width : stack->width;
}

td_status td_stack_check(const td_transformer_stack *stack, const char *file, const char *width_key, td_error *error)
{
    /* What is multiplied in one product lies end to end, and every parameter begins at a multiple of 16. */
    bool joins = stack->unbiased && stack->width * td_stack_inner_width(stack) % 16 == 0 &&
                 (!stack->gated || stack->width * stack->feed_forward % 16 == 0);
    if (stack->width % 16 && !joins)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\" must be a multiple of 16", file, width_key);
    if (stack->heads == 0 || (!stack->head_width && stack->width % stack->heads))
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
    size_t rows = td_stack_inner_width(stack), part = cross ? (i == 2 ? 0 : i) : order[i], parts = cross ? (i == 2 ? 1 : 2) : 3;
    const char *name = cross && i != 2 ? names->key[1] : names->query[cross];
    td_parameters_part(parameters, part * rows, parts * rows, "%s.%s.%s", prefix, name, kind);
}

/* A weight that products alone read. spread: beside 1. */
static td_parameter *declare_matrix(td_parameters *parameters, const td_transformer_stack *stack, size_t outputs, size_t inputs,
                                    double spread, const char *prefix, const char *name)
{
    td_parameter *weight = td_parameters_declare(parameters, outputs, inputs, stack->normal ? TD_INIT_NORMAL : TD_INIT_XAVIER,
                                                 stack->normal ? spread / sqrt((double)inputs) : spread, "%s.%s.weight", prefix, name);
    td_parameters_product(parameters);
    if (stack->names->transposed)
        td_parameters_transposed(parameters);
    return weight;
}

static td_parameter *declare_bias(td_parameters *parameters, const td_transformer_stack *stack, size_t columns, const char *prefix,
                                  const char *name)
{
    return stack->unbiased ? NULL : td_parameters_declare(parameters, columns, 0, TD_INIT_ZERO, 0, "%s.%s.bias", prefix, name);
}

static td_norm_layer declare_norm(td_parameters *parameters, const td_transformer_stack *stack, const char *prefix, const char *name)
{
    if (stack->unbiased)
        return (td_norm_layer){td_parameters_declare(parameters, stack->width, 0, TD_INIT_ONE, 0, "%s.%s.weight", prefix, name), NULL};
    td_norm_layer norm = td_norm_declare(parameters, stack->width, "%s.%s", prefix, name);
    if (stack->bare)
        td_parameters_optional(parameters);
    return norm;
}

/* Glorot's spread is as if the three inputs were one matrix (fairseq's 1 / sqrt 2). */
static double input_spread(const td_transformer_stack *stack, bool query)
{
    double head_width = (double)(td_stack_inner_width(stack) / stack->heads);
    return (stack->normal ? 1 : 0.70710678) / (query && stack->unscaled ? sqrt(head_width) : 1);
}

static td_attention_layer declare_attention(td_parameters *parameters, const td_transformer_stack *stack, bool cross, const char *prefix)
{
    const td_layer_names *names = stack->names;
    const char *const inputs[3] = {names->key[cross], names->value[cross], names->query[cross]};
    size_t width = stack->width, inner = td_stack_inner_width(stack);
    td_attention_layer attention;
    for (size_t i = 0; i < 3; i++) {
        attention.weight[i] = declare_matrix(parameters, stack, inner, cross && i < 2 ? stack->memory_width : width,
                                             input_spread(stack, i == 2), prefix, inputs[i]);
        place_in_joined(parameters, stack, cross, i, prefix, "weight");
    }
    for (size_t i = 0; i < 3; i++) {
        attention.bias[i] = declare_bias(parameters, stack, inner, prefix, inputs[i]);
        if (!attention.bias[i])
            continue;
        place_in_joined(parameters, stack, cross, i, prefix, "bias");
        if (stack->missing_bias)
            td_parameters_optional(parameters);
    }
    attention.output_weight = declare_matrix(parameters, stack, width, inner, 1, prefix, names->output[cross]);
    attention.output_bias = declare_bias(parameters, stack, width, prefix, names->output[cross]);
    if (attention.output_bias && stack->bare)
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
    size_t inner = stack->feed_forward * (stack->gated && !names->gate ? 2 : 1);
    layer->fc1_weight = declare_matrix(parameters, stack, inner, stack->width, 1, prefix, names->fc1);
    if (stack->gated && names->gate)
        layer->gate_weight = declare_matrix(parameters, stack, inner, stack->width, 1, prefix, names->gate);
    layer->fc1_bias = declare_bias(parameters, stack, inner, prefix, names->fc1);
    layer->fc2_weight = declare_matrix(parameters, stack, stack->width, stack->feed_forward, 1, prefix, names->fc2);
    layer->fc2_bias = declare_bias(parameters, stack, stack->width, prefix, names->fc2);
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
    td_tensor *weight = td_graph_parameter(graph, norm.weight);
    return norm.bias ? td_layer_norm(graph, x, weight, td_graph_parameter(graph, norm.bias), epsilon)
                     : td_rms_norm(graph, x, weight, epsilon);
}

static td_tensor *bias_tensor(td_graph *graph, const td_parameter *bias)
{
    return bias ? td_graph_parameter(graph, bias) : NULL;
}

td_tensor *td_linear_apply(td_graph *graph, td_tensor *x, const td_parameter *weight, const td_parameter *bias)
{
    return td_linear(graph, x, td_graph_parameter(graph, weight), bias_tensor(graph, bias));
}

/* x times `count` of the projections, from `first`, in one product. */
static td_tensor *fused_linear(td_graph *graph, td_tensor *x, const td_attention_layer *attention, size_t first, size_t count)
{
    return td_linear_several(graph, x, (const td_parameter *const *)&attention->weight[first],
                             attention->bias[0] ? (const td_parameter *const *)&attention->bias[first] : NULL, count);
}

static td_attention_options attention_options(const stack_pass *pass, bool causal, td_attention_bias bias)
{
    return (td_attention_options){.heads = pass->stack->heads,
                                  .causal = causal,
                                  .scale = pass->stack->unscaled ? 1 : 0,
                                  .dropout = pass->network->rates.attention,
                                  .bias = bias};
}

static td_tensor *attend(stack_pass *pass, const td_attention_options *options, td_tensor *query, td_tensor *key_value, td_ragged memory)
{
    size_t inner = td_stack_inner_width(pass->stack);
    return td_attention(pass->graph, query, pass->ragged, td_tensor_columns(pass->graph, key_value, 0, inner),
                        td_tensor_columns(pass->graph, key_value, inner, inner), memory, options, NULL);
}

/* Keys and queries, of k | v | q, turn; values do not. */
static td_tensor *rotate(stack_pass *pass, td_tensor *kvq)
{
    const td_transformer_stack *stack = pass->stack;
    if (!stack->rotary_dimensions)
        return kvq;
    td_rotary_options options = {pass->angles, (stack->rotary_dimensions + 1) / 2, td_stack_inner_width(stack) / stack->heads, stack->heads,
                                 stack->heads};
    return td_rotary(pass->graph, kvq, &options);
}

static td_tensor *self_attention(stack_pass *pass, size_t index, td_tensor *x)
{
    const td_attention_layer *attention = &pass->stack->layer[index].self;
    size_t inner = td_stack_inner_width(pass->stack);
    td_attention_options options = attention_options(pass, pass->state != NULL, pass->bias);
    td_tensor *kvq = rotate(pass, fused_linear(pass->graph, x, attention, 0, 3)), *mixed;
    if (pass->state && !pass->graph->recording)
        mixed = td_cache_self_attention(&pass->state->cache, pass->graph, index, &options, pass->ragged, kvq);
    else
        mixed = attend(pass, &options, td_tensor_columns(pass->graph, kvq, 2 * inner, inner), kvq, pass->ragged);
    return td_linear_apply(pass->graph, mixed, attention->output_weight, attention->output_bias);
}

static td_tensor *cross_attention(stack_pass *pass, size_t index, td_tensor *x)
{
    const td_attention_layer *attention = &pass->stack->layer[index].cross;
    td_attention_options options = attention_options(pass, false, (td_attention_bias){0});
    td_tensor *query = fused_linear(pass->graph, x, attention, 2, 1), *mixed;
    if (pass->graph->recording) {
        td_memory *memory = &pass->state->memory;
        mixed = attend(pass, &options, query, fused_linear(pass->graph, memory->states, attention, 0, 2), memory->ragged);
    } else {
        td_attention_report report = {index + 1 == pass->stack->layers ? pass->attention : NULL, pass->state->watched};
        mixed = td_cache_cross_attention(&pass->state->cache, pass->graph, index, &options, pass->ragged, query, report);
    }
    return td_linear_apply(pass->graph, mixed, attention->output_weight, attention->output_bias);
}

/* Values and then gates, side by side. */
static td_tensor *values_and_gates(td_graph *graph, const td_transformer_layer *layer, td_tensor *x)
{
    const td_parameter *both[2] = {layer->fc1_weight, layer->gate_weight};
    return layer->gate_weight ? td_linear_several(graph, x, both, NULL, 2) : td_linear_apply(graph, x, layer->fc1_weight, layer->fc1_bias);
}

static td_tensor *feed_forward(stack_pass *pass, size_t index, td_tensor *x)
{
    const td_transformer_layer *layer = &pass->stack->layer[index];
    td_graph *graph = pass->graph;
    td_activation activation = pass->stack->activation;
    td_real rate = pass->network->rates.activation;
    td_tensor *hidden = pass->stack->gated ? td_dropout(graph, td_gated_linear(graph, values_and_gates(graph, layer, x), activation), rate)
                                           : td_linear_activate(graph, x, td_graph_parameter(graph, layer->fc1_weight),
                                                                bias_tensor(graph, layer->fc1_bias), activation, rate);
    return td_linear_apply(graph, hidden, layer->fc2_weight, layer->fc2_bias);
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

/* One part of a layer in place: while nothing is recorded, all memory it took is given back once its result has been moved to `kept`. */
static td_tensor *run_part(stack_pass *pass, size_t index, td_tensor *x, sublayer *function, td_norm_layer norm, td_tensor *kept)
{
    td_arena_mark mark = td_arena_get_mark(pass->graph->arena);
    x = residual(pass, index, x, function, norm);
    if (!x || !kept)
        return x;
    memcpy(kept->data, x->data, x->rows * x->columns * sizeof *x->data);
    td_arena_release_to(pass->graph->arena, mark);
    return kept;
}

/* The weights of the last cross-attention, where they are asked for, outlive the stack. */
static td_tensor *run_stack(stack_pass *pass, td_tensor *x)
{
    const td_transformer_stack *stack = pass->stack;
    td_tensor *kept = pass->graph->recording || !x ? NULL : td_tensor_new(pass->graph, x->rows, x->columns, false);
    for (size_t i = 0; i < stack->layers; i++) {
        bool last = i + 1 == stack->layers;
        x = run_part(pass, i, x, self_attention, stack->layer[i].self.norm, kept);
        if (pass->state)
            x = run_part(pass, i, x, cross_attention, stack->layer[i].cross.norm, last && pass->attention ? NULL : kept);
        x = run_part(pass, i, x, feed_forward, stack->layer[i].norm, last ? NULL : kept);
    }
    if (stack->final_norm.weight)
        x = td_norm_apply(pass->graph, x, stack->final_norm, stack->epsilon);
    return stack->final_dropout ? td_dropout(pass->graph, x, pass->network->rates.dropout) : x;
}

/* What positions do to self-attention. first: where sequences go on; NULL: they begin. */
static void find_positions(stack_pass *pass, const int32_t *first)
{
    const td_transformer_stack *stack = pass->stack;
    if (stack->relative.table) {
        size_t longest = 1;
        for (size_t row = 0; row < pass->ragged.count; row++) {
            size_t length = td_ragged_length(pass->ragged, row) + (first ? (size_t)first[row] : 0);
            longest = length > longest ? length : longest;
        }
        pass->bias = td_relative_positions_bias(&stack->relative, pass->graph, longest);
    }
    int32_t *positions = stack->rotary_dimensions ? td_count_positions(pass->graph, pass->ragged, first, 0) : NULL;
    if (positions)
        pass->angles =
            td_rotary_angles(pass->graph, positions, td_ragged_total(pass->ragged), stack->rotary_dimensions, stack->rotary_base);
}

td_tensor *td_stack_encode(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_ragged ragged, td_tensor *x)
{
    stack_pass pass = {.network = network, .stack = stack, .graph = graph, .ragged = ragged};
    find_positions(&pass, NULL);
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

/* ---- embeddings ---- */

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
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_tensor *placed = td_stack_place(stack, network, graph, x, positions);
    if (!placed || placed == x || graph->recording)
        return placed;
    memcpy(x->data, placed->data, x->rows * x->columns * sizeof *x->data); /* in its place: nobody wants it without positions */
    td_arena_release_to(graph->arena, mark);
    return x;
}

td_tensor *td_text_encode(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_real scale, size_t offset,
                          const td_batch *source)
{
    int32_t *positions = td_graph_ok(graph) ? td_count_positions(graph, source->ragged, NULL, offset) : NULL;
    if (!positions)
        return NULL;
    td_tensor *x = td_text_embed(stack, network, graph, scale, source->ids, td_ragged_total(source->ragged), positions);
    return td_stack_encode(stack, network, graph, source->ragged, x);
}

/* ---- stacks with cross-attention ---- */

td_status td_stack_begin(const td_transformer_stack *stack, td_graph *graph, const td_memory *memory, td_decoder_state *state)
{
    if (!td_graph_ok(graph))
        return graph->error.status;
    if (graph->recording) {
        state->memory = *memory;
        state->recorded_rows = memory->ragged.count;
        return TD_OK;
    }
    td_memory_group *group = state->added = td_cache_add_memory(&state->cache, graph, memory->ragged);
    for (size_t i = 0; group && i < stack->layers; i++) {
        td_arena_mark mark = td_arena_get_mark(graph->arena);
        td_cache_set_memory(&state->cache, group, graph, i, stack->heads,
                            fused_linear(graph, memory->states, &stack->layer[i].cross, 0, 2));
        td_arena_release_to(graph->arena, mark);
    }
    return graph->error.status;
}

static const int32_t *past_of(const td_graph *graph, const td_decoder_state *state)
{
    return graph->recording ? NULL : state->cache.past;
}

int32_t *td_stack_extend(td_graph *graph, td_decoder_state *state, td_ragged targets, size_t offset)
{
    size_t rows = graph->recording ? state->recorded_rows : state->cache.rows;
    if (targets.count != rows)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "decode: %zu rows of targets for %zu rows of state", targets.count, rows);
    if (!td_graph_ok(graph) || (!graph->recording && !td_cache_extend(&state->cache, graph, targets)))
        return NULL;
    return td_count_positions(graph, targets, past_of(graph, state), offset);
}

td_tensor *td_stack_decode(const td_transformer_stack *stack, const td_network *network, td_graph *graph, td_ragged targets,
                           td_decoder_state *state, td_tensor *x, const td_real **attention)
{
    stack_pass pass = {.network = network, .stack = stack, .graph = graph, .ragged = targets, .state = state, .attention = attention};
    find_positions(&pass, past_of(graph, state));
    return run_stack(&pass, x);
}
