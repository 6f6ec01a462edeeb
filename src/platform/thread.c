#define _GNU_SOURCE
#include "platform/thread.h"

#include "base/memory.h"
#include "platform/clock.h"
#include "platform/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* How long a thread waits busily before it sleeps. Work for a pool comes in bursts with pauses of some microseconds, and waking a
 * thread takes longer than that; after the first few it lets others have the processor at each look. */
static const double SPIN_SECONDS = 200e-6, SELFISH_SECONDS = 20e-6;

typedef struct worker {
    td_pool *pool;
    size_t index;
    pthread_t thread;
} worker;

/* A run publishes `untaken`; whoever lowers it by one owns a task, and only then reads what the task is. The caller takes tasks too,
 * so a thread that comes late finds nothing to do and nobody waits for it. */
struct td_pool {
    _Alignas(64) atomic_size_t untaken;
    _Alignas(64) atomic_size_t unfinished;
    _Alignas(64) atomic_size_t sleepers;
    atomic_bool caller_sleeps, stopping;
    size_t count; /* tasks of the present run */
    void (*task)(void *, size_t, size_t);
    void *context;
    bool spins; /* never with more threads than processors: they would only keep each other from working */
    size_t threads;
    worker *workers; /* [threads - 1] */
    void (*setup)(void);
    pthread_mutex_t mutex; /* of those who sleep */
    pthread_cond_t work, idle;
};

static bool has_work(td_pool *pool)
{
    return atomic_load(&pool->untaken) > 0 || atomic_load(&pool->stopping);
}

static bool has_finished(td_pool *pool)
{
    return atomic_load(&pool->unfinished) == 0;
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* False when it did not come true within the time one waits busily. */
static inline bool spin_until(td_pool *pool, bool (*ready)(td_pool *))
{
    enum { LOOKS = 32 }; /* between two readings of the clock */
    double start = 0, waited = 0;
    while (pool->spins && waited < SPIN_SECONDS) {
        for (int look = 0; look < LOOKS; look++, relax())
            if (ready(pool))
                return true;
        double now = td_clock_seconds();
        start = start > 0 ? start : now;
        waited = now - start;
        if (waited > SELFISH_SECONDS)
            sched_yield();
    }
    return ready(pool);
}

static void wake(td_pool *pool, pthread_cond_t *condition)
{
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(condition);
    pthread_mutex_unlock(&pool->mutex);
}

/* Takes tasks until none is left. */
static void take_tasks(td_pool *pool, size_t thread)
{
    size_t left = atomic_load(&pool->untaken);
    while (left > 0) {
        if (!atomic_compare_exchange_weak(&pool->untaken, &left, left - 1))
            continue;
        pool->task(pool->context, pool->count - left, thread);
        if (atomic_fetch_sub(&pool->unfinished, 1) == 1 && atomic_load(&pool->caller_sleeps))
            wake(pool, &pool->idle);
        left = atomic_load(&pool->untaken);
    }
}

/* Whoever sleeps says so before looking once more, whoever brings work looks for sleepers after it: one sees the other. That needs a
 * store that is in place before the next load. Both sides exchange instead of storing: an emulator of ARM on x86 (QEMU 7.2) lets a load
 * pass an ordered store, and sleepers were then missed. */
static void sleep_until_work(td_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!has_work(pool))
        pthread_cond_wait(&pool->work, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void sleep_until_finished(td_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_exchange(&pool->caller_sleeps, true);
    while (!has_finished(pool))
        pthread_cond_wait(&pool->idle, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument)
{
    worker *self = argument;
    td_pool *pool = self->pool;
    if (pool->setup)
        pool->setup();
    while (!atomic_load(&pool->stopping)) {
        if (spin_until(pool, has_work))
            take_tasks(pool, self->index);
        else
            sleep_until_work(pool);
    }
    return NULL;
}

td_status td_pool_new(size_t threads, void (*setup)(void), td_pool **ret_pool, td_error *error)
{
    td_pool *pool = td_allocate_aligned(sizeof *pool);
    worker *workers = td_allocate_array(threads, sizeof *workers);
    if (!pool || !workers) {
        td_release_aligned(pool);
        td_release(workers);
        return td_fail_memory(error, threads * sizeof *workers);
    }
    *pool = (td_pool){.workers = workers, .setup = setup, .threads = 1, .spins = threads <= (size_t)td_cpu_count()};
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
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
    atomic_store(&pool->stopping, true);
    wake(pool, &pool->work);
    for (size_t i = 0; i + 1 < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->idle);
    pthread_mutex_destroy(&pool->mutex);
    td_release(pool->workers);
    td_release_aligned(pool);
}

size_t td_pool_threads(const td_pool *pool)
{
    return pool->threads;
}

void td_pool_run(td_pool *pool, size_t count, void (*task)(void *, size_t, size_t), void *context)
{
    if (count <= 1 || pool->threads == 1) {
        for (size_t i = 0; i < count; i++)
            task(context, i, 0);
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->count = count;
    atomic_store(&pool->unfinished, count);
    atomic_exchange(&pool->untaken, count);
    if (atomic_load(&pool->sleepers) > 0)
        wake(pool, &pool->work);
    take_tasks(pool, 0);
    if (!spin_until(pool, has_finished))
        sleep_until_finished(pool);
}

struct td_turns {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t places;
    size_t turn[]; /* [places] */
};

td_status td_turns_new(size_t places, td_turns **ret_turns, td_error *error)
{
    size_t bytes;
    bool fits = !td_multiply_overflows(places, sizeof(size_t), &bytes) && !td_add_overflows(bytes, sizeof(td_turns), &bytes);
    td_turns *turns = fits ? td_allocate(bytes) : NULL;
    if (!turns)
        return td_fail_memory(error, places * sizeof(size_t));
    turns->places = places;
    pthread_mutex_init(&turns->mutex, NULL);
    pthread_cond_init(&turns->changed, NULL);
    td_turns_reset(turns);
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
    memset(turns->turn, 0, turns->places * sizeof *turns->turn);
    pthread_mutex_unlock(&turns->mutex);
}

void td_turns_wait(td_turns *turns, size_t place, size_t turn)
{
    pthread_mutex_lock(&turns->mutex);
    while (turns->turn[place] != turn)
        pthread_cond_wait(&turns->changed, &turns->mutex);
    pthread_mutex_unlock(&turns->mutex);
}

void td_turns_done(td_turns *turns, size_t place)
{
    pthread_mutex_lock(&turns->mutex);
    turns->turn[place]++;
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
