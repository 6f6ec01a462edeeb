/* Pictures against Pillow and transformers: tools/reference/pictures.py makes the files and says what each case is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/frontend.h"
#include "io/json.h"
#include "platform/file.h"
#include "vision/picture.h"
#include "vision/resize.h"

#define FOLDER TD_TEST_DATA "/golden/pictures/"

typedef struct golden {
    json_t *root;
    td_buffer values; /* values.bin */
} golden;

static int setup(void **state)
{
    golden *it = calloc(1, sizeof *it);
    assert_non_null(it);
    td_error error;
    assert_int_equal(td_json_load_file(FOLDER "golden.json", &it->root, &error), TD_OK);
    assert_int_equal(td_file_read(FOLDER "values.bin", 0, &it->values, &error), TD_OK);
    *state = it;
    return 0;
}

static int teardown(void **state)
{
    golden *it = *state;
    json_decref(it->root);
    td_buffer_free(&it->values);
    free(it);
    return 0;
}

static size_t number(const json_t *row, const char *key)
{
    assert_true(json_is_integer(json_object_get(row, key)));
    return (size_t)json_integer_value(json_object_get(row, key));
}

static const char *path_of(const json_t *row)
{
    static char path[512];
    snprintf(path, sizeof path, FOLDER "%s", json_string_value(json_object_get(row, "file")));
    return path;
}

static td_picture read_picture(const char *path)
{
    td_picture picture;
    td_error error;
    if (td_picture_read(path, &picture, &error) != TD_OK)
        fail_msg("%s", error.message);
    return picture;
}

/* Every byte, no tolerance. */
static void compare(const golden *it, const json_t *row, const td_picture *picture, const char *what)
{
    size_t height = number(row, "height"), width = number(row, "width"), offset = number(row, "offset"), bytes = height * width * 3;
    if (picture->height != height || picture->width != width)
        fail_msg("%s: %zu x %zu, not %zu x %zu", what, picture->width, picture->height, width, height);
    assert_true(offset + bytes <= it->values.length);
    int worst = 0;
    size_t wrong = 0;
    for (size_t i = 0; i < bytes; i++) {
        int difference = abs((uint8_t)it->values.data[offset + i] - picture->pixels[i]);
        wrong += difference != 0;
        worst = difference > worst ? difference : worst;
    }
    if (wrong)
        fail_msg("%s: %zu of %zu values differ, by up to %d", what, wrong, bytes, worst);
}

static void test_decoded(void **state)
{
    golden *it = *state;
    const json_t *rows = json_object_get(it->root, "decoded");
    assert_true(json_array_size(rows) >= 40);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        td_picture picture = read_picture(path_of(row));
        compare(it, row, &picture, path_of(row));
        td_picture_free(&picture);
    }
}

static void test_resized(void **state)
{
    golden *it = *state;
    const json_t *rows = json_object_get(it->root, "resized");
    assert_true(json_array_size(rows) >= 6 * 7);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        char what[64];
        td_picture picture = read_picture(path_of(row)), resized;
        snprintf(what, sizeof what, "filter %zu to %zu x %zu", number(row, "resample"), number(row, "width"), number(row, "height"));
        td_resample resample = (td_resample)number(row, "resample");
        assert_int_equal(td_resize(&picture, number(row, "height"), number(row, "width"), resample, "picture", &resized, NULL), TD_OK);
        compare(it, row, &resized, what);
        td_picture_free(&picture);
        td_picture_free(&resized);
    }
}

static td_features features_of(const json_t *row)
{
    td_frontend frontend;
    td_features features;
    td_error error;
    if (td_frontend_configure(json_object_get(row, "config"), "config", TD_IMAGE, &frontend, &error) != TD_OK)
        fail_msg("%s", error.message);
    assert_int_equal(frontend.kind->width(frontend.state), 3);
    if (frontend.kind->read(frontend.state, path_of(row), NULL, 0, &features, &error) != TD_OK)
        fail_msg("%s", error.message);
    td_frontend_close(&frontend);
    return features;
}

static void test_processed(void **state)
{
    golden *it = *state;
    const json_t *rows = json_object_get(it->root, "processed");
    assert_true(json_array_size(rows) >= 36);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *values = json_object_get(row, "values");
        td_features features = features_of(row);
        double sum = 0, squares = 0, mean = json_number_value(json_object_get(row, "mean")),
               l2 = json_number_value(json_object_get(row, "l2"));
        size_t count = features.rows * features.width;
        assert_int_equal(features.rows, number(row, "rows"));
        for (size_t k = 0; k < count; k++) {
            sum += (double)features.data[k];
            squares += (double)features.data[k] * (double)features.data[k];
        }
        if (fabs(sum / (double)count - mean) > 1e-6 * (1 + fabs(mean)) || fabs(sqrt(squares) - l2) > 1e-6 * (1 + l2))
            fail_msg("processor case %zu: mean %g, not %g; l2 %g, not %g", i, sum / (double)count, mean, sqrt(squares), l2);
        for (size_t k = 0; k < json_array_size(values); k++) {
            double is = (double)features.data[(k * 7919 + 13) % count], should = json_number_value(json_array_get(values, k));
            if (fabs(is - should) > 1e-6 * (1 + fabs(should)))
                fail_msg("processor case %zu: %g, not %g", i, is, should);
        }
        td_features_free(&features);
    }
}

/* From pixels in memory comes what comes from the file. */
static void test_raw(void **state)
{
    golden *it = *state;
    const json_t *row = json_array_get(json_object_get(it->root, "processed"), 0);
    td_features expected = features_of(row), features;
    td_picture picture = read_picture(path_of(row));
    td_frontend frontend;
    assert_int_equal(td_frontend_configure(json_object_get(row, "config"), "config", TD_IMAGE, &frontend, NULL), TD_OK);
    size_t pixels = picture.height * picture.width;
    uint8_t *rgba = calloc(pixels, 4);
    assert_non_null(rgba);
    for (size_t i = 0; i < pixels; i++)
        memcpy(rgba + 4 * i, picture.pixels + 3 * i, 3);
    const td_raw_picture raws[] = {{picture.pixels, picture.height, picture.width, 3}, {rgba, picture.height, picture.width, 4}};
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(frontend.kind->take_picture(frontend.state, &raws[k], &features, NULL), TD_OK);
        assert_int_equal(features.rows, expected.rows);
        assert_memory_equal(features.data, expected.data, expected.rows * 3 * sizeof *expected.data);
        td_features_free(&features);
    }
    td_raw_picture wrong = {picture.pixels, picture.height, picture.width, 2};
    assert_int_equal(frontend.kind->take_picture(frontend.state, &wrong, &features, NULL), TD_ERROR_ARGUMENT);
    td_frontend_close(&frontend);
    td_features_free(&expected);
    td_picture_free(&picture);
    free(rgba);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoded),
        cmocka_unit_test(test_resized),
        cmocka_unit_test(test_processed),
        cmocka_unit_test(test_raw),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
