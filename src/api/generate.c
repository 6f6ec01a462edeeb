/* Generating for inputs at hand, on the calling thread. */
#include "api/session.h"

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
        const td_result_input *input = &call->result->inputs[call->next];
        *ret_source = (td_source){.ids = input->source_ids, .length = input->source_count};
        *ret_index = call->next++;
    }
    return TD_OK;
}

static td_status source_finished(void *context, size_t index, const td_output *output, td_error *error)
{
    td_generate_call *call = context;
    return td_result_fill(call->result, index, output, error);
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
    if (td_model_spell(call->request->model, stream->ids.data, stream->ids.length, &stream->text, NULL) != TD_OK)
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

static td_status encode_sources(const td_request *request, const char *const *texts, size_t count, td_result *result,
                                td_error *error)
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

td_status td_generate_texts(td_session *session, const char *const *texts, size_t count,
                            const td_generate_options *options, td_result **ret_result, td_error *error)
{
    if (!session || !ret_result || (count && !texts))
        return td_fail(error, TD_ERROR_ARGUMENT, "td_generate_texts: session, texts and ret_result must not be NULL");
    td_request request;
    TD_TRY(td_request_prepare(session->model, options, &request, error));
    td_gemm_thread_setup();
    td_generate_call call = {.request = &request};
    td_status status = td_result_new(session->model, count, &call.result, error);
    if (status == TD_OK)
        status = encode_sources(&request, texts, count, call.result, error);
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

td_status td_generate_text(td_session *session, const char *text, const td_generate_options *options,
                           td_result **ret_result, td_error *error)
{
    return td_generate_texts(session, &text, 1, options, ret_result, error);
}
