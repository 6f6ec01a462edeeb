/* TensorBoard event files byte for byte as TensorBoard's own protobufs give them (tools/reference/tensorboard_check.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "platform/file.h"
#include "training/report.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static void test_bytes(void **state)
{
    const char *directory = *state;
    td_events *events = NULL, *second = NULL;
    td_error error;
    assert_int_equal(td_events_open(directory, 1700000000.25, 300, &events, &error), TD_OK);
    assert_int_equal(td_events_scalar(events, 1700000001.5, 300, "loss/train", 4.75f, &error), TD_OK);
    assert_int_equal(td_events_scalar(events, 1700000001.5, (int64_t)1 << 33, "learning_rate", 0.0005f, &error), TD_OK);
    assert_int_equal(td_events_scalar(events, 1700000001.5, 301, "\xc3\xbc", INFINITY, &error), TD_OK);
    assert_int_equal(td_events_flush(events, &error), TD_OK);
    td_events_close(events);

    char *path = td_path_join(directory, "events.out.tfevents.1700000000.tandem");
    td_buffer written = TD_BUFFER_INIT, hex = TD_BUFFER_INIT;
    assert_int_equal(td_file_read(path, 0, &written, &error), TD_OK);
    for (size_t i = 0; i < written.length; i++)
        td_buffer_format(&hex, "%02x", (unsigned char)written.data[i]);
    json_t *golden = json_load_file(TD_TEST_DATA "/golden/events.json", 0, NULL);
    assert_non_null(golden);
    assert_string_equal(td_buffer_text(&hex), json_string_value(json_object_get(golden, "bytes")));
    json_decref(golden);

    /* A second run in the same second gets its own file. */
    assert_int_equal(td_events_open(directory, 1700000000.75, 0, &second, &error), TD_OK);
    td_events_close(second);
    td_buffer again = TD_BUFFER_INIT;
    assert_int_equal(td_file_read(path, 0, &again, &error), TD_OK);
    assert_int_equal(again.length, written.length);
    td_release(path);
    path = td_path_join(directory, "events.out.tfevents.1700000000.tandem.1");
    assert_true(td_file_exists(path));
    td_release(path);
    td_buffer_free(&written);
    td_buffer_free(&again);
    td_buffer_free(&hex);
}

static void test_no_directory(void **state)
{
    (void)state;
    td_events *events = NULL;
    td_error error;
    assert_int_equal(td_events_open("/nonexistent/run", 1, 0, &events, &error), TD_ERROR_IO);
    assert_string_equal(error.message, "/nonexistent/run/events.out.tfevents.0000000001.tandem: cannot write: No such "
                                       "file or directory");
    assert_null(events);
}

static int enter_directory(void **state)
{
    static char directory[] = "/tmp/tandem-events-XXXXXX";
    *state = mkdtemp(directory);
    return *state ? 0 : -1;
}

static int leave_directory(void **state)
{
    return td_directory_remove(*state, NULL) != TD_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes), cmocka_unit_test(test_no_directory)};
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
