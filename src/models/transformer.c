/* Encoder-decoder Transformers of the BART line: Marian, BART, mBART, Pegasus, M2M-100. They differ in where the norms are, how
 * positions are made and which tables are tied; a row of traits says so, the layers are the same. */
#include "io/json.h"
#include "models/configuration.h"
#include "models/copying.h"
#include "models/picture_encoder.h"
#include "models/text_decoder.h"

#include <math.h>
#include <string.h>

typedef enum position_kind {
    POSITIONS_SINUSOIDAL, /* sin | cos halves, frequencies over width / 2 (Marian, Pegasus) */
    POSITIONS_FAIRSEQ,    /* the same over width / 2 - 1 (M2M-100) */
    POSITIONS_COUNTED,    /* those of FAIRSEQ, from the offset that the row says, whatever the padding */
    POSITIONS_LEARNED
} position_kind;

typedef struct transformer_traits {
    const char *model_type;
    bool pre_norm;       /* norm before each block, and once more at the end of each transformer_stack */
    bool embedding_norm; /* layernorm_embedding */
    position_kind positions;
    size_t position_offset; /* row of the first position; POSITIONS_FAIRSEQ: the row after the padding's instead */
    bool logits_bias;
    bool two_vocabularies; /* source and target may have their own: decoder_vocab_size, share_encoder_decoder_embeddings */
    bool scale_embedding;  /* these two when the configuration does not say */
    const char *activation;
    bool picture; /* the source is cells of a picture: a projection in place of the embedding, and layers may be none */
} transformer_traits;

typedef struct transformer {
    td_text_decoder decoder;
    td_transformer_stack encoder;
    const transformer_traits *traits;
    size_t width;
    td_parameter *cells_weight, *cells_bias; /* of a picture */
    td_cnn *cnn;                             /* what makes its cells, or NULL; owned */
    size_t cell_width;
} transformer;

/* ---- configuration ---- */

static td_status declare_stack(td_network *network, const transformer *model, td_transformer_stack *stack, const char *name,
                               td_error *error)
{
    td_parameters *parameters = &network->parameters;
    char prefix[128];
    size_t rows = network->max_positions + model->decoder.position_offset;
    bool learned = model->traits->positions == POSITIONS_LEARNED;
    stack->positions = td_parameters_declare(parameters, rows, model->width, learned ? TD_INIT_NORMAL : TD_INIT_CONSTANT, 0.02,
                                             "model.%s.embed_positions.weight", name);
    if (model->traits->embedding_norm)
        stack->embedding_norm = td_norm_declare(parameters, model->width, "model.%s.layernorm_embedding", name);
    snprintf(prefix, sizeof prefix, "model.%s.layers", name);
    TD_TRY(td_stack_declare(parameters, stack, prefix, error));
    if (model->traits->pre_norm)
        stack->final_norm = td_norm_declare(parameters, model->width, "model.%s.layer_norm", name);
    return TD_OK;
}

static void declare_embeddings(td_network *network, transformer *model, size_t source_words, bool shared, bool tied)
{
    td_parameters *parameters = &network->parameters;
    double spread = 1 / sqrt((double)model->width);
    size_t words = network->vocabulary;
    if (model->traits->picture) {
        model->cells_weight =
            td_parameters_declare(parameters, model->width, model->cell_width, TD_INIT_XAVIER, 1, "model.encoder.projection.weight");
        model->cells_bias = td_parameters_declare(parameters, model->width, 0, TD_INIT_ZERO, 0, "model.encoder.projection.bias");
        model->decoder.stack.embedding =
            td_parameters_declare(parameters, words, model->width, TD_INIT_NORMAL, spread, "model.decoder.embed_tokens.weight");
    } else if (shared) {
        model->encoder.embedding = model->decoder.stack.embedding =
            td_parameters_declare(parameters, words, model->width, TD_INIT_NORMAL, spread, "model.shared.weight");
        td_parameters_product(parameters);
        td_parameters_alias(parameters, "model.encoder.embed_tokens.weight");
        td_parameters_alias(parameters, "model.decoder.embed_tokens.weight");
    } else {
        model->encoder.embedding =
            td_parameters_declare(parameters, source_words, model->width, TD_INIT_NORMAL, spread, "model.encoder.embed_tokens.weight");
        td_parameters_product(parameters);
        td_parameters_alias(parameters, "model.shared.weight"); /* older files hold one table of two equal ones */
        model->decoder.stack.embedding =
            td_parameters_declare(parameters, words, model->width, TD_INIT_NORMAL, spread, "model.decoder.embed_tokens.weight");
        td_parameters_product(parameters);
        td_parameters_alias(parameters, "model.shared.weight");
    }
    if (tied) {
        td_parameters_alias(parameters, "lm_head.weight");
        model->decoder.logits_weight = model->decoder.stack.embedding;
    } else {
        model->decoder.logits_weight = td_parameters_declare(parameters, words, model->width, TD_INIT_NORMAL, spread, "lm_head.weight");
        td_parameters_product(parameters);
    }
    if (model->traits->logits_bias) {
        model->decoder.logits_bias = td_parameters_declare(parameters, 1, words, TD_INIT_ZERO, 0, "final_logits_bias");
        td_parameters_optional(parameters);
    }
}

static td_status read_sizes(const json_t *config, const char *file, td_network *network, transformer *model, td_error *error)
{
    bool scale;
    TD_TRY(td_config_size(config, file, "d_model", 1 << 16, &model->width, error));
    if (model->traits->picture)
        TD_TRY(td_picture_encoder_configure(config, file, network, &model->cnn, &model->cell_width, error));
    const json_t *layers = json_object_get(config, "encoder_layers");
    if (model->traits->picture && json_is_integer(layers) && json_integer_value(layers) == 0)
        model->encoder.layers = 0;
    else
        TD_TRY(td_config_size(config, file, "encoder_layers", 1024, &model->encoder.layers, error));
    TD_TRY(td_config_size(config, file, "decoder_layers", 1024, &model->decoder.stack.layers, error));
    TD_TRY(td_config_size(config, file, "encoder_attention_heads", 1 << 16, &model->encoder.heads, error));
    TD_TRY(td_config_size(config, file, "decoder_attention_heads", 1 << 16, &model->decoder.stack.heads, error));
    TD_TRY(td_config_size(config, file, "encoder_ffn_dim", 1 << 20, &model->encoder.feed_forward, error));
    TD_TRY(td_config_size(config, file, "decoder_ffn_dim", 1 << 20, &model->decoder.stack.feed_forward, error));
    TD_TRY(td_config_size(config, file, "max_position_embeddings", 1 << 24, &network->max_positions, error));
    TD_TRY(td_config_activation(config, file, "activation_function", model->traits->activation, &model->encoder.activation, error));
    TD_TRY(td_json_get_bool(config, file, "scale_embedding", model->traits->scale_embedding, &scale, error));
    model->decoder.embedding_scale = scale ? (td_real)sqrt((double)model->width) : 1;
    model->decoder.stack.activation = model->encoder.activation;
    model->decoder.stack.memory_width = model->width;
    model->encoder.width = model->decoder.stack.width = model->width;
    model->encoder.pre_norm = model->decoder.stack.pre_norm = model->traits->pre_norm;
    model->encoder.epsilon = model->decoder.stack.epsilon = (td_real)1e-5;
    model->encoder.names = model->decoder.stack.names = &td_layer_names_bart;
    TD_TRY(td_stack_check(&model->encoder, file, "d_model", error));
    TD_TRY(td_stack_check(&model->decoder.stack, file, "d_model", error));
    return td_config_ids(config, file, network, error);
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
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        TD_TRY(td_config_flag(config, file, traits->model_type, keys[i].key, keys[i].wanted, error));
    return TD_OK;
}

/* Which tables there are, and their sizes. */
static td_status configure_embeddings(const json_t *config, const char *file, td_network *network, transformer *model, td_error *error)
{
    bool shared = true, tied;
    size_t source_words = 0;
    TD_TRY(td_config_size(config, file, "vocab_size", 1 << 26, &source_words, error));
    network->vocabulary = source_words;
    if (model->traits->two_vocabularies) {
        if (td_json_has(config, "decoder_vocab_size"))
            TD_TRY(td_config_size(config, file, "decoder_vocab_size", 1 << 26, &network->vocabulary, error));
        TD_TRY(td_json_get_bool(config, file, "share_encoder_decoder_embeddings", true, &shared, error));
    }
    if (shared && network->vocabulary != source_words)
        return td_fail(error, TD_ERROR_FORMAT,
                       "%s: \"decoder_vocab_size\" %zu differs from \"vocab_size\" %zu though embeddings are shared", file,
                       network->vocabulary, source_words);
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    TD_TRY(td_copying_configure(config, file, source_words, network, error));
    declare_embeddings(network, model, source_words, shared && tied, tied);
    return TD_OK;
}

static td_status read_zero_start(const json_t *config, const char *file, transformer *model, td_error *error)
{
    return td_json_get_bool(config, file, "start_from_zero_embedding", false, &model->decoder.zero_start, error);
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
    TD_TRY(read_zero_start(config, file, model, error));
    model->decoder.position_offset = traits->position_offset;
    if (traits->positions == POSITIONS_FAIRSEQ && network->pad_id >= 0)
        model->decoder.position_offset = (size_t)network->pad_id + 1;
    if (traits->positions == POSITIONS_FAIRSEQ)
        TD_TRY(td_config_counted_start(file, network->pad_id, network, error));
    if (model->decoder.position_offset > (size_t)1 << 24)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"pad_token_id\" %d is too large: positions begin after it", file,
                       network->pad_id);
    TD_TRY(configure_embeddings(config, file, network, model, error));
    TD_TRY(declare_stack(network, model, &model->encoder, "encoder", error));
    TD_TRY(declare_stack(network, model, &model->decoder.stack, "decoder", error));
    if (network->copies)
        td_copy_head_declare(&network->parameters, model->width, &model->decoder.copy);
    return TD_OK;
}

static void fill_constants(td_network *network)
{
    transformer *model = network->family;
    if (model->traits->positions == POSITIONS_LEARNED)
        return;
    double half = (double)(model->width / 2),
           steps = model->traits->positions == POSITIONS_FAIRSEQ || model->traits->positions == POSITIONS_COUNTED ? half - 1 : half;
    td_fill_sinusoids(model->encoder.positions, steps);
    td_fill_sinusoids(model->decoder.stack.positions, steps);
}

static void release(td_network *network)
{
    transformer *model = network->family;
    td_release(model->encoder.layer);
    td_release(model->decoder.stack.layer);
    td_cnn_free(model->cnn);
    td_release(model);
    network->family = NULL;
}

/* Cells of a picture, projected. */
static td_tensor *project_cells(const td_network *network, td_graph *graph, const td_batch *source, td_ragged *ret_ragged)
{
    const transformer *model = network->family;
    td_tensor *x = td_picture_cells(network, model->cnn, graph, source, ret_ragged);
    return x ? td_linear_apply(graph, td_dropout(graph, x, network->rates.dropout), model->cells_weight, model->cells_bias) : NULL;
}

static td_tensor *encode_picture(const td_network *network, td_graph *graph, const td_batch *source, td_ragged *ret_ragged)
{
    const transformer *model = network->family;
    td_tensor *x = project_cells(network, graph, source, ret_ragged);
    int32_t *positions = td_graph_ok(graph) ? td_count_positions(graph, *ret_ragged, NULL, model->decoder.position_offset) : NULL;
    if (!positions)
        return NULL;
    x = td_stack_place(&model->encoder, network, graph, x, positions);
    return td_stack_encode(&model->encoder, network, graph, *ret_ragged, x);
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const transformer *model = network->family;
    td_ragged rows = source->ragged;
    td_tensor *x = model->traits->picture ? encode_picture(network, graph, source, &rows)
                                          : td_text_encode(&model->encoder, network, graph, model->decoder.embedding_scale,
                                                           model->decoder.position_offset, source);
    *ret_memory = (td_memory){rows, x, NULL, source->ids};
    return graph->error.status;
}

/* ---- the rows of the table ---- */

#define TRANSFORMER_ROW(symbol, name, ...)                                                                                                 \
    static const transformer_traits traits_##symbol = {name, __VA_ARGS__, false};                                                          \
    static td_status configure_##symbol(const json_t *config, const char *file, td_network *network, td_error *error)                      \
    {                                                                                                                                      \
        return configure(&traits_##symbol, config, file, network, error);                                                                  \
    }                                                                                                                                      \
    TRANSFORMER_TABLE_ROW(symbol, name, TD_TEXT, NULL)

#define TRANSFORMER_TABLE_ROW(symbol, name, modality, frozen_part)                                                                         \
    extern const td_architecture td_architecture_##symbol;                                                                                 \
    const td_architecture td_architecture_##symbol = {                                                                                     \
        .model_type = name,                                                                                                                \
        .source = modality,                                                                                                                \
        .configure = configure_##symbol,                                                                                                   \
        .fill_constants = fill_constants,                                                                                                  \
        .release = release,                                                                                                                \
        .encode = encode,                                                                                                                  \
        TD_TEXT_DECODER_FUNCTIONS,                                                                                                         \
        .frozen = frozen_part,                                                                                                             \
    };

/*              symbol   model_type  pre-norm  embedding norm  positions        offset  logits bias  two vocabularies  scale  activation */
TRANSFORMER_ROW(marian, "marian", false, false, POSITIONS_SINUSOIDAL, 0, true, true, false, "gelu")
TRANSFORMER_ROW(bart, "bart", false, true, POSITIONS_LEARNED, 2, true, false, false, "gelu")
TRANSFORMER_ROW(mbart, "mbart", true, true, POSITIONS_LEARNED, 2, true, false, false, "gelu")
TRANSFORMER_ROW(pegasus, "pegasus", true, false, POSITIONS_SINUSOIDAL, 0, true, false, false, "gelu")
TRANSFORMER_ROW(m2m_100, "m2m_100", true, false, POSITIONS_FAIRSEQ, 2, false, false, true, "relu")

/* Text, with everything that distinguishes the families above said by the configuration. Sinusoids count from 1, as OpenNMT has them. */
#define GENERAL(pre_norm, embedding_norm, positions, first)                                                                                \
    {                                                                                                                                      \
        "tandem-transformer", pre_norm, embedding_norm, positions, first, true, true, true, "relu", false                                  \
    }
static td_status configure_general(const json_t *config, const char *file, td_network *network, td_error *error)
{
    static const transformer_traits rows[2][2][2] = {
        {{GENERAL(false, false, POSITIONS_LEARNED, 0), GENERAL(false, false, POSITIONS_COUNTED, 1)},
         {GENERAL(false, true, POSITIONS_LEARNED, 0), GENERAL(false, true, POSITIONS_COUNTED, 1)}},
        {{GENERAL(true, false, POSITIONS_LEARNED, 0), GENERAL(true, false, POSITIONS_COUNTED, 1)},
         {GENERAL(true, true, POSITIONS_LEARNED, 0), GENERAL(true, true, POSITIONS_COUNTED, 1)}}};
    bool before, embedding, fixed;
    TD_TRY(td_json_get_bool(config, file, "normalize_before", false, &before, error));
    TD_TRY(td_json_get_bool(config, file, "normalize_embedding", false, &embedding, error));
    TD_TRY(td_json_get_bool(config, file, "static_position_embeddings", true, &fixed, error));
    return configure(&rows[before][embedding][fixed], config, file, network, error);
}
TRANSFORMER_TABLE_ROW(general, "tandem-transformer", TD_TEXT, NULL)

static td_status frozen(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_features)
{
    const transformer *model = network->family;
    return td_picture_frozen(model->cnn, graph, source, ret_features);
}

/* Captions: the norms are where "normalize_before" says. */
static td_status configure_picture(const json_t *config, const char *file, td_network *network, td_error *error)
{
    static const transformer_traits post = {
        "tandem-transformer-image", false, false, POSITIONS_SINUSOIDAL, 0, true, false, false, "relu", true};
    static const transformer_traits pre = {
        "tandem-transformer-image", true, false, POSITIONS_SINUSOIDAL, 0, true, false, false, "relu", true};
    bool before;
    TD_TRY(td_json_get_bool(config, file, "normalize_before", false, &before, error));
    return configure(before ? &pre : &post, config, file, network, error);
}
TRANSFORMER_TABLE_ROW(picture, "tandem-transformer-image", TD_IMAGE, frozen)
