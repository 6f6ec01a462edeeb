/* The pool runs every task once, whoever takes it; turns let tasks pass in order. Also run under the thread sanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "platform/thread.h"

enum { TASKS = 1000, THREADS = 4 };

struct count {
    int ran[TASKS]; /* plain: a task that two threads ran is a race the sanitizer sees */
    atomic_int per_thread[THREADS];
    atomic_size_t started; /* tasks begun */
    size_t threads;
    atomic_int bad; /* indices or threads out of range */
};

static void count_task(void *context, size_t index, size_t thread)
{
    struct count *count = context;
    if (index >= TASKS || thread >= count->threads) {
        atomic_fetch_add(&count->bad, 1);
        return;
    }
    count->ran[index]++;
    atomic_fetch_add(&count->per_thread[thread], 1);
    atomic_fetch_add(&count->started, 1);
}

static void every_task_runs_once(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 5, 17, TASKS};
    for (size_t threads = 1; threads <= THREADS; threads++) {
        td_pool *pool = NULL;
        assert_int_equal(td_pool_new(threads, NULL, &pool, NULL), TD_OK);
        assert_int_equal(td_pool_threads(pool), threads);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            struct count count = {.threads = threads};
            td_pool_run(pool, counts[i], count_task, &count);
            assert_int_equal(count.bad, 0);
            assert_int_equal(count.started, counts[i]);
            for (size_t task = 0; task < TASKS; task++)
                assert_int_equal(count.ran[task], task < counts[i]);
        }
        td_pool_free(pool);
    }
}

static void runs_follow_each_other_without_leftovers(void **state)
{
    (void)state;
    td_pool *pool = NULL;
    assert_int_equal(td_pool_new(THREADS, NULL, &pool, NULL), TD_OK);
    struct count count = {.threads = THREADS};
    for (int run = 1; run <= 500; run++) {
        td_pool_run(pool, 7, count_task, &count); /* fewer tasks than a thread needs to wake up: late wakers find nothing */
        for (size_t task = 0; task < 7; task++)
            assert_int_equal(count.ran[task], run);
    }
    assert_int_equal(count.ran[7], 0);
    td_pool_free(pool);
}

static void rest(unsigned microseconds)
{
    struct timespec time = {0, (long)microseconds * 1000};
    nanosleep(&time, NULL);
}

/* The threads doze off between runs, or are about to when the next one comes: no wake-up may be lost. */
static void threads_that_slept_are_woken(void **state)
{
    (void)state;
    for (size_t threads = 2; threads <= THREADS; threads++) {
        td_pool *pool = NULL;
        assert_int_equal(td_pool_new(threads, NULL, &pool, NULL), TD_OK);
        struct count count = {.threads = threads};
        for (int run = 1; run <= 60; run++) {
            td_pool_run(pool, 9, count_task, &count);
            for (size_t task = 0; task < 9; task++)
                assert_int_equal(count.ran[task], run);
            rest((unsigned)(run * 10));
        }
        td_pool_free(pool);
    }
}

struct meeting {
    atomic_size_t here;
    size_t expected;
};

/* Returns only when as many tasks as expected are running at once. */
static void meet(void *context, size_t index, size_t thread)
{
    (void)index;
    (void)thread;
    struct meeting *meeting = context;
    atomic_fetch_add(&meeting->here, 1);
    while (atomic_load(&meeting->here) < meeting->expected)
        ;
}

static void tasks_run_side_by_side(void **state)
{
    (void)state;
    td_pool *pool = NULL;
    assert_int_equal(td_pool_new(3, NULL, &pool, NULL), TD_OK);
    struct meeting meeting = {.expected = 3};
    td_pool_run(pool, 3, meet, &meeting); /* would never return on fewer than three threads */
    assert_int_equal(meeting.here, 3);
    td_pool_free(pool);
}

/* As above, once all have slept: a wake-up that was lost would let this wait for ever. */
static void sleepers_take_part(void **state)
{
    (void)state;
    td_pool *pool = NULL;
    assert_int_equal(td_pool_new(2, NULL, &pool, NULL), TD_OK);
    for (int run = 0; run < 30; run++) {
        struct meeting meeting = {.expected = 2};
        rest(run % 3 ? 300 : 0);
        td_pool_run(pool, 2, meet, &meeting);
    }
    td_pool_free(pool);
}

static atomic_int setups;

static void note_setup(void)
{
    atomic_fetch_add(&setups, 1);
}

static void setup_runs_once_on_each_thread(void **state)
{
    (void)state;
    setups = 0;
    td_pool *pool = NULL;
    assert_int_equal(td_pool_new(3, note_setup, &pool, NULL), TD_OK);
    struct meeting meeting = {.expected = 3};
    td_pool_run(pool, 3, meet, &meeting);
    assert_int_equal(setups, 3);
    td_pool_run(pool, 3, meet, &meeting);
    assert_int_equal(setups, 3);
    td_pool_free(pool);
    td_pool_free(NULL);
}

struct queue {
    td_turns *turns;
    size_t order[TASKS], length; /* plain: only the one whose turn it is writes */
};

static void queue_up(void *context, size_t index, size_t thread)
{
    (void)thread;
    struct queue *queue = context;
    td_turns_wait(queue->turns, 0, index);
    queue->order[queue->length++] = index;
    td_turns_done(queue->turns, 0);
}

static void turns_pass_in_order(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= THREADS; threads++) {
        td_pool *pool = NULL;
        struct queue queue = {0};
        assert_int_equal(td_pool_new(threads, NULL, &pool, NULL), TD_OK);
        assert_int_equal(td_turns_new(1, &queue.turns, NULL), TD_OK);
        for (int round = 0; round < 3; round++) {
            queue.length = 0;
            td_turns_reset(queue.turns);
            td_pool_run(pool, TASKS, queue_up, &queue);
            assert_int_equal(queue.length, TASKS);
            for (size_t i = 0; i < TASKS; i++)
                assert_int_equal(queue.order[i], i);
        }
        td_turns_free(queue.turns);
        td_pool_free(pool);
    }
    td_turns_free(NULL);
}

/* A sum of numbers that rounding makes depend on the order: in turns it has the same bits on any number of threads. */
struct sum {
    td_turns *turns;
    float total;
};

static void add_in_turn(void *context, size_t index, size_t thread)
{
    (void)thread;
    struct sum *sum = context;
    float value = 1.0f / (float)(index + 3) * (index % 2 ? 1e4f : 1.0f);
    td_turns_wait(sum->turns, 0, index);
    sum->total += value;
    td_turns_done(sum->turns, 0);
}

static void sums_in_turn_have_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    float expected = 0.0f, backwards = 0.0f;
    for (size_t threads = 1; threads <= THREADS; threads++) {
        td_pool *pool = NULL;
        struct sum sum = {0};
        assert_int_equal(td_pool_new(threads, NULL, &pool, NULL), TD_OK);
        assert_int_equal(td_turns_new(1, &sum.turns, NULL), TD_OK);
        td_pool_run(pool, TASKS, add_in_turn, &sum);
        if (threads == 1)
            expected = sum.total;
        assert_memory_equal(&sum.total, &expected, sizeof expected);
        td_turns_free(sum.turns);
        td_pool_free(pool);
    }
    for (size_t i = TASKS; i-- > 0;)
        backwards += 1.0f / (float)(i + 3) * (i % 2 ? 1e4f : 1.0f);
    assert_memory_not_equal(&backwards, &expected, sizeof expected); /* else this test could not fail */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),         cmocka_unit_test(runs_follow_each_other_without_leftovers),
        cmocka_unit_test(threads_that_slept_are_woken), cmocka_unit_test(tasks_run_side_by_side),
        cmocka_unit_test(sleepers_take_part),           cmocka_unit_test(setup_runs_once_on_each_thread),
        cmocka_unit_test(turns_pass_in_order),          cmocka_unit_test(sums_in_turn_have_the_same_bits_on_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
