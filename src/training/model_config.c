#include "training/model_config.h"

#include "io/json.h"
#include "platform/file.h"

#include <stdlib.h>
#include <string.h>

static const char *transformer_type(const td_recipe *recipe)
{
    bool pre_norm = recipe->model.norm == TD_RECIPE_NORM_PRE;
    if (recipe->model.positions == TD_RECIPE_LEARNED)
        return pre_norm ? "mbart" : "bart";
    return pre_norm ? "pegasus" : "marian";
}

static const char *transformers_class(const char *model_type)
{
    static const struct {
        const char *type, *name;
    } classes[] = {{"marian", "MarianMTModel"},
                   {"pegasus", "PegasusForConditionalGeneration"},
                   {"bart", "BartForConditionalGeneration"},
                   {"mbart", "MBartForConditionalGeneration"}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(classes[i].type, model_type) == 0)
            return classes[i].name;
    return "";
}

/* Sinusoids cost nothing to keep, so they leave room for inputs longer than those trained on. */
static int64_t positions(const td_recipe *recipe)
{
    int64_t source = recipe->task == TD_TASK_CAPTION ? 0 : recipe->data.max_source_length, target = recipe->data.max_target_length,
            longest = source > target ? source : target;
    return recipe->model.positions == TD_RECIPE_LEARNED || longest > 510 ? longest + 2 : 512;
}

static td_status transformer_config(const td_recipe *recipe, const td_tokenizer *tokenizer, json_t **ret_config, td_error *error)
{
    const char *type = transformer_type(recipe);
    if (recipe->model.encoder.width != recipe->model.decoder.width)
        return td_fail(error, TD_ERROR_ARGUMENT, "model.encoder.width and model.decoder.width must be equal for a transformer");
    json_int_t pad = td_tokenizer_pad_id(tokenizer), eos = td_tokenizer_eos_id(tokenizer);
    json_int_t words = (json_int_t)td_tokenizer_size(tokenizer);
    bool shared = recipe->model.tie_embeddings == TD_RECIPE_TIE_THREE_WAY, tied = recipe->model.tie_embeddings != TD_RECIPE_TIE_NONE;
    *ret_config = json_pack(
        "{s:s,s:[s],s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:b,s:f,s:f,s:f,s:b}", "model_type", type,
        "architectures", transformers_class(type), "is_encoder_decoder", true, "d_model", (json_int_t)recipe->model.encoder.width,
        "encoder_layers", (json_int_t)recipe->model.encoder.layers, "decoder_layers", (json_int_t)recipe->model.decoder.layers,
        "encoder_attention_heads", (json_int_t)recipe->model.encoder.heads, "decoder_attention_heads",
        (json_int_t)recipe->model.decoder.heads, "encoder_ffn_dim", (json_int_t)recipe->model.encoder.feed_forward, "decoder_ffn_dim",
        (json_int_t)recipe->model.decoder.feed_forward, "max_position_embeddings", (json_int_t)positions(recipe), "activation_function",
        td_recipe_choice("model.activation", recipe->model.activation), "scale_embedding", recipe->model.scale_embedding, "vocab_size",
        words, "decoder_vocab_size", words, "pad_token_id", pad, "eos_token_id", eos, "decoder_start_token_id", pad, "bos_token_id",
        (json_int_t)0, "share_encoder_decoder_embeddings", shared, "tie_word_embeddings", tied, "dropout", recipe->training.dropout,
        "attention_dropout", recipe->training.attention_dropout, "activation_dropout", recipe->training.activation_dropout,
        "static_position_embeddings", recipe->model.positions == TD_RECIPE_SINUSOIDAL);
    return *ret_config ? TD_OK : td_fail_memory(error, 0);
}

static bool set_own(json_t *own, const char *key, json_t *value)
{
    return value && json_object_set_new(own, key, value) == 0;
}

/* What the published layouts have no key for: the language to write when nobody says, copying, and a head for CTC beside a speech_to_text
 * model. */
static td_status add_own_keys(const td_recipe *recipe, const td_tokenizer *tokenizer, json_t *config, td_error *error)
{
    json_t *own = json_object();
    bool made = own != NULL;
    if (made && recipe->data.languages.count)
        made = set_own(own, "target_language", json_string(recipe->data.languages.items[0]));
    if (made && recipe->model.copy)
        made = set_own(own, "copy", json_true()) && set_own(own, "unk_token_id", json_integer(td_tokenizer_unknown_id(tokenizer)));
    bool speech = recipe->task == TD_TASK_TRANSCRIBE && recipe->model.type == TD_RECIPE_TRANSFORMER;
    if (made && speech && recipe->training.ctc_weight > 0)
        made = set_own(own, "ctc", json_true());
    bool empty = made && !json_object_size(own);
    if (!made || empty || json_object_set(config, "tandem", own) != 0)
        made = empty;
    json_decref(own);
    return made ? TD_OK : td_fail_memory(error, 0);
}

/* Keys of models/recurrent.c */
static td_status recurrent_config(const td_recipe *recipe, const td_tokenizer *tokenizer, json_t **ret_config, td_error *error)
{
    int64_t embedding = recipe->model.embedding_width ? recipe->model.embedding_width : recipe->model.encoder.width;
    json_int_t pad = td_tokenizer_pad_id(tokenizer), eos = td_tokenizer_eos_id(tokenizer);
    *ret_config = json_pack(
        "{s:s,s:b,s:s,s:s,s:I,s:b,s:I,s:I,s:I,s:I,s:s,s:I,s:b,s:b,s:b,s:b,s:s,s:I,s:I,s:I,s:I,s:f}", "model_type", "tandem-rnn",
        "is_encoder_decoder", true, "cell", td_recipe_choice("model.type", recipe->model.type), "nonlinearity",
        td_recipe_choice("model.nonlinearity", recipe->model.nonlinearity), "encoder_layers", (json_int_t)recipe->model.encoder.layers,
        "encoder_bidirectional", recipe->model.encoder.bidirectional, "decoder_layers", (json_int_t)recipe->model.decoder.layers,
        "hidden_size", (json_int_t)recipe->model.decoder.width, "encoder_hidden_size", (json_int_t)recipe->model.encoder.width,
        "embedding_size", (json_int_t)embedding, "attention", td_recipe_choice("model.attention", recipe->model.attention),
        "attention_size", (json_int_t)(recipe->model.attention_size ? recipe->model.attention_size : recipe->model.decoder.width),
        "context_feeding", recipe->model.context_feeding, "input_feeding", recipe->model.input_feeding, "coverage", recipe->model.coverage,
        "reverse_source", recipe->model.reverse_source, "tie_embeddings",
        td_recipe_choice("model.tie_embeddings", recipe->model.tie_embeddings), "vocab_size", (json_int_t)td_tokenizer_size(tokenizer),
        "pad_token_id", pad, "eos_token_id", eos, "decoder_start_token_id", pad, "dropout", recipe->training.dropout);
    return *ret_config ? TD_OK : td_fail_memory(error, 0);
}

/* What makes a recurrent encoder's rows fewer than the frames. True on failure. */
static bool add_thinning(const td_recipe_stack *encoder, json_t *config)
{
    json_t *strides = json_array();
    bool failed = !strides;
    for (size_t i = 0; i < encoder->subsampling.count; i++)
        failed |= json_array_append_new(strides, json_integer(encoder->subsampling.items[i][0] - '0')) != 0;
    failed |= json_object_set_new(config, "subsampling", strides) != 0;
    return failed | (json_object_set_new(config, "pyramid_layers", json_integer((json_int_t)encoder->pyramid_layers)) != 0);
}

static json_t *numbers_of(const td_string_list *list)
{
    json_t *numbers = json_array();
    for (size_t i = 0; i < list->count; i++)
        if (json_array_append_new(numbers, json_integer(strtol(list->items[i], NULL, 10))) != 0) {
            json_decref(numbers);
            return NULL;
        }
    return numbers;
}

/* A picture encoder that is trained with the rest. */
static td_status add_new_encoder(const td_recipe *recipe, json_t *config, td_error *error)
{
    const td_recipe_stack *stack = &recipe->model.encoder;
    json_t *channels = stack->cnn.channels.count ? numbers_of(&stack->cnn.channels) : json_pack("[i,i,i,i]", 32, 64, 128, 256);
    json_t *encoder = json_pack("{s:s,s:o}", "model_type", "tandem-cnn", "channels", channels);
    bool failed = !encoder;
    if (!failed && stack->cnn.strides.count)
        failed = json_object_set_new(encoder, "strides", numbers_of(&stack->cnn.strides)) != 0;
    failed |= json_object_set_new(config, "encoder", encoder) != 0;
    failed |= json_object_set_new(config, "encoder_frozen", json_false()) != 0;
    return failed ? td_fail_memory(error, 0) : TD_OK;
}

td_status td_model_encoder_training(const td_recipe *recipe, json_t *config, td_error *error)
{
    const td_recipe_stack *stack = &recipe->model.encoder;
    int failed = 0;
    if (!*recipe->model.from || td_recipe_given(recipe, "model.encoder.frozen") ||
        td_recipe_given(recipe, "model.encoder.trained_blocks")) {
        failed |= json_object_set_new(config, "encoder_frozen", json_boolean(stack->frozen));
        failed |= json_object_set_new(config, "encoder_trained_blocks", json_integer((json_int_t)stack->trained_blocks));
    }
    return failed ? td_fail_memory(error, 0) : TD_OK;
}

/* The picture encoder's own configuration becomes a part of the model's. */
static td_status add_picture_encoder(const td_recipe *recipe, json_t *config, td_error *error)
{
    json_t *encoder = NULL;
    char *path = td_path_join(recipe->model.encoder.from, "config.json");
    td_status status = path ? td_json_load_file(path, &encoder, error) : td_fail_memory(error, 0);
    td_release(path);
    TD_TRY(status);
    return json_object_set_new(config, "encoder", encoder) == 0 ? td_model_encoder_training(recipe, config, error)
                                                                : td_fail_memory(error, 0);
}

/* transformers' keys of speech_to_text. It counts positions from the first token that is not padding, so decoding starts with the end
 * token, as in its published models. */
static bool add_speech_to_text(const td_recipe *recipe, const td_tokenizer *tokenizer, size_t feature_width, json_t *config)
{
    json_t *keys =
        json_pack("{s:s,s:[s],s:I,s:i,s:i,s:i,s:[i,i],s:I,s:I,s:I,s:b}", "model_type", "speech_to_text", "architectures",
                  "Speech2TextForConditionalGeneration", "input_feat_per_channel", (json_int_t)feature_width, "input_channels", 1,
                  "num_conv_layers", 2, "conv_channels", (int)(recipe->model.encoder.width * 2), "conv_kernel_sizes", 5, 5,
                  "max_source_positions", (json_int_t)recipe->data.max_source_length, "max_target_positions",
                  (json_int_t)recipe->data.max_target_length + 2, "decoder_start_token_id", (json_int_t)td_tokenizer_eos_id(tokenizer),
                  "tie_word_embeddings", recipe->model.tie_embeddings != TD_RECIPE_TIE_NONE);
    bool failed = !keys || json_object_update(config, keys) != 0;
    json_decref(keys);
    json_object_del(config, "static_position_embeddings");
    json_object_del(config, "max_position_embeddings");
    return failed;
}

/* The same decoders behind an encoder of sound or pictures. */
static td_status add_features(const td_recipe *recipe, const td_tokenizer *tokenizer, size_t feature_width, json_t *config, td_error *error)
{
    bool sound = recipe->task == TD_TASK_TRANSCRIBE, transformer = recipe->model.type == TD_RECIPE_TRANSFORMER, failed;
    if (sound && transformer)
        return add_speech_to_text(recipe, tokenizer, feature_width, config) ? td_fail_memory(error, 0) : TD_OK;
    const char *type = sound ? "tandem-rnn-speech" : transformer ? "tandem-transformer-image" : "tandem-rnn-image";
    failed = json_object_set_new(config, "model_type", json_string(type)) != 0;
    failed |= json_object_set_new(config, "feature_size", json_integer((json_int_t)feature_width)) != 0;
    if (!sound)
        TD_TRY((*recipe->model.encoder.from ? add_picture_encoder : add_new_encoder)(recipe, config, error));
    if (!sound && transformer)
        failed |= json_object_set_new(config, "normalize_before", json_boolean(recipe->model.norm == TD_RECIPE_NORM_PRE)) != 0;
    if (sound && recipe->training.ctc_weight > 0)
        failed |= json_object_set_new(config, "ctc", json_true()) != 0;
    if (sound)
        failed |= add_thinning(&recipe->model.encoder, config);
    return failed ? td_fail_memory(error, 0) : TD_OK;
}

td_status td_model_config(const td_recipe *recipe, const td_tokenizer *tokenizer, size_t feature_width, json_t **ret_config,
                          td_error *error)
{
    json_t *config = NULL;
    bool transformer = recipe->model.type == TD_RECIPE_TRANSFORMER;
    TD_TRY((transformer ? transformer_config : recurrent_config)(recipe, tokenizer, &config, error));
    td_status status = add_own_keys(recipe, tokenizer, config, error);
    if (status == TD_OK && feature_width)
        status = add_features(recipe, tokenizer, feature_width, config, error);
    if (status == TD_OK)
        *ret_config = config;
    else
        json_decref(config);
    return status;
}

td_status td_model_generation_config(const td_recipe *recipe, const td_tokenizer *tokenizer, json_t **ret_config, td_error *error)
{
    json_int_t pad = td_tokenizer_pad_id(tokenizer), eos = td_tokenizer_eos_id(tokenizer);
    bool speech = recipe->task == TD_TASK_TRANSCRIBE && recipe->model.type == TD_RECIPE_TRANSFORMER;
    json_t *early = recipe->generation.early_stopping == TD_RECIPE_EARLY_NEVER
                        ? json_string("never")
                        : json_boolean(recipe->generation.early_stopping == TD_RECIPE_EARLY_TRUE);
    *ret_config =
        json_pack("{s:I,s:f,s:I,s:I,s:o,s:I,s:I,s:I,s:f,s:I,s:[[I]]}", "num_beams", (json_int_t)recipe->generation.beam, "length_penalty",
                  recipe->generation.length_penalty, "max_length", (json_int_t)recipe->generation.max_length, "min_length",
                  (json_int_t)recipe->generation.min_length, "early_stopping", early, "pad_token_id", pad, "eos_token_id", eos,
                  "decoder_start_token_id", speech ? eos : pad, "repetition_penalty", recipe->generation.repetition_penalty,
                  "no_repeat_ngram_size", (json_int_t)recipe->generation.no_repeat_ngram, "bad_words_ids", pad);
    if (!*ret_config)
        return td_fail_memory(error, 0);
    double weight = recipe->generation.ctc_weight;
    if (weight > 0 && json_object_set_new(*ret_config, "tandem", json_pack("{s:f}", "ctc_weight", weight)) != 0) {
        json_decref(*ret_config);
        return td_fail_memory(error, 0);
    }
    return TD_OK;
}

/* ---- front ends ---- */

/* What Speech2TextFeatureExtractor can do is written as such, so that transformers reads it beside a speech_to_text model. */
static bool fits_speech_to_text(const td_recipe *recipe)
{
    return recipe->model.type == TD_RECIPE_TRANSFORMER && recipe->data.audio.kind == TD_RECIPE_FBANK &&
           recipe->data.audio.sampling_rate == 16000 && recipe->data.audio.normalize == TD_RECIPE_NORM_UTTERANCE &&
           !recipe->data.audio.deltas;
}

static td_status speech_to_text_sound_config(const td_recipe *recipe, json_t **ret_config, td_error *error)
{
    json_int_t width = (json_int_t)recipe->data.audio.width;
    *ret_config = json_pack("{s:s,s:s,s:I,s:I,s:i,s:b,s:b,s:b,s:f,s:s,s:b}", "feature_extractor_type", "Speech2TextFeatureExtractor",
                            "processor_class", "Speech2TextProcessor", "feature_size", width, "num_mel_bins", width, "sampling_rate", 16000,
                            "do_ceptral_normalize", 1, "normalize_means", 1, "normalize_vars", 1, "padding_value", 0.0, "padding_side",
                            "right", "return_attention_mask", 1);
    return *ret_config ? TD_OK : td_fail_memory(error, 0);
}

static td_status sound_config(const td_recipe *recipe, json_t **ret_config, td_error *error)
{
    if (fits_speech_to_text(recipe))
        return speech_to_text_sound_config(recipe, ret_config, error);
    static const char *const width_keys[] = {"num_mel_bins", "num_ceps", "num_mel_bins", "width"};
    *ret_config =
        json_pack("{s:s,s:s,s:I,s:I,s:s,s:b}", "feature_extractor_type", "TandemFeatureExtractor", "kind",
                  td_recipe_choice("data.audio.kind", recipe->data.audio.kind), width_keys[recipe->data.audio.kind],
                  (json_int_t)recipe->data.audio.width, "sampling_rate", (json_int_t)recipe->data.audio.sampling_rate, "normalize",
                  td_recipe_choice("data.audio.normalize", recipe->data.audio.normalize), "deltas", recipe->data.audio.deltas);
    return *ret_config ? TD_OK : td_fail_memory(error, 0);
}

static td_status copied_config(const char *directory, json_t **ret_config, td_error *error)
{
    char *path = td_path_join(directory, "preprocessor_config.json");
    td_status status = path ? td_json_load_file(path, ret_config, error) : td_fail_memory(error, 0);
    td_release(path);
    return status;
}

/* A size that the recipe gives goes before the encoder's own, without cropping. */
static td_status picture_config(const td_recipe *recipe, json_t **ret_config, td_error *error)
{
    json_t *config = NULL;
    const char *from = *recipe->model.from ? recipe->model.from : recipe->model.encoder.from;
    if (*from)
        TD_TRY(copied_config(from, &config, error));
    else
        config = json_pack("{s:s}", "image_processor_type", "ViTImageProcessor");
    json_int_t size = (json_int_t)recipe->data.image.size;
    json_t *square = size ? json_pack("{s:I,s:I}", "height", size, "width", size) : NULL;
    bool failed = !config || (size && json_object_set_new(config, "size", square) != 0);
    if (!failed && size && json_object_get(config, "do_center_crop"))
        failed = json_object_set_new(config, "do_center_crop", json_false()) != 0;
    if (failed) {
        json_decref(config);
        return td_fail_memory(error, 0);
    }
    *ret_config = config;
    return TD_OK;
}

/* Sound as the model of model.from reads it, unless the recipe says how. */
static bool hears_as_before(const td_recipe *recipe)
{
    static const char *const keys[] = {"data.audio.kind", "data.audio.width", "data.audio.sampling_rate", "data.audio.normalize",
                                       "data.audio.deltas"};
    bool given = recipe->task != TD_TASK_TRANSCRIBE;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        given |= td_recipe_given(recipe, keys[i]);
    return !given && *recipe->model.from;
}

td_status td_model_preprocessor_config(const td_recipe *recipe, json_t **ret_config, td_error *error)
{
    if (hears_as_before(recipe))
        return copied_config(recipe->model.from, ret_config, error);
    return (recipe->task == TD_TASK_TRANSCRIBE ? sound_config : picture_config)(recipe, ret_config, error);
}
