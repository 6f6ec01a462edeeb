/* Inputs that several threads work on, and results handed out in the order of the inputs. */
#ifndef TD_API_QUEUE_H
#define TD_API_QUEUE_H

#include "api/request.h"

#include <pthread.h>

typedef struct td_queue td_queue;

typedef struct td_slot {
    td_result *result; /* owned */
    char *message;     /* why there is none; owned */
    td_status status;
    bool done;
} td_slot;

struct td_queue {
    const td_request *request;
    const char *const *sources, *const *targets; /* targets: NULL when generating */
    size_t count, first_index;
    td_result_callback callback;
    void *context;
    const volatile int *cancel;
    size_t batch_tokens;
    size_t threads_each; /* of a search: more than one where inputs are fewer than threads */
    td_status (*work)(td_queue *queue, td_search *search, td_error *error); /* until td_queue_take gives nothing */

    pthread_mutex_t mutex; /* guards what follows, and is held during the callback */
    td_slot *slots;        /* [count] */
    size_t *order;         /* [count], in which inputs are taken */
    size_t taken, delivered;
    size_t searches, unfinished; /* unfinished: work that was not delivered */
    td_error error;              /* the first failure of the whole */
};

/* Checks arguments, runs `work` on as many searches as there are threads or inputs, and returns the first failure. */
td_status td_queue_run(td_queue *queue, const td_batch_options *options, td_error *error);
/* The next input, of some hundred the longest first: the threads then end together, with short ones. False when there is none, the whole
 * was ended, or the caller `holds` its share of what is not finished: a thread that begins later would find nothing to do. Whoever holds
 * nothing is given one. */
bool td_queue_take(td_queue *queue, size_t holds, size_t *ret_index);
/* What an input counts for in `holds` from when it is taken until it is delivered. */
size_t td_queue_work(const td_queue *queue, size_t index);
/* Input `index` is done: a result (whose ownership passes), or NULL and why. */
void td_queue_deliver(td_queue *queue, size_t index, td_result *result, const td_error *error);

#endif
