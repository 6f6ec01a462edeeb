/* Sound front ends against transformers' feature extractors: the same files, read by name, from bytes and from samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audio/sound.h"
#include "base/buffer.h"
#include "frontend/frontend.h"
#include "io/json.h"
#include "platform/file.h"

#define TOLERANCE 1e-4

static json_t *expected;

static const char *file_path(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/golden/audio/%s", TD_TEST_DATA, name);
    return path;
}

static int load(void **state)
{
    (void)state;
    return td_json_load_file(file_path("expected.json"), &expected, NULL) == TD_OK ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(expected);
    return 0;
}

static void assert_features(const td_features *features, const json_t *entry, const char *what)
{
    const json_t *shape = json_object_get(entry, "shape"), *values;
    assert_int_equal(features->rows, json_integer_value(json_array_get(shape, 0)));
    assert_int_equal(features->width, json_integer_value(json_array_get(shape, 1)));
    double squares = 0.0, sum = 0.0, worst = 0.0;
    for (size_t i = 0; i < features->rows * features->width; i++) {
        sum += (double)features->data[i];
        squares += (double)features->data[i] * (double)features->data[i];
    }
    const char *key;
    json_object_foreach(json_object_get(entry, "rows"), key, values) for (size_t column = 0; column < features->width; column++)
    {
        double got = (double)features->data[strtoul(key, NULL, 10) * features->width + column];
        worst = fmax(worst, fabs(got - json_number_value(json_array_get(values, column))));
    }
    double l2 = json_number_value(json_object_get(entry, "l2")), total = json_number_value(json_object_get(entry, "sum"));
    if (!(worst <= TOLERANCE) || !(fabs(sqrt(squares) - l2) <= 1e-5 * l2) ||
        !(fabs(sum - total) <= TOLERANCE * (double)(features->rows * features->width)))
        fail_msg("%s: off by %.3g, norm %.7g for %.7g, sum %.7g for %.7g", what, worst, sqrt(squares), l2, sum, total);
}

/* By name, from the file's bytes, and from its samples at its own rate: the same rows each time. */
static void test_features(void **state)
{
    (void)state;
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(expected, "cases"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "file")), *path = file_path(name);
        td_frontend front;
        td_error error = {0};
        td_features from_file, from_bytes, from_samples;
        if (td_frontend_configure(json_object_get(entry, "config"), "expected.json", TD_AUDIO, &front, &error) != TD_OK)
            fail_msg("%s", error.message);
        if (front.kind->read(front.state, path, NULL, 0, &from_file, &error) != TD_OK)
            fail_msg("%s", error.message);
        assert_int_equal(front.kind->width(front.state), from_file.width);
        char what[256];
        snprintf(what, sizeof what, "case %zu, %s", i, name);
        assert_features(&from_file, entry, what);

        td_buffer bytes = TD_BUFFER_INIT;
        assert_int_equal(td_file_read(path, 0, &bytes, NULL), TD_OK);
        assert_int_equal(front.kind->read(front.state, "in memory", bytes.data, bytes.length, &from_bytes, NULL), TD_OK);
        td_sound_stream *stream;
        float *samples;
        size_t count;
        assert_int_equal(td_sound_stream_open(path, NULL, 0, 0, &stream, NULL), TD_OK);
        td_raw_sound raw = {.channels = 1, .rate = td_sound_stream_rate(stream)};
        assert_int_equal(td_sound_stream_rest(stream, TD_SOUND_LIMIT, &samples, &count, NULL), TD_OK);
        td_sound_stream_close(stream);
        raw.samples = samples;
        raw.frames = count;
        assert_int_equal(front.kind->take_sound(front.state, &raw, &from_samples, NULL), TD_OK);
        size_t size = from_file.rows * from_file.width * sizeof(float);
        assert_int_equal(from_bytes.rows, from_file.rows);
        assert_int_equal(from_samples.rows, from_file.rows);
        assert_memory_equal(from_bytes.data, from_file.data, size);
        assert_memory_equal(from_samples.data, from_file.data, size);
        td_release(samples);
        td_buffer_free(&bytes);
        td_features_free(&from_file);
        td_features_free(&from_bytes);
        td_features_free(&from_samples);
        td_frontend_close(&front);
    }
}

/* Every format and width gives the samples that another reader gives. */
static void test_samples(void **state)
{
    (void)state;
    const char *name;
    json_t *entry;
    json_object_foreach(json_object_get(expected, "sounds"), name, entry)
    {
        td_sound_stream *stream;
        td_error error = {0};
        float *samples;
        size_t count;
        if (td_sound_stream_open(file_path(name), NULL, 0, 0, &stream, &error) != TD_OK)
            fail_msg("%s", error.message);
        assert_int_equal(td_sound_stream_rate(stream), json_integer_value(json_object_get(entry, "rate")));
        assert_int_equal(td_sound_stream_rest(stream, TD_SOUND_LIMIT, &samples, &count, NULL), TD_OK);
        assert_int_equal(count, json_integer_value(json_object_get(entry, "count")));
        double squares = 0.0, worst = 0.0;
        for (size_t i = 0; i < count; i++)
            squares += (double)samples[i] * (double)samples[i];
        for (size_t i = 0; i < 12; i++)
            worst = fmax(worst, fabs((double)samples[1000 + i] - json_number_value(json_array_get(json_object_get(entry, "first"), i))));
        double l2 = json_number_value(json_object_get(entry, "l2"));
        bool lossy = strstr(name, ".mp3") || strstr(name, ".ogg"); /* decoders round differently */
        if (worst > (lossy ? 1e-5 : 1e-7) || fabs(sqrt(squares) - l2) > 1e-5 * l2)
            fail_msg("%s: samples off by %.3g, norm %.7g for %.7g", name, worst, sqrt(squares), l2);
        td_release(samples);
        td_sound_stream_close(stream);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_samples), cmocka_unit_test(test_features)};
    return cmocka_run_group_tests(tests, load, unload);
}
