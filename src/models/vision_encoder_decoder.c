/* Pictures to text: a ViT or DeiT encoder (Dosovitskiy 2020, Touvron 2020) in front of a GPT-2 decoder with cross-attention, as captioning
 * models have it, or a TrOCR decoder (Li 2021). A picture comes as pixels, row by row from the top left; squares of them are its words. */
#include "models/transformer_layers.h"

#include "io/json.h"

#include <math.h>
#include <string.h>

typedef struct vision_encoder_decoder {
    td_text_decoder decoder; /* first: the shared functions look for it there */
    td_transformer_stack encoder;
    size_t image_size, patch_size, channels;
    size_t tokens;              /* in front of the patches: the class token, DeiT's distillation token */
    td_parameter *token[2];
    td_parameter *patch_weight, *patch_bias;
    td_parameter *bridge_weight, *bridge_bias; /* from the encoder's width to the decoder's; NULL: they are the same */
    bool sinusoidal;
} vision_encoder_decoder;

static const td_layer_names vit_names = {
    .query = {"attention.attention.query"},
    .key = {"attention.attention.key"},
    .value = {"attention.attention.value"},
    .output = {"attention.output.dense"},
    .norm = {"layernorm_before"},
    .fc1 = "intermediate.dense",
    .fc2 = "output.dense",
    .final_norm = "layernorm_after",
};

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

static td_status get_real(const json_t *config, const char *file, const char *key, double fallback, td_real *ret_value, td_error *error)
{
    const json_t *value = json_object_get(config, key);
    if (value && !(json_is_number(value) && json_number_value(value) > 0))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a number above 0", file, key);
    *ret_value = (td_real)(value ? json_number_value(value) : fallback);
    return TD_OK;
}

/* ---- the encoder ---- */

static td_status read_encoder(const json_t *config, const char *file, vision_encoder_decoder *model, td_error *error)
{
    td_transformer_stack *encoder = &model->encoder;
    const char *model_type;
    bool biased;
    TD_TRY(td_json_get_string(config, file, "model_type", "", &model_type, error));
    if (strcmp(model_type, "vit") != 0 && strcmp(model_type, "deit") != 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"encoder\": \"model_type\": \"%s\" is not supported (vit, deit)", file, model_type);
    model->tokens = model_type[0] == 'd' ? 2 : 1;
    TD_TRY(td_config_size(config, file, "hidden_size", 1 << 16, &encoder->width, error));
    TD_TRY(td_config_size(config, file, "num_hidden_layers", 1024, &encoder->layers, error));
    TD_TRY(td_config_size(config, file, "num_attention_heads", 1 << 16, &encoder->heads, error));
    TD_TRY(td_config_size(config, file, "intermediate_size", 1 << 20, &encoder->feed_forward, error));
    TD_TRY(td_config_size(config, file, "image_size", 1 << 13, &model->image_size, error));
    TD_TRY(td_config_size(config, file, "patch_size", 1 << 13, &model->patch_size, error));
    model->channels = 3;
    if (td_json_has(config, "num_channels"))
        TD_TRY(td_config_size(config, file, "num_channels", 64, &model->channels, error));
    TD_TRY(td_config_activation(config, file, "hidden_act", "gelu", &encoder->activation, error));
    TD_TRY(get_real(config, file, "layer_norm_eps", 1e-12, &encoder->epsilon, error));
    TD_TRY(td_json_get_bool(config, file, "qkv_bias", true, &biased, error));
    encoder->missing_bias = !biased;
    encoder->pre_norm = true;
    encoder->names = &vit_names;
    if (model->image_size % model->patch_size)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"image_size\" %zu is not a multiple of \"patch_size\" %zu", file, model->image_size,
                       model->patch_size);
    return td_stack_check(encoder, file, "hidden_size", error);
}

static td_status declare_encoder(td_network *network, vision_encoder_decoder *model, td_error *error)
{
    static const char *const names[2] = {"encoder.embeddings.cls_token", "encoder.embeddings.distillation_token"};
    td_parameters *parameters = &network->parameters;
    td_transformer_stack *encoder = &model->encoder;
    size_t width = encoder->width, side = model->image_size / model->patch_size, patch = model->patch_size;
    for (size_t i = 0; i < model->tokens; i++) {
        model->token[i] = td_parameters_declare(parameters, 1, width, TD_INIT_NORMAL, 0.02, "%s", names[i]);
        td_parameters_shape(parameters, (size_t[]){1, 1, width}, 3);
    }
    size_t rows = side * side + model->tokens;
    encoder->positions = td_parameters_declare(parameters, rows, width, TD_INIT_NORMAL, 0.02, "encoder.embeddings.position_embeddings");
    td_parameters_shape(parameters, (size_t[]){1, rows, width}, 3);
    model->patch_weight = td_parameters_declare(parameters, width, model->channels * patch * patch, TD_INIT_XAVIER, 1,
                                                "encoder.embeddings.patch_embeddings.projection.weight");
    td_parameters_shape(parameters, (size_t[]){width, model->channels, patch, patch}, 4);
    model->patch_bias = td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "encoder.embeddings.patch_embeddings.projection.bias");
    TD_TRY(td_stack_declare(parameters, encoder, "encoder.encoder.layer", error));
    encoder->final_norm = td_norm_declare(parameters, width, "encoder.layernorm");
    return TD_OK;
}

/* Squares of pixels as rows [patches, channels * p * p], in the order of the weight: channel, row, column. */
static td_tensor *gather_patches(const vision_encoder_decoder *model, td_graph *graph, const td_batch *source)
{
    size_t patch = model->patch_size, side = model->image_size / patch, channels = model->channels;
    td_tensor *rows = td_tensor_new(graph, source->ragged.count * side * side, channels * patch * patch, false);
    td_real *to = rows ? rows->data : NULL;
    for (size_t i = 0; to && i < source->ragged.count; i++) {
        const td_real *pixels = source->features + (size_t)source->ragged.offsets[i] * channels;
        for (size_t at = 0; at < side * side; at++)
            for (size_t c = 0; c < channels; c++)
                for (size_t y = 0; y < patch; y++)
                    for (size_t x = 0; x < patch; x++)
                        *to++ = pixels[((at / side * patch + y) * model->image_size + at % side * patch + x) * channels + c];
    }
    return rows;
}

/* The tokens in front of every picture's patches. */
static td_tensor *insert_tokens(const vision_encoder_decoder *model, td_graph *graph, td_tensor *patches, size_t pictures, size_t length)
{
    size_t count = pictures * length, each = length - model->tokens;
    int32_t *index = td_graph_allocate(graph, count, sizeof *index);
    for (size_t i = 0; index && i < count; i++)
        index[i] = i % length < model->tokens ? -1 : (int32_t)(i / length * each + i % length - model->tokens);
    td_tensor *x = index ? td_gather_rows(graph, patches, index, count) : NULL;
    for (size_t k = 0; k < model->tokens; k++) {
        for (size_t i = 0; index && i < count; i++)
            index[i] = i % length == k ? 0 : -1;
        x = td_add(graph, x, index ? td_gather_rows(graph, td_graph_parameter(graph, model->token[k]), index, count) : NULL);
    }
    return x;
}

static bool check_pictures(const vision_encoder_decoder *model, td_graph *graph, const td_batch *source)
{
    size_t pixels = model->image_size * model->image_size;
    if (!source->features || source->width != model->channels)
        td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: this model reads pixels of %zu channels", model->channels);
    for (size_t i = 0; i < source->ragged.count; i++)
        if (td_ragged_length(source->ragged, i) != pixels)
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: a picture of %zu pixels; this model reads %zu x %zu",
                          td_ragged_length(source->ragged, i), model->image_size, model->image_size);
    return td_graph_ok(graph);
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const vision_encoder_decoder *model = network->family;
    size_t side = model->image_size / model->patch_size, length = side * side + model->tokens, count = source->ragged.count;
    int32_t *offsets = check_pictures(model, graph, source) ? td_graph_allocate(graph, count + 1, sizeof *offsets) : NULL;
    if (!offsets)
        return graph->error.status;
    for (size_t i = 0; i <= count; i++)
        offsets[i] = (int32_t)(i * length);
    td_ragged ragged = {count, offsets};
    td_tensor *x = td_linear_apply(graph, gather_patches(model, graph, source), model->patch_weight, model->patch_bias);
    x = insert_tokens(model, graph, x, count, length);
    int32_t *positions = td_count_positions(graph, ragged, NULL, 0);
    x = positions ? td_add_positions(graph, x, td_graph_parameter(graph, model->encoder.positions), positions) : NULL;
    x = td_stack_encode(&model->encoder, network, graph, ragged, td_dropout(graph, x, network->rates.dropout));
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
    TD_TRY(get_real(config, file, "layer_norm_epsilon", 1e-5, &stack->epsilon, error));
    TD_TRY(td_config_flag(config, file, "gpt2", "scale_attn_weights", true, error));
    TD_TRY(td_config_flag(config, file, "gpt2", "scale_attn_by_inverse_layer_idx", false, error));
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    stack->pre_norm = true;
    stack->names = &gpt2_names;
    stack->memory_width = stack->width;
    decoder->embedding_scale = 1;
    TD_TRY(td_stack_check(stack, file, "n_embd", error));
    td_parameters *parameters = &network->parameters;
    stack->embedding = td_parameters_declare(parameters, network->vocabulary, stack->width, TD_INIT_NORMAL, 0.02, "decoder.transformer.wte.weight");
    td_parameters_product(parameters);
    if (tied)
        td_parameters_alias(parameters, "decoder.lm_head.weight");
    stack->positions = td_parameters_declare(parameters, network->max_positions, stack->width, TD_INIT_NORMAL, 0.02, "decoder.transformer.wpe.weight");
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

static td_status read_trocr(const json_t *config, const char *file, td_network *network, vision_encoder_decoder *model, td_error *error)
{
    td_text_decoder *decoder = &model->decoder;
    td_transformer_stack *stack = &decoder->stack;
    bool scale, learned;
    int32_t pad; /* the decoder's own */
    TD_TRY(td_config_id(config, file, "pad_token_id", &pad, error));
    TD_TRY(td_config_size(config, file, "d_model", 1 << 16, &stack->width, error));
    TD_TRY(td_config_size(config, file, "decoder_layers", 1024, &stack->layers, error));
    TD_TRY(td_config_size(config, file, "decoder_attention_heads", 1 << 16, &stack->heads, error));
    TD_TRY(td_config_size(config, file, "decoder_ffn_dim", 1 << 20, &stack->feed_forward, error));
    TD_TRY(td_config_size(config, file, "max_position_embeddings", 1 << 24, &network->max_positions, error));
    TD_TRY(td_config_activation(config, file, "activation_function", "gelu", &stack->activation, error));
    TD_TRY(td_json_get_bool(config, file, "scale_embedding", false, &scale, error));
    TD_TRY(td_json_get_bool(config, file, "use_learned_position_embeddings", true, &learned, error));
    model->sinusoidal = !learned;
    decoder->embedding_scale = scale ? (td_real)sqrt((double)stack->width) : 1;
    decoder->position_offset = 2;
    if (!learned)
        decoder->position_offset = pad >= 0 && pad < 1 << 24 ? (size_t)pad + 1 : 2;
    stack->memory_width = stack->width;
    if (json_is_integer(json_object_get(config, "cross_attention_hidden_size")))
        TD_TRY(td_config_size(config, file, "cross_attention_hidden_size", 1 << 16, &stack->memory_width, error));
    stack->epsilon = (td_real)1e-5;
    stack->names = &td_layer_names_bart;
    return td_stack_check(stack, file, "d_model", error);
}

static td_status configure_trocr(const json_t *config, const char *file, td_network *network, vision_encoder_decoder *model, td_error *error)
{
    td_text_decoder *decoder = &model->decoder;
    td_transformer_stack *stack = &decoder->stack;
    td_parameters *parameters = &network->parameters;
    bool norm, tied;
    TD_TRY(read_trocr(config, file, network, model, error));
    TD_TRY(td_json_get_bool(config, file, "layernorm_embedding", true, &norm, error));
    TD_TRY(td_json_get_bool(config, file, "tie_word_embeddings", true, &tied, error));
    stack->embedding = td_parameters_declare(parameters, network->vocabulary, stack->width, TD_INIT_NORMAL, 0.02,
                                             "decoder.model.decoder.embed_tokens.weight");
    td_parameters_product(parameters);
    if (tied)
        td_parameters_alias(parameters, "decoder.output_projection.weight");
    stack->positions = td_parameters_declare(parameters, network->max_positions + decoder->position_offset, stack->width,
                                             model->sinusoidal ? TD_INIT_CONSTANT : TD_INIT_NORMAL, 0.02,
                                             "decoder.model.decoder.embed_positions.%s", model->sinusoidal ? "weights" : "weight");
    if (norm)
        stack->embedding_norm = td_norm_declare(parameters, stack->width, "decoder.model.decoder.layernorm_embedding");
    TD_TRY(td_stack_declare(parameters, stack, "decoder.model.decoder.layers", error));
    decoder->logits_weight = stack->embedding;
    if (!tied) {
        decoder->logits_weight = td_parameters_declare(parameters, network->vocabulary, stack->width, TD_INIT_NORMAL, 0.02,
                                                       "decoder.output_projection.weight");
        td_parameters_product(parameters);
    }
    return TD_OK;
}

/* Ids of the whole model where it names them, else the decoder's. */
static td_status read_ids(const json_t *config, const json_t *decoder, const char *file, td_network *network, td_error *error)
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

static td_status configure_decoder(const json_t *config, const char *file, td_network *network, vision_encoder_decoder *model, td_error *error)
{
    const char *model_type;
    TD_TRY(td_json_get_string(config, file, "model_type", "", &model_type, error));
    TD_TRY(td_config_size(config, file, "vocab_size", 1 << 26, &network->vocabulary, error));
    if (strcmp(model_type, "gpt2") == 0)
        return configure_gpt2(config, file, network, model, error);
    if (strcmp(model_type, "trocr") == 0)
        return configure_trocr(config, file, network, model, error);
    return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"decoder\": \"model_type\": \"%s\" is not supported (gpt2, trocr)", file, model_type);
}

/* ---- the whole ---- */

/* transformers puts a projection between, unless the decoder's cross-attention takes the encoder's width itself. */
static td_status declare_bridge(td_network *network, vision_encoder_decoder *model, const json_t *decoder, const char *file, td_error *error)
{
    td_parameters *parameters = &network->parameters;
    size_t from = model->encoder.width, to = model->decoder.stack.width;
    if (json_is_integer(json_object_get(decoder, "cross_attention_hidden_size"))) {
        if (model->decoder.stack.memory_width != from)
            return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"cross_attention_hidden_size\" differs from the encoder's \"hidden_size\" %zu",
                           file, from);
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
    TD_TRY(read_ids(config, decoder, file, network, error));
    TD_TRY(read_encoder(encoder, file, model, error));
    TD_TRY(declare_encoder(network, model, error));
    TD_TRY(configure_decoder(decoder, file, network, model, error));
    network->feature_width = model->channels;
    return declare_bridge(network, model, decoder, file, error);
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
    td_release(model->encoder.layer);
    td_release(model->decoder.stack.layer);
    td_release(model);
    network->family = NULL;
}

extern const td_architecture td_architecture_vision_encoder_decoder;
const td_architecture td_architecture_vision_encoder_decoder = {
    .model_type = "vision-encoder-decoder",
    .source = TD_IMAGE,
    .configure = configure,
    .fill_constants = fill_constants,
    .release = release,
    .projection = td_text_decoder_projection,
    .encode = encode,
    .state_new = td_text_decoder_state_new,
    .state_free = td_attention_state_free,
    .begin = td_text_decoder_begin,
    .decode = td_text_decoder_decode,
    .reorder = td_attention_reorder,
    .state_rows = td_attention_state_rows,
};
