#include "api/model.h"

#include "api/directory.h"
#include "io/json.h"
#include "platform/file.h"

#include <string.h>

/* Loads the configuration, directory/name; *ret_path is the path for messages, to be released also on failure. */
static td_status load_json(const char *directory, const char *name, json_t **ret_root, char **ret_path, td_error *error)
{
    *ret_path = td_path_join(directory, name);
    return *ret_path ? td_directory_config(directory, *ret_path, ret_root, error) : td_fail_memory(error, strlen(directory));
}

enum { DEFAULT_BEAM = 4 };

/* Where no file says how wide the beam is, transformers searches greedily; a beam is the better answer. */
static void default_beam(td_model *model, const json_t *settings)
{
    if (!td_json_has(settings, "num_beams") && !model->generation.do_sample)
        model->generation.num_beams = DEFAULT_BEAM;
}

static void forget_ids(td_generation *generation)
{
    td_release(generation->eos_token_id.ids);
    generation->eos_token_id = (td_id_list){NULL, 0};
    generation->decoder_start_token_id = generation->pad_token_id = generation->bos_token_id = -1;
}

/* config.json holds the settings of older models; generation_config.json goes before it. */
static td_status load_generation(td_model *model, const char *config_path, td_error *error)
{
    model->generation = td_generation_default();
    char *path = td_path_join(model->directory, "generation_config.json");
    if (!path)
        return td_fail_memory(error, strlen(model->directory));
    json_t *root = NULL;
    td_status status;
    if (td_file_exists(path)) {
        status = td_json_load_file(path, &root, error);
        if (status == TD_OK)
            status = td_generation_load(&model->generation, root, path, error);
        default_beam(model, root);
    } else {
        status = td_generation_load(&model->generation, model->config, config_path, error);
        default_beam(model, model->config);
    }
    if (model->network.own_ids)
        forget_ids(&model->generation);
    json_decref(root);
    td_release(path);
    return status;
}

static void describe_weights(td_model *model, const td_safetensors *file)
{
    size_t elements[TD_DTYPE_COUNT] = {0}, most = TD_F32;
    for (size_t i = 0; i < td_safetensors_count(file); i++) {
        const td_stored_tensor *tensor = td_safetensors_at(file, i);
        elements[tensor->dtype] += td_stored_count(tensor);
        model->stored.bytes += tensor->bytes;
    }
    for (size_t i = 0; i < TD_DTYPE_COUNT; i++)
        if (elements[i] > elements[most])
            most = i;
    model->stored.precision = td_dtype_name((td_dtype)most);
}

static td_status choose_precision(td_model *model, int wanted, td_error *error)
{
    bool stored_int8 = strcmp(model->stored.precision, td_dtype_name(TD_I8)) == 0;
    model->precision = wanted >= 0 ? (td_precision)wanted : stored_int8 ? TD_INT8 : TD_FLOAT32;
    if (wanted > TD_FLOAT32 && td_parameters_products(&model->network.parameters) == 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: models of type %s run in float32 only", model->directory,
                       model->network.architecture->model_type);
    return TD_OK;
}

static td_status load_weights(td_model *model, int precision, td_error *error)
{
    td_safetensors *file = NULL;
    TD_TRY(td_safetensors_open_directory(model->directory, &file, error));
    describe_weights(model, file);
    td_status status = choose_precision(model, precision, error);
    if (status == TD_OK)
        status = td_parameters_load_packed(&model->network.parameters, file, model->precision, error);
    td_safetensors_close(file);
    return status;
}

/* Lists the vocabulary's tokens of languages, ">>xx<<" and "__xx__" as "xx". */
static td_status list_languages(td_model *model, td_error *error)
{
    size_t count = 0, size = model->tokenizer ? td_tokenizer_size(model->tokenizer) : 0;
    for (size_t id = 0; id < size; id++) {
        const char *piece = td_tokenizer_piece(model->tokenizer, (int32_t)id);
        if (td_tokenizer_is_language(model->tokenizer, (int32_t)id)) {
            bool marked = strncmp(piece, ">>", 2) == 0 || strncmp(piece, "__", 2) == 0;
            td_buffer_append(&model->language_names, piece + (marked ? 2 : 0), strlen(piece) - (marked ? 4 : 0));
            td_buffer_append(&model->language_names, "", 1);
            count++;
        }
    }
    model->languages = td_allocate_array(count + 1, sizeof *model->languages);
    if (!model->languages || !td_buffer_ok(&model->language_names))
        return td_fail_memory(error, count * sizeof *model->languages);
    const char *name = td_buffer_text(&model->language_names);
    for (size_t i = 0; i < count; i++, name += strlen(name) + 1)
        model->languages[i] = name;
    const json_t *ours = json_object_get(model->config, "tandem");
    model->default_language = json_string_value(json_object_get(ours, "target_language"));
    return TD_OK;
}

/* What a model for one pair of languages (OPUS-MT) says of them; a directory need not. */
static td_status read_pair(td_model *model, td_error *error)
{
    json_t *root = NULL;
    char *path = td_path_join(model->directory, "tokenizer_config.json");
    td_error ignored;
    if (!path)
        return td_fail_memory(error, strlen(model->directory));
    if (td_file_exists(path) && td_json_load_file(path, &root, &ignored) == TD_OK) {
        const char *source = json_string_value(json_object_get(root, "source_lang"));
        const char *target = json_string_value(json_object_get(root, "target_lang"));
        model->source_language = source ? td_copy_string(source) : NULL;
        model->target_language = target ? td_copy_string(target) : NULL;
    }
    json_decref(root);
    td_release(path);
    return TD_OK;
}

/* Without a front end a model is still good for inspection and conversion; inputs are refused with the reason. */
static td_status load_frontend(td_model *model)
{
    td_modality modality = model->network.architecture->source;
    if (modality == TD_TEXT)
        return TD_OK;
    TD_TRY(td_frontend_open(model->directory, modality, &model->frontend, &model->frontend_error));
    size_t width = model->frontend.kind->width(model->frontend.state);
    if (width == model->network.feature_width)
        return TD_OK;
    td_frontend_close(&model->frontend);
    return td_fail(&model->frontend_error, TD_ERROR_FORMAT,
                   "%s: preprocessor_config.json makes %zu features a row, and config.json wants %zu", model->directory, width,
                   model->network.feature_width);
}

/* As many tokens as there are positions, or, of a model that was trained on cut texts, as many as they were cut to. */
static td_status limit_source(td_model *model, const char *config_path, td_error *error)
{
    if (model->network.architecture->source != TD_TEXT)
        return TD_OK;
    int64_t cut;
    TD_TRY(td_json_get_integer(json_object_get(model->config, "tandem"), config_path, "max_source_length", 0, &cut, error));
    if (cut < 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: tandem.max_source_length is %lld; it must be 1 or more", config_path, (long long)cut);
    model->max_source = model->network.max_positions;
    if (cut && (!model->max_source || (size_t)cut < model->max_source))
        model->max_source = (size_t)cut;
    return TD_OK;
}

static td_status load(td_model *model, int precision, td_error *error)
{
    char *config_path = NULL;
    td_status status = load_json(model->directory, "config.json", &model->config, &config_path, error);
    if (status == TD_OK)
        status = td_network_configure(model->config, config_path, &model->network, error);
    if (status == TD_OK)
        status = limit_source(model, config_path, error);
    if (status == TD_OK)
        status = load_weights(model, precision, error);
    if (status == TD_OK)
        status = load_generation(model, config_path, error);
    td_release(config_path);
    TD_TRY(status);
    /* Without a tokenizer a model still takes ids; text is refused with the reason. */
    status = td_tokenizer_open(model->directory, &model->tokenizer, &model->tokenizer_error);
    if (status == TD_ERROR_MEMORY)
        return td_fail(error, status, "%s", model->tokenizer_error.message);
    status = load_frontend(model);
    if (status == TD_ERROR_MEMORY)
        return td_fail(error, status, "%s", model->frontend_error.message);
    TD_TRY(read_pair(model, error));
    return list_languages(model, error);
}

td_status td_model_load(const char *directory, int precision, td_model **ret_model, td_error *error)
{
    td_model *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    pthread_mutex_init(&model->mutex, NULL);
    model->directory = td_copy_string(directory);
    td_status status = model->directory ? load(model, precision, error) : td_fail_memory(error, strlen(directory));
    if (status != TD_OK) {
        td_model_release(model);
        return status;
    }
    *ret_model = model;
    return TD_OK;
}

static void release_pair(td_language_pair *pair)
{
    td_tokenizer_free(pair->tokenizer);
    td_release(pair->source);
    td_release(pair->target);
    td_release(pair);
}

void td_model_release(td_model *model)
{
    if (!model)
        return;
    while (model->pairs) {
        td_language_pair *pair = model->pairs;
        model->pairs = pair->next;
        release_pair(pair);
    }
    pthread_mutex_destroy(&model->mutex);
    td_tokenizer_free(model->tokenizer);
    td_generation_free(&model->generation);
    td_frontend_close(&model->frontend);
    td_network_free(&model->network);
    td_buffer_free(&model->language_names);
    td_release(model->languages);
    td_release(model->source_language);
    td_release(model->target_language);
    json_decref(model->config);
    td_release(model->directory);
    td_release(model);
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static td_status open_pair(const td_model *model, const char *source, const char *target, td_language_pair **ret_pair, td_error *error)
{
    td_language_pair *pair = td_allocate_array(1, sizeof *pair);
    if (!pair)
        return td_fail_memory(error, sizeof *pair);
    pair->source = source ? td_copy_string(source) : NULL;
    pair->target = target ? td_copy_string(target) : NULL;
    td_status status = TD_OK;
    if ((source && !pair->source) || (target && !pair->target))
        status = td_fail_memory(error, 0);
    if (status == TD_OK)
        status = td_tokenizer_open(model->directory, &pair->tokenizer, error);
    if (status == TD_OK)
        status = td_tokenizer_set_languages(pair->tokenizer, source, target, error);
    if (status != TD_OK) {
        release_pair(pair);
        return status;
    }
    *ret_pair = pair;
    return TD_OK;
}

td_status td_model_tokenizer(td_model *model, const char *source, const char *target, const td_tokenizer **ret_tokenizer, td_error *error)
{
    if (!model->tokenizer)
        return td_fail(error, model->tokenizer_error.status, "%s", model->tokenizer_error.message);
    if (!source && !target) {
        *ret_tokenizer = model->tokenizer;
        return TD_OK;
    }
    td_status status = TD_OK;
    pthread_mutex_lock(&model->mutex);
    td_language_pair *pair = model->pairs;
    while (pair && !(same(pair->source, source) && same(pair->target, target)))
        pair = pair->next;
    if (!pair) {
        status = open_pair(model, source, target, &pair, error);
        if (status == TD_OK) {
            pair->next = model->pairs;
            model->pairs = pair;
        }
    }
    pthread_mutex_unlock(&model->mutex);
    if (status == TD_OK)
        *ret_tokenizer = pair->tokenizer;
    return status;
}
