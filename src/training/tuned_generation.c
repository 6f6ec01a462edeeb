/* generation_config.json of a model that was trained on from another: that model's, with what the recipe itself says. */
#include "training/model_config.h"

#include "io/json.h"
#include "platform/file.h"

#include <stdio.h>
#include <string.h>

/* *ret_object is NULL where the directory has no such file. */
static td_status load_file(const char *directory, json_t **ret_object, td_error *error)
{
    char *path = td_path_join(directory, "generation_config.json");
    if (!path)
        return td_fail_memory(error, strlen(directory));
    td_status status = td_file_exists(path) ? td_json_load_file(path, ret_object, error) : TD_OK;
    if (status == TD_OK && *ret_object && !json_is_object(*ret_object)) {
        status = td_fail(error, TD_ERROR_FORMAT, "%s: must be a JSON object", path);
        json_decref(*ret_object);
        *ret_object = NULL;
    }
    td_release(path);
    return status;
}

/* Older models have these settings in config.json, where nothing looks once the other file is there. */
static td_status take_from_config(const json_t *config, json_t **ret_object, td_error *error)
{
    td_generation generation = td_generation_default();
    td_status status = td_generation_load(&generation, config, "config.json", error);
    if (status == TD_OK) {
        *ret_object = td_generation_save(&generation);
        status = *ret_object ? TD_OK : td_fail_memory(error, 0);
    }
    td_generation_free(&generation);
    return status;
}

static json_t *early_stopping(const td_recipe *recipe)
{
    int stopping = recipe->generation.early_stopping;
    return stopping == TD_RECIPE_EARLY_NEVER ? json_string("never") : json_boolean(stopping == TD_RECIPE_EARLY_TRUE);
}

/* The recipe's keys as transformers calls them; those not given are left out. New reference, NULL without memory. */
static json_t *given_settings(const td_recipe *recipe)
{
    const struct {
        const char *key, *name;
        json_t *value;
    } keys[] = {
        {"generation.beam", "num_beams", json_integer((json_int_t)recipe->generation.beam)},
        {"generation.length_penalty", "length_penalty", json_real(recipe->generation.length_penalty)},
        {"generation.max_length", "max_length", json_integer((json_int_t)recipe->generation.max_length)},
        {"generation.min_length", "min_length", json_integer((json_int_t)recipe->generation.min_length)},
        {"generation.early_stopping", "early_stopping", early_stopping(recipe)},
        {"generation.repetition_penalty", "repetition_penalty", json_real(recipe->generation.repetition_penalty)},
        {"generation.no_repeat_ngram", "no_repeat_ngram_size", json_integer((json_int_t)recipe->generation.no_repeat_ngram)},
        {"generation.ctc_weight", "tandem", json_pack("{s:f}", "ctc_weight", recipe->generation.ctc_weight)},
    };
    json_t *settings = json_object();
    bool failed = !settings;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        failed |= !keys[i].value;
        if (!failed && td_recipe_given(recipe, keys[i].key))
            failed = json_object_set(settings, keys[i].name, keys[i].value) != 0;
        json_decref(keys[i].value);
    }
    if (!failed)
        return settings;
    json_decref(settings);
    return NULL;
}

/* The language that was trained is the one to write when nobody says. */
static bool add_language(const td_recipe *recipe, const td_tokenizer *tokenizer, json_t *settings)
{
    const char *language = recipe->data.languages.count ? recipe->data.languages.items[0] : recipe->data.target_language;
    td_language_use use = td_tokenizer_language_use(tokenizer);
    const char *key = use == TD_LANGUAGE_STARTS ? "decoder_start_token_id" : use == TD_LANGUAGE_FORCED_FIRST ? "forced_bos_token_id" : NULL;
    if (!*language || !key)
        return true;
    return json_object_set_new(settings, key, json_integer(td_tokenizer_language_id(tokenizer, language))) == 0;
}

/* A limit in new tokens would go before the one that the recipe gives. */
static void drop_overruled(const json_t *settings, json_t *object)
{
    if (json_object_get(settings, "max_length"))
        json_object_del(object, "max_new_tokens");
    if (json_object_get(settings, "min_length"))
        json_object_del(object, "min_new_tokens");
}

td_status td_model_tuned_generation(const td_recipe *recipe, const td_tokenizer *tokenizer, const json_t *config, json_t **ret_config,
                                    td_error *error)
{
    json_t *object = NULL, *settings = given_settings(recipe);
    td_status status = settings && add_language(recipe, tokenizer, settings) ? TD_OK : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = load_file(recipe->model.from, &object, error);
    if (status == TD_OK && !object && json_object_size(settings))
        status = take_from_config(config, &object, error);
    if (status == TD_OK && object) {
        drop_overruled(settings, object);
        if (json_object_update(object, settings) != 0)
            status = td_fail_memory(error, 0);
    }
    json_decref(settings);
    if (status == TD_OK)
        *ret_config = object;
    else
        json_decref(object);
    return status;
}

static td_status start_as_saved(td_generation *generation, const td_recipe *recipe, td_error *error)
{
    td_generation saved = td_generation_default();
    json_t *object = NULL;
    td_status status = load_file(recipe->output, &object, error);
    if (status == TD_OK && object)
        status = td_generation_load(&saved, object, "generation_config.json", error);
    if (status == TD_OK) {
        generation->forced_bos_token_id = saved.forced_bos_token_id;
        generation->decoder_start_token_id = saved.decoder_start_token_id;
    }
    td_generation_free(&saved);
    json_decref(object);
    return status;
}

td_status td_model_starts(const td_recipe *recipe, const td_tokenizer *tokenizer, td_generation *generation, td_error *error)
{
    if (*recipe->model.from)
        TD_TRY(start_as_saved(generation, recipe, error));
    char never[64];
    snprintf(never, sizeof never, "bad_words_ids=[[%d]]", td_tokenizer_pad_id(tokenizer));
    return td_generation_set(generation, never, error);
}
