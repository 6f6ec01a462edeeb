/* Generating for inputs at hand, on the calling thread. */
#include "api/minimum_risk.h"
#include "api/session.h"
#include "api/split.h"
#include "api/task.h"

#include "kernels/gemm.h"

#include <string.h>

/* Text given out so far of an output that is still being written. */
typedef struct td_stream {
    td_ids ids;
    td_buffer text;
    size_t given;
} td_stream;

typedef struct td_generate_call {
    const td_request *request;
    td_result *result;
    size_t next;
    td_stream stream;
} td_generate_call;

static td_status next_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    td_generate_call *call = context;
    *ret_given = call->next < call->result->count;
    if (*ret_given) {
        *ret_source = td_result_source(call->result, call->next);
        *ret_index = call->next++;
    }
    return TD_OK;
}

static td_status source_finished(void *context, size_t index, const td_output *output, td_error *error)
{
    td_generate_call *call = context;
    TD_TRY(td_result_fill(call->result, index, output, error));
    return td_minimum_risk_choose(call->request, call->result, index, error);
}

static bool ends_with_replacement(const td_buffer *text)
{
    return text->length >= 3 && memcmp(text->data + text->length - 3, "\xef\xbf\xbd", 3) == 0;
}

/* Gives out what the text gained. A piece may hold part of a character: such a tail waits for the rest. */
static bool give_text(td_generate_call *call, bool last)
{
    const td_generate_options *options = &call->request->options;
    td_stream *stream = &call->stream;
    td_buffer_clear(&stream->text);
    if (td_model_spell(call->request->model, &call->result->inputs[0].local, stream->ids.data, stream->ids.length, &stream->text, NULL) !=
        TD_OK)
        return true;
    if ((!last && ends_with_replacement(&stream->text)) || stream->text.length <= stream->given)
        return true;
    size_t from = stream->given;
    stream->given = stream->text.length;
    return options->on_text(options->on_text_context, stream->text.data + from, stream->text.length - from);
}

static bool token_chosen(void *context, size_t index, size_t sample, int32_t id, td_real logprob)
{
    (void)sample;
    (void)logprob;
    td_generate_call *call = context;
    if (index != 0) /* only the first input is streamed */
        return true;
    td_ids_append(&call->stream.ids, id);
    return !td_ids_ok(&call->stream.ids) || give_text(call, false);
}

static td_status run(td_session *session, td_generate_call *call, td_error *error)
{
    const td_request *request = call->request;
    bool streaming = request->options.on_text != NULL;
    td_generate_callbacks callbacks = {call, next_source, source_finished, streaming ? token_chosen : NULL};
    for (size_t i = 0; streaming && i < request->generation.prefix.count; i++)
        td_ids_append(&call->stream.ids, request->generation.prefix.ids[i]);
    TD_TRY(td_generate(session->search, &request->generation, &callbacks, error));
    if (streaming && td_ids_ok(&call->stream.ids))
        give_text(call, true);
    return TD_OK;
}

static td_status encode_sources(const td_request *request, const char *const *texts, size_t count, td_result *result, td_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!texts[i])
            return td_fail(error, TD_ERROR_ARGUMENT, "input %zu is NULL", i);
        td_status status = td_request_source(request, texts[i], result, i, error);
        if (status != TD_OK)
            return count > 1 ? td_error_prefix(error, "input %zu", i) : status;
    }
    return TD_OK;
}

/* What is generated for: texts, or else one sound or picture. */
typedef struct td_inputs {
    const char *const *texts;
    size_t count;
    const void *bytes; /* of a file */
    size_t length;
    const td_raw_sound *sound;
    const td_raw_picture *picture;
} td_inputs;

static td_status encode_inputs(const td_request *request, const td_inputs *inputs, td_result *result, td_error *error)
{
    if (inputs->texts || inputs->count == 0)
        return encode_sources(request, inputs->texts, inputs->count, result, error);
    const td_frontend *frontend = &request->model->frontend;
    td_features *features = &result->inputs[0].features;
    TD_TRY(td_request_frontend(request, error));
    if (inputs->bytes)
        return frontend->kind->read(frontend->state, "input", inputs->bytes, inputs->length, features, error);
    if (inputs->sound && frontend->kind->take_sound)
        return frontend->kind->take_sound(frontend->state, inputs->sound, features, error);
    if (inputs->picture && frontend->kind->take_picture)
        return frontend->kind->take_picture(frontend->state, inputs->picture, features, error);
    return td_fail(error, TD_ERROR_ARGUMENT, inputs->sound ? "the model does not take sound" : "the model does not take pictures");
}

static td_status generate(td_session *session, const td_inputs *inputs, const td_generate_options *options, td_result **ret_result,
                          td_error *error)
{
    td_request request;
    TD_TRY(td_request_prepare(session->model, options, false, &request, error));
    td_gemm_thread_setup();
    td_generate_call call = {.request = &request};
    td_status status = td_result_new(session->model, inputs->count, &call.result, error);
    if (status == TD_OK)
        status = encode_inputs(&request, inputs, call.result, error);
    for (size_t i = 0; status == TD_OK && i < inputs->count; i++)
        status = td_task_begin(&request, session->search, &call.result->inputs[i], error);
    if (status == TD_OK)
        status = run(session, &call, error);
    td_request_free(&request);
    td_ids_free(&call.stream.ids);
    td_buffer_free(&call.stream.text);
    if (status != TD_OK) {
        td_result_free(call.result);
        return status;
    }
    *ret_result = call.result;
    return TD_OK;
}

/* The results of texts that were cut, from that of all parts: each part's input is moved to a result of its own. */
static td_status join_texts(const td_split *split, td_result *all, td_result **ret_result, td_error *error)
{
    td_result *whole = NULL, **parts = td_allocate_array(split->parts_count + 1, sizeof *parts);
    td_status status =
        parts ? td_result_new(all->model, split->count, &whole, error) : td_fail_memory(error, split->parts_count * sizeof *parts);
    for (size_t i = 0; status == TD_OK && i < split->parts_count; i++) {
        status = td_result_new(all->model, 1, &parts[i], error);
        if (status == TD_OK)
            td_result_move(parts[i], 0, all, i);
    }
    for (size_t i = 0; status == TD_OK && i < split->count; i++) {
        const td_split_text *text = &split->texts[i];
        td_result *joined = NULL;
        if (text->count > 1)
            status = td_split_join(split, i, parts + text->first, &joined, error);
        if (status == TD_OK)
            td_result_move(whole, i, joined ? joined : parts[text->first], 0);
        td_result_free(joined);
    }
    for (size_t i = 0; parts && i < split->parts_count; i++)
        td_result_free(parts[i]);
    td_release(parts);
    if (status != TD_OK) {
        td_result_free(whole);
        return status;
    }
    *ret_result = whole;
    return TD_OK;
}

static td_status generate_split(td_session *session, const td_split *split, const td_generate_options *options, td_result **ret_result,
                                td_error *error)
{
    td_inputs inputs = {.texts = (const char *const *)split->parts, .count = split->parts_count};
    td_result *all = NULL;
    TD_TRY(generate(session, &inputs, options, &all, error));
    td_status status = join_texts(split, all, ret_result, error);
    td_result_free(all);
    return status;
}

td_status td_generate_texts(td_session *session, const char *const *texts, size_t count, const td_generate_options *options,
                            td_result **ret_result, td_error *error)
{
    if (!session || !ret_result || (count && !texts))
        return td_fail(error, TD_ERROR_ARGUMENT, "td_generate_texts: session, texts and ret_result must not be NULL");
    td_inputs inputs = {.texts = texts, .count = count};
    td_split split = {0};
    td_request request;
    TD_TRY(td_request_prepare(session->model, options, false, &request, error));
    td_status status = td_split_texts(&request, texts, count, &split, error);
    td_request_free(&request);
    if (status == TD_OK)
        status = split.any ? generate_split(session, &split, options, ret_result, error)
                           : generate(session, &inputs, options, ret_result, error);
    td_split_free(&split);
    return status;
}

td_status td_generate_bytes(td_session *session, const void *bytes, size_t length, const td_generate_options *options,
                            td_result **ret_result, td_error *error)
{
    if (!session || !ret_result || !bytes)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_generate_bytes: session, bytes and ret_result must not be NULL");
    td_inputs inputs = {.count = 1, .bytes = bytes, .length = length};
    return generate(session, &inputs, options, ret_result, error);
}

td_status td_generate_samples(td_session *session, const float *samples, size_t frames, size_t channels, size_t rate,
                              const td_generate_options *options, td_result **ret_result, td_error *error)
{
    if (!session || !ret_result || !samples || channels == 0 || rate == 0)
        return td_fail(error, TD_ERROR_ARGUMENT,
                       "td_generate_samples: session, samples and ret_result must not be NULL, channels and rate not 0");
    td_raw_sound sound = {samples, frames, channels, rate};
    td_inputs inputs = {.count = 1, .sound = &sound};
    return generate(session, &inputs, options, ret_result, error);
}

td_status td_generate_pixels(td_session *session, const uint8_t *pixels, size_t height, size_t width, size_t channels,
                             const td_generate_options *options, td_result **ret_result, td_error *error)
{
    if (!session || !ret_result || !pixels || height == 0 || width == 0 || (channels != 1 && channels != 3 && channels != 4))
        return td_fail(error, TD_ERROR_ARGUMENT,
                       "td_generate_pixels: session, pixels and ret_result must not be NULL, sizes not 0, channels 1, 3 or 4");
    td_raw_picture picture = {pixels, height, width, channels};
    td_inputs inputs = {.count = 1, .picture = &picture};
    return generate(session, &inputs, options, ret_result, error);
}

td_status td_generate_text(td_session *session, const char *text, const td_generate_options *options, td_result **ret_result,
                           td_error *error)
{
    return td_generate_texts(session, &text, 1, options, ret_result, error);
}
