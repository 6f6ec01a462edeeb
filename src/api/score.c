/* Log-probabilities of given targets. */
#include "api/queue.h"
#include "api/session.h"

#include "kernels/gemm.h"
#include "models/copying.h"

enum { GROUP = 16 }; /* pairs scored together */

/* Encodes a pair: the target becomes the result's only output, its log-probabilities to be filled. */
static td_status begin_pair(const td_request *request, const char *source, const char *target, td_result *result, td_error *error)
{
    if (request->whisper)
        return td_fail(error, TD_ERROR_ARGUMENT,
                       "a language and a task are for generating; a target that is scored begins with its own tokens");
    TD_TRY(td_request_source(request, source, result, 0, error));
    td_result_input *input = &result->inputs[0];
    input->outputs = td_allocate_array(1, sizeof *input->outputs);
    if (!input->outputs)
        return td_fail_memory(error, sizeof *input->outputs);
    input->output_count = 1;
    td_ids ids = TD_IDS_INIT;
    td_status status = td_request_encode(request, TD_TARGET, target, &input->local, &ids, error);
    input->outputs[0].ids = ids.data;
    input->outputs[0].count = ids.length;
    if (status != TD_OK)
        return td_error_prefix(error, "target");
    const td_network *network = &request->model->network;
    if (network->copies)
        td_forget_absent(input->source_ids, input->source_count, ids.data, ids.length, (int32_t)network->vocabulary, network->unknown_id);
    size_t limit = request->model->network.max_positions;
    if (ids.length == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "target: there is no token to score");
    if (limit && ids.length > limit)
        return td_fail(error, TD_ERROR_LIMIT, "target has %zu tokens; the model takes %zu", ids.length, limit);
    input->outputs[0].logprobs = td_allocate_array(ids.length, sizeof(float));
    td_buffer text = TD_BUFFER_INIT;
    status = td_model_spell(request->model, &input->local, ids.data, ids.length, &text, error);
    input->outputs[0].text = status == TD_OK ? td_copy_string(td_buffer_text(&text)) : NULL;
    td_buffer_free(&text);
    TD_TRY(status);
    return input->outputs[0].text && input->outputs[0].logprobs ? TD_OK : td_fail_memory(error, ids.length);
}

static td_score_request score_request(const td_result *result)
{
    const td_result_input *input = &result->inputs[0];
    return (td_score_request){.source = td_result_source(result, 0),
                              .target = input->outputs[0].ids,
                              .target_count = input->outputs[0].count,
                              .logprobs = input->outputs[0].logprobs};
}

static void add_up(td_result *result)
{
    td_result_output *output = &result->inputs[0].outputs[0];
    output->score = 0;
    for (size_t i = 0; i < output->count; i++)
        output->score += (double)output->logprobs[i];
}

td_status td_score_text(td_session *session, const char *source, const char *target, const td_generate_options *options,
                        td_result **ret_result, td_error *error)
{
    if (!session || !source || !target || !ret_result)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_score_text: session, texts and ret_result must not be NULL");
    td_request request;
    TD_TRY(td_request_prepare(session->model, options, false, &request, error));
    td_gemm_thread_setup();
    td_result *result = NULL;
    td_status status = td_result_new(session->model, 1, &result, error);
    if (status == TD_OK)
        status = begin_pair(&request, source, target, result, error);
    if (status == TD_OK) {
        td_score_request pair = score_request(result);
        status = td_score(session->search, &request.generation, &pair, 1, error);
    }
    td_request_free(&request);
    if (status != TD_OK) {
        td_result_free(result);
        return status;
    }
    add_up(result);
    *ret_result = result;
    return TD_OK;
}

/* Takes up to GROUP pairs that can be read. */
static td_status take_group(td_queue *queue, size_t *indexes, td_result **results, size_t *ret_count, td_error *error)
{
    size_t count = 0, holds = 0, index;
    td_status status = TD_OK;
    while (status == TD_OK && count < GROUP && td_queue_take(queue, holds, &index)) {
        td_error reason = {TD_OK, ""};
        td_result *result = NULL;
        status = td_result_new(queue->request->model, 1, &result, error);
        if (status != TD_OK)
            break;
        if (begin_pair(queue->request, queue->sources[index], queue->targets[index], result, &reason) != TD_OK) {
            td_result_free(result);
            td_queue_deliver(queue, index, NULL, &reason);
            continue;
        }
        holds += td_queue_work(queue, index);
        indexes[count] = index;
        results[count++] = result;
    }
    *ret_count = count;
    return status;
}

static td_status work(td_queue *queue, td_search *search, td_error *error)
{
    for (;;) {
        size_t indexes[GROUP], count;
        td_result *results[GROUP];
        td_score_request pairs[GROUP];
        td_status status = take_group(queue, indexes, results, &count, error);
        for (size_t i = 0; i < count; i++)
            pairs[i] = score_request(results[i]);
        if (status == TD_OK && count)
            status = td_score(search, &queue->request->generation, pairs, count, error);
        for (size_t i = 0; i < count; i++) {
            if (status == TD_OK) {
                add_up(results[i]);
                td_queue_deliver(queue, indexes[i], results[i], NULL);
            } else {
                td_result_free(results[i]);
            }
        }
        if (status != TD_OK || count == 0)
            return status;
    }
}

td_status td_score_batch(td_model *model, const char *const *sources, const char *const *targets, size_t count,
                         const td_generate_options *options, const td_batch_options *batch_options, td_result_callback callback,
                         void *context, td_error *error)
{
    if (!model || (count && (!sources || !targets)))
        return td_fail(error, TD_ERROR_ARGUMENT, "td_score_batch: model, sources and targets must not be NULL");
    td_request request;
    TD_TRY(td_request_prepare(model, options, false, &request, error));
    td_queue queue = {.request = &request,
                      .sources = sources,
                      .targets = targets,
                      .count = count,
                      .callback = callback,
                      .context = context,
                      .work = work};
    td_status status = td_queue_run(&queue, batch_options, error);
    td_request_free(&request);
    return status;
}
