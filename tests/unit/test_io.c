/* JSON glue, safetensors and element types: what is written reads back, and broken files are refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"
#include "io/safetensors.h"
#include "platform/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/test-io-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return td_directory_remove(directory, NULL) == TD_OK ? 0 : -1;
}

static const char *in_directory(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void test_half_floats(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x10000; i++) {
        float f = td_float16_to_float((uint16_t)i), b = td_bfloat16_to_float((uint16_t)i);
        if (isnan(f))
            assert_true(isnan(td_float16_to_float(td_float_to_float16(f))));
        else
            assert_int_equal(td_float_to_float16(f), i);
        if (isnan(b))
            assert_true(isnan(td_bfloat16_to_float(td_float_to_bfloat16(b))));
        else
            assert_int_equal(td_float_to_bfloat16(b), i);
    }
    /* Every midpoint between neighbouring half-width numbers goes to the even one, anything beyond it does not. */
    for (uint16_t i = 0; i < 0x7bff; i++) {
        float low = td_float16_to_float(i), high = td_float16_to_float((uint16_t)(i + 1)), middle = (low + high) / 2;
        assert_int_equal(td_float_to_float16(middle), i & 1 ? i + 1 : i);
        assert_int_equal(td_float_to_float16(nextafterf(middle, INFINITY)), i + 1);
        assert_int_equal(td_float_to_float16(nextafterf(middle, -INFINITY)), i);
    }
    assert_int_equal(td_float_to_float16(65519.996f), 0x7bff);
    assert_int_equal(td_float_to_float16(65520.0f), 0x7c00);
    assert_int_equal(td_float_to_bfloat16(td_float_of_bits(0x3f808000)), 0x3f80);
    assert_int_equal(td_float_to_bfloat16(td_float_of_bits(0x3f818000)), 0x3f82);
    assert_int_equal(td_float_to_bfloat16(td_float_of_bits(0x3f808001)), 0x3f81);
    assert_string_equal(td_dtype_name(TD_BF16), "BF16");
    assert_int_equal(td_dtype_size(TD_BOOL), 1);
}

static void test_json(void **state)
{
    (void)state;
    td_error error;
    json_t *root;
    const char *source = "{\"a\": 3, \"b\": 2.5,\n \"c\": true, \"d\": \"x\", \"e\": null}";
    assert_int_equal(td_json_parse(source, strlen(source), "config.json", &root, &error), TD_OK);
    int64_t integer;
    double real;
    bool flag;
    const char *text;
    assert_int_equal(td_json_get_integer(root, "config.json", "a", 7, &integer, &error), TD_OK);
    assert_int_equal(integer, 3);
    assert_int_equal(td_json_get_integer(root, "config.json", "e", 7, &integer, &error), TD_OK);
    assert_int_equal(integer, 7);
    assert_int_equal(td_json_get_real(root, "config.json", "a", 0, &real, &error), TD_OK);
    assert_true(real == 3.0);
    assert_int_equal(td_json_get_bool(root, "config.json", "c", false, &flag, &error), TD_OK);
    assert_true(flag);
    assert_int_equal(td_json_get_string(root, "config.json", "none", "y", &text, &error), TD_OK);
    assert_string_equal(text, "y");
    assert_int_equal(td_json_get_integer(root, "config.json", "b", 0, &integer, &error), TD_ERROR_FORMAT);
    assert_string_equal(error.message, "config.json: \"b\" must be an integer");
    assert_true(td_json_has(root, "a") && !td_json_has(root, "e") && !td_json_has(root, "z"));
    assert_int_equal(td_json_save_file(in_directory("x.json"), root, &error), TD_OK);
    json_t *again;
    assert_int_equal(td_json_load_file(in_directory("x.json"), &again, &error), TD_OK);
    assert_true(json_equal(root, again));
    json_decref(root);
    json_decref(again);
    const char *huge = "{\"none\": 1000000000000000019884624838656, \"small\": 12, \"list\": [3, 2.5], \"in\": {\"deep\": -4}}";
    assert_int_equal(td_json_parse(huge, strlen(huge), "huge.json", &root, &error), TD_OK);
    assert_int_equal(td_json_get_integer(root, "huge.json", "small", 0, &integer, &error), TD_OK);
    assert_int_equal(integer, 12);
    assert_true(json_is_real(json_object_get(root, "none")) && json_real_value(json_object_get(root, "none")) == 1e30);
    assert_true(json_is_integer(json_array_get(json_object_get(root, "list"), 0)));
    assert_true(json_is_real(json_array_get(json_object_get(root, "list"), 1)));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "in"), "deep")), -4);
    json_decref(root);
    assert_int_equal(td_json_parse("[1e999]", 7, "bad.json", &root, &error), TD_ERROR_FORMAT);
    assert_int_equal(td_json_parse("{\n\"a\" 1}", 8, "bad.json", &root, &error), TD_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "bad.json:2:"));
}

static void test_round_trip(void **state)
{
    (void)state;
    td_error error;
    float a[6] = {1, -2.5f, 3, 0, 1e-3f, 7};
    uint16_t b[3] = {0x3c00, 0xc000, 0x7bff}, c[2] = {0x3f80, 0xc040};
    int64_t d = -5;
    const td_stored_tensor tensors[] = {
        {.name = "z.weight", .dtype = TD_F32, .rank = 2, .shape = {2, 3}, .data = a, .bytes = sizeof a},
        {.name = "half", .dtype = TD_F16, .rank = 1, .shape = {3}, .data = b, .bytes = sizeof b},
        {.name = "brain", .dtype = TD_BF16, .rank = 2, .shape = {1, 2}, .data = c, .bytes = sizeof c},
        {.name = "scalar", .dtype = TD_I64, .data = &d, .bytes = sizeof d},
        {.name = "empty", .dtype = TD_F32, .rank = 2, .shape = {0, 4}},
    };
    const char *pairs[] = {"producer", "test"};
    assert_int_equal(td_safetensors_write(in_directory("model.safetensors"), tensors, 5, pairs, 1, &error), TD_OK);
    td_safetensors *file;
    assert_int_equal(td_safetensors_open_directory(directory, &file, &error), TD_OK);
    assert_int_equal(td_safetensors_count(file), 5);
    assert_string_equal(td_safetensors_at(file, 0)->name, "brain");
    assert_string_equal(td_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(td_safetensors_metadata(file, "producer"), "test");
    assert_null(td_safetensors_find(file, "none"));
    float out[6];
    assert_int_equal(td_safetensors_read_float(td_safetensors_find(file, "z.weight"), out, 6, &error), TD_OK);
    assert_memory_equal(out, a, sizeof a);
    assert_int_equal(td_safetensors_read_float(td_safetensors_find(file, "half"), out, 3, &error), TD_OK);
    assert_true(out[0] == 1.0f && out[1] == -2.0f && out[2] == 65504.0f);
    assert_int_equal(td_safetensors_read_float(td_safetensors_find(file, "brain"), out, 2, &error), TD_OK);
    assert_true(out[0] == 1.0f && out[1] == -3.0f);
    assert_int_equal(td_safetensors_read_float(td_safetensors_find(file, "half"), out, 4, &error), TD_ERROR_FORMAT);
    assert_int_equal(td_safetensors_read_float(td_safetensors_find(file, "scalar"), out, 1, &error), TD_ERROR_FORMAT);
    assert_int_equal((uintptr_t)td_safetensors_find(file, "z.weight")->data % 8, 0);
    td_safetensors_close(file);
    assert_int_equal(
        td_safetensors_write(in_directory("bad"),
                             (td_stored_tensor[]){{.name = "a", .dtype = TD_F32, .rank = 1, .shape = {2}, .data = a, .bytes = 4}}, 1, NULL,
                             0, &error),
        TD_ERROR_ARGUMENT);
    assert_int_equal(td_safetensors_write(in_directory("bad"), (td_stored_tensor[]){tensors[0], tensors[0]}, 2, NULL, 0, &error),
                     TD_ERROR_ARGUMENT);
    assert_false(td_file_exists(in_directory("bad")));
}

static void test_shards(void **state)
{
    (void)state;
    td_error error;
    float a[2] = {1, 2}, b[1] = {3};
    char sub[256], path[300];
    snprintf(sub, sizeof sub, "%s/sharded", directory);
    assert_int_equal(td_directory_create(sub, &error), TD_OK);
    snprintf(path, sizeof path, "%s/one.safetensors", sub);
    assert_int_equal(
        td_safetensors_write(path, (td_stored_tensor[]){{.name = "a", .dtype = TD_F32, .rank = 1, .shape = {2}, .data = a, .bytes = 8}}, 1,
                             NULL, 0, &error),
        TD_OK);
    snprintf(path, sizeof path, "%s/two.safetensors", sub);
    assert_int_equal(
        td_safetensors_write(path, (td_stored_tensor[]){{.name = "b", .dtype = TD_F32, .rank = 1, .shape = {1}, .data = b, .bytes = 4}}, 1,
                             NULL, 0, &error),
        TD_OK);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", sub);
    static const struct {
        const char *index;
        td_status status;
    } cases[] = {
        {"{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}", TD_OK},
        {"{\"weight_map\": {\"c\": \"one.safetensors\"}}", TD_ERROR_FORMAT},
        {"{\"weight_map\": {\"a\": \"../one.safetensors\"}}", TD_ERROR_FORMAT},
        {"{\"weight_map\": {\"a\": \"three.safetensors\"}}", TD_ERROR_IO},
        {"{\"weight_map\": 3}", TD_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(td_file_write(path, cases[i].index, strlen(cases[i].index), &error), TD_OK);
        td_safetensors *file = NULL;
        assert_int_equal(td_safetensors_open_directory(sub, &file, &error), cases[i].status);
        if (file)
            assert_int_equal(td_safetensors_count(file), 2);
        td_safetensors_close(file);
    }
}

static void test_broken_files(void **state)
{
    (void)state;
    static const struct {
        const char *header, *message; /* 8 bytes of data follow */
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", "do not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", "after the file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "belong to none"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "belong to no tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
         "overlaps"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "rise"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "at least 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4,2],\"data_offsets\":[0,8]}}", "overflows"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", "dtype"},
        {"{\"a\":{\"dtype\":\"I8\",\"shape\":[1,1,1,1,1,1,1,1,8],\"data_offsets\":[0,8]}}", "8 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", "array"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "two integers"},
        {"{\"a\":5}", "object"},
        {"[]", "object"},
        {"{\"a\"", "not JSON"},
    };
    td_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        td_buffer bytes = TD_BUFFER_INIT;
        uint64_t length = strlen(cases[i].header);
        td_buffer_append(&bytes, &length, 8);
        td_buffer_text_append(&bytes, cases[i].header);
        td_buffer_append(&bytes, "12345678", 8);
        char path[256];
        snprintf(path, sizeof path, "%s", in_directory("broken.safetensors"));
        assert_int_equal(td_file_write(path, bytes.data, bytes.length, &error), TD_OK);
        td_safetensors *file = NULL;
        td_status status = td_safetensors_open(path, &file, &error);
        assert_int_equal(status, cases[i].message ? TD_ERROR_FORMAT : TD_OK);
        if (cases[i].message) {
            assert_non_null(strstr(error.message, cases[i].message));
            assert_non_null(strstr(error.message, path));
        }
        td_safetensors_close(file);
        /* Cut anywhere, a file is an error and nothing worse. */
        for (size_t cut = 0; i == 0 && cut < bytes.length; cut++) {
            assert_int_equal(td_file_write(path, bytes.data, cut, &error), TD_OK);
            file = NULL;
            assert_int_equal(td_safetensors_open(path, &file, &error), TD_ERROR_FORMAT);
            assert_null(file);
        }
        td_buffer_free(&bytes);
    }
    assert_int_equal(td_file_write(in_directory("huge"), "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, &error), TD_OK);
    td_safetensors *file;
    assert_int_equal(td_safetensors_open(in_directory("huge"), &file, &error), TD_ERROR_FORMAT);
}

/* Pages of files in memory; 0 where the system does not say. */
static long mapped_pages(void)
{
    long size = 0, resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld %ld", &size, &resident, &shared) != 3)
        shared = 0;
    if (file)
        fclose(file);
    return shared;
}

static void test_forgotten_pages(void **state)
{
    (void)state;
    enum { COUNT = 1 << 21 };
    td_error error;
    float *values = calloc(COUNT, sizeof *values), *read = calloc(COUNT, sizeof *read);
    assert_true(values && read);
    for (size_t i = 0; i < COUNT; i++)
        values[i] = (float)i;
    const td_stored_tensor tensor = {
        .name = "a", .dtype = TD_F32, .rank = 1, .shape = {COUNT}, .data = values, .bytes = COUNT * sizeof *values};
    assert_int_equal(td_safetensors_write(in_directory("large"), &tensor, 1, NULL, 0, &error), TD_OK);
    td_safetensors *file;
    assert_int_equal(td_safetensors_open(in_directory("large"), &file, &error), TD_OK);
    const td_stored_tensor *stored = td_safetensors_find(file, "a");
    assert_int_equal(td_safetensors_read_float(stored, read, COUNT, &error), TD_OK);
    long before = mapped_pages();
    for (size_t i = 0; i < 64; i++)
        td_safetensors_forget(file, (const char *)stored->data + i * (stored->bytes / 64), stored->bytes / 64);
    if (before)
        assert_true(before - mapped_pages() > COUNT * 4 / 4096 / 2);
    td_safetensors_forget(file, values, COUNT * sizeof *values); /* not in the file: stays as it is */
    memset(read, 0, COUNT * sizeof *read);
    assert_int_equal(td_safetensors_read_float(stored, read, COUNT, &error), TD_OK);
    assert_memory_equal(read, values, COUNT * sizeof *values);
    assert_true(values[COUNT - 1] == (float)(COUNT - 1));
    td_safetensors_close(file);
    free(values);
    free(read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_floats), cmocka_unit_test(test_json),         cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_shards),      cmocka_unit_test(test_broken_files), cmocka_unit_test(test_forgotten_pages),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
