#include "models/bert.h"

#include "io/json.h"
#include "models/configuration.h"

#include <stdio.h>
#include <string.h>

static const td_layer_names bert_names = {
    .query = {"attention.self.query", "crossattention.self.query"},
    .key = {"attention.self.key", "crossattention.self.key"},
    .value = {"attention.self.value", "crossattention.self.value"},
    .output = {"attention.output.dense", "crossattention.output.dense"},
    .norm = {"attention.output.LayerNorm", "crossattention.output.LayerNorm"},
    .fc1 = "intermediate.dense",
    .fc2 = "output.dense",
    .final_norm = "output.LayerNorm",
};

#define BERT_HEAD                                                                                                                          \
    .head = "cls.predictions.transform.dense", .head_norm = "cls.predictions.transform.LayerNorm", .head_bias = "cls.predictions.bias",    \
    .head_output = "cls.predictions.decoder"

static const td_bert_kind kinds[] = {
    {.model_type = "bert", .base = "bert", BERT_HEAD, .token_types = true, .words = 30522, .positions = 512, .pad = 0},
    {.model_type = "roberta",
     .base = "roberta",
     .head = "lm_head.dense",
     .head_norm = "lm_head.layer_norm",
     .head_bias = "lm_head.bias",
     .head_output = "lm_head.decoder",
     .head_activation = "gelu",
     .token_types = true,
     .offset = true,
     .words = 50265,
     .positions = 512,
     .pad = 1},
};

const td_bert_kind td_bert_kind_blip = {
    .model_type = "blip_text_model", .base = "bert", BERT_HEAD, .words = 30524, .positions = 512, .pad = 0};

const td_bert_kind *td_bert_kind_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].model_type, model_type) == 0)
            return &kinds[i];
    return NULL;
}

/* ---- configuration ---- */

static td_status read_tables(const td_bert_kind *kind, const json_t *config, const char *file, td_bert_sizes *sizes, td_error *error)
{
    size_t limit = 1 << 24;
    TD_TRY(td_config_size_or(config, file, "vocab_size", 1 << 26, kind->words, &sizes->words, error));
    TD_TRY(td_config_size_or(config, file, "max_position_embeddings", limit, kind->positions, &sizes->positions, error));
    sizes->types = 0;
    if (kind->token_types)
        TD_TRY(td_config_size_or(config, file, "type_vocab_size", 1 << 16, 2, &sizes->types, error));
    sizes->offset = 0;
    if (!kind->offset)
        return TD_OK;
    int64_t pad;
    TD_TRY(td_json_get_integer(config, file, "pad_token_id", (int64_t)kind->pad, &pad, error));
    if (pad < 0 || (uint64_t)pad + 1 >= sizes->positions)
        return td_fail(error, TD_ERROR_UNSUPPORTED,
                       "%s: \"pad_token_id\" must be from 0 to \"max_position_embeddings\" - 2: positions begin after it", file);
    sizes->offset = (size_t)pad + 1;
    return TD_OK;
}

td_status td_bert_read(const td_bert_kind *kind, const json_t *config, const char *file, td_transformer_stack *stack,
                       td_bert_sizes *ret_sizes, td_error *error)
{
    const char *positions;
    td_bert_sizes sizes;
    TD_TRY(td_config_size_or(config, file, "hidden_size", 1 << 16, 768, &stack->width, error));
    TD_TRY(td_config_size_or(config, file, "num_hidden_layers", 1024, 12, &stack->layers, error));
    TD_TRY(td_config_size_or(config, file, "num_attention_heads", 1 << 16, kind == &td_bert_kind_blip ? 8 : 12, &stack->heads, error));
    TD_TRY(td_config_size_or(config, file, "intermediate_size", 1 << 20, 3072, &stack->feed_forward, error));
    TD_TRY(td_config_activation(config, file, "hidden_act", "gelu", &stack->activation, error));
    TD_TRY(td_config_real(config, file, "layer_norm_eps", 1e-12, &stack->epsilon, error));
    TD_TRY(td_json_get_string(config, file, "position_embedding_type", "absolute", &positions, error));
    if (strcmp(positions, "absolute") != 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"position_embedding_type\": \"%s\" is not supported (absolute)", file, positions);
    TD_TRY(read_tables(kind, config, file, &sizes, error));
    stack->names = &bert_names;
    TD_TRY(td_stack_check(stack, file, "hidden_size", error));
    *ret_sizes = sizes;
    return TD_OK;
}

td_status td_bert_declare(td_parameters *parameters, const td_bert_kind *kind, const td_bert_sizes *sizes, td_transformer_stack *stack,
                          const char *prefix, td_error *error)
{
    char layers[128];
    stack->embedding =
        td_parameters_declare(parameters, sizes->words, stack->width, TD_INIT_NORMAL, 0.02, "%s.embeddings.word_embeddings.weight", prefix);
    td_parameters_product(parameters);
    stack->positions = td_parameters_declare(parameters, sizes->positions, stack->width, TD_INIT_NORMAL, 0.02,
                                             "%s.embeddings.position_embeddings.weight", prefix);
    if (kind->token_types)
        stack->token_types = td_parameters_declare(parameters, sizes->types, stack->width, TD_INIT_NORMAL, 0.02,
                                                   "%s.embeddings.token_type_embeddings.weight", prefix);
    stack->embedding_norm = td_norm_declare(parameters, stack->width, "%s.embeddings.LayerNorm", prefix);
    snprintf(layers, sizeof layers, "%s.encoder.layer", prefix);
    return td_stack_declare(parameters, stack, layers, error);
}

static void declare_head(td_parameters *parameters, const td_bert_kind *kind, size_t words, bool tied, const char *prefix,
                         td_text_decoder *decoder)
{
    size_t width = decoder->stack.width;
    decoder->head_weight = td_parameters_declare(parameters, width, width, TD_INIT_XAVIER, 1, "%s.%s.weight", prefix, kind->head);
    td_parameters_product(parameters);
    decoder->head_bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.%s.bias", prefix, kind->head);
    decoder->head_norm = td_norm_declare(parameters, width, "%s.%s", prefix, kind->head_norm);
    decoder->logits_weight = decoder->stack.embedding;
    if (!tied) {
        decoder->logits_weight =
            td_parameters_declare(parameters, words, width, TD_INIT_NORMAL, 0.02, "%s.%s.weight", prefix, kind->head_output);
        td_parameters_product(parameters);
    }
    /* Two names of one tensor; where the tables are not tied these are not either, and the product's own counts. */
    decoder->logits_bias = td_parameters_declare(parameters, words, 0, TD_INIT_ZERO, 0, "%s.%s%s", prefix,
                                                 tied ? kind->head_bias : kind->head_output, tied ? "" : ".bias");
    td_parameters_alias(parameters, "%s.%s%s", prefix, tied ? kind->head_output : kind->head_bias, tied ? ".bias" : "");
}

td_status td_bert_decoder_configure(const td_bert_kind *kind, const json_t *config, const char *file, const char *prefix,
                                    size_t memory_width, td_network *network, td_text_decoder *decoder, td_error *error)
{
    td_bert_sizes sizes;
    bool tied;
    char base[128];
    TD_TRY(td_bert_read(kind, config, file, &decoder->stack, &sizes, error));
    TD_TRY(td_config_flag(config, file, kind->model_type, "is_decoder", true, error));
    TD_TRY(td_config_flag(config, file, kind->model_type, "add_cross_attention", true, error));
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    tied |= kind == &td_bert_kind_blip; /* whatever its configuration says */
    if (kind->offset)
        TD_TRY(td_config_counted_start(file, (int32_t)sizes.offset - 1, network, error));
    decoder->head_activation = decoder->stack.activation;
    if (kind->head_activation)
        TD_TRY(td_config_activation(NULL, file, "hidden_act", kind->head_activation, &decoder->head_activation, error));
    decoder->stack.memory_width = memory_width ? memory_width : decoder->stack.width;
    decoder->embedding_scale = 1;
    decoder->position_offset = sizes.offset;
    size_t positions = sizes.positions - sizes.offset;
    if (!network->max_positions || positions < network->max_positions)
        network->max_positions = positions;
    network->vocabulary = sizes.words;
    snprintf(base, sizeof base, "%s.%s", prefix, kind->base);
    TD_TRY(td_bert_declare(&network->parameters, kind, &sizes, &decoder->stack, base, error));
    declare_head(&network->parameters, kind, sizes.words, tied, prefix, decoder);
    return TD_OK;
}
