/* Work in a child process: what it gives and how it fails comes back; a request to stop ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/child.h"

enum { LARGE = 300000 }; /* more than a pipe holds */

static int seen;

static td_status give(void *context, td_buffer *output, td_error *error)
{
    (void)error;
    seen++;
    memset(td_buffer_extend(output, LARGE), *(char *)context, LARGE);
    return TD_OK;
}

static td_status refuse(void *context, td_buffer *output, td_error *error)
{
    td_buffer_append(output, "half", 4);
    return td_fail(error, TD_ERROR_FORMAT, "line %d is wrong", *(int *)context);
}

static td_status wait_for_ever(void *context, td_buffer *output, td_error *error)
{
    (void)context, (void)output, (void)error;
    for (int i = 0; i < 1000; i++)
        pause();
    return TD_OK;
}

static td_status end_oneself(void *context, td_buffer *output, td_error *error)
{
    (void)output, (void)error;
    if (*(int *)context)
        raise(*(int *)context);
    _exit(3);
}

static void output_comes_back(void **state)
{
    (void)state;
    volatile sig_atomic_t stop = 0;
    td_buffer output = TD_BUFFER_INIT;
    td_error error;
    char letter = 'x';
    td_buffer_append(&output, "before ", 7);
    assert_int_equal(td_child_run(give, &letter, &stop, &output, &error), TD_OK);
    assert_int_equal(output.length, LARGE + 7);
    assert_memory_equal(output.data, "before xx", 9);
    assert_int_equal(output.data[LARGE + 6], 'x');
    assert_int_equal(seen, 0); /* in another process */
    assert_int_equal(td_child_run(give, &letter, NULL, &output, &error), TD_OK);
    assert_int_equal(output.length, 2 * LARGE + 7);
    assert_int_equal(seen, 1); /* in this one */
    td_buffer_free(&output);
}

static void errors_come_back(void **state)
{
    (void)state;
    volatile sig_atomic_t stop = 0;
    td_buffer output = TD_BUFFER_INIT;
    td_error error;
    int number = 7, signals[] = {SIGKILL, 0};
    static const char *const messages[] = {"the process that did the work was ended by signal 9", "the process that did the work gave up"};
    assert_int_equal(td_child_run(refuse, &number, &stop, &output, &error), TD_ERROR_FORMAT);
    assert_string_equal(error.message, "line 7 is wrong");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(td_child_run(end_oneself, &signals[i], &stop, &output, &error), TD_ERROR_INTERNAL);
        assert_string_equal(error.message, messages[i]);
    }
    assert_int_equal(output.length, 0);
    td_buffer_free(&output);
}

static volatile sig_atomic_t asked;

static void ask(int number)
{
    (void)number;
    asked = 1;
}

static void a_request_ends_it(void **state)
{
    (void)state;
    td_buffer output = TD_BUFFER_INIT;
    td_error error;
    signal(SIGALRM, ask);
    alarm(1);
    assert_int_equal(td_child_run(wait_for_ever, NULL, &asked, &output, &error), TD_ERROR_CANCELLED);
    td_buffer_free(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(output_comes_back), cmocka_unit_test(errors_come_back),
                                       cmocka_unit_test(a_request_ends_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
