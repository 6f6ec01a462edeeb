/* Pictures to text: a ViT, DeiT or Swin encoder (Dosovitskiy 2020, Touvron 2020, Liu 2021) in front of a GPT-2 decoder
 * with cross-attention, as captioning models have it, a decoder of BART's line (TrOCR, Li 2021; Donut, Kim 2022), or
 * BERT or RoBERTa that decode. */
#include "models/bert.h"
#include "models/patch_encoder.h"
#include "models/swin.h"

#include "io/json.h"
#include "models/configuration.h"

#include <math.h>
#include <string.h>

typedef struct vision_encoder_decoder {
    td_text_decoder decoder;                   /* first: the shared functions look for it there */
    td_patch_encoder encoder;                  /* of ViT and DeiT */
    td_swin *swin;                             /* or NULL; owned */
    td_parameter *bridge_weight, *bridge_bias; /* from the encoder's width to the decoder's; NULL: they are the same */
    bool sinusoidal;
} vision_encoder_decoder;

static const td_layer_names gpt2_names = {
    .query = {"attn.c_attn", "crossattention.q_attn"},
    .key = {"attn.c_attn.key", "crossattention.c_attn"},
    .value = {"attn.c_attn.value", "crossattention.c_attn.value"},
    .output = {"attn.c_proj", "crossattention.c_proj"},
    .norm = {"ln_1", "ln_cross_attn"},
    .fc1 = "mlp.c_fc",
    .fc2 = "mlp.c_proj",
    .final_norm = "ln_2",
    .transposed = true,
    .joined = true,
};

/* ---- the encoder ---- */

static td_status configure_encoder(const json_t *config, const char *file, td_network *network, vision_encoder_decoder *model,
                                   size_t *ret_width, td_error *error)
{
    const char *model_type;
    TD_TRY(td_json_get_string(config, file, "model_type", "", &model_type, error));
    if (td_swin_is(model_type)) {
        TD_TRY(td_swin_configure(config, file, "encoder", &network->parameters, &model->swin, error));
        network->feature_width = td_swin_channels(model->swin);
        *ret_width = td_swin_width(model->swin);
        return TD_OK;
    }
    const td_patch_names *names = td_patch_names_find(model_type);
    if (!names)
        return td_fail(error, TD_ERROR_UNSUPPORTED,
                       "%s: \"encoder\": \"model_type\": \"%s\" is not supported (vit, deit, swin, donut-swin)", file, model_type);
    TD_TRY(td_patch_encoder_configure(names, config, file, "encoder", &network->parameters, &model->encoder, error));
    network->feature_width = model->encoder.channels;
    *ret_width = model->encoder.stack.width;
    return TD_OK;
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const vision_encoder_decoder *model = network->family;
    td_ragged ragged = {0};
    td_tensor *x = model->swin ? td_swin_encode(model->swin, network, graph, source, &ragged)
                               : td_patch_encode(&model->encoder, network, graph, source, &ragged);
    if (model->bridge_weight)
        x = td_linear_apply(graph, x, model->bridge_weight, model->bridge_bias);
    *ret_memory = (td_memory){ragged, x, NULL, NULL};
    return graph->error.status;
}

/* ---- the decoder ---- */

static td_status configure_gpt2(const json_t *config, const char *file, td_network *network, vision_encoder_decoder *model, td_error *error)
{
    td_text_decoder *decoder = &model->decoder;
    td_transformer_stack *stack = &decoder->stack;
    bool tied;
    TD_TRY(td_config_size(config, file, "n_embd", 1 << 16, &stack->width, error));
    TD_TRY(td_config_size(config, file, "n_layer", 1024, &stack->layers, error));
    TD_TRY(td_config_size(config, file, "n_head", 1 << 16, &stack->heads, error));
    TD_TRY(td_config_size(config, file, "n_positions", 1 << 24, &network->max_positions, error));
    stack->feed_forward = 4 * stack->width;
    if (json_is_integer(json_object_get(config, "n_inner")))
        TD_TRY(td_config_size(config, file, "n_inner", 1 << 20, &stack->feed_forward, error));
    TD_TRY(td_config_activation(config, file, "activation_function", "gelu_new", &stack->activation, error));
    TD_TRY(td_config_real(config, file, "layer_norm_epsilon", 1e-5, &stack->epsilon, error));
    TD_TRY(td_config_flag(config, file, "gpt2", "scale_attn_weights", true, error));
    TD_TRY(td_config_flag(config, file, "gpt2", "scale_attn_by_inverse_layer_idx", false, error));
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    stack->pre_norm = true;
    stack->names = &gpt2_names;
    stack->memory_width = stack->width;
    decoder->embedding_scale = 1;
    TD_TRY(td_stack_check(stack, file, "n_embd", error));
    td_parameters *parameters = &network->parameters;
    stack->embedding =
        td_parameters_declare(parameters, network->vocabulary, stack->width, TD_INIT_NORMAL, 0.02, "decoder.transformer.wte.weight");
    td_parameters_product(parameters);
    if (tied)
        td_parameters_alias(parameters, "decoder.lm_head.weight");
    stack->positions =
        td_parameters_declare(parameters, network->max_positions, stack->width, TD_INIT_NORMAL, 0.02, "decoder.transformer.wpe.weight");
    TD_TRY(td_stack_declare(parameters, stack, "decoder.transformer.h", error));
    stack->final_norm = td_norm_declare(parameters, stack->width, "decoder.transformer.ln_f");
    decoder->logits_weight = stack->embedding;
    if (!tied) {
        decoder->logits_weight =
            td_parameters_declare(parameters, network->vocabulary, stack->width, TD_INIT_NORMAL, 0.02, "decoder.lm_head.weight");
        td_parameters_product(parameters);
    }
    return TD_OK;
}

/* Decoders of BART's line that stand alone: they differ in where the norms are and what the output is called. */
typedef struct line_row {
    const char *model_type, *output;
    bool pre_norm;       /* and a norm at the end */
    bool embedding_norm; /* there is one, unless "layernorm_embedding" may say otherwise and does */
    bool may_vary;       /* TrOCR: "use_learned_position_embeddings", "layernorm_embedding" */
} line_row;

static const line_row lines[] = {
    {"trocr", "decoder.output_projection.weight", false, true, true},
    {"bart", "decoder.lm_head.weight", false, true, false},
    {"mbart", "decoder.lm_head.weight", true, true, false},
};

static const line_row *find_line(const char *model_type)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strcmp(lines[i].model_type, model_type) == 0)
            return &lines[i];
    return NULL;
}

/* Keys of older files that describe the family itself: another value would mean another network. */
static td_status check_line(const line_row *line, const json_t *config, const char *file, td_error *error)
{
    const struct {
        const char *key;
        bool wanted;
    } keys[] = {{"normalize_before", line->pre_norm},
                {"add_final_layer_norm", line->pre_norm},
                {"normalize_embedding", true},
                {"static_position_embeddings", false}};
    for (size_t i = 0; !line->may_vary && i < sizeof keys / sizeof *keys; i++)
        TD_TRY(td_config_flag(config, file, line->model_type, keys[i].key, keys[i].wanted, error));
    return TD_OK;
}

static td_status read_line(const line_row *line, const json_t *config, const char *file, td_network *network, vision_encoder_decoder *model,
                           td_error *error)
{
    td_text_decoder *decoder = &model->decoder;
    td_transformer_stack *stack = &decoder->stack;
    bool scale, learned = true;
    int32_t pad; /* the decoder's own */
    TD_TRY(td_config_id(config, file, "pad_token_id", &pad, error));
    TD_TRY(td_config_size(config, file, "d_model", 1 << 16, &stack->width, error));
    TD_TRY(td_config_size(config, file, "decoder_layers", 1024, &stack->layers, error));
    TD_TRY(td_config_size(config, file, "decoder_attention_heads", 1 << 16, &stack->heads, error));
    TD_TRY(td_config_size(config, file, "decoder_ffn_dim", 1 << 20, &stack->feed_forward, error));
    TD_TRY(td_config_size(config, file, "max_position_embeddings", 1 << 24, &network->max_positions, error));
    TD_TRY(td_config_activation(config, file, "activation_function", "gelu", &stack->activation, error));
    TD_TRY(td_json_get_bool(config, file, "scale_embedding", false, &scale, error));
    if (line->may_vary)
        TD_TRY(td_json_get_bool(config, file, "use_learned_position_embeddings", true, &learned, error));
    TD_TRY(check_line(line, config, file, error));
    model->sinusoidal = !learned;
    decoder->embedding_scale = scale ? (td_real)sqrt((double)stack->width) : 1;
    decoder->position_offset = 2;
    if (!learned)
        decoder->position_offset = pad >= 0 && pad < 1 << 24 ? (size_t)pad + 1 : 2;
    stack->memory_width = stack->width;
    if (line->may_vary && json_is_integer(json_object_get(config, "cross_attention_hidden_size")))
        TD_TRY(td_config_size(config, file, "cross_attention_hidden_size", 1 << 16, &stack->memory_width, error));
    stack->epsilon = (td_real)1e-5;
    stack->pre_norm = line->pre_norm;
    stack->names = &td_layer_names_bart;
    return td_stack_check(stack, file, "d_model", error);
}

static td_status configure_line(const line_row *line, const json_t *config, const char *file, td_network *network,
                                vision_encoder_decoder *model, td_error *error)
{
    td_text_decoder *decoder = &model->decoder;
    td_transformer_stack *stack = &decoder->stack;
    td_parameters *parameters = &network->parameters;
    bool norm = line->embedding_norm, tied;
    TD_TRY(read_line(line, config, file, network, model, error));
    if (line->may_vary)
        TD_TRY(td_json_get_bool(config, file, "layernorm_embedding", norm, &norm, error));
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    stack->embedding = td_parameters_declare(parameters, network->vocabulary, stack->width, TD_INIT_NORMAL, 0.02,
                                             "decoder.model.decoder.embed_tokens.weight");
    td_parameters_product(parameters);
    if (tied)
        td_parameters_alias(parameters, "%s", line->output);
    stack->positions = td_parameters_declare(parameters, network->max_positions + decoder->position_offset, stack->width,
                                             model->sinusoidal ? TD_INIT_CONSTANT : TD_INIT_NORMAL, 0.02,
                                             "decoder.model.decoder.embed_positions.%s", model->sinusoidal ? "weights" : "weight");
    if (norm)
        stack->embedding_norm = td_norm_declare(parameters, stack->width, "decoder.model.decoder.layernorm_embedding");
    TD_TRY(td_stack_declare(parameters, stack, "decoder.model.decoder.layers", error));
    if (line->pre_norm)
        stack->final_norm = td_norm_declare(parameters, stack->width, "decoder.model.decoder.layer_norm");
    decoder->logits_weight = stack->embedding;
    if (!tied) {
        decoder->logits_weight =
            td_parameters_declare(parameters, network->vocabulary, stack->width, TD_INIT_NORMAL, 0.02, "%s", line->output);
        td_parameters_product(parameters);
    }
    return TD_OK;
}

static td_status configure_decoder(const json_t *config, const char *file, td_network *network, vision_encoder_decoder *model,
                                   td_error *error)
{
    const char *model_type;
    TD_TRY(td_json_get_string(config, file, "model_type", "", &model_type, error));
    TD_TRY(td_config_size(config, file, "vocab_size", 1 << 26, &network->vocabulary, error));
    if (strcmp(model_type, "gpt2") == 0)
        return configure_gpt2(config, file, network, model, error);
    const line_row *line = find_line(model_type);
    if (line)
        return configure_line(line, config, file, network, model, error);
    const td_bert_kind *bert = td_bert_kind_find(model_type);
    if (bert)
        return td_bert_decoder_configure(bert, config, file, "decoder", 0, network, &model->decoder, error);
    return td_fail(error, TD_ERROR_UNSUPPORTED,
                   "%s: \"decoder\": \"model_type\": \"%s\" is not supported (gpt2, trocr, bart, mbart, bert, roberta)", file, model_type);
}

/* ---- the whole ---- */

/* transformers puts a projection between, unless the decoder's cross-attention takes the encoder's width itself. */
static td_status declare_bridge(td_network *network, vision_encoder_decoder *model, size_t from, const json_t *decoder, const char *file,
                                td_error *error)
{
    td_parameters *parameters = &network->parameters;
    size_t to = model->decoder.stack.width;
    if (json_is_integer(json_object_get(decoder, "cross_attention_hidden_size"))) {
        if (model->decoder.stack.memory_width != from)
            return td_fail(error, TD_ERROR_UNSUPPORTED,
                           "%s: \"cross_attention_hidden_size\" differs from the encoder's \"hidden_size\" %zu", file, from);
        return TD_OK;
    }
    if (from == to)
        return TD_OK;
    model->bridge_weight = td_parameters_declare(parameters, to, from, TD_INIT_XAVIER, 1, "enc_to_dec_proj.weight");
    td_parameters_product(parameters);
    model->bridge_bias = td_parameters_declare(parameters, to, 0, TD_INIT_ZERO, 0, "enc_to_dec_proj.bias");
    return TD_OK;
}

static td_status configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    vision_encoder_decoder *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    const json_t *encoder = json_object_get(config, "encoder"), *decoder = json_object_get(config, "decoder");
    if (!json_is_object(encoder) || !json_is_object(decoder))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"encoder\" and \"decoder\" must be objects", file);
    TD_TRY(td_config_nested_ids(config, decoder, file, network, error));
    size_t width = 0;
    TD_TRY(configure_encoder(encoder, file, network, model, &width, error));
    TD_TRY(configure_decoder(decoder, file, network, model, error));
    return declare_bridge(network, model, width, decoder, file, error);
}

static void fill_constants(td_network *network)
{
    vision_encoder_decoder *model = network->family;
    if (model->sinusoidal)
        td_fill_sinusoids(model->decoder.stack.positions, (double)(model->decoder.stack.width / 2) - 1);
}

static void release(td_network *network)
{
    vision_encoder_decoder *model = network->family;
    td_release(model->encoder.stack.layer);
    td_swin_free(model->swin);
    td_release(model->decoder.stack.layer);
    td_release(model);
    network->family = NULL;
}

static void cells(const td_network *network, size_t *ret_rows, size_t *ret_columns)
{
    const vision_encoder_decoder *model = network->family;
    if (model->swin)
        td_swin_cells(model->swin, ret_rows, ret_columns);
}

extern const td_architecture td_architecture_vision_encoder_decoder;
const td_architecture td_architecture_vision_encoder_decoder = {
    .model_type = "vision-encoder-decoder",
    .source = TD_IMAGE,
    .configure = configure,
    .fill_constants = fill_constants,
    .release = release,
    .encode = encode,
    .cells = cells,
    TD_TEXT_DECODER_FUNCTIONS,
};
