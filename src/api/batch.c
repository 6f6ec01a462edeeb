/* Generating for many inputs on several threads: each has a search of its own and takes a sentence whenever one of its
 * batch ends. */
#include "api/queue.h"

#include <string.h>

/* Results in the making of one thread, by index. */
typedef struct td_worker {
    td_queue *queue;
    struct td_open_result {
        size_t index;
        td_result *result;
    } * open;
    size_t count, capacity;
} td_worker;

static td_status remember(td_worker *worker, size_t index, td_result *result, td_error *error)
{
    if (worker->count == worker->capacity) {
        size_t capacity = worker->capacity ? worker->capacity * 2 : 64;
        struct td_open_result *open = td_resize_array(worker->open, capacity, sizeof *open);
        if (!open)
            return td_fail_memory(error, capacity * sizeof *open);
        worker->open = open;
        worker->capacity = capacity;
    }
    worker->open[worker->count++] = (struct td_open_result){index, result};
    return TD_OK;
}

static td_result *forget(td_worker *worker, size_t index)
{
    for (size_t i = 0; i < worker->count; i++)
        if (worker->open[i].index == index) {
            td_result *result = worker->open[i].result;
            worker->open[i] = worker->open[--worker->count];
            return result;
        }
    return NULL;
}

/* Takes inputs until one can be read; those that cannot are answered at once. */
static td_status next_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    td_worker *worker = context;
    td_queue *queue = worker->queue;
    size_t index;
    *ret_given = false;
    while (!*ret_given && td_queue_take(queue, &index)) {
        td_result *result = NULL;
        td_error reason = {TD_OK, ""};
        TD_TRY(td_result_new(queue->request->model, 1, &result, error));
        if (td_request_source(queue->request, queue->sources[index], result, 0, &reason) != TD_OK) {
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
    td_status status = td_result_fill(result, 0, output, error);
    if (status != TD_OK) {
        td_result_free(result);
        return status;
    }
    td_queue_deliver(queue, index - queue->first_index, result, NULL);
    return TD_OK;
}

static td_status work(td_queue *queue, td_search *search, td_error *error)
{
    td_worker worker = {.queue = queue};
    td_generate_callbacks callbacks = {&worker, next_source, source_finished, NULL};
    td_status status = td_generate(search, &queue->request->generation, &callbacks, error);
    for (size_t i = 0; i < worker.count; i++)
        td_result_free(worker.open[i].result);
    td_release(worker.open);
    return status;
}

td_status td_generate_batch(td_model *model, const char *const *texts, size_t count, const td_generate_options *options,
                            const td_batch_options *batch_options, td_result_callback callback, void *context,
                            td_error *error)
{
    if (!model || (count && !texts))
        return td_fail(error, TD_ERROR_ARGUMENT, "td_generate_batch: model and texts must not be NULL");
    td_request request;
    TD_TRY(td_request_prepare(model, options, &request, error));
    td_queue queue = {
        .request = &request, .sources = texts, .count = count, .callback = callback, .context = context, .work = work};
    td_status status = td_queue_run(&queue, batch_options, error);
    td_request_free(&request);
    return status;
}
