/* Generating for many inputs on several threads: each has a search of its own and takes a sentence whenever one of its
 * batch ends. */
#include "api/minimum_risk.h"
#include "api/queue.h"
#include "api/split.h"
#include "api/task.h"
#include "base/array.h"

#include <string.h>

/* Results in the making of one thread, by index. */
typedef struct td_worker {
    td_queue *queue;
    td_search *search;
    td_recorder *recorder;
    struct td_open_result {
        size_t index;
        td_result *result;
    } * open;
    size_t count, capacity;
    size_t holds; /* for the queue */
} td_worker;

static td_status remember(td_worker *worker, size_t index, td_result *result, td_error *error)
{
    TD_TRY(td_reserve_array(&worker->open, &worker->capacity, worker->count + 1, sizeof *worker->open, error));
    worker->open[worker->count++] = (struct td_open_result){index, result};
    worker->holds += td_queue_work(worker->queue, index);
    return TD_OK;
}

static td_result *forget(td_worker *worker, size_t index)
{
    for (size_t i = 0; i < worker->count; i++)
        if (worker->open[i].index == index) {
            td_result *result = worker->open[i].result;
            worker->open[i] = worker->open[--worker->count];
            worker->holds -= td_queue_work(worker->queue, index);
            return result;
        }
    return NULL;
}

/* Takes inputs until one can be read; those that cannot are answered at once. */
static td_status next_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    td_worker *worker = context;
    td_queue *queue = worker->queue;
    TD_PROFILE(worker->recorder, "input and tokenizer");
    size_t index;
    *ret_given = false;
    while (!*ret_given && td_queue_take(queue, worker->holds, &index)) {
        td_result *result = NULL;
        td_error reason = {TD_OK, ""};
        TD_TRY(td_result_new(queue->request->model, 1, &result, error));
        td_status read = td_request_source(queue->request, queue->sources[index], result, 0, &reason);
        if (read == TD_OK)
            read = td_task_begin(queue->request, worker->search, &result->inputs[0], &reason);
        if (read != TD_OK) {
            td_result_free(result);
            td_queue_deliver(queue, index, NULL, &reason);
            continue;
        }
        td_status status = remember(worker, index, result, error);
        if (status != TD_OK) {
            td_result_free(result);
            return status;
        }
        *ret_index = queue->first_index + index;
        *ret_source = td_result_source(result, 0);
        *ret_given = true;
    }
    return TD_OK;
}

static td_status source_finished(void *context, size_t index, const td_output *output, td_error *error)
{
    td_worker *worker = context;
    td_queue *queue = worker->queue;
    td_result *result = forget(worker, index - queue->first_index);
    if (!result)
        return td_fail(error, TD_ERROR_INTERNAL, "a result came for input %zu, which was not asked for", index);
    TD_PROFILE(worker->recorder, "output and tokenizer");
    td_status status = td_result_fill(result, 0, output, error);
    if (status == TD_OK)
        status = td_minimum_risk_choose(queue->request, result, 0, error);
    if (status != TD_OK) {
        td_result_free(result);
        return status;
    }
    td_queue_deliver(queue, index - queue->first_index, result, NULL);
    return TD_OK;
}

static td_status work(td_queue *queue, td_search *search, td_error *error)
{
    td_worker worker = {.queue = queue, .search = search, .recorder = td_search_recorder(search)};
    td_generate_callbacks callbacks = {&worker, next_source, source_finished, NULL};
    td_status status = td_generate(search, &queue->request->generation, &callbacks, error);
    for (size_t i = 0; i < worker.count; i++)
        td_result_free(worker.open[i].result);
    td_release(worker.open);
    return status;
}

/* ---- texts that were cut ---- */

/* Parts come in order; a text is answered with its last one. */
typedef struct td_joining {
    td_split *split;
    size_t first_index, text; /* text: that parts come of */
    td_result **parts;        /* [parts_count] copies of what came of this text so far */
    size_t have;
    td_error error; /* of the first part that failed */
    td_result_callback callback;
    void *context;
} td_joining;

static bool answer_text(td_joining *joining)
{
    td_error error = joining->error;
    td_result *joined = NULL;
    if (error.status == TD_OK)
        td_split_join(joining->split, joining->text, joining->parts, &joined, &error);
    bool go_on = joining->callback(joining->context, joining->first_index + joining->text, joined, joined ? NULL : &error);
    td_result_free(joined);
    for (size_t i = 0; i < joining->have; i++)
        td_result_free(joining->parts[i]);
    joining->have = 0;
    joining->text++;
    joining->error.status = TD_OK;
    return go_on;
}

static bool take_part(void *context, size_t index, const td_result *result, const td_error *error)
{
    td_joining *joining = context;
    const td_split_text *text = &joining->split->texts[joining->text];
    bool last = index - joining->first_index + 1 == text->first + text->count;
    if (text->count == 1) {
        bool go_on = joining->callback(joining->context, joining->first_index + joining->text, result, error);
        joining->text++;
        return go_on;
    }
    td_result *copy = NULL;
    td_error reason = {TD_OK, ""};
    if (!result)
        reason = *error;
    else if (td_result_copy(result, &copy, &reason) == TD_OK)
        joining->parts[joining->have++] = copy;
    if (reason.status != TD_OK && joining->error.status == TD_OK)
        joining->error = reason;
    return last ? answer_text(joining) : true;
}

static td_status run_split(td_queue *queue, td_split *split, const td_batch_options *batch_options, td_error *error)
{
    td_joining joining = {.split = split, .callback = queue->callback, .context = queue->context};
    if (batch_options && batch_options->struct_size > offsetof(td_batch_options, first_index))
        joining.first_index = batch_options->first_index;
    joining.parts = td_allocate_array(split->parts_count + 1, sizeof *joining.parts);
    if (!joining.parts)
        return td_fail_memory(error, split->parts_count * sizeof *joining.parts);
    queue->sources = (const char *const *)split->parts;
    queue->count = split->parts_count;
    queue->callback = take_part;
    queue->context = &joining;
    td_status status = td_queue_run(queue, batch_options, error);
    for (size_t i = 0; i < joining.have; i++)
        td_result_free(joining.parts[i]);
    td_release(joining.parts);
    return status;
}

td_status td_generate_batch(td_model *model, const char *const *texts, size_t count, const td_generate_options *options,
                            const td_batch_options *batch_options, td_result_callback callback, void *context, td_error *error)
{
    if (!model || (count && !texts) || !callback)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_generate_batch: model, texts and the callback must not be NULL");
    td_request request;
    TD_TRY(td_request_prepare(model, options, false, &request, error));
    td_queue queue = {.request = &request, .sources = texts, .count = count, .callback = callback, .context = context, .work = work};
    td_split split = {0};
    td_status status = td_split_texts(&request, texts, count, &split, error);
    if (status == TD_OK)
        status = split.any ? run_split(&queue, &split, batch_options, error) : td_queue_run(&queue, batch_options, error);
    td_split_free(&split);
    td_request_free(&request);
    return status;
}
