/* A fixed set of threads that take numbered tasks. Which thread runs a task is chance; results must not depend on it.
 *
 * A run costs about a microsecond while the threads are awake: between runs they wait busily for a moment, then sleep. */
#ifndef TD_PLATFORM_THREAD_H
#define TD_PLATFORM_THREAD_H

#include "base/error.h"

#include <stddef.h>

typedef struct td_pool td_pool;

/* `threads` >= 1, the calling thread included. `setup` (may be NULL) runs once on every thread. */
td_status td_pool_new(size_t threads, void (*setup)(void), td_pool **ret_pool, td_error *error);
void td_pool_free(td_pool *pool);
size_t td_pool_threads(const td_pool *pool);
/* Runs task(context, index, thread) for every index below count and returns when all are done. Tasks start in order of index;
 * thread is 0 .. threads - 1. */
void td_pool_run(td_pool *pool, size_t count, void (*task)(void *context, size_t index, size_t thread), void *context);

/* Runs `run` on `threads` threads at once, the calling one among them; a thread that cannot be started is done without. */
td_status td_threads_run(size_t threads, void *(*run)(void *context), void *context, td_error *error);

/* Lets tasks pass one at a time, in order of index, at each of several places: td_turns_wait(place, i) returns once turns 0 .. i - 1 are
 * done there. */
typedef struct td_turns td_turns;
td_status td_turns_new(size_t places, td_turns **ret_turns, td_error *error);
void td_turns_free(td_turns *turns);
void td_turns_reset(td_turns *turns);
void td_turns_wait(td_turns *turns, size_t place, size_t turn);
void td_turns_done(td_turns *turns, size_t place);

#endif
