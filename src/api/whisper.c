#include "api/whisper.h"

#include "io/json.h"
#include "platform/file.h"

#include <math.h>
#include <string.h>

static td_status read_id(const td_whisper *whisper, const char *key, int32_t fallback, int32_t *ret_id, td_error *error)
{
    int64_t id;
    TD_TRY(td_json_get_integer(whisper->settings, whisper->file, key, fallback, &id, error));
    if (id < -1 || id >= (int64_t)whisper->model->network.vocabulary)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\": %lld is no id of this model", whisper->file, key, (long long)id);
    *ret_id = (int32_t)id;
    return TD_OK;
}

static td_status fail_forced(const td_whisper *whisper, td_error *error)
{
    return td_fail(error, TD_ERROR_FORMAT, "%s: \"forced_decoder_ids\" must be a list of [position, id], positions 1, 2, ...",
                   whisper->file);
}

/* [[1, language or null], [2, task], ...]: how configurations fixed the prompt before they had tables of languages. */
static td_status read_forced(td_whisper *whisper, td_error *error)
{
    const json_t *list = json_object_get(whisper->settings, "forced_decoder_ids");
    if (!list || json_is_null(list))
        list = json_object_get(whisper->model->config, "forced_decoder_ids");
    size_t index;
    const json_t *pair;
    json_array_foreach(list, index, pair)
    {
        const json_t *id = json_array_get(pair, 1);
        if (json_integer_value(json_array_get(pair, 0)) != (json_int_t)index + 1 || !(json_is_integer(id) || json_is_null(id)))
            return fail_forced(whisper, error);
        if (json_is_integer(id) && (json_integer_value(id) < 0 || json_integer_value(id) >= (json_int_t)whisper->model->network.vocabulary))
            return fail_forced(whisper, error);
        td_ids_append(&whisper->forced, json_is_integer(id) ? (int32_t)json_integer_value(id) : TD_WHISPER_DETECT);
    }
    return td_ids_ok(&whisper->forced) ? TD_OK : td_fail_memory(error, 0);
}

/* `text` without the special tokens that are put around any text; one that it spells itself is a mistake. */
static td_status encode_bare(const td_whisper *whisper, const td_buffer *text, td_ids *ret_ids, td_error *error)
{
    const td_tokenizer *tokenizer = whisper->model->tokenizer;
    td_ids ids = TD_IDS_INIT, around = TD_IDS_INIT;
    td_status status = td_tokenizer_encode(tokenizer, TD_TARGET, td_buffer_text(text), text->length, &ids, error);
    if (status == TD_OK)
        status = td_tokenizer_encode(tokenizer, TD_TARGET, "", 0, &around, error);
    size_t before = 0;
    while (before < around.length && before < ids.length && ids.data[before] == around.data[before])
        before++;
    size_t after = around.length - before;
    for (size_t i = before; status == TD_OK && i + after < ids.length; i++) {
        if (td_tokenizer_is_special(tokenizer, ids.data[i]) || ids.data[i] >= whisper->first_timestamp)
            status = td_fail(error, TD_ERROR_ARGUMENT, "options: the prompt spells the special token %s",
                             td_tokenizer_piece(tokenizer, ids.data[i]));
        td_ids_append(ret_ids, ids.data[i]);
    }
    td_ids_free(&ids);
    td_ids_free(&around);
    TD_TRY(status);
    return td_ids_ok(ret_ids) ? TD_OK : td_fail_memory(error, text->length);
}

/* " text", as if it had been said before. */
static td_status read_prompt(td_whisper *whisper, const char *prompt, td_error *error)
{
    static const char spaces[] = " \t\r\n";
    size_t first = strspn(prompt, spaces), end = strlen(prompt), most = whisper->model->network.max_positions / 2 - 1;
    while (end > first && strchr(spaces, prompt[end - 1]))
        end--;
    if (!whisper->model->tokenizer || whisper->previous < 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"prev_sot_token_id\" is missing, so that no prompt can be given", whisper->file);
    td_buffer text = TD_BUFFER_INIT;
    td_buffer_text_append(&text, " ");
    td_buffer_append(&text, prompt + first, end - first);
    td_status status = td_buffer_ok(&text) ? encode_bare(whisper, &text, &whisper->told, error) : td_fail_memory(error, end);
    td_buffer_free(&text);
    TD_TRY(status);
    if (whisper->told.length > most)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: the prompt has %zu tokens; this model takes %zu", whisper->told.length, most);
    return TD_OK;
}

/* A threshold of the caller's, or of the file's, or none. */
static td_status read_threshold(td_whisper *whisper, size_t which, const char *key, double given, double *ret_value, td_error *error)
{
    whisper->thresholds[which] = given != TD_UNSET_REAL || td_json_has(whisper->settings, key);
    TD_TRY(td_json_get_real(whisper->settings, whisper->file, key, 0, ret_value, error));
    if (given != TD_UNSET_REAL)
        *ret_value = given;
    return TD_OK;
}

static td_status read_settings(td_whisper *whisper, const td_generation *generation, const td_transcribe_options *options, td_error *error)
{
    whisper->start =
        generation->decoder_start_token_id >= 0 ? generation->decoder_start_token_id : whisper->model->network.decoder_start_id;
    if (whisper->start < 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"decoder_start_token_id\" is missing", whisper->file);
    TD_TRY(read_id(whisper, "no_timestamps_token_id", -1, &whisper->no_timestamps, error));
    TD_TRY(read_id(whisper, "prev_sot_token_id", -1, &whisper->previous, error));
    whisper->first_timestamp = whisper->no_timestamps >= 0 ? whisper->no_timestamps + 1 : INT32_MAX;
    if (whisper->previous < 0 && generation->suppress_tokens.count >= 2) /* where older configurations have it */
        whisper->previous = generation->suppress_tokens.ids[generation->suppress_tokens.count - 2];
    TD_TRY(read_forced(whisper, error));
    TD_TRY(read_threshold(whisper, 0, "compression_ratio_threshold", options->compression_ratio, &whisper->compression_ratio, error));
    TD_TRY(read_threshold(whisper, 1, "logprob_threshold", options->log_probability, &whisper->log_probability, error));
    TD_TRY(read_threshold(whisper, 2, "no_speech_threshold", options->no_speech, &whisper->no_speech, error));
    if (whisper->thresholds[2] && !whisper->thresholds[1]) {
        whisper->thresholds[1] = true; /* silence is a window that was not understood */
        whisper->log_probability = -1;
    }
    TD_TRY(td_json_get_bool(whisper->settings, whisper->file, "condition_on_prev_tokens", false, &whisper->condition_on_previous, error));
    whisper->return_timestamps = generation->return_timestamps;
    if (options->prompt)
        TD_TRY(read_prompt(whisper, options->prompt, error));
    if (options->condition_on_previous >= 0)
        whisper->condition_on_previous = options->condition_on_previous != 0;
    if (whisper->condition_on_previous && whisper->previous < 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"prev_sot_token_id\" is missing, so that the text before cannot be given",
                       whisper->file);
    return TD_OK;
}

td_status td_whisper_open(const td_model *model, const td_generation *generation, const td_transcribe_options *options,
                          td_whisper *ret_whisper, td_error *error)
{
    td_whisper whisper = {.model = model, .file = td_path_join(model->directory, "generation_config.json"), .forced = TD_IDS_INIT};
    td_status status = whisper.file ? TD_OK : td_fail_memory(error, strlen(model->directory));
    if (status == TD_OK && td_file_exists(whisper.file))
        status = td_json_load_file(whisper.file, &whisper.settings, error);
    else if (status == TD_OK && !(whisper.settings = json_object()))
        status = td_fail_memory(error, 0);
    if (status == TD_OK)
        status = read_settings(&whisper, generation, options, error);
    if (status != TD_OK) {
        td_whisper_close(&whisper);
        return status;
    }
    *ret_whisper = whisper;
    return TD_OK;
}

void td_whisper_close(td_whisper *whisper)
{
    json_decref(whisper->settings);
    td_release(whisper->file);
    td_ids_free(&whisper->forced);
    td_ids_free(&whisper->told);
}

static td_status fail_heads(const td_whisper *whisper, td_error *error)
{
    return td_fail(error, TD_ERROR_FORMAT, "%s: \"alignment_heads\" must be a list of [layer, head] of this model's decoder",
                   whisper->file);
}

td_status td_whisper_heads(const td_whisper *whisper, td_alignment_heads *heads, td_error *error)
{
    const json_t *config = whisper->model->config, *list = json_object_get(whisper->settings, "alignment_heads"), *pair;
    json_int_t layers = json_integer_value(json_object_get(config, "decoder_layers"));
    json_int_t each = json_integer_value(json_object_get(config, "decoder_attention_heads"));
    if (!list || json_is_null(list) || !whisper->model->network.architecture->watch)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"alignment_heads\" is missing, so that the times of words cannot be found",
                       whisper->file);
    size_t index;
    json_array_foreach(list, index, pair)
    {
        json_int_t layer = json_integer_value(json_array_get(pair, 0)), head = json_integer_value(json_array_get(pair, 1));
        if (json_array_size(pair) != 2 || layer < 0 || layer >= layers || head < 0 || head >= each)
            return fail_heads(whisper, error);
        td_ids_append(&heads->layer, (int32_t)layer);
        td_ids_append(&heads->head, (int32_t)head);
    }
    if (!td_ids_ok(&heads->layer) || !td_ids_ok(&heads->head))
        return td_fail_memory(error, index * sizeof *heads->layer.data);
    int64_t median;
    TD_TRY(td_json_get_integer(config, "config.json", "median_filter_width", 7, &median, error));
    if (median < 1 || median > 1023 || median % 2 == 0)
        return td_fail(error, TD_ERROR_FORMAT, "config.json: \"median_filter_width\" must be odd, from 1 to 1023");
    heads->median = (size_t)median;
    return heads->layer.length ? TD_OK : fail_heads(whisper, error);
}

static const json_t *languages_of(const td_whisper *whisper)
{
    return json_object_get(whisper->settings, "lang_to_id");
}

/* "<|de|>" or "de": where the name begins, and its length. */
static const char *plain_name(const char *name, size_t *ret_length)
{
    bool marked = strncmp(name, "<|", 2) == 0;
    name += marked ? 2 : 0;
    *ret_length = marked ? strcspn(name, "|") : strlen(name);
    return name;
}

static td_status fail_language(const td_whisper *whisper, const char *language, td_error *error)
{
    td_buffer names = TD_BUFFER_INIT;
    const char *name;
    json_t *id;
    json_object_foreach((json_t *)languages_of(whisper), name, id)
    {
        size_t length;
        const char *plain = plain_name(name, &length);
        td_buffer_text_append(&names, names.length ? ", " : "");
        td_buffer_append(&names, plain, length);
    }
    td_status status = td_fail(error, TD_ERROR_ARGUMENT, "the model does not know the language \"%s\"; it knows auto, %s", language,
                               td_buffer_text(&names));
    td_buffer_free(&names);
    return status;
}

static int32_t id_of(const td_whisper *whisper, const json_t *value)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    return id >= 0 && id < (json_int_t)whisper->model->network.vocabulary ? (int32_t)id : -1;
}

td_status td_whisper_language(const td_whisper *whisper, const td_transcribe_options *options, int32_t *ret_id, td_error *error)
{
    const json_t *table = languages_of(whisper);
    bool single = json_is_false(json_object_get(whisper->settings, "is_multilingual"));
    if (single && options->language && strcmp(options->language, "en") != 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "the model knows English only");
    if (single && options->task && strcmp(options->task, "translate") == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "the model knows English only: it does not translate");
    const char *language = options->language ? options->language : json_string_value(json_object_get(whisper->settings, "language"));
    *ret_id = TD_WHISPER_NO_LANGUAGE;
    if (single || (!options->language && !table))
        return TD_OK;
    if (!table)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"lang_to_id\" is missing, so that no language can be chosen", whisper->file);
    bool forced = whisper->forced.length > 0 && whisper->forced.data[0] >= 0 && !options->task;
    if ((language && strcmp(language, "auto") == 0) || (!language && !forced)) {
        *ret_id = TD_WHISPER_DETECT;
        return TD_OK;
    }
    if (!language)
        return TD_OK;
    char token[64];
    snprintf(token, sizeof token, "<|%.50s|>", language);
    int32_t id = id_of(whisper, json_object_get(table, token));
    if (id < 0)
        id = id_of(whisper, json_object_get(table, language));
    if (id < 0)
        return fail_language(whisper, language, error);
    *ret_id = id;
    return TD_OK;
}

int32_t td_whisper_detect(const td_whisper *whisper, const float *logits)
{
    const char *name;
    json_t *value;
    int32_t best = TD_WHISPER_NO_LANGUAGE;
    json_object_foreach((json_t *)languages_of(whisper), name, value)
    {
        int32_t id = id_of(whisper, value);
        if (id >= 0 && (best < 0 || logits[id] > logits[best]))
            best = id;
    }
    return best;
}

char *td_whisper_language_name(const td_whisper *whisper, int32_t id)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)languages_of(whisper), name, value)
    {
        size_t length;
        const char *plain = plain_name(name, &length);
        if (id_of(whisper, value) == id && id >= 0)
            return td_copy_bytes(plain, length);
    }
    return NULL;
}

static td_status append_task(const td_whisper *whisper, const td_transcribe_options *options, int32_t language, td_ids *prompt,
                             td_error *error)
{
    const char *task = options->task ? options->task : json_string_value(json_object_get(whisper->settings, "task"));
    const json_t *table = json_object_get(whisper->settings, "task_to_id");
    bool single = json_is_false(json_object_get(whisper->settings, "is_multilingual"));
    bool named = options->language && strcmp(options->language, "auto") != 0;
    if (single || (!task && !(named && table) && !(language >= 0 && table)))
        return TD_OK;
    int32_t id = id_of(whisper, json_object_get(table, task ? task : "transcribe"));
    if (id < 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"task_to_id\" has no \"%s\"", whisper->file, task ? task : "transcribe");
    td_ids_append(prompt, id);
    return TD_OK;
}

td_status td_whisper_prompt(const td_whisper *whisper, const td_transcribe_options *options, int32_t language, bool timestamps,
                            td_ids *prompt, td_error *error)
{
    td_ids_append(prompt, whisper->start);
    if (language >= 0)
        td_ids_append(prompt, language);
    bool detected = language >= 0 && !options->language && whisper->forced.length > 1;
    if ((language < 0 || detected) && !options->task) {
        for (size_t i = detected; i < whisper->forced.length; i++)
            if (whisper->forced.data[i] >= 0 && whisper->forced.data[i] != whisper->no_timestamps)
                td_ids_append(prompt, whisper->forced.data[i]);
    } else {
        TD_TRY(append_task(whisper, options, language, prompt, error));
    }
    if (!timestamps && whisper->no_timestamps >= 0)
        td_ids_append(prompt, whisper->no_timestamps);
    return td_ids_ok(prompt) ? TD_OK : td_fail_memory(error, prompt->length * sizeof *prompt->data);
}
