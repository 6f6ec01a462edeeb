/* Models of CTranslate2, opened where they lie: what that library makes of them, in each precision and version of the format. */
#include "io/ct2.h"
#include "io/json.h"
#include "io/weights.h"
#include "platform/file.h"
#include "tandem/tandem.h"
#include "tandem/tools.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shard_bytes.h" /* after cmocka: it takes memory as tests do */

#define FOLDER TD_TEST_DATA "/golden/ct2"

static json_t *expected;
static char scratch[] = "/tmp/tandem-ct2-XXXXXX";

static void compare_outputs(const char *directory, const json_t *wanted, int beam, double tolerance)
{
    td_error error;
    td_model *model;
    td_session *session;
    td_model_options exact = TD_MODEL_OPTIONS_INIT;
    exact.precision = "float32";
    if (td_model_open(directory, &exact, &model, &error) != TD_OK)
        fail_msg("%s", error.message);
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    const json_t *sources = json_object_get(expected, "sources");
    for (size_t i = 0; i < json_array_size(sources); i++) {
        td_generate_options options = TD_GENERATE_OPTIONS_INIT;
        options.beam = beam;
        options.max_length = 11;
        td_result *result;
        if (td_generate_text(session, json_string_value(json_array_get(sources, i)), &options, &result, &error) != TD_OK)
            fail_msg("%s", error.message);
        const json_t *pair = json_array_get(wanted, i);
        assert_string_equal(td_result_text(result, 0, 0), json_string_value(json_array_get(pair, 0)));
        assert_true(beam == 1 || fabs(td_result_score(result, 0, 0) - json_number_value(json_array_get(pair, 1))) < tolerance);
        td_result_free(result);
    }
    td_session_free(session);
    td_model_close(model);
}

static void compare_beams(const char *directory, const json_t *wanted, double tolerance)
{
    compare_outputs(directory, json_object_get(wanted, "beam_1"), 1, tolerance);
    compare_outputs(directory, json_object_get(wanted, "beam_3"), 3, tolerance);
}

static const json_t *wanted_of(const char *name)
{
    return json_object_get(json_object_get(expected, "models"), name);
}

static void test_outputs(void **state)
{
    (void)state;
    static const char *const names[] = {"float32", "float16", "bfloat16", "int16", "int8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char directory[256];
        snprintf(directory, sizeof directory, FOLDER "/%s", names[i]);
        compare_beams(directory, wanted_of(names[i]), 2e-4);
    }
}

/* The weights of one matrix, whatever they are stored as. */
static void test_weights(void **state)
{
    (void)state;
    const char *name;
    json_t *wanted;
    td_error error;
    json_object_foreach(json_object_get(expected, "models"), name, wanted)
    {
        char directory[256];
        td_safetensors *file;
        snprintf(directory, sizeof directory, FOLDER "/%s", name);
        assert_int_equal(td_safetensors_open_directory(directory, &file, &error), TD_OK);
        const td_stored_tensor *tensor = td_safetensors_find(file, "model.decoder.layers.0.fc1.weight");
        const td_stored_tensor *scale = td_safetensors_find(file, "model.decoder.layers.0.fc1.weight_scale");
        const json_t *values = json_object_get(wanted, "fc1");
        float read[192];
        assert_int_equal(json_array_size(values), 192);
        assert_int_equal(td_stored_is_whole(tensor), scale != NULL);
        assert_true(scale || td_safetensors_read_float(tensor, read, 192, &error) == TD_OK);
        for (size_t i = 0; scale && i < 192; i++)
            read[i] = (float)td_stored_whole_at(tensor, i) * ((const float *)scale->data)[i / 16];
        for (size_t i = 0; i < 192; i++)
            if (fabs((double)read[i] - json_number_value(json_array_get(values, i))) > 1e-6)
                fail_msg("%s: element %zu is %.9g, not %.9g", name, i, (double)read[i], json_number_value(json_array_get(values, i)));
        td_safetensors_close(file);
    }
}

static void write_directory(const char *name, const void *data, size_t length, char *directory, size_t room)
{
    td_error error;
    char path[256];
    static const char *const files[] = {"config.json", "shared_vocabulary.json"};
    snprintf(directory, room, "%s/%s", scratch, name);
    assert_int_equal(td_directory_create(directory, &error), TD_OK);
    for (size_t i = 0; i < 2; i++) {
        td_buffer bytes = TD_BUFFER_INIT;
        snprintf(path, sizeof path, FOLDER "/float32/%s", files[i]);
        assert_int_equal(td_file_read(path, 0, &bytes, &error), TD_OK);
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        assert_int_equal(td_file_write(path, bytes.data, bytes.length, &error), TD_OK);
        td_buffer_free(&bytes);
    }
    snprintf(path, sizeof path, "%s/model.bin", directory);
    assert_int_equal(td_file_write(path, data, length, &error), TD_OK);
}

/* 4 and 5 are 6 with another number; 1 is 2 without the name of what it is. */
static void test_versions(void **state)
{
    (void)state;
    td_error error;
    for (char version = 1; version <= 6; version++) {
        td_buffer bytes = TD_BUFFER_INIT;
        char directory[128], name[16];
        assert_int_equal(td_file_read(version <= 2   ? FOLDER "/version-2.bin"
                                      : version == 3 ? FOLDER "/version-3.bin"
                                                     : FOLDER "/int8/model.bin",
                                      0, &bytes, &error),
                         TD_OK);
        if (version == 1) { /* length and text of "TransformerSpec", revision */
            memmove(bytes.data + 4, bytes.data + 4 + 22, bytes.length - 26);
            bytes.length -= 22;
        }
        bytes.data[0] = version;
        snprintf(name, sizeof name, "version-%d", version);
        write_directory(name, bytes.data, bytes.length, directory, sizeof directory);
        compare_beams(directory, wanted_of("int8"), 2e-4);
        td_buffer_free(&bytes);
    }
}

static void test_conversion(void **state)
{
    (void)state;
    td_error error;
    char directory[128];
    snprintf(directory, sizeof directory, "%s/converted", scratch);
    if (td_convert_model(FOLDER "/float32", "float32", directory, &error) != TD_OK)
        fail_msg("%s", error.message);
    assert_false(td_ct2_recognise(directory));
    compare_beams(directory, wanted_of("float32"), 2e-4);
}

/* Whole numbers become what they stand for, in any precision. */
static void test_conversion_of_whole_numbers(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"int8", "float32"}, {"int16", "float32"}, {"int16", "int8"}};
    for (size_t i = 0; i < 3; i++) {
        td_error error;
        char from[256], to[256];
        snprintf(from, sizeof from, FOLDER "/%s", cases[i][0]);
        snprintf(to, sizeof to, "%s/%s-to-%s", scratch, cases[i][0], cases[i][1]);
        if (td_convert_model(from, cases[i][1], to, &error) != TD_OK)
            fail_msg("%s", error.message);
        if (strcmp(cases[i][1], "float32") == 0)
            compare_beams(to, wanted_of(cases[i][0]), 2e-4);
    }
    td_error error;
    char to[256];
    snprintf(to, sizeof to, "%s/int8-to-int8", scratch);
    assert_int_equal(td_convert_model(FOLDER "/int8", "int8", to, &error), TD_ERROR_UNSUPPORTED);
}

/* With SentencePiece models beside the lists, text is plain text: the same output as for its pieces, separated by spaces. */
static void test_sentencepiece(void **state)
{
    (void)state;
    static const char *const layouts[][2] = {{"sentencepiece.model", NULL}, {"source.spm", "target.spm"}};
    const char *vocabulary =
        "[\"</s>\", \"<unk>\", \"\xe2\x96\x81\", \"\xe2\x96\x81the\", \"a\", \"e\", \"t\", \"s\", \"n\", \"r\", \"i\", "
        "\"o\", \"d\", \"l\", \"h\", \"u\", \"<pad>\"]";
    td_error error;
    td_buffer weights = TD_BUFFER_INIT, model = TD_BUFFER_INIT;
    assert_int_equal(td_file_read(FOLDER "/float32/model.bin", 0, &weights, &error), TD_OK);
    assert_int_equal(td_file_read(TD_TEST_DATA "/golden/marian-tokenizer/source.spm", 0, &model, &error), TD_OK);
    for (size_t layout = 0; layout < 2; layout++) {
        char directory[128], path[256], name[16], text[2][256];
        snprintf(name, sizeof name, "spm-%zu", layout);
        write_directory(name, weights.data, weights.length, directory, sizeof directory);
        snprintf(path, sizeof path, "%s/shared_vocabulary.json", directory);
        assert_int_equal(td_file_write(path, vocabulary, strlen(vocabulary), &error), TD_OK);
        for (int plain = 0; plain < 2; plain++) {
            for (size_t i = 0; plain && i < 2 && layouts[layout][i]; i++) {
                snprintf(path, sizeof path, "%s/%s", directory, layouts[layout][i]);
                assert_int_equal(td_file_write(path, model.data, model.length, &error), TD_OK);
            }
            td_model *opened;
            td_session *session;
            td_result *result;
            if (td_model_open(directory, NULL, &opened, &error) != TD_OK || td_session_new(opened, NULL, &session, &error) != TD_OK)
                fail_msg("%s", error.message);
            td_generate_options options = TD_GENERATE_OPTIONS_INIT;
            options.max_length = 9;
            assert_int_equal(td_generate_text(session, plain ? "the the" : "\xe2\x96\x81the \xe2\x96\x81the", &options, &result, &error),
                             TD_OK);
            snprintf(text[plain], sizeof text[plain], "%s", td_result_text(result, 0, 0));
            assert_true(strlen(text[plain]) > 0);
            td_result_free(result);
            td_session_free(session);
            td_model_close(opened);
        }
        char joined[256] = "", *to = joined; /* spaces go, marks become spaces */
        for (const char *at = text[0]; *at;) {
            bool mark = strncmp(at, "\xe2\x96\x81", 3) == 0;
            if (mark && to != joined)
                *to++ = ' ';
            else if (!mark && *at != ' ')
                *to++ = *at;
            at += mark ? 3 : 1;
        }
        assert_string_equal(text[1], joined);
    }
    td_buffer_free(&weights);
    td_buffer_free(&model);
}

/* Cut anywhere, a file is an error; with a byte changed, an error or other numbers, and nothing worse. */
static void test_damage(void **state)
{
    (void)state;
    static const char *const files[] = {FOLDER "/int8/model.bin", FOLDER "/int16/model.bin", FOLDER "/version-2.bin"};
    td_error error;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        td_buffer bytes = TD_BUFFER_INIT;
        assert_int_equal(td_file_read(files[i], 0, &bytes, &error), TD_OK);
        assert_int_equal(open_bytes(bytes.data, bytes.length, td_ct2_read_shard, &error), TD_OK);
        for (size_t at = 0; at < bytes.length; at++) {
            assert_int_not_equal(open_bytes(bytes.data, at, td_ct2_read_shard, &error), TD_OK);
            assert_true(strncmp(error.message, "file: ", 6) == 0);
            bytes.data[at] = (char)(bytes.data[at] ^ (at % 3 ? 0xff : 0x01));
            open_bytes(bytes.data, bytes.length, td_ct2_read_shard, &error);
            bytes.data[at] = (char)(bytes.data[at] ^ (at % 3 ? 0xff : 0x01));
        }
        td_buffer_free(&bytes);
    }
}

/* A number of heads that is none is an error of the file. */
static void test_heads(void **state)
{
    (void)state;
    static const char name[] = "encoder/num_heads";
    td_error error;
    td_buffer bytes = TD_BUFFER_INIT;
    json_t *config = NULL;
    char directory[128];
    assert_int_equal(td_file_read(FOLDER "/float32/model.bin", 0, &bytes, &error), TD_OK);
    size_t at = 0;
    while (at + sizeof name < bytes.length && memcmp(bytes.data + at, name, sizeof name) != 0)
        at++;
    assert_true(at + sizeof name + 8 < bytes.length);
    bytes.data[at + sizeof name + 1 + 1 + 4 + 1] = -1; /* after rank, type and size: the sign of an int16 */
    write_directory("heads", bytes.data, bytes.length, directory, sizeof directory);
    assert_int_equal(td_ct2_configure(directory, &config, &error), TD_ERROR_FORMAT);
    assert_non_null(strstr(error.message, name));
    td_buffer_free(&bytes);
}

static int set_up(void **state)
{
    (void)state;
    td_error error;
    return mkdtemp(scratch) && td_json_load_file(FOLDER "/expected.json", &expected, &error) == TD_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    td_error error;
    json_decref(expected);
    return td_directory_remove(scratch, &error) == TD_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_conversion),
        cmocka_unit_test(test_conversion_of_whole_numbers),
        cmocka_unit_test(test_sentencepiece),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
