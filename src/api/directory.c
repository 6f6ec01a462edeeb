#include "api/directory.h"

#include "io/ct2.h"
#include "io/json.h"
#include "platform/file.h"
#include "text/tokenizer.h"

#include <string.h>

/* A CTranslate2 directory that was converted holds safetensors and a configuration of its own. */
bool td_directory_is_foreign(const char *directory)
{
    return td_ct2_recognise(directory);
}

static td_status add_setting(json_t *config, const char *key, json_t *value, td_error *error)
{
    return value && json_object_set_new(config, key, value) == 0 ? TD_OK : td_fail_memory(error, 0);
}

/* The names of tokens in CTranslate2's config.json become ids; they are kept too, for the vocabulary's reader. */
static td_status add_tokens(const char *directory, const json_t *settings, json_t *config, td_error *error)
{
    td_tokenizer *tokenizer = NULL;
    TD_TRY(td_tokenizer_open(directory, &tokenizer, error));
    json_t *start = json_object_get(settings, "decoder_start_token");
    const char *name = start ? json_string_value(start) : "<s>";
    int32_t id = name ? td_tokenizer_id(tokenizer, name) : -1;
    td_status status = id >= 0 ? TD_OK
                               : td_fail(error, TD_ERROR_FORMAT, "%s: \"decoder_start_token\": the target vocabulary lacks %s", directory,
                                         name ? name : "one");
    if (status == TD_OK)
        status = add_setting(config, "decoder_start_token_id", json_integer(id), error);
    if (status == TD_OK)
        status = add_setting(config, "eos_token_id", json_integer(td_tokenizer_eos_id(tokenizer)), error);
    td_tokenizer_free(tokenizer);
    return status;
}

static td_status add_settings(const char *directory, const char *path, json_t *config, td_error *error)
{
    static const char *const kept[] = {"unk_token", "bos_token", "eos_token", "decoder_start_token", "add_source_bos", "add_source_eos"};
    json_t *settings = NULL;
    if (td_file_exists(path))
        TD_TRY(td_json_load_file(path, &settings, error));
    td_status status = add_tokens(directory, settings, config, error);
    for (size_t i = 0; status == TD_OK && i < sizeof kept / sizeof *kept; i++)
        if (json_object_get(settings, kept[i]))
            status = add_setting(config, kept[i], json_incref(json_object_get(settings, kept[i])), error);
    double epsilon = json_number_value(json_object_get(settings, "layer_norm_epsilon"));
    if (status == TD_OK && epsilon != 0 && (epsilon < 0.99e-5 || epsilon > 1.01e-5))
        status = td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"layer_norm_epsilon\": %g is not supported (1e-05)", path, epsilon);
    json_decref(settings);
    return status;
}

/* CTranslate2's own. What may not be said is left out before the softmax there, hence "renormalize_logits". */
static td_status add_defaults(json_t *config, td_error *error)
{
    TD_TRY(add_setting(config, "num_beams", json_integer(2), error));
    TD_TRY(add_setting(config, "early_stopping", json_true(), error));
    TD_TRY(add_setting(config, "max_length", json_integer(257), error));
    TD_TRY(add_setting(config, "min_new_tokens", json_integer(1), error));
    return add_setting(config, "renormalize_logits", json_true(), error);
}

td_status td_directory_config(const char *directory, const char *path, json_t **ret_config, td_error *error)
{
    if (!td_directory_is_foreign(directory))
        return td_json_load_file(path, ret_config, error);
    json_t *config = NULL;
    TD_TRY(td_ct2_configure(directory, &config, error));
    td_status status = add_settings(directory, path, config, error);
    if (status == TD_OK)
        status = add_defaults(config, error);
    if (status != TD_OK) {
        json_decref(config);
        return status;
    }
    *ret_config = config;
    return TD_OK;
}
