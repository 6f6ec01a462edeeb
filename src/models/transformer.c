/* Encoder-decoder Transformers of the BART line: Marian, BART, mBART, Pegasus, M2M-100. They differ in where the norms are, how
 * positions are made and which tables are tied; a row of traits says so, the layers are the same. */
#include "io/json.h"
#include "models/copying.h"
#include "models/key_value_cache.h"
#include "ops/ops.h"
#include "ops/recurrent.h"

#include <math.h>
#include <string.h>

typedef enum position_kind {
    POSITIONS_SINUSOIDAL, /* sin | cos halves, frequencies over width / 2 (Marian, Pegasus) */
    POSITIONS_FAIRSEQ,    /* the same over width / 2 - 1 (M2M-100) */
    POSITIONS_LEARNED
} position_kind;

typedef struct transformer_traits {
    const char *model_type;
    bool pre_norm;       /* norm before each block, and once more at the end of each transformer_stack */
    bool embedding_norm; /* layernorm_embedding */
    position_kind positions;
    size_t position_offset; /* row of the first position; POSITIONS_FAIRSEQ: the row after the padding's instead */
    bool logits_bias;
    bool two_vocabularies;     /* source and target may have their own: decoder_vocab_size, share_encoder_decoder_embeddings */
    bool scale_embedding;      /* these two when the configuration does not say */
    const char *activation;
    bool picture; /* the source is cells of a picture: a projection in place of the embedding, and layers may be none */
} transformer_traits;

typedef struct norm_layer {
    td_parameter *weight, *bias;
} norm_layer;

/* Query, key and value are declared one after the other, as td_linear_several wants them. */
typedef struct attention_layer {
    td_parameter *weight[3], *bias[3]; /* k, v, q: the memory's two products first, so that [k v] and [k v q] are both spans */
    td_parameter *output_weight, *output_bias;
    norm_layer norm;
} attention_layer;

typedef struct transformer_layer {
    attention_layer self, cross; /* cross: decoder only */
    td_parameter *fc1_weight, *fc1_bias, *fc2_weight, *fc2_bias;
    norm_layer norm;
} transformer_layer;

typedef struct transformer_stack {
    size_t layers, heads, feed_forward;
    transformer_layer *layer;
    td_parameter *embedding, *positions;
    norm_layer embedding_norm, final_norm;
} transformer_stack;

/* Copying reads the source with a head of its own on top of the decoder; its attention is the distribution over source positions. */
typedef struct copy_layer {
    td_parameter *query_weight, *query_bias, *key_weight, *key_bias;
    td_parameter *gate_weight, *gate_bias; /* [1, 2 D]: of the decoder's state and what the head read */
} copy_layer;

typedef struct transformer {
    const transformer_traits *traits;
    size_t width, position_offset;
    td_activation activation;
    td_real embedding_scale;
    transformer_stack encoder, decoder;
    td_parameter *cells_weight, *cells_bias; /* of a picture */
    td_parameter *logits_weight, *logits_bias;
    copy_layer copy; /* of a network that copies */
} transformer;

struct td_decoder_state {
    td_key_value_cache cache;
    td_memory memory; /* while recording: the memory of this step */
    size_t recorded_rows;
    td_copying copying; /* of the last decode */
};

/* What one pass over a batch needs. */
typedef struct transformer_pass {
    const td_network *network;
    const transformer *model;
    td_graph *graph;
    td_ragged ragged;
    td_decoder_state *state; /* decoder only */
    const td_real *attention; /* weights of the last cross-attention */
} transformer_pass;

/* ---- configuration ---- */

static norm_layer declare_norm(td_parameters *parameters, size_t width, const char *prefix)
{
    norm_layer norm;
    norm.weight = td_parameters_declare(parameters, width, 0, TD_INIT_ONE, 0, "%s.weight", prefix);
    norm.bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.bias", prefix);
    return norm;
}

/* A weight that products alone read. */
static td_parameter *declare_matrix(td_parameters *parameters, size_t outputs, size_t inputs, double spread, const char *prefix, const char *name)
{
    td_parameter *weight = td_parameters_declare(parameters, outputs, inputs, TD_INIT_XAVIER, spread, "%s.%s.weight", prefix, name);
    td_parameters_product(parameters);
    return weight;
}

static attention_layer declare_attention(td_parameters *parameters, size_t width, const char *prefix)
{
    static const char *const names[3] = {"k_proj", "v_proj", "q_proj"};
    attention_layer attention;
    for (size_t i = 0; i < 3; i++) /* spread: as if the three were one matrix (fairseq's 1/sqrt 2) */
        attention.weight[i] = declare_matrix(parameters, width, width, 0.70710678, prefix, names[i]);
    for (size_t i = 0; i < 3; i++)
        attention.bias[i] = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.%s.bias", prefix, names[i]);
    attention.output_weight = declare_matrix(parameters, width, width, 1, prefix, "out_proj");
    attention.output_bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.out_proj.bias", prefix);
    char norm[256];
    snprintf(norm, sizeof norm, "%s_layer_norm", prefix);
    attention.norm = declare_norm(parameters, width, norm);
    return attention;
}

static void declare_layer(td_parameters *parameters, const transformer *model, const transformer_stack *stack, bool decoder, const char *prefix,
                          transformer_layer *layer)
{
    char name[256];
    snprintf(name, sizeof name, "%s.self_attn", prefix);
    layer->self = declare_attention(parameters, model->width, name);
    if (decoder) {
        snprintf(name, sizeof name, "%s.encoder_attn", prefix);
        layer->cross = declare_attention(parameters, model->width, name);
    }
    layer->fc1_weight = declare_matrix(parameters, stack->feed_forward, model->width, 1, prefix, "fc1");
    layer->fc1_bias = td_parameters_declare(parameters, stack->feed_forward, 0, TD_INIT_ZERO, 0, "%s.fc1.bias", prefix);
    layer->fc2_weight = declare_matrix(parameters, model->width, stack->feed_forward, 1, prefix, "fc2");
    layer->fc2_bias = td_parameters_declare(parameters, model->width, 0, TD_INIT_ZERO, 0, "%s.fc2.bias", prefix);
    snprintf(name, sizeof name, "%s.final_layer_norm", prefix);
    layer->norm = declare_norm(parameters, model->width, name);
}

static td_status declare_stack(td_network *network, const transformer *model, transformer_stack *stack, const char *name, td_error *error)
{
    td_parameters *parameters = &network->parameters;
    bool decoder = strcmp(name, "decoder") == 0;
    char prefix[128];
    stack->layer = td_allocate_array(stack->layers, sizeof *stack->layer);
    if (!stack->layer)
        return td_fail_memory(error, stack->layers * sizeof *stack->layer);
    size_t rows = network->max_positions + model->position_offset;
    bool learned = model->traits->positions == POSITIONS_LEARNED;
    stack->positions = td_parameters_declare(parameters, rows, model->width, learned ? TD_INIT_NORMAL : TD_INIT_CONSTANT, 0.02,
                                             "model.%s.embed_positions.weight", name);
    if (model->traits->embedding_norm) {
        snprintf(prefix, sizeof prefix, "model.%s.layernorm_embedding", name);
        stack->embedding_norm = declare_norm(parameters, model->width, prefix);
    }
    for (size_t i = 0; i < stack->layers; i++) {
        snprintf(prefix, sizeof prefix, "model.%s.layers.%zu", name, i);
        declare_layer(parameters, model, stack, decoder, prefix, &stack->layer[i]);
    }
    if (model->traits->pre_norm) {
        snprintf(prefix, sizeof prefix, "model.%s.layer_norm", name);
        stack->final_norm = declare_norm(parameters, model->width, prefix);
    }
    return TD_OK;
}

static void declare_embeddings(td_network *network, transformer *model, size_t source_words, bool shared, bool tied)
{
    td_parameters *parameters = &network->parameters;
    double spread = 1 / sqrt((double)model->width);
    size_t words = network->vocabulary;
    if (model->traits->picture) {
        model->cells_weight = td_parameters_declare(parameters, model->width, network->feature_width, TD_INIT_XAVIER, 1,
                                                    "model.encoder.projection.weight");
        model->cells_bias = td_parameters_declare(parameters, model->width, 0, TD_INIT_ZERO, 0, "model.encoder.projection.bias");
        model->decoder.embedding = td_parameters_declare(parameters, words, model->width, TD_INIT_NORMAL, spread,
                                                         "model.decoder.embed_tokens.weight");
    } else if (shared) {
        model->encoder.embedding = model->decoder.embedding =
            td_parameters_declare(parameters, words, model->width, TD_INIT_NORMAL, spread, "model.shared.weight");
        td_parameters_product(parameters);
        td_parameters_alias(parameters, "model.encoder.embed_tokens.weight");
        td_parameters_alias(parameters, "model.decoder.embed_tokens.weight");
    } else {
        model->encoder.embedding = td_parameters_declare(parameters, source_words, model->width, TD_INIT_NORMAL, spread,
                                                         "model.encoder.embed_tokens.weight");
        td_parameters_product(parameters);
        td_parameters_alias(parameters, "model.shared.weight"); /* older files hold one table of two equal ones */
        model->decoder.embedding = td_parameters_declare(parameters, words, model->width, TD_INIT_NORMAL, spread,
                                                         "model.decoder.embed_tokens.weight");
        td_parameters_product(parameters);
        td_parameters_alias(parameters, "model.shared.weight");
    }
    if (tied) {
        td_parameters_alias(parameters, "lm_head.weight");
        model->logits_weight = model->decoder.embedding;
    } else {
        model->logits_weight = td_parameters_declare(parameters, words, model->width, TD_INIT_NORMAL, spread, "lm_head.weight");
        td_parameters_product(parameters);
    }
    if (model->traits->logits_bias) {
        model->logits_bias = td_parameters_declare(parameters, 1, words, TD_INIT_ZERO, 0, "final_logits_bias");
        td_parameters_optional(parameters);
    }
}

static void declare_copying(td_parameters *parameters, transformer *model)
{
    copy_layer *copy = &model->copy;
    copy->query_weight = td_parameters_declare(parameters, model->width, model->width, TD_INIT_XAVIER, 1, "tandem.copy.query.weight");
    copy->query_bias = td_parameters_declare(parameters, model->width, 0, TD_INIT_ZERO, 0, "tandem.copy.query.bias");
    copy->key_weight = td_parameters_declare(parameters, model->width, model->width, TD_INIT_XAVIER, 1, "tandem.copy.key.weight");
    copy->key_bias = td_parameters_declare(parameters, model->width, 0, TD_INIT_ZERO, 0, "tandem.copy.key.bias");
    copy->gate_weight = td_parameters_declare(parameters, 1, 2 * model->width, TD_INIT_XAVIER, 1, "tandem.copy.gate.weight");
    copy->gate_bias = td_parameters_declare(parameters, 1, 0, TD_INIT_ZERO, 0, "tandem.copy.gate.bias");
}

/* A size from the configuration: `key` must be there and within 1..limit. */
static td_status get_size(const json_t *config, const char *file, const char *key, size_t limit, size_t *ret_size, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, key, -1, &value, error));
    if (value < 1 || (uint64_t)value > limit)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be an integer from 1 to %zu", file, key, limit);
    *ret_size = (size_t)value;
    return TD_OK;
}

static td_status get_activation(const json_t *config, const char *file, const char *fallback, td_activation *ret_activation, td_error *error)
{
    static const struct {
        const char *name;
        td_activation activation;
    } names[] = {{"relu", TD_RELU}, {"gelu", TD_GELU}, {"swish", TD_SWISH}, {"silu", TD_SWISH}, {"tanh", TD_TANH}, {"gelu_new", TD_GELU_TANH}};
    const char *name;
    TD_TRY(td_json_get_string(config, file, "activation_function", fallback, &name, error));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i].name) == 0) {
            *ret_activation = names[i].activation;
            return TD_OK;
        }
    }
    return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"activation_function\": \"%s\" is not supported (relu, gelu, gelu_new, swish, silu, tanh)",
                   file, name);
}

static td_status get_id(const json_t *config, const char *file, const char *key, int32_t *ret_id, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, key, -1, &value, error));
    if (value < -1 || value > INT32_MAX)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a token id", file, key);
    *ret_id = (int32_t)value;
    return TD_OK;
}

static td_status read_sizes(const json_t *config, const char *file, td_network *network, transformer *model, td_error *error)
{
    bool scale;
    TD_TRY(get_size(config, file, "d_model", 1 << 16, &model->width, error));
    if (model->traits->picture)
        TD_TRY(get_size(config, file, "feature_size", 1 << 16, &network->feature_width, error));
    const json_t *layers = json_object_get(config, "encoder_layers");
    if (model->traits->picture && json_is_integer(layers) && json_integer_value(layers) == 0)
        model->encoder.layers = 0;
    else
        TD_TRY(get_size(config, file, "encoder_layers", 1024, &model->encoder.layers, error));
    TD_TRY(get_size(config, file, "decoder_layers", 1024, &model->decoder.layers, error));
    TD_TRY(get_size(config, file, "encoder_attention_heads", 1 << 16, &model->encoder.heads, error));
    TD_TRY(get_size(config, file, "decoder_attention_heads", 1 << 16, &model->decoder.heads, error));
    TD_TRY(get_size(config, file, "encoder_ffn_dim", 1 << 20, &model->encoder.feed_forward, error));
    TD_TRY(get_size(config, file, "decoder_ffn_dim", 1 << 20, &model->decoder.feed_forward, error));
    TD_TRY(get_size(config, file, "max_position_embeddings", 1 << 24, &network->max_positions, error));
    TD_TRY(get_activation(config, file, model->traits->activation, &model->activation, error));
    TD_TRY(td_json_get_bool(config, file, "scale_embedding", model->traits->scale_embedding, &scale, error));
    model->embedding_scale = scale ? (td_real)sqrt((double)model->width) : 1;
    if (model->width % 16)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"d_model\" must be a multiple of 16", file);
    if (model->width % model->encoder.heads || model->width % model->decoder.heads)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"d_model\" %zu is not a multiple of the number of heads", file, model->width);
    TD_TRY(get_id(config, file, "pad_token_id", &network->pad_id, error));
    TD_TRY(get_id(config, file, "eos_token_id", &network->eos_id, error));
    TD_TRY(get_id(config, file, "bos_token_id", &network->bos_id, error));
    return get_id(config, file, "decoder_start_token_id", &network->decoder_start_id, error);
}

/* Keys of older files that describe the family itself: another value than the family's would mean another network. */
static td_status check_traits(const transformer_traits *traits, const json_t *config, const char *file, td_error *error)
{
    const struct {
        const char *key;
        bool wanted;
    } keys[] = {{"normalize_before", traits->pre_norm},
                {"add_final_layer_norm", traits->pre_norm},
                {"normalize_embedding", traits->embedding_norm},
                {"static_position_embeddings", traits->positions != POSITIONS_LEARNED},
                {"is_encoder_decoder", true}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        bool value;
        TD_TRY(td_json_get_bool(config, file, keys[i].key, keys[i].wanted, &value, error));
        if (value != keys[i].wanted)
            return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": %s is not supported for model type %s (%s is)", file, keys[i].key,
                           value ? "true" : "false", traits->model_type, keys[i].wanted ? "true" : "false");
    }
    return TD_OK;
}

/* Which tables there are, and their sizes. */
static td_status configure_embeddings(const json_t *config, const char *file, td_network *network, transformer *model, td_error *error)
{
    bool shared = true, tied;
    size_t source_words = 0;
    TD_TRY(get_size(config, file, "vocab_size", 1 << 26, &source_words, error));
    network->vocabulary = source_words;
    if (model->traits->two_vocabularies) {
        if (td_json_has(config, "decoder_vocab_size"))
            TD_TRY(get_size(config, file, "decoder_vocab_size", 1 << 26, &network->vocabulary, error));
        TD_TRY(td_json_get_bool(config, file, "share_encoder_decoder_embeddings", true, &shared, error));
    }
    if (shared && network->vocabulary != source_words)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"decoder_vocab_size\" %zu differs from \"vocab_size\" %zu though embeddings are shared",
                       file, network->vocabulary, source_words);
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    TD_TRY(td_copying_configure(config, file, source_words, network, error));
    declare_embeddings(network, model, source_words, shared && tied, tied);
    return TD_OK;
}

static td_status configure(const transformer_traits *traits, const json_t *config, const char *file, td_network *network, td_error *error)
{
    transformer *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    model->traits = traits;
    TD_TRY(read_sizes(config, file, network, model, error));
    TD_TRY(check_traits(traits, config, file, error));
    model->position_offset = traits->position_offset;
    if (traits->positions == POSITIONS_FAIRSEQ && network->pad_id >= 0)
        model->position_offset = (size_t)network->pad_id + 1;
    if (model->position_offset > (size_t)1 << 24)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"pad_token_id\" %d is too large: positions begin after it", file, network->pad_id);
    TD_TRY(configure_embeddings(config, file, network, model, error));
    TD_TRY(declare_stack(network, model, &model->encoder, "encoder", error));
    TD_TRY(declare_stack(network, model, &model->decoder, "decoder", error));
    if (network->copies)
        declare_copying(&network->parameters, model);
    return TD_OK;
}

/* Row p: sin(p f_0) .. sin(p f_h-1), cos(p f_0) .. cos(p f_h-1), f_j = 10000^(-j / h) (Vaswani 2017, 3.5), not interleaved. */
static void fill_sinusoids(td_parameter *table, position_kind kind)
{
    size_t half = table->columns / 2;
    double steps = kind == POSITIONS_FAIRSEQ ? (double)half - 1 : (double)half;
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)row * pow(10000.0, -(double)i / steps);
            table->data[row * table->columns + i] = (td_real)sin(angle);
            table->data[row * table->columns + half + i] = (td_real)cos(angle);
        }
    }
}

static void fill_constants(td_network *network)
{
    transformer *model = network->family;
    if (model->traits->positions == POSITIONS_LEARNED)
        return;
    fill_sinusoids(model->encoder.positions, model->traits->positions);
    fill_sinusoids(model->decoder.positions, model->traits->positions);
}

static void release(td_network *network)
{
    transformer *model = network->family;
    td_release(model->encoder.layer);
    td_release(model->decoder.layer);
    td_release(model);
    network->family = NULL;
}

static td_projection projection(const td_network *network)
{
    const transformer *model = network->family;
    return (td_projection){model->logits_weight, model->logits_bias, 0};
}

/* ---- layers ---- */

static td_tensor *apply_norm(transformer_pass *pass, td_tensor *x, norm_layer norm)
{
    return td_layer_norm(pass->graph, x, td_graph_parameter(pass->graph, norm.weight), td_graph_parameter(pass->graph, norm.bias),
                         (td_real)1e-5);
}

/* x times `count` of the projections, from `first`, in one product. */
static td_tensor *fused_linear(transformer_pass *pass, td_tensor *x, const attention_layer *attention, size_t first, size_t count)
{
    const td_parameter *weights[3], *biases[3];
    for (size_t i = 0; i < count; i++) {
        weights[i] = attention->weight[first + i];
        biases[i] = attention->bias[first + i];
    }
    return td_linear_several(pass->graph, x, weights, biases, count);
}

static td_tensor *output_linear(transformer_pass *pass, td_tensor *x, const td_parameter *weight, const td_parameter *bias)
{
    return td_linear(pass->graph, x, td_graph_parameter(pass->graph, weight), td_graph_parameter(pass->graph, bias));
}

static td_tensor *attend(transformer_pass *pass, size_t heads, bool causal, td_tensor *query, td_tensor *key, td_tensor *value, td_ragged memory)
{
    td_attention_options options = {.heads = heads, .causal = causal, .dropout = pass->network->rates.attention};
    return td_attention(pass->graph, query, pass->ragged, key, value, memory, &options, NULL);
}

static td_tensor *self_attention(transformer_pass *pass, const transformer_stack *stack, size_t index, td_tensor *x)
{
    const attention_layer *attention = &stack->layer[index].self;
    size_t width = pass->model->width;
    bool decoder = pass->state != NULL;
    td_tensor *kvq = fused_linear(pass, x, attention, 0, 3);
    td_tensor *query = td_tensor_columns(pass->graph, kvq, 2 * width, width), *mixed;
    if (decoder && !pass->graph->recording)
        mixed = td_cache_self_attention(&pass->state->cache, pass->graph, index, stack->heads, pass->ragged, kvq);
    else
        mixed = attend(pass, stack->heads, decoder, query, td_tensor_columns(pass->graph, kvq, 0, width),
                       td_tensor_columns(pass->graph, kvq, width, width), pass->ragged);
    return output_linear(pass, mixed, attention->output_weight, attention->output_bias);
}

static td_tensor *cross_attention(transformer_pass *pass, const transformer_stack *stack, size_t index, td_tensor *x)
{
    const attention_layer *attention = &stack->layer[index].cross;
    size_t width = pass->model->width;
    td_tensor *query = fused_linear(pass, x, attention, 2, 1), *mixed;
    if (pass->graph->recording) {
        td_memory *memory = &pass->state->memory;
        td_tensor *kv = fused_linear(pass, memory->states, attention, 0, 2);
        mixed = attend(pass, stack->heads, false, query, td_tensor_columns(pass->graph, kv, 0, width),
                       td_tensor_columns(pass->graph, kv, width, width), memory->ragged);
    } else {
        bool last = index + 1 == stack->layers;
        mixed = td_cache_cross_attention(&pass->state->cache, pass->graph, index, stack->heads, pass->ragged, query,
                                         last ? &pass->attention : NULL);
    }
    return output_linear(pass, mixed, attention->output_weight, attention->output_bias);
}

static td_tensor *feed_forward(transformer_pass *pass, const transformer_stack *stack, size_t index, td_tensor *x)
{
    const transformer_layer *layer = &stack->layer[index];
    td_tensor *hidden = td_linear_activate(pass->graph, x, td_graph_parameter(pass->graph, layer->fc1_weight),
                                           td_graph_parameter(pass->graph, layer->fc1_bias), pass->model->activation,
                                           pass->network->rates.activation);
    return output_linear(pass, hidden, layer->fc2_weight, layer->fc2_bias);
}

typedef td_tensor *sublayer(transformer_pass *pass, const transformer_stack *stack, size_t index, td_tensor *x);

/* Pre-norm: x + f(norm(x)); post-norm: norm(x + f(x)). */
static td_tensor *residual(transformer_pass *pass, const transformer_stack *stack, size_t index, td_tensor *x, sublayer *function, norm_layer norm)
{
    bool pre_norm = pass->model->traits->pre_norm;
    td_tensor *branch = function(pass, stack, index, pre_norm ? apply_norm(pass, x, norm) : x);
    td_tensor *sum = td_add_dropout(pass->graph, x, branch, pass->network->rates.dropout);
    return pre_norm ? sum : apply_norm(pass, sum, norm);
}

/* Rows, at positions (before the offset), ready for the first transformer_layer. */
static td_tensor *place(transformer_pass *pass, const transformer_stack *stack, td_tensor *x, int32_t *positions)
{
    for (size_t i = 0; x && i < x->rows; i++)
        positions[i] += (int32_t)pass->model->position_offset;
    x = td_add_positions(pass->graph, x, td_graph_parameter(pass->graph, stack->positions), positions);
    if (pass->model->traits->embedding_norm)
        x = apply_norm(pass, x, stack->embedding_norm);
    return td_dropout(pass->graph, x, pass->network->rates.dropout);
}

/* ids at `positions` (before the offset) -> embeddings, ready for the first transformer_layer */
static td_tensor *embed(transformer_pass *pass, const transformer_stack *stack, const int32_t *ids, int32_t *positions)
{
    size_t count = td_ragged_total(pass->ragged);
    ids = td_known_ids(pass->network, pass->graph, ids, count);
    td_tensor *x = td_embedding(pass->graph, td_graph_parameter(pass->graph, stack->embedding), ids, count, pass->model->embedding_scale);
    return place(pass, stack, x, positions);
}

static int32_t *count_positions(td_graph *graph, td_ragged ragged, const int32_t *first)
{
    int32_t *positions = td_graph_allocate(graph, td_ragged_total(ragged), sizeof *positions);
    for (size_t row = 0; positions && row < ragged.count; row++)
        for (int32_t i = ragged.offsets[row]; i < ragged.offsets[row + 1]; i++)
            positions[i] = i - ragged.offsets[row] + (first ? first[row] : 0);
    return positions;
}

static td_status finish(td_graph *graph)
{
    return graph->error.status;
}

/* Cells of a picture, projected. */
static td_tensor *project_cells(transformer_pass *pass, const td_batch *source)
{
    td_graph *graph = pass->graph;
    if (!source->features || source->width != pass->network->feature_width)
        return td_graph_fail(graph, TD_ERROR_ARGUMENT, "%s reads features of %zu columns, not %zu", pass->model->traits->model_type,
                             pass->network->feature_width, source->features ? source->width : 0);
    td_tensor *x = td_tensor_of(graph, (td_real *)(uintptr_t)source->features, td_ragged_total(source->ragged), source->width);
    return td_linear(graph, td_dropout(graph, x, pass->network->rates.dropout), td_graph_parameter(graph, pass->model->cells_weight),
                     td_graph_parameter(graph, pass->model->cells_bias));
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const transformer *model = network->family;
    const transformer_stack *stack = &model->encoder;
    transformer_pass pass = {network, model, graph, source->ragged, NULL, NULL};
    int32_t *positions = count_positions(graph, source->ragged, NULL);
    if (!positions)
        return finish(graph);
    td_tensor *x = model->traits->picture ? place(&pass, stack, project_cells(&pass, source), positions)
                                          : embed(&pass, stack, source->ids, positions);
    for (size_t i = 0; i < stack->layers; i++) {
        x = residual(&pass, stack, i, x, self_attention, stack->layer[i].self.norm);
        x = residual(&pass, stack, i, x, feed_forward, stack->layer[i].norm);
    }
    if (model->traits->pre_norm)
        x = apply_norm(&pass, x, stack->final_norm);
    *ret_memory = (td_memory){source->ragged, x, NULL, source->ids};
    return finish(graph);
}

/* ---- the decoder's state ---- */

static td_status state_new(const td_network *network, td_decoder_state **ret_state, td_error *error)
{
    const transformer *model = network->family;
    td_decoder_state *state = td_allocate_array(1, sizeof *state);
    if (!state)
        return td_fail_memory(error, sizeof *state);
    td_status status = td_cache_init(&state->cache, model->decoder.layers, model->width, error);
    if (status != TD_OK) {
        td_release(state);
        return status;
    }
    state->cache.memory_layers += network->copies;
    *ret_state = state;
    return TD_OK;
}

static void state_free(td_decoder_state *state)
{
    if (state)
        td_cache_free(&state->cache);
    td_release(state);
}

static td_tensor *copy_keys(transformer_pass *pass, td_tensor *states)
{
    return output_linear(pass, states, pass->model->copy.key_weight, pass->model->copy.key_bias);
}

static td_status begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state)
{
    const transformer *model = network->family;
    if (!td_graph_ok(graph))
        return finish(graph);
    if (graph->recording) {
        state->memory = *memory;
        state->recorded_rows = memory->ragged.count;
        return TD_OK;
    }
    transformer_pass pass = {network, model, graph, memory->ragged, NULL, NULL};
    td_memory_group *group = td_cache_add_memory(&state->cache, graph, memory->ragged);
    for (size_t i = 0; group && i < model->decoder.layers; i++) {
        td_arena_mark mark = td_arena_get_mark(graph->arena);
        td_tensor *kv = fused_linear(&pass, memory->states, &model->decoder.layer[i].cross, 0, 2);
        td_cache_set_memory(group, i, kv);
        td_arena_release_to(graph->arena, mark);
    }
    if (group && network->copies) {
        td_tensor *parts[2] = {copy_keys(&pass, memory->states), memory->states};
        td_cache_set_memory(group, model->decoder.layers, td_concatenate(graph, parts, 2));
    }
    return finish(graph);
}

/* Rows of each its memory's length, end to end -> [T, longest], zeros after. */
static td_tensor *spread_weights(transformer_pass *pass, const td_real *joined)
{
    size_t longest = 0;
    for (size_t row = 0; row < pass->ragged.count; row++) {
        size_t length = td_cache_memory_length(&pass->state->cache, row);
        longest = length > longest ? length : longest;
    }
    td_tensor *weights = td_tensor_zeroed(pass->graph, td_ragged_total(pass->ragged), longest, false);
    for (size_t row = 0; weights && joined && row < pass->ragged.count; row++) {
        size_t length = td_cache_memory_length(&pass->state->cache, row);
        for (int32_t i = pass->ragged.offsets[row]; i < pass->ragged.offsets[row + 1]; i++, joined += length)
            memcpy(weights->data + (size_t)i * weights->stride, joined, length * sizeof *joined);
    }
    return weights;
}

/* query [T, D] over the memory of this step -> what was read [T, D] */
static td_tensor *recorded_copy_attention(transformer_pass *pass, td_tensor *query, td_tensor **ret_weights)
{
    td_memory *memory = &pass->state->memory;
    td_tensor *keys = copy_keys(pass, memory->states), *values = memory->states;
    td_memory_segment *segments = td_graph_allocate(pass->graph, td_ragged_total(pass->ragged), sizeof *segments);
    if (!segments || !keys || !values)
        return NULL;
    td_recurrent_attention_options options = {.key_stride = keys->stride, .value_stride = values->stride, .value_width = values->columns};
    for (size_t row = 0; row < pass->ragged.count; row++) {
        size_t first = (size_t)memory->ragged.offsets[row], length = td_ragged_length(memory->ragged, row);
        options.longest = length > options.longest ? length : options.longest;
        for (int32_t i = pass->ragged.offsets[row]; i < pass->ragged.offsets[row + 1]; i++)
            segments[i] = (td_memory_segment){keys->data + first * keys->stride, values->data + first * values->stride, length};
    }
    query = td_scale(pass->graph, query, (td_real)(1 / sqrt((double)pass->model->width)));
    return td_recurrent_attention(pass->graph, query, segments, &options, keys, values, NULL, NULL, NULL, ret_weights);
}

static td_copying copy_attention(transformer_pass *pass, td_tensor *x)
{
    const copy_layer *copy = &pass->model->copy;
    td_copying copying = {0};
    td_tensor *query = output_linear(pass, x, copy->query_weight, copy->query_bias), *read;
    if (pass->graph->recording) {
        read = recorded_copy_attention(pass, query, &copying.weights);
    } else {
        read = td_cache_cross_attention(&pass->state->cache, pass->graph, pass->model->decoder.layers, 1, pass->ragged, query, &pass->attention);
        copying.weights = spread_weights(pass, pass->attention);
    }
    td_tensor *parts[2] = {x, read};
    copying.gate = output_linear(pass, td_concatenate(pass->graph, parts, 2), copy->gate_weight, copy->gate_bias);
    return copying;
}

static td_status decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                        td_tensor **ret_hidden, const td_real **ret_attention)
{
    const transformer *model = network->family;
    const transformer_stack *stack = &model->decoder;
    transformer_pass pass = {network, model, graph, targets->ragged, state, NULL};
    size_t rows = graph->recording ? state->recorded_rows : state->cache.rows;
    if (targets->ragged.count != rows)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "decode: %zu rows of targets for %zu rows of state", targets->ragged.count, rows);
    if (!td_graph_ok(graph))
        return finish(graph);
    if (!graph->recording)
        td_cache_extend(&state->cache, graph, targets->ragged);
    int32_t *positions = count_positions(graph, targets->ragged, graph->recording ? NULL : state->cache.past);
    if (!positions)
        return finish(graph);
    td_tensor *x = embed(&pass, stack, targets->ids, positions);
    for (size_t i = 0; i < stack->layers; i++) {
        x = residual(&pass, stack, i, x, self_attention, stack->layer[i].self.norm);
        x = residual(&pass, stack, i, x, cross_attention, stack->layer[i].cross.norm);
        x = residual(&pass, stack, i, x, feed_forward, stack->layer[i].norm);
    }
    if (model->traits->pre_norm)
        x = apply_norm(&pass, x, stack->final_norm);
    state->copying = network->copies ? copy_attention(&pass, x) : (td_copying){0};
    *ret_hidden = x;
    if (ret_attention)
        *ret_attention = pass.attention;
    return finish(graph);
}

static td_status reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error)
{
    return td_cache_reorder(&state->cache, parents, rows, error);
}

static size_t state_rows(const td_decoder_state *state)
{
    return state->cache.rows;
}

static td_copying copying(const td_decoder_state *state)
{
    return state->copying;
}

/* ---- the rows of the table ---- */

#define TRANSFORMER_ROW(symbol, name, ...)                                                                                       \
    static const transformer_traits traits_##symbol = {name, __VA_ARGS__, false};                                                 \
    static td_status configure_##symbol(const json_t *config, const char *file, td_network *network, td_error *error)             \
    {                                                                                                                             \
        return configure(&traits_##symbol, config, file, network, error);                                                         \
    }                                                                                                                             \
    TRANSFORMER_TABLE_ROW(symbol, name, TD_TEXT)

#define TRANSFORMER_TABLE_ROW(symbol, name, modality)                                                                             \
    extern const td_architecture td_architecture_##symbol;                                                                        \
    const td_architecture td_architecture_##symbol = {.model_type = name, .source = modality, .configure = configure_##symbol,     \
                                                      .fill_constants = fill_constants, .release = release,                       \
                                                      .projection = projection, .encode = encode, .state_new = state_new,         \
                                                      .state_free = state_free, .begin = begin, .decode = decode,                 \
                                                      .reorder = reorder, .state_rows = state_rows, .copying = copying};

/*              symbol   model_type  pre-norm  embedding norm  positions        offset  logits bias  two vocabularies  scale  activation */
TRANSFORMER_ROW(marian, "marian", false, false, POSITIONS_SINUSOIDAL, 0, true, true, false, "gelu")
TRANSFORMER_ROW(bart, "bart", false, true, POSITIONS_LEARNED, 2, true, false, false, "gelu")
TRANSFORMER_ROW(mbart, "mbart", true, true, POSITIONS_LEARNED, 2, true, false, false, "gelu")
TRANSFORMER_ROW(pegasus, "pegasus", true, false, POSITIONS_SINUSOIDAL, 0, true, false, false, "gelu")
TRANSFORMER_ROW(m2m_100, "m2m_100", true, false, POSITIONS_FAIRSEQ, 2, false, false, true, "relu")

/* Captions: the norms are where "normalize_before" says. */
static td_status configure_picture(const json_t *config, const char *file, td_network *network, td_error *error)
{
    static const transformer_traits post = {"tandem-transformer-image", false, false, POSITIONS_SINUSOIDAL, 0, true, false, false, "relu", true};
    static const transformer_traits pre = {"tandem-transformer-image", true, false, POSITIONS_SINUSOIDAL, 0, true, false, false, "relu", true};
    bool before;
    TD_TRY(td_json_get_bool(config, file, "normalize_before", false, &before, error));
    return configure(before ? &pre : &post, config, file, network, error);
}
TRANSFORMER_TABLE_ROW(picture, "tandem-transformer-image", TD_IMAGE)
