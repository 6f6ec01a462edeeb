#include "api/request.h"

#include "api/minimum_risk.h"
#include "api/task.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLED_CANDIDATES 32 /* of minimum risk decoding, unless said otherwise */

static td_status copy_options(const td_generate_options *options, td_generate_options *ret_copy, td_error *error)
{
    td_generate_options copy = TD_GENERATE_OPTIONS_INIT;
    if (options && options->struct_size < sizeof options->struct_size)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: struct_size is %zu; begin with TD_GENERATE_OPTIONS_INIT", options->struct_size);
    /* A caller built against an older header knows fewer fields; the rest keep their initial values. */
    if (options)
        memcpy(&copy, options, options->struct_size < sizeof copy ? options->struct_size : sizeof copy);
    *ret_copy = copy;
    return TD_OK;
}

static td_status check_options(const td_generate_options *options, td_error *error)
{
    if ((unsigned)options->input > TD_INPUT_IDS)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: input kind %d is none of text, pieces, ids", (int)options->input);
    if (options->beam < TD_UNSET || options->beam == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: beam is %lld; it must be 1 or more", (long long)options->beam);
    if (options->nbest < TD_UNSET || options->nbest == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: nbest is %lld; it must be 1 or more", (long long)options->nbest);
    if (options->temperature != TD_UNSET_REAL && !(options->temperature > 0))
        return td_fail(error, TD_ERROR_ARGUMENT, "options: temperature is %g; it must be above 0", options->temperature);
    if (options->top_p != TD_UNSET_REAL && !(options->top_p > 0 && options->top_p <= 1))
        return td_fail(error, TD_ERROR_ARGUMENT, "options: top_p is %g; it must be above 0 and at most 1", options->top_p);
    if (options->candidates < TD_UNSET || options->candidates == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: candidates is %lld; it must be 1 or more", (long long)options->candidates);
    if (options->candidates > 0 && !options->minimum_risk)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: candidates are for minimum_risk, which names no metric");
    if (options->minimum_risk && !td_minimum_risk_known(options->minimum_risk))
        return td_fail(error, TD_ERROR_ARGUMENT, "options: minimum_risk is \"%s\"; it is one of bleu, chrf, rouge, wer, cer",
                       options->minimum_risk);
    return TD_OK;
}

static void merge_size(int64_t value, size_t *member)
{
    if (value >= 0)
        *member = (size_t)value;
}

static void merge_real(double value, double *member)
{
    if (value != TD_UNSET_REAL)
        *member = value;
}

static void merge_options(const td_generate_options *options, td_generation *generation)
{
    merge_size(options->beam, &generation->num_beams);
    merge_size(options->min_length, &generation->min_length);
    if (options->min_length >= 0)
        generation->min_new_tokens = 0;
    merge_size(options->max_length, &generation->max_length);
    if (options->max_length >= 0)
        generation->max_new_tokens = 0; /* it would go before */
    merge_size(options->no_repeat_ngram, &generation->no_repeat_ngram_size);
    merge_size(options->top_k, &generation->top_k);
    merge_real(options->length_penalty, &generation->length_penalty);
    merge_real(options->repetition_penalty, &generation->repetition_penalty);
    merge_real(options->temperature, &generation->temperature);
    merge_real(options->top_p, &generation->top_p);
    generation->seed = options->seed;
    if (options->sample >= 0) {
        generation->do_sample = options->sample != 0;
        if (generation->do_sample)
            generation->num_beams = 1;
    }
    generation->num_return_sequences = options->nbest > 0 ? (size_t)options->nbest : 1;
    if (options->minimum_risk)
        generation->num_return_sequences = options->candidates > 0 ? (size_t)options->candidates
                                           : generation->do_sample ? SAMPLED_CANDIDATES
                                                                   : generation->num_beams;
    generation->output_attentions = options->attention;
}

/* What shapes the draw is a mistake where nothing is drawn. */
static td_status check_sampling(const td_request *request, td_error *error)
{
    const td_generate_options *options = &request->options;
    const char *name = options->temperature != TD_UNSET_REAL ? "temperature"
                       : options->top_k >= 0                 ? "top_k"
                       : options->top_p != TD_UNSET_REAL     ? "top_p"
                                                             : NULL;
    if (!name || request->generation.do_sample)
        return TD_OK;
    return td_fail(error, TD_ERROR_ARGUMENT, "%s has no effect on a search; ask for sampling, too (--sample), or leave it out", name);
}

static td_status check_merged(const td_request *request, td_error *error)
{
    const td_generation *generation = &request->generation;
    if (!generation->do_sample && generation->num_return_sequences > generation->num_beams)
        return td_fail(error, TD_ERROR_ARGUMENT, "%zu outputs were asked for, but the beam keeps only %zu hypotheses",
                       generation->num_return_sequences, generation->num_beams);
    if (request->options.minimum_risk && request->options.nbest > (int64_t)generation->num_return_sequences)
        return td_fail(error, TD_ERROR_ARGUMENT, "%lld outputs were asked for, but there are only %zu candidates",
                       (long long)request->options.nbest, generation->num_return_sequences);
    if (request->options.minimum_risk && !request->model->tokenizer)
        return td_fail(error, request->model->tokenizer_error.status, "minimum risk decoding compares texts, but %s",
                       request->model->tokenizer_error.message);
    if (request->options.on_text && (generation->num_beams > 1 || generation->num_return_sequences > 1))
        return td_fail(error, TD_ERROR_ARGUMENT, "text can be had as it is chosen only with beam 1 and one output");
    return TD_OK;
}

/* `problem`: "the model does not write", ...; language NULL: none was named. */
static td_status fail_language(const td_model *model, const char *problem, const char *language, td_error *error)
{
    enum { MOST = 40 };
    td_buffer names = TD_BUFFER_INIT;
    size_t count = 0;
    for (; model->languages[count]; count++)
        if (count < MOST)
            td_buffer_format(&names, "%s%s", count ? ", " : "", model->languages[count]);
    if (count > MOST)
        td_buffer_format(&names, ", ... (%zu; `tandem inspect` lists all)", count);
    td_status status = language ? td_fail(error, TD_ERROR_ARGUMENT, "%s \"%s\"; it knows %s", problem, language, td_buffer_text(&names))
                                : td_fail(error, TD_ERROR_ARGUMENT, "%s: %s", problem, td_buffer_text(&names));
    td_buffer_free(&names);
    return status;
}

/* Where the generation settings hold the target language; NULL when the encoder is told it. */
static int32_t *language_setting(td_request *request)
{
    const td_tokenizer *tokenizer = request->model->tokenizer;
    switch (tokenizer ? td_tokenizer_language_use(tokenizer) : TD_LANGUAGE_UNUSED) {
    case TD_LANGUAGE_STARTS:
        return &request->generation.decoder_start_token_id;
    case TD_LANGUAGE_FORCED_FIRST:
        return &request->generation.forced_bos_token_id;
    default:
        return NULL;
    }
}

static const char *wanted_language(const td_request *request)
{
    const char *target = request->options.target_language;
    return target ? target : request->model->default_language;
}

/* Before the caller's own settings, which win. */
static td_status set_language(td_request *request, td_error *error)
{
    const char *target = wanted_language(request);
    int32_t *setting = language_setting(request);
    if (!target || !setting)
        return TD_OK;
    int32_t id = td_tokenizer_language_id(request->model->tokenizer, target);
    if (id < 0)
        return fail_language(request->model, "the model does not write", target, error);
    *setting = id;
    return TD_OK;
}

/* A model that was tuned for one target language has it in its settings. */
static const char *language_of_settings(td_request *request)
{
    const int32_t *setting = language_setting(request);
    if (!setting)
        return NULL;
    int32_t id = *setting;
    if (id < 0 && setting == &request->generation.decoder_start_token_id)
        id = request->model->network.decoder_start_id;
    const td_tokenizer *tokenizer = request->model->tokenizer;
    return td_tokenizer_is_language(tokenizer, id) ? td_tokenizer_piece(tokenizer, id) : NULL;
}

/* A model whose encoder is told no source language reads the one it was trained on, or tells them apart by itself. */
static td_status check_source(const td_request *request, td_error *error)
{
    const td_model *model = request->model;
    const char *source = request->options.source_language, *known = model->source_language;
    if (!source || !model->tokenizer)
        return TD_OK;
    if (td_tokenizer_language_use(model->tokenizer) != TD_LANGUAGE_IN_SOURCE) {
        if (model->languages[0] && td_tokenizer_language_id(model->tokenizer, source) < 0)
            return fail_language(model, "the model does not read", source, error);
        return TD_OK;
    }
    if (known && strcmp(known, source) == 0)
        return TD_OK;
    if (known)
        return td_fail(error, TD_ERROR_ARGUMENT, "the model does not read \"%s\"; it knows %s", source, known);
    return td_fail(error, TD_ERROR_ARGUMENT, "the model takes no source language (\"%s\"): it reads what it was trained on", source);
}

/* A model without tokens for languages writes the one it was trained on. */
static td_status check_target(const td_request *request, const char *target, td_error *error)
{
    const td_model *model = request->model;
    if (!target || !model->tokenizer)
        return TD_OK;
    if (model->languages[0])
        return td_tokenizer_language_id(model->tokenizer, target) >= 0 ? TD_OK
                                                                       : fail_language(model, "the model does not write", target, error);
    if (td_tokenizer_language_use(model->tokenizer) != TD_LANGUAGE_IN_SOURCE)
        return TD_OK;
    if (model->target_language)
        return td_fail(error, TD_ERROR_ARGUMENT, "the model does not write \"%s\"; it knows %s", target, model->target_language);
    return td_fail(error, TD_ERROR_ARGUMENT, "the model takes no target language (\"%s\"): it writes what it was trained on", target);
}

/* Of a model that writes one language, the target is no choice. */
static bool is_only_target(const td_model *model, const char *target)
{
    return target && !model->languages[0] && model->target_language && strcmp(model->target_language, target) == 0;
}

/* The languages are known; ids, taken as they are, are told none. */
static td_status check_languages(const td_request *request, td_error *error)
{
    const char *target = wanted_language(request);
    if (!request->whisper)
        TD_TRY(check_source(request, error));
    return is_only_target(request->model, target) ? TD_OK : check_target(request, target, error);
}

static td_status choose_language(td_request *request, td_error *error)
{
    td_model *model = request->model;
    const char *target = wanted_language(request), *source = request->options.source_language;
    TD_TRY(check_languages(request, error));
    if (is_only_target(model, target))
        target = NULL;
    if (request->whisper)
        source = NULL; /* the decoder is told */
    if (!target) {
        target = language_of_settings(request);
        TD_TRY(check_target(request, target, error));
    }
    if (!target && model->languages[0]) {
        if (model->languages[1])
            return fail_language(model, "the model writes several languages; choose the target language", NULL, error);
        target = model->languages[0];
    }
    return td_model_tokenizer(model, source, target, &request->tokenizer, error);
}

/* An empty text is what goes around every other: up to the first end token it is in front. */
static td_status find_around(td_request *request, td_error *error)
{
    TD_TRY(td_tokenizer_encode(request->tokenizer, TD_SOURCE, "", 0, &request->around, error));
    int32_t end = td_tokenizer_eos_id(request->tokenizer);
    while (request->before < request->around.length && request->around.data[request->before] != end)
        request->before++;
    return TD_OK;
}

static td_status encode_prefix(td_request *request, td_error *error)
{
    const char *prefix = request->options.prefix;
    size_t length = prefix ? strlen(prefix) : 0, valid = prefix ? td_utf8_valid_prefix(prefix, length) : 0;
    if (length == 0)
        return TD_OK;
    if (valid < length)
        return td_fail(error, TD_ERROR_ARGUMENT, "prefix is not UTF-8 (byte %zu)", valid + 1);
    td_ids ids = TD_IDS_INIT;
    td_status status = td_tokenizer_encode(request->tokenizer, TD_TARGET, prefix, length, &ids, error);
    if (status != TD_OK) {
        td_ids_free(&ids);
        return status;
    }
    while (ids.length && td_tokenizer_is_special(request->tokenizer, ids.data[ids.length - 1]))
        ids.length--;
    td_release(request->generation.prefix.ids);
    request->generation.prefix = (td_id_list){ids.data, ids.length};
    return TD_OK;
}

static td_status prepare(td_request *request, const td_generate_options *options, bool may_sample, td_error *error)
{
    TD_TRY(copy_options(options, &request->options, error));
    TD_TRY(check_options(&request->options, error));
    TD_TRY(td_generation_copy(&request->model->generation, &request->generation, error));
    merge_options(&request->options, &request->generation);
    TD_TRY(td_task_open(request, error));
    TD_TRY(set_language(request, error));
    for (size_t i = 0; i < request->options.setting_count; i++)
        TD_TRY(td_generation_set(&request->generation, request->options.settings[i], error));
    TD_TRY(check_merged(request, error));
    if (!may_sample)
        TD_TRY(check_sampling(request, error));
    bool text = request->model->network.architecture->source == TD_TEXT;
    if (request->options.input != TD_INPUT_IDS) {
        TD_TRY(choose_language(request, error));
        if (text)
            TD_TRY(find_around(request, error));
    } else {
        TD_TRY(check_languages(request, error));
        request->tokenizer = request->model->tokenizer;
    }
    if (request->options.prefix && !request->tokenizer)
        return td_fail(error, request->model->tokenizer_error.status, "%s", request->model->tokenizer_error.message);
    return encode_prefix(request, error);
}

td_status td_request_prepare(td_model *model, const td_generate_options *options, bool may_sample, td_request *ret_request, td_error *error)
{
    td_request request = {.model = model};
    td_status status = prepare(&request, options, may_sample, error);
    if (status != TD_OK) {
        td_request_free(&request);
        return status;
    }
    *ret_request = request;
    return TD_OK;
}

void td_request_free(td_request *request)
{
    td_generation_free(&request->generation);
    td_task_close(request);
    td_ids_free(&request->around);
}

static td_status encode_ids(const td_request *request, const char *text, td_ids *ids, td_error *error)
{
    size_t size = request->model->tokenizer ? td_tokenizer_size(request->model->tokenizer) : 0;
    if (size < request->model->network.vocabulary)
        size = request->model->network.vocabulary;
    for (const char *at = text;;) {
        at += strspn(at, " \t");
        if (!*at)
            return TD_OK;
        char *end;
        errno = 0;
        long long id = strtoll(at, &end, 10);
        if (end == at || (*end && *end != ' ' && *end != '\t'))
            return td_fail(error, TD_ERROR_ARGUMENT, "\"%.*s\" is not a token id; ids are whole numbers separated by spaces",
                           (int)(strcspn(at, " \t") < 40 ? strcspn(at, " \t") : 40), at);
        if (errno || id < 0 || (size_t)id >= size)
            return td_fail(error, TD_ERROR_ARGUMENT, "id %.*s is outside the vocabulary (0 to %zu)", (int)(end - at < 24 ? end - at : 24),
                           at, size - 1);
        td_ids_append(ids, (int32_t)id);
        at = end;
    }
}

static td_status append_piece(const td_request *request, const char *piece, size_t length, td_local_pieces *local, td_ids *ids,
                              td_error *error)
{
    char *copy = td_copy_bytes(piece, length);
    if (!copy)
        return td_fail_memory(error, length);
    int32_t id = td_tokenizer_id(request->tokenizer, copy), unknown = td_tokenizer_unknown_id(request->tokenizer);
    td_status status = TD_OK;
    if (id < 0 && local)
        status = td_local_pieces_id(local, piece, length, &id, error);
    if (status == TD_OK && (id >= 0 || unknown >= 0))
        td_ids_append(ids, id >= 0 ? id : unknown);
    else if (status == TD_OK)
        status = td_fail(error, TD_ERROR_ARGUMENT, "\"%s\" is no piece of the vocabulary, which has no unknown token", copy);
    td_release(copy);
    return status;
}

static td_status encode_pieces(const td_request *request, td_text_side side, const char *text, td_local_pieces *local, td_ids *ids,
                               td_error *error)
{
    for (size_t i = 0; side == TD_SOURCE && i < request->before; i++)
        td_ids_append(ids, request->around.data[i]);
    for (const char *at = text;;) {
        at += strspn(at, " \t");
        size_t length = strcspn(at, " \t");
        if (length == 0)
            break;
        TD_TRY(append_piece(request, at, length, local, ids, error));
        at += length;
    }
    if (side == TD_TARGET) {
        if (td_tokenizer_eos_id(request->tokenizer) >= 0)
            td_ids_append(ids, td_tokenizer_eos_id(request->tokenizer));
        return TD_OK;
    }
    for (size_t i = request->before; i < request->around.length; i++)
        td_ids_append(ids, request->around.data[i]);
    return TD_OK;
}

td_status td_request_encode(const td_request *request, td_text_side side, const char *input, td_local_pieces *local, td_ids *ids,
                            td_error *error)
{
    const td_network *network = &request->model->network;
    if (!network->copies)
        local = NULL;
    else
        *local = (td_local_pieces){(int32_t)network->vocabulary, side == TD_TARGET, local->pieces, local->count, local->capacity};
    size_t length = strlen(input), valid = td_utf8_valid_prefix(input, length);
    if (valid < length)
        return td_fail(error, TD_ERROR_FORMAT, "line is not UTF-8 (byte %zu)", valid + 1);
    switch (request->options.input) {
    case TD_INPUT_IDS:
        TD_TRY(encode_ids(request, input, ids, error));
        break;
    case TD_INPUT_PIECES:
        TD_TRY(encode_pieces(request, side, input, local, ids, error));
        break;
    case TD_INPUT_TEXT:
        TD_TRY(td_tokenizer_encode_local(request->tokenizer, side, input, length, 0, NULL, local, ids, error));
    }
    return td_ids_ok(ids) ? TD_OK : td_fail_memory(error, ids->length * sizeof *ids->data);
}

/* Cuts tokens before those that end every source, as transformers' truncation does. */
static size_t truncate_source(const td_request *request, td_ids *ids)
{
    size_t limit = request->model->max_source, after = request->around.length - request->before;
    if (limit == 0 || ids->length <= limit || after >= limit)
        return 0;
    size_t cut = ids->length - limit;
    memmove(ids->data + limit - after, ids->data + ids->length - after, after * sizeof *ids->data);
    ids->length = limit;
    return cut;
}

td_status td_request_frontend(const td_request *request, td_error *error)
{
    const td_model *model = request->model;
    if (model->network.architecture->source == TD_TEXT)
        return td_fail(error, TD_ERROR_ARGUMENT, "the model takes text");
    if (!model->frontend.kind)
        return td_fail(error, model->frontend_error.status, "%s", model->frontend_error.message);
    return TD_OK;
}

td_status td_request_source(const td_request *request, const char *input, td_result *result, size_t index, td_error *error)
{
    if (request->model->network.architecture->source != TD_TEXT) {
        const td_frontend *frontend = &request->model->frontend;
        TD_TRY(td_request_frontend(request, error));
        return frontend->kind->read(frontend->state, input, NULL, 0, &result->inputs[index].features, error);
    }
    td_ids ids = TD_IDS_INIT;
    td_result_input *slot = &result->inputs[index];
    td_status status = td_request_encode(request, TD_SOURCE, input, &slot->local, &ids, error);
    size_t length = ids.length, limit = request->model->max_source;
    if (status == TD_OK && length == 0)
        status = td_fail(error, TD_ERROR_ARGUMENT, "there is no token to read");
    if (status == TD_OK && limit && length > limit && request->options.no_truncate)
        status = td_fail(error, TD_ERROR_LIMIT, "source has %zu tokens; the model takes %zu", length, limit);
    if (status != TD_OK) {
        td_ids_free(&ids);
        return status;
    }
    slot->truncated = truncate_source(request, &ids);
    slot->source_ids = ids.data;
    slot->source_count = ids.length;
    return TD_OK;
}
