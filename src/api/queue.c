#include "api/queue.h"

#include "kernels/gemm.h"
#include "platform/cpu.h"
#include "platform/thread.h"

#include <stdlib.h>
#include <string.h>

static void fail_queue(td_queue *queue, const td_error *error)
{
    if (queue->error.status == TD_OK)
        queue->error = *error;
}

static bool cancelled(td_queue *queue)
{
    if (queue->error.status == TD_OK && queue->cancel && *queue->cancel)
        td_fail(&queue->error, TD_ERROR_CANCELLED, "stopped on request after %zu of %zu inputs", queue->delivered, queue->count);
    return queue->error.status != TD_OK;
}

static size_t length_of(const td_queue *queue, size_t index)
{
    return queue->sources[index] ? strlen(queue->sources[index]) : 0;
}

size_t td_queue_work(const td_queue *queue, size_t index)
{
    return 1 + length_of(queue, index);
}

bool td_queue_take(td_queue *queue, size_t holds, size_t *ret_index)
{
    pthread_mutex_lock(&queue->mutex);
    bool given = !cancelled(queue) && queue->taken < queue->count && (holds == 0 || holds < queue->unfinished / queue->searches);
    if (given)
        *ret_index = queue->order[queue->taken++];
    pthread_mutex_unlock(&queue->mutex);
    return given;
}

typedef struct queued_input {
    size_t index, length;
} queued_input;

static int compare_lengths(const void *a, const void *b)
{
    const queued_input *x = a, *y = b;
    if (x->length != y->length)
        return x->length > y->length ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Answers wait for those before them, so that no more than TOGETHER are put in another order. */
static td_status make_order(td_queue *queue, td_error *error)
{
    enum { TOGETHER = 256 };
    queued_input inputs[TOGETHER];
    queue->order = td_allocate_array(queue->count, sizeof *queue->order);
    if (!queue->order)
        return td_fail_memory(error, queue->count * sizeof *queue->order);
    for (size_t first = 0; first < queue->count; first += TOGETHER) {
        size_t count = queue->count - first < TOGETHER ? queue->count - first : TOGETHER;
        for (size_t i = 0; i < count; i++)
            inputs[i] = (queued_input){first + i, length_of(queue, first + i)};
        qsort(inputs, count, sizeof *inputs, compare_lengths);
        for (size_t i = 0; i < count; i++)
            queue->order[first + i] = inputs[i].index;
    }
    return TD_OK;
}

static void release_slot(td_slot *slot)
{
    td_result_free(slot->result);
    td_release(slot->message);
    slot->result = NULL;
    slot->message = NULL;
}

/* Calls back for every input whose turn has come. The lock is held. */
static void hand_out(td_queue *queue)
{
    while (queue->delivered < queue->count && queue->slots[queue->delivered].done && queue->error.status == TD_OK) {
        td_slot *slot = &queue->slots[queue->delivered];
        td_error error = {TD_OK, ""};
        if (!slot->result)
            td_fail(&error, slot->status, "%s", slot->message ? slot->message : td_status_text(slot->status));
        bool go_on = queue->callback(queue->context, queue->first_index + queue->delivered, slot->result, slot->result ? NULL : &error);
        release_slot(slot);
        queue->delivered++;
        if (!go_on)
            td_fail(&queue->error, TD_ERROR_CANCELLED, "ended by the callback after %zu of %zu inputs", queue->delivered, queue->count);
    }
}

void td_queue_deliver(td_queue *queue, size_t index, td_result *result, const td_error *error)
{
    pthread_mutex_lock(&queue->mutex);
    td_slot *slot = &queue->slots[index];
    queue->unfinished -= td_queue_work(queue, index);
    slot->result = result;
    slot->done = true;
    if (!result) {
        slot->status = error->status;
        slot->message = td_copy_string(error->message);
    }
    hand_out(queue);
    pthread_mutex_unlock(&queue->mutex);
}

static void *run_thread(void *context)
{
    td_queue *queue = context;
    td_search *search = NULL;
    td_error error = {TD_OK, ""};
    td_gemm_thread_setup();
    td_search_options options = {.batch_tokens = queue->batch_tokens, .threads = queue->threads_each};
    td_status status = td_search_new(&queue->request->model->network, &options, &search, &error);
    if (status == TD_OK) {
        TD_PROFILE(td_search_recorder(search), "other");
        status = queue->work(queue, search, &error);
    }
    if (status != TD_OK) {
        pthread_mutex_lock(&queue->mutex);
        fail_queue(queue, &error);
        pthread_mutex_unlock(&queue->mutex);
    }
    td_search_free(search);
    return NULL;
}

td_status td_queue_run(td_queue *queue, const td_batch_options *options, td_error *error)
{
    td_batch_options given = TD_BATCH_OPTIONS_INIT;
    if (options)
        memcpy(&given, options, options->struct_size < sizeof given ? options->struct_size : sizeof given);
    if (!queue->callback)
        return td_fail(error, TD_ERROR_ARGUMENT, "the callback must not be NULL");
    size_t threads = given.threads ? given.threads : (size_t)td_cpu_count(), searches = threads < queue->count ? threads : queue->count;
    if (queue->count == 0)
        return TD_OK;
    queue->slots = td_allocate_array(queue->count, sizeof *queue->slots);
    if (!queue->slots)
        return td_fail_memory(error, queue->count * sizeof *queue->slots);
    queue->cancel = given.cancel;
    queue->batch_tokens = given.batch_tokens;
    queue->threads_each = threads / searches;
    queue->first_index = given.first_index;
    queue->searches = searches;
    for (size_t i = 0; i < queue->count; i++)
        queue->unfinished += td_queue_work(queue, i);
    pthread_mutex_init(&queue->mutex, NULL);
    td_status status = make_order(queue, error);
    if (status == TD_OK)
        status = td_threads_run(searches, run_thread, queue, error);
    pthread_mutex_destroy(&queue->mutex);
    for (size_t i = 0; i < queue->count; i++)
        release_slot(&queue->slots[i]);
    td_release(queue->slots);
    td_release(queue->order);
    if (status == TD_OK && queue->error.status != TD_OK)
        status = td_fail(error, queue->error.status, "%s", queue->error.message);
    return status;
}
