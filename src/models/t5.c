/* T5 (Raffel et al. 2020): T5 v1.0 and v1.1, Flan-T5, mT5, ByT5. A Transformer without biases, with root mean square norms before each
 * block, scores that are not scaled, and no notion of position but a bias of the scores by distance, one table for each stack. */
#include "io/json.h"
#include "models/configuration.h"
#include "models/copying.h"
#include "models/text_decoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Blocks number their parts: 0 looks at the stack itself, 1 in decoders at the source, the last is the feed-forward part. */
#define NAMES(feed_forward)                                                                                                                \
    .query = {"layer.0.SelfAttention.q", "layer.1.EncDecAttention.q"}, .key = {"layer.0.SelfAttention.k", "layer.1.EncDecAttention.k"},    \
    .value = {"layer.0.SelfAttention.v", "layer.1.EncDecAttention.v"}, .output = {"layer.0.SelfAttention.o", "layer.1.EncDecAttention.o"}, \
    .norm = {"layer.0.layer_norm", "layer.1.layer_norm"}, .fc2 = feed_forward ".DenseReluDense.wo",                                        \
    .final_norm = feed_forward ".layer_norm"
#define PLAIN_AND_GATED(feed_forward)                                                                                                      \
    {                                                                                                                                      \
        {NAMES(feed_forward), .fc1 = feed_forward ".DenseReluDense.wi"},                                                                   \
        {                                                                                                                                  \
            NAMES(feed_forward), .fc1 = feed_forward ".DenseReluDense.wi_1", .gate = feed_forward ".DenseReluDense.wi_0"                   \
        }                                                                                                                                  \
    }

static const td_layer_names encoder_names[2] = PLAIN_AND_GATED("layer.1"), decoder_names[2] = PLAIN_AND_GATED("layer.2");

/* ---- configuration ---- */

/* One name of "feed_forward_proj" or "dense_act_fn". "gated-gelu" is the approximation by tanh, plain "gelu" is not. */
static td_status find_activation(const char *file, const char *key, const char *name, td_activation *ret_activation, bool *ret_gated,
                                 td_error *error)
{
    bool gated = strncmp(name, "gated-", 6) == 0;
    const char *inner = !gated ? name : strcmp(name, "gated-gelu") == 0 ? "gelu_new" : name + 6;
    if (!td_activation_find(inner, ret_activation) || (gated && !ret_gated))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": \"%s\" is not supported (" TD_ACTIVATION_NAMES "%s)", file, key, name,
                       ret_gated ? ", each also as gated-..." : "");
    if (ret_gated)
        *ret_gated = gated;
    return TD_OK;
}

static td_status read_feed_forward(const json_t *config, const char *file, const char *fallback, td_transformer_stack *stack,
                                   td_error *error)
{
    const char *name, *inner;
    bool gated = false;
    TD_TRY(td_json_get_string(config, file, "feed_forward_proj", fallback, &name, error));
    TD_TRY(find_activation(file, "feed_forward_proj", name, &stack->activation, &gated, error));
    TD_TRY(td_json_get_bool(config, file, "is_gated_act", gated, &stack->gated, error));
    TD_TRY(td_json_get_string(config, file, "dense_act_fn", "", &inner, error)); /* newer files say the same once more, and this counts */
    return *inner ? find_activation(file, "dense_act_fn", inner, &stack->activation, NULL, error) : TD_OK;
}

static td_status read_buckets(const json_t *config, const char *file, td_transformer_stack *stack, size_t *ret_buckets, td_error *error)
{
    size_t buckets = 0;
    TD_TRY(td_config_size_or(config, file, "relative_attention_num_buckets", 1 << 16, 32, &buckets, error));
    TD_TRY(td_config_size_or(config, file, "relative_attention_max_distance", 1 << 24, 128, &stack->relative.farthest, error));
    if (buckets < 4 || buckets % 2)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"relative_attention_num_buckets\" must be even and at least 4", file);
    if (stack->relative.farthest <= buckets / 2)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"relative_attention_max_distance\" must be more than half of the buckets", file);
    *ret_buckets = buckets;
    return TD_OK;
}

/* What both stacks have in common. */
static td_status read_stack(const json_t *config, const char *file, const char *feed_forward, td_transformer_stack *stack,
                            size_t *ret_buckets, td_error *error)
{
    double epsilon;
    TD_TRY(td_config_size(config, file, "d_model", 1 << 16, &stack->width, error));
    TD_TRY(td_config_size(config, file, "d_kv", 1 << 16, &stack->head_width, error));
    TD_TRY(td_config_size(config, file, "num_heads", 1 << 12, &stack->heads, error));
    TD_TRY(td_config_size(config, file, "d_ff", 1 << 20, &stack->feed_forward, error));
    TD_TRY(td_config_size(config, file, "num_layers", 1024, &stack->layers, error));
    TD_TRY(td_json_get_real(config, file, "layer_norm_epsilon", 1e-6, &epsilon, error));
    if (!(epsilon >= 0 && epsilon < 1))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"layer_norm_epsilon\" must be from 0 to 1", file);
    stack->epsilon = (td_real)epsilon;
    stack->pre_norm = stack->unbiased = stack->unscaled = stack->normal = stack->final_dropout = true;
    TD_TRY(read_feed_forward(config, file, feed_forward, stack, error));
    TD_TRY(read_buckets(config, file, stack, ret_buckets, error));
    return td_stack_check(stack, file, "d_model", error);
}

static td_status read_ids(const json_t *config, const char *file, td_network *network, td_error *error)
{
    TD_TRY(td_config_flag(config, file, network->architecture->model_type, "is_encoder_decoder", true, error));
    TD_TRY(td_config_ids(config, file, network, error));
    if (!td_json_has(config, "decoder_start_token_id"))
        network->decoder_start_id = network->pad_id;
    return TD_OK;
}

static td_status declare_stack(td_parameters *parameters, td_transformer_stack *stack, const char *name, size_t buckets, td_error *error)
{
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%s.block", name);
    TD_TRY(td_stack_declare(parameters, stack, prefix, error));
    stack->relative.table = td_parameters_declare(parameters, buckets, stack->heads, TD_INIT_NORMAL, 1 / sqrt((double)stack->width),
                                                  "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", name);
    stack->final_norm.weight = td_parameters_declare(parameters, stack->width, 0, TD_INIT_ONE, 0, "%s.final_layer_norm.weight", name);
    return TD_OK;
}

/* Where the output is tied and scaled, it is the embedding, as in T5 v1.0. Where it is not, it is a table of its own, as in T5 v1.1 and
 * mT5, unless the file holds but one. */
static td_status configure_output(const json_t *config, const char *file, bool may_scale, td_network *network, td_two_stacks *model,
                                  td_error *error)
{
    bool tied, scaled;
    size_t words = network->vocabulary, width = model->encoder.width;
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    TD_TRY(td_json_get_bool(config, file, "scale_decoder_outputs", tied, &scaled, error));
    td_parameters *parameters = &network->parameters;
    td_text_decoder *decoder = &model->decoder;
    model->encoder.embedding = decoder->stack.embedding =
        td_parameters_declare(parameters, words, width, TD_INIT_NORMAL, 1, "shared.weight");
    td_parameters_product(parameters);
    td_parameters_alias(parameters, "encoder.embed_tokens.weight");
    td_parameters_alias(parameters, "decoder.embed_tokens.weight");
    decoder->logits_weight = decoder->stack.embedding;
    decoder->logits_scale = may_scale && scaled ? (td_real)(1 / sqrt((double)width)) : 1;
    if (may_scale && scaled && tied) {
        td_parameters_alias(parameters, "lm_head.weight");
        return TD_OK;
    }
    decoder->logits_weight = td_parameters_declare(parameters, words, width, TD_INIT_NORMAL, 1 / sqrt((double)width), "lm_head.weight");
    td_parameters_product(parameters);
    td_parameters_alias(parameters, "shared.weight");
    return TD_OK;
}

static td_status configure(const json_t *config, const char *file, bool multilingual, td_network *network, td_error *error)
{
    td_two_stacks *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    td_transformer_stack *encoder = &model->encoder, *decoder = &model->decoder.stack;
    size_t buckets = 0;
    TD_TRY(read_stack(config, file, multilingual ? "gated-gelu" : "relu", encoder, &buckets, error));
    *decoder = *encoder;
    TD_TRY(td_config_size_or(config, file, "num_decoder_layers", 1024, encoder->layers, &decoder->layers, error));
    encoder->relative.both_ways = true;
    encoder->names = &encoder_names[encoder->gated];
    decoder->names = &decoder_names[decoder->gated];
    decoder->memory_width = encoder->width;
    model->decoder.embedding_scale = 1;
    TD_TRY(td_config_size(config, file, "vocab_size", 1 << 26, &network->vocabulary, error));
    TD_TRY(read_ids(config, file, network, error));
    TD_TRY(td_copying_configure(config, file, network->vocabulary, network, error));
    TD_TRY(configure_output(config, file, !multilingual, network, model, error));
    TD_TRY(declare_stack(&network->parameters, encoder, "encoder", buckets, error));
    TD_TRY(declare_stack(&network->parameters, decoder, "decoder", buckets, error));
    if (network->copies)
        td_copy_head_declare(&network->parameters, decoder->width, &model->decoder.copy);
    return TD_OK;
}

static td_status configure_t5(const json_t *config, const char *file, td_network *network, td_error *error)
{
    return configure(config, file, false, network, error);
}

static td_status configure_mt5(const json_t *config, const char *file, td_network *network, td_error *error)
{
    return configure(config, file, true, network, error);
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const td_two_stacks *model = network->family;
    td_tensor *x = td_text_encode(&model->encoder, network, graph, 1, 0, source);
    *ret_memory = (td_memory){source->ragged, x, NULL, source->ids};
    return graph->error.status;
}

#define T5_ROW(symbol, name)                                                                                                               \
    extern const td_architecture td_architecture_##symbol;                                                                                 \
    const td_architecture td_architecture_##symbol = {                                                                                     \
        .model_type = name,                                                                                                                \
        .source = TD_TEXT,                                                                                                                 \
        .configure = configure_##symbol,                                                                                                   \
        .release = td_two_stacks_release,                                                                                                  \
        .encode = encode,                                                                                                                  \
        TD_TEXT_DECODER_FUNCTIONS,                                                                                                         \
    };

T5_ROW(t5, "t5")
T5_ROW(mt5, "mt5")
