#define _POSIX_C_SOURCE 200809L
#include "platform/thread.h"

#include "base/memory.h"

#include <pthread.h>

typedef struct worker {
    td_pool *pool;
    size_t index;
    pthread_t thread;
} worker;

struct td_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work, idle;
    worker *workers; /* [threads - 1] */
    size_t threads, started;
    size_t next, count, running; /* of the present run */
    size_t generation;
    bool stopping;
    void (*setup)(void);
    void (*task)(void *, size_t, size_t);
    void *context;
};

/* Takes tasks until none is left. Called and returns with the mutex held. */
static void take_tasks(td_pool *pool, size_t thread)
{
    while (pool->next < pool->count) {
        size_t index = pool->next++;
        pool->running++;
        pthread_mutex_unlock(&pool->mutex);
        pool->task(pool->context, index, thread);
        pthread_mutex_lock(&pool->mutex);
        pool->running--;
    }
    if (pool->running == 0)
        pthread_cond_broadcast(&pool->idle);
}

static void *worker_main(void *argument)
{
    worker *self = argument;
    td_pool *pool = self->pool;
    if (pool->setup)
        pool->setup();
    pthread_mutex_lock(&pool->mutex);
    size_t seen = 0;
    while (!pool->stopping) {
        if (seen == pool->generation) {
            pthread_cond_wait(&pool->work, &pool->mutex);
            continue;
        }
        seen = pool->generation;
        take_tasks(pool, self->index);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

td_status td_pool_new(size_t threads, void (*setup)(void), td_pool **ret_pool, td_error *error)
{
    td_pool *pool = td_allocate_array(1, sizeof *pool);
    worker *workers = td_allocate_array(threads, sizeof *workers);
    if (!pool || !workers) {
        td_release(pool);
        td_release(workers);
        return td_fail_memory(error, threads * sizeof *workers);
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
    pool->workers = workers;
    pool->setup = setup;
    pool->threads = 1;
    if (setup)
        setup();
    while (pool->threads < threads) {
        worker *next = &workers[pool->threads - 1];
        *next = (worker){.pool = pool, .index = pool->threads};
        if (pthread_create(&next->thread, NULL, worker_main, next) != 0) {
            td_pool_free(pool);
            return td_fail(error, TD_ERROR_MEMORY, "cannot start %zu threads", threads);
        }
        pool->threads++;
    }
    *ret_pool = pool;
    return TD_OK;
}

void td_pool_free(td_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i + 1 < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->idle);
    pthread_mutex_destroy(&pool->mutex);
    td_release(pool->workers);
    td_release(pool);
}

size_t td_pool_threads(const td_pool *pool)
{
    return pool->threads;
}

void td_pool_run(td_pool *pool, size_t count, void (*task)(void *, size_t, size_t), void *context)
{
    pthread_mutex_lock(&pool->mutex);
    pool->task = task;
    pool->context = context;
    pool->next = 0;
    pool->count = count;
    pool->generation++;
    pthread_cond_broadcast(&pool->work);
    take_tasks(pool, 0);
    while (pool->running > 0)
        pthread_cond_wait(&pool->idle, &pool->mutex);
    pool->count = 0;
    pthread_mutex_unlock(&pool->mutex);
}

struct td_turns {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t turn;
};

td_status td_turns_new(td_turns **ret_turns, td_error *error)
{
    td_turns *turns = td_allocate_array(1, sizeof *turns);
    if (!turns)
        return td_fail_memory(error, sizeof *turns);
    pthread_mutex_init(&turns->mutex, NULL);
    pthread_cond_init(&turns->changed, NULL);
    *ret_turns = turns;
    return TD_OK;
}

void td_turns_free(td_turns *turns)
{
    if (!turns)
        return;
    pthread_cond_destroy(&turns->changed);
    pthread_mutex_destroy(&turns->mutex);
    td_release(turns);
}

void td_turns_reset(td_turns *turns)
{
    pthread_mutex_lock(&turns->mutex);
    turns->turn = 0;
    pthread_mutex_unlock(&turns->mutex);
}

void td_turns_wait(td_turns *turns, size_t turn)
{
    pthread_mutex_lock(&turns->mutex);
    while (turns->turn != turn)
        pthread_cond_wait(&turns->changed, &turns->mutex);
    pthread_mutex_unlock(&turns->mutex);
}

void td_turns_done(td_turns *turns)
{
    pthread_mutex_lock(&turns->mutex);
    turns->turn++;
    pthread_cond_broadcast(&turns->changed);
    pthread_mutex_unlock(&turns->mutex);
}

td_status td_threads_run(size_t threads, void *(*run)(void *context), void *context, td_error *error)
{
    pthread_t *others = td_allocate_array(threads, sizeof *others);
    if (!others)
        return td_fail_memory(error, threads * sizeof *others);
    size_t started = 0;
    while (started + 1 < threads && pthread_create(&others[started], NULL, run, context) == 0)
        started++;
    run(context);
    for (size_t i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    td_release(others);
    return TD_OK;
}
