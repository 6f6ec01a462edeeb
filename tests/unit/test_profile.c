/* The profile: sums of nested scopes, their table, and a trace that parses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"
#include "platform/clock.h"
#include "platform/file.h"
#include "tensor/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void spend(double seconds)
{
    for (double begun = td_clock_seconds(); td_clock_seconds() - begun < seconds;)
        ;
}

static void multiply(td_recorder *recorder, size_t rows)
{
    TD_PROFILE_PRODUCT(recorder, "int8", rows, 512, 256, 0);
    spend(0.004);
}

static void layer(td_recorder *recorder, size_t rows)
{
    TD_PROFILE(recorder, "linear");
    spend(0.002);
    multiply(recorder, rows);
}

static td_profile *measured(void)
{
    td_profile *profile;
    td_profile_options options = TD_PROFILE_OPTIONS_INIT;
    options.trace = true;
    assert_int_equal(td_profile_new(&options, &profile, NULL), TD_OK);
    td_recorder *first = td_recorder_attach(profile), *second = td_recorder_attach(profile);
    assert_ptr_not_equal(first, second);
    layer(first, 100);
    layer(first, 128);
    layer(second, 65);
    layer(second, 3);
    td_recorder_release(second);
    assert_ptr_equal(td_recorder_attach(profile), second); /* released ones serve again */
    return profile;
}

/* Whether the time of linear layers came without that of their products, which a program that interrupts them hides. */
static bool rows_are_apart(void)
{
    td_profile *profile = measured();
    td_profile_row row, product = {0}, linear = {0};
    double shares = 0, last = INFINITY;
    size_t count = 0;
    for (; td_profile_get(profile, count, &row); count++) {
        shares += row.share;
        assert_true(row.seconds <= last);
        last = row.seconds;
        if (row.m == 128)
            product = row;
        if (strcmp(row.operation, "linear") == 0)
            linear = row;
    }
    assert_int_equal(count, 3); /* linear, products of up to 128 rows, of up to 4 */
    assert_true(fabs(shares - 1) < 1e-9);
    assert_int_equal(product.calls, 3);
    assert_int_equal(product.n, 512);
    assert_int_equal(product.k, 256);
    assert_string_equal(product.precision, "int8");
    assert_true(product.operations == 2.0 * (100 + 128 + 65) * 512 * 256);
    assert_true(product.seconds >= 0.012);
    assert_int_equal(linear.calls, 4);
    assert_true(linear.seconds >= 0.008);
    td_profile_free(profile);
    return linear.seconds < product.seconds + 0.004;
}

static void test_rows(void **state)
{
    enum { ATTEMPTS = 50 };
    (void)state;
    bool apart = false;
    for (int i = 0; i < ATTEMPTS && !apart; i++)
        apart = rows_are_apart();
    assert_true(apart);
}

static void test_table(void **state)
{
    (void)state;
    td_profile *profile = measured();
    const char *table = td_profile_table(profile);
    assert_memory_equal(table, "operation", 9);
    assert_non_null(strstr(table, "\nproduct int8 128 x 512 x 256 "));
    assert_non_null(strstr(table, "\nlinear "));
    double shares = 0;
    size_t lines = 0;
    for (const char *line = strchr(table, '\n'); line && line[1]; line = strchr(line + 1, '\n'), lines++)
        shares += atof(line + 1 + 52 + 1 + 10 + 1 + 10 + 1);
    assert_int_equal(lines, 3);
    assert_true(fabs(shares - 100) < 0.1);
    td_profile_free(profile);
}

static void test_trace(void **state)
{
    (void)state;
    char path[] = "/tmp/tandem-trace-XXXXXX";
    close(mkstemp(path));
    td_profile *profile = measured();
    json_t *trace = NULL;
    assert_int_equal(td_profile_write_trace(profile, path, NULL), TD_OK);
    assert_int_equal(td_json_load_file(path, &trace, NULL), TD_OK);
    json_t *events = json_object_get(trace, "traceEvents");
    assert_int_equal(json_array_size(events), 8);
    json_t *inner = json_array_get(events, 0), *outer = json_array_get(events, 1);
    assert_string_equal(json_string_value(json_object_get(outer, "name")), "linear");
    assert_true(json_number_value(json_object_get(inner, "ts")) >= json_number_value(json_object_get(outer, "ts")));
    assert_true(json_number_value(json_object_get(inner, "dur")) <= json_number_value(json_object_get(outer, "dur")));
    json_decref(trace);
    unlink(path);
    td_profile_free(profile);
}

/* More shapes than there is room for are summed in one row; nothing is lost. */
static void test_many_shapes(void **state)
{
    (void)state;
    td_profile *profile;
    assert_int_equal(td_profile_new(NULL, &profile, NULL), TD_OK);
    td_recorder *recorder = td_recorder_attach(profile);
    for (size_t i = 0; i < 3000; i++) {
        TD_PROFILE_PRODUCT(recorder, "float32", 4, 2000 + i, 64, 0);
    }
    uint64_t calls = 0;
    td_profile_row row;
    bool further = false;
    for (size_t i = 0; td_profile_get(profile, i, &row); i++) {
        calls += row.calls;
        further |= strcmp(row.operation, "further shapes") == 0;
    }
    assert_int_equal(calls, 3000);
    assert_true(further);
    assert_int_equal(td_profile_write_trace(profile, "/nowhere", NULL), TD_ERROR_ARGUMENT);
    td_profile_free(profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_table), cmocka_unit_test(test_trace),
                                       cmocka_unit_test(test_many_shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
