/* Every allocation of a short training run, of opening its model and of generating with it fails in turn: the call says so and leaks
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "platform/file.h"
#include "tandem/tandem.h"
#include "tandem/training.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long before_failure; /* allocations that still succeed; negative: all */
static atomic_long outstanding;

static bool may_allocate(void)
{
    long left = atomic_load(&before_failure);
    while (left > 0 && !atomic_compare_exchange_weak(&before_failure, &left, left - 1))
        ;
    return left != 0;
}

static void *counted_allocate(void *context, size_t bytes)
{
    (void)context;
    void *block = may_allocate() ? malloc(bytes) : NULL;
    atomic_fetch_add(&outstanding, block != NULL);
    return block;
}

static void *counted_resize(void *context, void *block, size_t bytes)
{
    (void)context;
    void *larger = may_allocate() ? realloc(block, bytes) : NULL;
    atomic_fetch_add(&outstanding, larger != NULL && block == NULL);
    return larger;
}

static void counted_release(void *context, void *block)
{
    (void)context;
    atomic_fetch_sub(&outstanding, block != NULL);
    free(block);
}

static const td_allocator counting = {counted_allocate, counted_resize, counted_release, NULL};
/* In memory where there is such a place: runs sync what they write. */
static char directory[] = "/dev/shm/tandem-memory-XXXXXX", elsewhere[] = "/tmp/tandem-memory-XXXXXX";
static const char *place;

static int enter(void **state)
{
    (void)state;
    static const char text[] = "a grey boat\ntwo cold stones\nthe field sings\na lamp near the window\n";
    static const char recipe[] = "output: run\n"
                                 "data:\n"
                                 "  train: {source: text, target: text}\n"
                                 "  validation: {source: text, target: text}\n"
                                 "  vocabulary: {kind: char, size: 60}\n"
                                 "model:\n"
                                 "  encoder: {layers: 1, width: 16, heads: 2, feed_forward: 16}\n"
                                 "training: {max_steps: 2, threads: 1, ema: 0.9, average_last: 2, checkpoint_every: 1}\n";
    place = access("/dev/shm", W_OK) == 0 ? mkdtemp(directory) : mkdtemp(elsewhere);
    if (!place || chdir(place) != 0)
        return -1;
    before_failure = -1;
    td_set_allocator(&counting);
    return td_file_write("text", text, sizeof text - 1, NULL) || td_file_write("recipe.yaml", recipe, sizeof recipe - 1, NULL);
}

static int leave(void **state)
{
    (void)state;
    td_status status = chdir("/") == 0 ? td_directory_remove(place, NULL) : TD_ERROR_IO;
    td_set_allocator(NULL);
    return (int)status;
}

static td_status train(td_error *error)
{
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.restart = true;
    return td_train("recipe.yaml", &options, error);
}

static td_status generate(td_error *error)
{
    td_model *model = NULL;
    td_session *session = NULL;
    td_result *result = NULL;
    td_status status = td_model_open("run", NULL, &model, error);
    if (status == TD_OK)
        status = td_session_new(model, NULL, &session, error);
    if (status == TD_OK)
        status = td_generate_text(session, "a cold lamp", NULL, &result, error);
    td_result_free(result);
    td_session_free(session);
    td_model_close(model);
    return status;
}

static void fail_each(td_status (*call)(td_error *))
{
    td_error error;
    long held = outstanding;
    for (long allowed = 0;; allowed++) {
        before_failure = allowed;
        error = (td_error){0};
        td_status status = call(&error);
        before_failure = -1;
        if (outstanding != held)
            fail_msg("%ld blocks leak when allocation %ld fails", outstanding - held, allowed);
        if (status == TD_OK)
            break;
        if (status != TD_ERROR_MEMORY)
            fail_msg("allocation %ld failed: status %d, %s", allowed, status, error.message);
    }
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_int_equal(train(NULL), TD_OK);
    fail_each(generate);
    fail_each(train);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_failing_allocations)};
    return cmocka_run_group_tests(tests, enter, leave);
}
