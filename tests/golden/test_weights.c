/* Files of PyTorch and NumPy hold what the same tensors are as safetensors; damaged and hostile ones are errors, whatever is done to them.
 */
#include "io/weights.h"
#include "platform/file.h"

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

#define FOLDER TD_TEST_DATA "/golden/weights/"

static const struct weight_case {
    const char *path;
    td_shard_reader read;
    bool brain; /* NumPy has no bfloat16 */
} cases[] = {
    {FOLDER "plain.bin", td_torch_read_shard, true},      {FOLDER "big.bin", td_torch_read_shard, true},
    {FOLDER "parameters.bin", td_torch_read_shard, true}, {FOLDER "plain.npz", td_npz_read_shard, false},
    {FOLDER "packed.npz", td_npz_read_shard, false},      {FOLDER "big.npz", td_npz_read_shard, false},
};
enum { CASES = sizeof cases / sizeof *cases };

static void test_equal_tensors(void **state)
{
    (void)state;
    td_error error;
    td_safetensors *expected;
    assert_int_equal(td_safetensors_open(FOLDER "expected.safetensors", &expected, &error), TD_OK);
    for (size_t i = 0; i < CASES; i++) {
        td_safetensors *file;
        if (td_weights_open(cases[i].path, cases[i].read, &file, &error) != TD_OK)
            fail_msg("%s", error.message);
        assert_int_equal(td_safetensors_count(file), td_safetensors_count(expected) - !cases[i].brain);
        for (size_t k = 0; k < td_safetensors_count(file); k++) {
            const td_stored_tensor *tensor = td_safetensors_at(file, k), *wanted = td_safetensors_find(expected, tensor->name);
            assert_non_null(wanted);
            assert_int_equal(tensor->dtype, wanted->dtype);
            assert_int_equal(tensor->rank, wanted->rank);
            assert_memory_equal(tensor->shape, wanted->shape, wanted->rank * sizeof *wanted->shape);
            assert_int_equal(tensor->bytes, wanted->bytes);
            td_stored_tensor held;
            if (td_stored_hold(tensor, &held, &error) != TD_OK)
                fail_msg("%s", error.message);
            if (tensor->bytes)
                assert_memory_equal(held.data, wanted->data, wanted->bytes);
            td_stored_let_go(&held);
        }
        td_safetensors_close(file);
    }
    td_safetensors_close(expected);
}

static void test_in_place(void **state)
{
    (void)state;
    td_error error;
    td_safetensors *file;
    assert_int_equal(td_weights_open(FOLDER "plain.bin", td_torch_read_shard, &file, &error), TD_OK);
    const td_shard *part = &file->shards[0];
    const uint8_t *single = td_safetensors_find(file, "single")->data;
    assert_true(single >= part->map.data && single < part->map.data + part->map.size);
    /* What lies otherwise is made when it is wanted, and not before. */
    const td_stored_tensor *turned = td_safetensors_find(file, "turned");
    td_stored_tensor held;
    assert_null(turned->data);
    assert_int_equal(td_stored_hold(turned, &held, &error), TD_OK);
    assert_true(held.data && held.data == held.owned);
    td_stored_let_go(&held);
    assert_null(held.owned);
    td_safetensors_close(file);
}

static char scratch[] = "/tmp/tandem-weights-XXXXXX";

static void test_damage(void **state)
{
    (void)state;
    td_error error;
    for (size_t i = 0; i < CASES; i++) {
        td_buffer bytes = TD_BUFFER_INIT;
        assert_int_equal(td_file_read(cases[i].path, 0, &bytes, &error), TD_OK);
        for (size_t cut = 0; cut < bytes.length; cut++)
            assert_int_not_equal(open_bytes(bytes.data, cut, cases[i].read, &error), TD_OK);
        static const uint8_t masks[] = {0x01, 0x80, 0xff};
        for (size_t at = 0; at < bytes.length; at++) {
            for (size_t k = 0; k < sizeof masks; k++) {
                bytes.data[at] = (char)(bytes.data[at] ^ masks[k]);
                open_bytes(bytes.data, bytes.length, cases[i].read, &error);
                bytes.data[at] = (char)(bytes.data[at] ^ masks[k]);
            }
        }
        td_buffer_free(&bytes);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path, *part;
    } files[] = {
        {FOLDER "system.bin", "posix.system"},
        {FOLDER "legacy.bin", "before 1.6"},
        {FOLDER "plain.npz", "no data.pkl"},
    };
    td_error error;
    td_safetensors *file;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_int_not_equal(td_weights_open(files[i].path, td_torch_read_shard, &file, &error), TD_OK);
        if (!strstr(error.message, files[i].part) || !strstr(error.message, files[i].path))
            fail_msg("%s", error.message);
    }
}

/* A pickle in an archive of one entry, as torch.save lays it out. */
static void make_archive(td_buffer *out, const char *code, size_t length)
{
    static const char name[] = "a/data.pkl";
    uint16_t name_length = sizeof name - 1;
    uint32_t size = (uint32_t)length, start = 30 + name_length + size, directory = 46 + name_length;
    td_buffer_clear(out);
    td_buffer_append(out, "PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0", 18);
    td_buffer_append(out, &size, 4);
    td_buffer_append(out, &size, 4);
    td_buffer_append(out, &name_length, 2);
    td_buffer_append(out, "\0\0", 2);
    td_buffer_append(out, name, name_length);
    td_buffer_append(out, code, length);
    td_buffer_append(out, "PK\1\2\24\0\24\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    td_buffer_append(out, &size, 4);
    td_buffer_append(out, &size, 4);
    td_buffer_append(out, &name_length, 2);
    td_buffer_append(out, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    td_buffer_append(out, name, name_length);
    td_buffer_append(out, "PK\5\6\0\0\0\0\1\0\1\0", 12);
    td_buffer_append(out, &directory, 4);
    td_buffer_append(out, &start, 4);
    td_buffer_append(out, "\0\0", 2);
}

static void test_hostile_pickles(void **state)
{
    (void)state;
    /* opens a dictionary with a tensor "w" of storage 0 (float32) ... and closes it */
#define STORAGE_OF(count) "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpu" count "tQ"
#define BEGIN "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" STORAGE_OF("K\4")
#define END "\x89N\x74Rs."
    static const struct {
        const char *code;
        size_t length;
        const char *part;
    } codes[] = {
#define CODE(text, part) {text, sizeof(text) - 1, part}
        CODE(BEGIN "K\0K\4\x85K\1\x85" END, "lacks data/0"),
        CODE(BEGIN "K\1K\4\x85K\1\x85" END, "outside its storage"),
        CODE(BEGIN "K\0K\4\x85K\2\x85" END, "outside its storage"),
        CODE(BEGIN "K\0J\0\0\0\x7f\x85K\0\x85" END, "outside its storage"),
        CODE(BEGIN "K\0J\xff\xff\xff\xff\x85K\1\x85" END, "outside its storage"),
        CODE(BEGIN "K\0\x8a\x8\xff\xff\xff\xff\xff\xff\xff\x7f\x8a\x8\xff\xff\xff\xff\xff\xff\xff\x7f\x86K\4K\1\x86" END,
             "outside its storage"),
        CODE(BEGIN "K\0(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1t" END, "at most 8 sizes"),
        CODE("\x80\2}.", "no tensors"),
        CODE("\x80\2.", "not a dictionary"),
        CODE("\x80\2}}.", "not a dictionary"),
        CODE("\x80\2u", "closes what was not opened"),
        CODE("\x80\2(s", "where there is none"),
        CODE("\x80\2\x85", "where there is none"),
        CODE("\x80\2h\5", "was not kept"),
        CODE("\x80\2r\xff\xff\xff\xff", "not there"),
        CODE("\x80\2}r\xff\xff\xff\xff", "not there"),
        CODE("\x80\2}(K\1u", "no value"),
        CODE("\x80\2K\1(K\1K\2u", "cannot hold"),
        CODE("\x80\2X\xff\xff\xff\xff!", "cut short"),
        CODE("\x80\2\x8d\xff\xff\xff\xff\xff\xff\xff\xff!", "cut short"),
        CODE("\x80\2cos", "cut short"),
        CODE("\x80\2cbuiltins\neval\n", "builtins.eval"),
        CODE("\x80\4\x8c\2os\x8c\6system\x93", "os.system"),
        CODE("\x80\2K\1)R", "no function"),
        CODE("\x80\2ctorch\nFloatStorage\n)R", "no function"),
        CODE("\x80\2ctorch._utils\n_rebuild_tensor_v2\n)R", "description"),
        CODE("\x80\2K\1Q", "outside object"),
        CODE("\x80\2i", "instruction"),
        CODE("\x80\1", "protocol"),
        CODE("\x80", "protocol"),
        CODE("", "in the middle"),
    };
    td_error error;
    td_buffer bytes = TD_BUFFER_INIT;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        make_archive(&bytes, codes[i].code, codes[i].length);
        assert_int_not_equal(open_bytes(bytes.data, bytes.length, td_torch_read_shard, &error), TD_OK);
        if (!strstr(error.message, codes[i].part))
            fail_msg("%zu: \"%s\" is not in: %s", i, codes[i].part, error.message);
    }
    td_buffer_free(&bytes);
}

static void copy_file(const char *from, const char *directory, const char *name)
{
    td_error error;
    td_buffer bytes = TD_BUFFER_INIT;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(td_file_read(from, 0, &bytes, &error), TD_OK);
    assert_int_equal(td_file_write(path, bytes.data, bytes.length, &error), TD_OK);
    td_buffer_free(&bytes);
}

/* A directory with several formats is read in the order of the table; shards of PyTorch have an index too. */
static void test_directories(void **state)
{
    (void)state;
    td_error error;
    td_safetensors *file;
    char directory[64], path[128];
    snprintf(directory, sizeof directory, "%s/model", scratch);
    assert_int_equal(td_directory_create(directory, &error), TD_OK);
    assert_int_equal(td_safetensors_open_directory(directory, &file, &error), TD_ERROR_IO);
    assert_non_null(strstr(error.message, "no weights"));
    copy_file(FOLDER "plain.npz", directory, "model.npz");
    assert_int_equal(td_safetensors_open_directory(directory, &file, &error), TD_OK);
    assert_null(td_safetensors_find(file, "brain"));
    td_safetensors_close(file);
    copy_file(FOLDER "plain.bin", directory, "shard.bin");
    static const char index[] = "{\"weight_map\": {\"brain\": \"shard.bin\"}}";
    snprintf(path, sizeof path, "%s/pytorch_model.bin.index.json", directory);
    assert_int_equal(td_file_write(path, index, sizeof index - 1, &error), TD_OK);
    assert_int_equal(td_safetensors_open_directory(directory, &file, &error), TD_OK);
    assert_non_null(td_safetensors_find(file, "brain"));
    td_safetensors_close(file);
    copy_file(FOLDER "plain.npz", directory, "model.safetensors");
    assert_int_equal(td_safetensors_open_directory(directory, &file, &error), TD_ERROR_FORMAT);
}

static int make_scratch(void **state)
{
    (void)state;
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state)
{
    (void)state;
    td_error error;
    return td_directory_remove(scratch, &error) == TD_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_tensors), cmocka_unit_test(test_in_place),        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_hostile_pickles), cmocka_unit_test(test_directories),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
