/* T5 (Raffel et al. 2020): T5 v1.0 and v1.1, Flan-T5, mT5, ByT5. A Transformer without biases, with root mean square norms before each
 * block, whose only notion of position is a bias of the scores by distance, one table for each stack. */
#include "io/json.h"
#include "models/architecture.h"
#include "models/key_value_cache.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

typedef struct t5_attention {
    td_parameter *weight[3]; /* k, v, q, one after the other: see fused_linear */
    td_parameter *output, *norm;
} t5_attention;

typedef struct t5_layer {
    t5_attention self, cross;              /* cross: decoder only */
    td_parameter *gate, *up, *down, *norm; /* gate: NULL where the feed-forward block has none */
} t5_layer;

typedef struct t5_stack {
    size_t layers;
    t5_layer *layer;
    td_parameter *distances; /* [buckets, heads] */
    td_parameter *norm;
} t5_stack;

typedef struct t5 {
    size_t width, heads, head_width, feed_forward, buckets, farthest;
    td_activation activation;
    bool gated;
    td_real epsilon, logits_scale;
    t5_stack encoder, decoder;
    td_parameter *embedding, *logits;
} t5;

struct td_decoder_state {
    td_key_value_cache cache;
    td_memory memory; /* while recording: the memory of this step */
    size_t recorded_rows;
};

typedef struct t5_pass {
    const td_network *network;
    const t5 *model;
    const t5_stack *stack;
    td_graph *graph;
    td_ragged ragged;
    td_attention_bias bias;
    td_decoder_state *state;  /* decoder only */
    const td_real *attention; /* weights of the last cross-attention */
} t5_pass;

/* ---- configuration ---- */

static td_parameter *declare_matrix(td_parameters *parameters, size_t rows, size_t columns, double spread, const char *prefix,
                                    const char *name)
{
    td_parameter *weight = td_parameters_declare(parameters, rows, columns, TD_INIT_NORMAL, spread, "%s.%s.weight", prefix, name);
    td_parameters_product(parameters);
    return weight;
}

static td_parameter *declare_norm(td_parameters *parameters, size_t width, const char *prefix, const char *name)
{
    return td_parameters_declare(parameters, width, 0, TD_INIT_ONE, 0, "%s.%s.weight", prefix, name);
}

/* Spreads as the authors have them: scores are not divided by the root of the head's width, so the queries begin smaller. */
static t5_attention declare_attention(td_parameters *parameters, const t5 *model, const char *prefix, const char *name)
{
    t5_attention attention;
    char path[256];
    size_t inner = model->heads * model->head_width;
    double spread = 1 / sqrt((double)model->width);
    snprintf(path, sizeof path, "%s.%s", prefix, name);
    attention.weight[0] = declare_matrix(parameters, inner, model->width, spread, path, "k");
    attention.weight[1] = declare_matrix(parameters, inner, model->width, spread, path, "v");
    attention.weight[2] = declare_matrix(parameters, inner, model->width, spread / sqrt((double)model->head_width), path, "q");
    attention.output = declare_matrix(parameters, model->width, inner, 1 / sqrt((double)inner), path, "o");
    attention.norm = declare_norm(parameters, model->width, prefix, "layer_norm");
    return attention;
}

static void declare_layer(td_parameters *parameters, const t5 *model, bool decoder, const char *prefix, t5_layer *layer)
{
    char path[256];
    double spread = 1 / sqrt((double)model->width);
    snprintf(path, sizeof path, "%s.layer.0", prefix);
    layer->self = declare_attention(parameters, model, path, "SelfAttention");
    if (decoder) {
        snprintf(path, sizeof path, "%s.layer.1", prefix);
        layer->cross = declare_attention(parameters, model, path, "EncDecAttention");
    }
    snprintf(path, sizeof path, "%s.layer.%d", prefix, decoder ? 2 : 1);
    layer->norm = declare_norm(parameters, model->width, path, "layer_norm");
    if (model->gated)
        layer->gate = declare_matrix(parameters, model->feed_forward, model->width, spread, path, "DenseReluDense.wi_0");
    layer->up = declare_matrix(parameters, model->feed_forward, model->width, spread, path,
                               model->gated ? "DenseReluDense.wi_1" : "DenseReluDense.wi");
    layer->down =
        declare_matrix(parameters, model->width, model->feed_forward, 1 / sqrt((double)model->feed_forward), path, "DenseReluDense.wo");
}

static td_status declare_stack(td_network *network, const t5 *model, t5_stack *stack, const char *name, td_error *error)
{
    td_parameters *parameters = &network->parameters;
    bool decoder = strcmp(name, "decoder") == 0;
    stack->layer = td_allocate_array(stack->layers, sizeof *stack->layer);
    if (!stack->layer)
        return td_fail_memory(error, stack->layers * sizeof *stack->layer);
    for (size_t i = 0; i < stack->layers; i++) {
        char prefix[128];
        snprintf(prefix, sizeof prefix, "%s.block.%zu", name, i);
        declare_layer(parameters, model, decoder, prefix, &stack->layer[i]);
    }
    stack->distances = td_parameters_declare(parameters, model->buckets, model->heads, TD_INIT_NORMAL, 1 / sqrt((double)model->width),
                                             "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", name);
    stack->norm = declare_norm(parameters, model->width, name, "final_layer_norm");
    return TD_OK;
}

/* A size from the configuration, within 1..limit; fallback 0: it must be there. */
static td_status get_size(const json_t *config, const char *file, const char *key, size_t fallback, size_t limit, size_t *ret_size,
                          td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, key, (int64_t)fallback, &value, error));
    if (value < 1 || (uint64_t)value > limit)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be an integer from 1 to %zu", file, key, limit);
    *ret_size = (size_t)value;
    return TD_OK;
}

static td_status get_id(const json_t *config, const char *file, const char *key, int32_t fallback, int32_t *ret_id, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, key, fallback, &value, error));
    if (value < -1 || value > INT32_MAX)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a token id", file, key);
    *ret_id = (int32_t)value;
    return TD_OK;
}

/* "gated-gelu" is the approximation by tanh, plain "gelu" is not. */
static td_status get_feed_forward(const json_t *config, const char *file, const char *fallback, t5 *model, td_error *error)
{
    static const struct {
        const char *name;
        td_activation activation;
        bool gated;
    } kinds[] = {{"relu", TD_RELU, false},
                 {"gated-gelu", TD_GELU_TANH, true},
                 {"gated-silu", TD_SWISH, true},
                 {"gelu", TD_GELU, false},
                 {"gelu_new", TD_GELU_TANH, false},
                 {"gelu_pytorch_tanh", TD_GELU_TANH, false},
                 {"silu", TD_SWISH, false},
                 {"swish", TD_SWISH, false},
                 {"tanh", TD_TANH, false},
                 {"gated-relu", TD_RELU, true},
                 {"gated-gelu_new", TD_GELU_TANH, true},
                 {"gated-swish", TD_SWISH, true},
                 {"gated-tanh", TD_TANH, true}};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    const char *name, *inner;
    size_t kind = 0, own = 0;
    TD_TRY(td_json_get_string(config, file, "feed_forward_proj", fallback, &name, error));
    while (kind < KINDS && strcmp(name, kinds[kind].name) != 0)
        kind++;
    if (kind == KINDS)
        return td_fail(
            error, TD_ERROR_UNSUPPORTED,
            "%s: \"feed_forward_proj\": \"%s\" is not supported (relu, gelu, gelu_new, silu, swish, tanh, each also as gated-...)", file,
            name);
    model->activation = kinds[kind].activation;
    TD_TRY(td_json_get_bool(config, file, "is_gated_act", kinds[kind].gated, &model->gated, error));
    TD_TRY(td_json_get_string(config, file, "dense_act_fn", "", &inner, error)); /* newer files say the same once more, and this counts */
    while (own < KINDS && (kinds[own].gated || strcmp(inner, kinds[own].name) != 0))
        own++;
    if (*inner && own == KINDS)
        return td_fail(error, TD_ERROR_UNSUPPORTED,
                       "%s: \"dense_act_fn\": \"%s\" is not supported (relu, gelu, gelu_new, silu, swish, tanh)", file, inner);
    if (*inner)
        model->activation = kinds[own].activation;
    return TD_OK;
}

static td_status read_sizes(const json_t *config, const char *file, const char *feed_forward, td_network *network, t5 *model,
                            td_error *error)
{
    double epsilon;
    TD_TRY(get_size(config, file, "d_model", 0, 1 << 16, &model->width, error));
    TD_TRY(get_size(config, file, "d_kv", 0, 1 << 16, &model->head_width, error));
    TD_TRY(get_size(config, file, "num_heads", 0, 1 << 12, &model->heads, error));
    TD_TRY(get_size(config, file, "d_ff", 0, 1 << 20, &model->feed_forward, error));
    TD_TRY(get_size(config, file, "num_layers", 0, 1024, &model->encoder.layers, error));
    TD_TRY(get_size(config, file, "num_decoder_layers", model->encoder.layers, 1024, &model->decoder.layers, error));
    TD_TRY(get_size(config, file, "vocab_size", 0, 1 << 26, &network->vocabulary, error));
    TD_TRY(get_size(config, file, "relative_attention_num_buckets", 32, 1 << 16, &model->buckets, error));
    TD_TRY(get_size(config, file, "relative_attention_max_distance", 128, 1 << 24, &model->farthest, error));
    TD_TRY(td_json_get_real(config, file, "layer_norm_epsilon", 1e-6, &epsilon, error));
    if (!(epsilon >= 0 && epsilon < 1))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"layer_norm_epsilon\" must be from 0 to 1", file);
    model->epsilon = (td_real)epsilon;
    if (model->buckets < 4 || model->buckets % 2)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"relative_attention_num_buckets\" must be even and at least 4", file);
    if (model->farthest <= model->buckets / 2)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"relative_attention_max_distance\" must be more than half of the buckets", file);
    if (model->width * model->heads * model->head_width % 16)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"d_model\" times \"num_heads\" times \"d_kv\" must be a multiple of 16", file);
    return get_feed_forward(config, file, feed_forward, model, error);
}

static td_status read_ids(const json_t *config, const char *file, td_network *network, td_error *error)
{
    bool two_stacks;
    TD_TRY(td_json_get_bool(config, file, "is_encoder_decoder", true, &two_stacks, error));
    if (!two_stacks)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"is_encoder_decoder\": false is not supported", file);
    TD_TRY(get_id(config, file, "pad_token_id", 0, &network->pad_id, error));
    TD_TRY(get_id(config, file, "eos_token_id", 1, &network->eos_id, error));
    TD_TRY(get_id(config, file, "bos_token_id", -1, &network->bos_id, error));
    return get_id(config, file, "decoder_start_token_id", network->pad_id, &network->decoder_start_id, error);
}

/* Where the output is tied and scaled, it is the embedding, as in T5 v1.0. Where it is not, it is a table of its own, as in T5 v1.1 and
 * mT5, unless the file holds but one. */
static td_status configure_output(const json_t *config, const char *file, bool may_scale, td_network *network, t5 *model, td_error *error)
{
    bool tied, scaled;
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    TD_TRY(td_json_get_bool(config, file, "scale_decoder_outputs", tied, &scaled, error));
    td_parameters *parameters = &network->parameters;
    model->embedding = td_parameters_declare(parameters, network->vocabulary, model->width, TD_INIT_NORMAL, 1, "shared.weight");
    td_parameters_product(parameters);
    td_parameters_alias(parameters, "encoder.embed_tokens.weight");
    td_parameters_alias(parameters, "decoder.embed_tokens.weight");
    model->logits = model->embedding;
    model->logits_scale = may_scale && scaled ? (td_real)(1 / sqrt((double)model->width)) : 1;
    if (may_scale && scaled && tied) {
        td_parameters_alias(parameters, "lm_head.weight");
        return TD_OK;
    }
    model->logits = td_parameters_declare(parameters, network->vocabulary, model->width, TD_INIT_NORMAL, 1 / sqrt((double)model->width),
                                          "lm_head.weight");
    td_parameters_product(parameters);
    td_parameters_alias(parameters, "shared.weight");
    return TD_OK;
}

static td_status configure(const json_t *config, const char *file, bool multilingual, td_network *network, td_error *error)
{
    t5 *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    TD_TRY(read_sizes(config, file, multilingual ? "gated-gelu" : "relu", network, model, error));
    TD_TRY(read_ids(config, file, network, error));
    TD_TRY(configure_output(config, file, !multilingual, network, model, error));
    TD_TRY(declare_stack(network, model, &model->encoder, "encoder", error));
    return declare_stack(network, model, &model->decoder, "decoder", error);
}

static td_status configure_t5(const json_t *config, const char *file, td_network *network, td_error *error)
{
    return configure(config, file, false, network, error);
}

static td_status configure_mt5(const json_t *config, const char *file, td_network *network, td_error *error)
{
    return configure(config, file, true, network, error);
}

static void release(td_network *network)
{
    t5 *model = network->family;
    td_release(model->encoder.layer);
    td_release(model->decoder.layer);
    td_release(model);
    network->family = NULL;
}

static td_projection projection(const td_network *network)
{
    const t5 *model = network->family;
    return (td_projection){model->logits, NULL, model->logits_scale};
}

/* ---- positions ---- */

/* Near distances have a bucket each, farther ones share buckets that widen logarithmically. In single precision and in this order, so
 * that a distance on the border of two buckets falls where it fell in training. */
static int32_t bucket_of(const t5 *model, bool both_ways, int64_t distance)
{
    size_t buckets = both_ways ? model->buckets / 2 : model->buckets, exact = buckets / 2;
    size_t base = both_ways && distance > 0 ? buckets : 0;
    uint64_t away = distance <= 0 ? (uint64_t)-distance : both_ways ? (uint64_t)distance : 0;
    if (away < exact)
        return (int32_t)(base + (size_t)away);
    float ratio = logf((float)away / (float)exact) / (float)log((double)model->farthest / (double)exact) * (float)(buckets - exact);
    size_t bucket = exact + (size_t)ratio;
    return (int32_t)(base + (bucket < buckets ? bucket : buckets - 1));
}

/* The biases of every distance that occurs among `longest` positions: one computation for all layers. */
static td_attention_bias relative_bias(td_graph *graph, const t5 *model, const t5_stack *stack, size_t longest)
{
    bool both_ways = stack == &model->encoder;
    size_t past = longest ? longest - 1 : 0, count = both_ways ? 2 * past + 1 : past + 1;
    int32_t *buckets = td_graph_allocate(graph, count, sizeof *buckets);
    for (size_t i = 0; buckets && i < count; i++)
        buckets[i] = bucket_of(model, both_ways, (int64_t)i - (int64_t)past);
    td_tensor *values = td_relative_bias(graph, td_graph_parameter(graph, stack->distances), buckets, count);
    return (td_attention_bias){.values = values, .head_step = count, .first = past, .row_step = -1};
}

/* ---- layers ---- */

static td_tensor *apply_norm(t5_pass *pass, td_tensor *x, const td_parameter *weight)
{
    return td_rms_norm(pass->graph, x, td_graph_parameter(pass->graph, weight), pass->model->epsilon);
}

static td_tensor *linear(t5_pass *pass, td_tensor *x, const td_parameter *weight)
{
    return td_linear(pass->graph, x, td_graph_parameter(pass->graph, weight), NULL);
}

/* x times `count` weights that lie one after the other, from `first`, in one product. */
static td_tensor *fused_linear(t5_pass *pass, td_tensor *x, const t5_attention *attention, size_t first, size_t count)
{
    return td_linear_several(pass->graph, x, (const td_parameter *const *)&attention->weight[first], NULL, count);
}

static td_tensor *attend(t5_pass *pass, bool causal, td_tensor *query, td_tensor *kv, td_ragged memory, td_attention_bias bias)
{
    size_t inner = pass->model->heads * pass->model->head_width;
    td_attention_options options = {
        .heads = pass->model->heads, .causal = causal, .scale = 1, .dropout = pass->network->rates.attention, .bias = bias};
    return td_attention(pass->graph, query, pass->ragged, td_tensor_columns(pass->graph, kv, 0, inner),
                        td_tensor_columns(pass->graph, kv, inner, inner), memory, &options, NULL);
}

static td_tensor *self_attention(t5_pass *pass, size_t index, td_tensor *x)
{
    const t5_attention *attention = &pass->stack->layer[index].self;
    size_t inner = pass->model->heads * pass->model->head_width;
    td_tensor *kvq = fused_linear(pass, apply_norm(pass, x, attention->norm), attention, 0, 3), *mixed;
    if (pass->state && !pass->graph->recording)
        mixed = td_cache_self_attention(&pass->state->cache, pass->graph, index, pass->model->heads, pass->ragged, kvq);
    else
        mixed = attend(pass, pass->state != NULL, td_tensor_columns(pass->graph, kvq, 2 * inner, inner), kvq, pass->ragged, pass->bias);
    return linear(pass, mixed, attention->output);
}

static td_tensor *cross_attention(t5_pass *pass, size_t index, td_tensor *x)
{
    const t5_attention *attention = &pass->stack->layer[index].cross;
    td_tensor *query = fused_linear(pass, apply_norm(pass, x, attention->norm), attention, 2, 1), *mixed;
    if (pass->graph->recording) {
        const td_memory *memory = &pass->state->memory;
        mixed = attend(pass, false, query, fused_linear(pass, memory->states, attention, 0, 2), memory->ragged, (td_attention_bias){0});
    } else {
        td_attention_report report = {index + 1 == pass->stack->layers ? &pass->attention : NULL, NULL};
        mixed = td_cache_cross_attention(&pass->state->cache, pass->graph, index, pass->model->heads, pass->ragged, query, report);
    }
    return linear(pass, mixed, attention->output);
}

static td_tensor *feed_forward(t5_pass *pass, size_t index, td_tensor *x)
{
    const t5_layer *layer = &pass->stack->layer[index];
    td_real rate = pass->network->rates.activation;
    x = apply_norm(pass, x, layer->norm);
    td_tensor *hidden = linear(pass, x, layer->gate ? layer->gate : layer->up);
    hidden = td_activate(pass->graph, hidden, pass->model->activation, layer->gate ? 0 : rate);
    if (layer->gate)
        hidden = td_dropout(pass->graph, td_multiply(pass->graph, hidden, linear(pass, x, layer->up)), rate);
    return linear(pass, hidden, layer->down);
}

static td_tensor *run_stack(t5_pass *pass, const int32_t *ids)
{
    td_graph *graph = pass->graph;
    td_real rate = pass->network->rates.dropout;
    td_tensor *x = td_embedding(graph, td_graph_parameter(graph, pass->model->embedding), ids, td_ragged_total(pass->ragged), 1);
    x = td_dropout(graph, x, rate);
    for (size_t i = 0; i < pass->stack->layers; i++) {
        x = td_add_dropout(graph, x, self_attention(pass, i, x), rate);
        if (pass->state)
            x = td_add_dropout(graph, x, cross_attention(pass, i, x), rate);
        x = td_add_dropout(graph, x, feed_forward(pass, i, x), rate);
    }
    return td_dropout(graph, apply_norm(pass, x, pass->stack->norm), rate);
}

static size_t longest_of(td_ragged ragged, const int32_t *past)
{
    size_t longest = 1;
    for (size_t row = 0; row < ragged.count; row++) {
        size_t length = td_ragged_length(ragged, row) + (past ? (size_t)past[row] : 0);
        longest = length > longest ? length : longest;
    }
    return longest;
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const t5 *model = network->family;
    t5_pass pass = {.network = network, .model = model, .stack = &model->encoder, .graph = graph, .ragged = source->ragged};
    if (!td_graph_ok(graph))
        return graph->error.status;
    pass.bias = relative_bias(graph, model, pass.stack, longest_of(source->ragged, NULL));
    td_tensor *x = pass.bias.values ? run_stack(&pass, source->ids) : NULL;
    *ret_memory = (td_memory){source->ragged, x, NULL, source->ids};
    return graph->error.status;
}

/* ---- the decoder's state ---- */

static td_status state_new(const td_network *network, td_decoder_state **ret_state, td_error *error)
{
    const t5 *model = network->family;
    td_decoder_state *state = td_allocate_array(1, sizeof *state);
    if (!state)
        return td_fail_memory(error, sizeof *state);
    td_cache_init(&state->cache, model->decoder.layers, model->heads * model->head_width);
    state->cache.scale = 1;
    *ret_state = state;
    return TD_OK;
}

static void state_free(td_decoder_state *state)
{
    if (state)
        td_cache_free(&state->cache);
    td_release(state);
}

static td_status begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state)
{
    const t5 *model = network->family;
    if (!td_graph_ok(graph))
        return graph->error.status;
    if (graph->recording) {
        state->memory = *memory;
        state->recorded_rows = memory->ragged.count;
        return TD_OK;
    }
    t5_pass pass = {.network = network, .model = model, .stack = &model->decoder, .graph = graph, .ragged = memory->ragged};
    td_memory_group *group = td_cache_add_memory(&state->cache, graph, memory->ragged);
    for (size_t i = 0; group && i < model->decoder.layers; i++) {
        td_arena_mark mark = td_arena_get_mark(graph->arena);
        td_cache_set_memory(group, graph, i, model->heads, fused_linear(&pass, memory->states, &model->decoder.layer[i].cross, 0, 2));
        td_arena_release_to(graph->arena, mark);
    }
    return graph->error.status;
}

static td_status decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                        td_tensor **ret_hidden, const td_real **ret_attention)
{
    const t5 *model = network->family;
    t5_pass pass = {
        .network = network, .model = model, .stack = &model->decoder, .graph = graph, .ragged = targets->ragged, .state = state};
    size_t rows = graph->recording ? state->recorded_rows : state->cache.rows;
    if (targets->ragged.count != rows)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "decode: %zu rows of targets for %zu rows of state", targets->ragged.count, rows);
    if (!td_graph_ok(graph) || (!graph->recording && !td_cache_extend(&state->cache, graph, targets->ragged)))
        return graph->error.status;
    pass.bias = relative_bias(graph, model, pass.stack, longest_of(targets->ragged, graph->recording ? NULL : state->cache.past));
    state->cache.bias = pass.bias;
    td_tensor *hidden = pass.bias.values ? run_stack(&pass, targets->ids) : NULL;
    state->cache.bias = (td_attention_bias){0};
    *ret_hidden = hidden;
    if (ret_attention)
        *ret_attention = pass.attention;
    return graph->error.status;
}

static td_status reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error)
{
    return td_cache_reorder(&state->cache, parents, rows, error);
}

static size_t state_rows(const td_decoder_state *state)
{
    return state->cache.rows;
}

#define T5_ROW(symbol, name)                                                                                                               \
    extern const td_architecture td_architecture_##symbol;                                                                                 \
    const td_architecture td_architecture_##symbol = {                                                                                     \
        .model_type = name,                                                                                                                \
        .source = TD_TEXT,                                                                                                                 \
        .configure = configure_##symbol,                                                                                                   \
        .release = release,                                                                                                                \
        .projection = projection,                                                                                                          \
        .encode = encode,                                                                                                                  \
        .state_new = state_new,                                                                                                            \
        .state_free = state_free,                                                                                                          \
        .begin = begin,                                                                                                                    \
        .decode = decode,                                                                                                                  \
        .reorder = reorder,                                                                                                                \
        .state_rows = state_rows,                                                                                                          \
    };

T5_ROW(t5, "t5")
T5_ROW(mt5, "mt5")
