/* What opening takes in memory, whatever form the weights have on disk: PyTorch's zip and pickle, NumPy's archives, packed and not, and
 * CTranslate2's directories. Never more than the packed weights and one tensor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "../bench/shapes.h"
#include "api/model.h"
#include "io/safetensors.h"
#include "opening_memory.h"
#include "platform/file.h"
#include "tandem/tandem.h"

static void add(td_buffer *buffer, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++, value >>= 8) {
        uint8_t byte = (uint8_t)value;
        td_buffer_append(buffer, (const char *)&byte, 1);
    }
}

/* ---- zip archives ---- */

typedef struct archive {
    FILE *file;
    td_buffer directory; /* the central one */
    size_t entries;
} archive;

static void add_entry(archive *zip, const char *name, const void *head, size_t head_bytes, const void *data, size_t bytes, bool deflate_it)
{
    size_t size = head_bytes + bytes, stored = size, offset = (size_t)ftell(zip->file);
    uint8_t *whole = malloc(size + 1), *packed = NULL;
    memcpy(whole, head, head_bytes);
    if (bytes)
        memcpy(whole + head_bytes, data, bytes);
    if (deflate_it) {
        z_stream stream = {0};
        assert_int_equal(deflateInit2(&stream, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
        size_t room = deflateBound(&stream, (uLong)size);
        packed = malloc(room);
        stream.next_in = whole;
        stream.avail_in = (uInt)size;
        stream.next_out = packed;
        stream.avail_out = (uInt)room;
        assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
        stored = stream.total_out;
        deflateEnd(&stream);
    }
    td_buffer common = TD_BUFFER_INIT, local = TD_BUFFER_INIT;
    add(&common, 20, 2);
    add(&common, 0, 2);
    add(&common, deflate_it ? 8 : 0, 2);
    add(&common, 0, 4);
    add(&common, crc32(0, whole, (uInt)size), 4);
    add(&common, stored, 4);
    add(&common, size, 4);
    add(&common, strlen(name), 2);
    add(&common, 0, 2);
    add(&local, 0x04034b50, 4);
    td_buffer_append(&local, common.data, common.length);
    td_buffer_append(&local, name, strlen(name));
    assert_int_equal(fwrite(local.data, 1, local.length, zip->file), local.length);
    assert_int_equal(fwrite(packed ? packed : whole, 1, stored, zip->file), stored);
    add(&zip->directory, 0x02014b50, 4);
    add(&zip->directory, 20, 2);
    td_buffer_append(&zip->directory, common.data, common.length);
    add(&zip->directory, 0, 2 + 2 + 2 + 4);
    add(&zip->directory, offset, 4);
    td_buffer_append(&zip->directory, name, strlen(name));
    zip->entries++;
    td_buffer_free(&common);
    td_buffer_free(&local);
    free(whole);
    free(packed);
}

static void close_archive(archive *zip)
{
    size_t offset = (size_t)ftell(zip->file), length = zip->directory.length;
    add(&zip->directory, 0x06054b50, 4);
    add(&zip->directory, 0, 4);
    add(&zip->directory, zip->entries, 2);
    add(&zip->directory, zip->entries, 2);
    add(&zip->directory, length, 4);
    add(&zip->directory, offset, 4);
    add(&zip->directory, 0, 2);
    assert_int_equal(fwrite(zip->directory.data, 1, zip->directory.length, zip->file), zip->directory.length);
    assert_int_equal(fclose(zip->file), 0);
    td_buffer_free(&zip->directory);
}

static archive open_archive(const char *directory, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    archive zip = {.file = fopen(path, "wb"), .directory = TD_BUFFER_INIT};
    assert_non_null(zip.file);
    return zip;
}

/* ---- the forms ---- */

static void write_npz(const char *directory, const td_safetensors *file, bool packed)
{
    archive zip = open_archive(directory, "model.npz");
    for (size_t i = 0; i < td_safetensors_count(file); i++) {
        const td_stored_tensor *tensor = td_safetensors_at(file, i);
        char name[256], text[118], head[128] = "\x93NUMPY\x01\x00\x76\x00";
        bool matrix = tensor->rank == 2;
        int length = snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu,%s", tensor->shape[0],
                              matrix ? " " : "), }");
        if (matrix)
            length += snprintf(text + length, sizeof text - (size_t)length, "%zu), }", tensor->shape[1]);
        memset(text + length, ' ', sizeof text - (size_t)length);
        text[sizeof text - 1] = '\n';
        memcpy(head + 10, text, sizeof text);
        snprintf(name, sizeof name, "%s.npy", tensor->name);
        add_entry(&zip, name, head, sizeof head, tensor->data, tensor->bytes, packed);
    }
    close_archive(&zip);
}

static void pickle_text(td_buffer *pickle, const char *text)
{
    td_buffer_append(pickle, "X", 1);
    add(pickle, strlen(text), 4);
    td_buffer_append(pickle, text, strlen(text));
}

static void pickle_number(td_buffer *pickle, size_t value)
{
    td_buffer_append(pickle, "J", 1);
    add(pickle, value, 4);
}

/* _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict()) */
static void pickle_tensor(td_buffer *pickle, const td_stored_tensor *tensor, size_t key)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", key);
    pickle_text(pickle, tensor->name);
    td_buffer_text_append(pickle, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(pickle, "storage");
    td_buffer_text_append(pickle, "ctorch\nFloatStorage\n");
    pickle_text(pickle, number);
    pickle_text(pickle, "cpu");
    pickle_number(pickle, td_stored_count(tensor));
    td_buffer_text_append(pickle, "tQ");
    pickle_number(pickle, 0);
    td_buffer_text_append(pickle, "(");
    for (size_t i = 0; i < tensor->rank; i++)
        pickle_number(pickle, tensor->shape[i]);
    td_buffer_text_append(pickle, "t(");
    for (size_t i = 0; i < tensor->rank; i++)
        pickle_number(pickle, i + 1 < tensor->rank ? tensor->shape[1] : 1);
    td_buffer_text_append(pickle, "t\x89"
                                  "ccollections\nOrderedDict\n)RtR");
}

static void write_torch(const char *directory, const td_safetensors *file)
{
    archive zip = open_archive(directory, "pytorch_model.bin");
    td_buffer pickle = TD_BUFFER_INIT;
    td_buffer_text_append(&pickle, "\x80\x02}(");
    for (size_t i = 0; i < td_safetensors_count(file); i++)
        pickle_tensor(&pickle, td_safetensors_at(file, i), i);
    td_buffer_text_append(&pickle, "u.");
    add_entry(&zip, "archive/data.pkl", pickle.data, pickle.length, NULL, 0, false);
    for (size_t i = 0; i < td_safetensors_count(file); i++) {
        char name[64];
        const td_stored_tensor *tensor = td_safetensors_at(file, i);
        snprintf(name, sizeof name, "archive/data/%zu", i);
        add_entry(&zip, name, "", 0, tensor->data, tensor->bytes, false);
    }
    close_archive(&zip);
    td_buffer_free(&pickle);
}

/* ---- CTranslate2 ---- */

typedef struct ct2_writer {
    FILE *file;
    uint32_t variables;
} ct2_writer;

static void put(ct2_writer *ct2, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        fputc((int)(value >> 8 * i & 255), ct2->file);
}

static void put_name(ct2_writer *ct2, const char *name)
{
    put(ct2, strlen(name) + 1, 2);
    fwrite(name, 1, strlen(name) + 1, ct2->file);
}

/* columns 0: a vector */
static void put_variable(ct2_writer *ct2, size_t rows, size_t columns, const char *prefix, const char *name)
{
    static float block[4096];
    char whole[128];
    size_t count = rows * (columns ? columns : 1);
    snprintf(whole, sizeof whole, "%s/%s", prefix, name);
    put_name(ct2, whole);
    put(ct2, columns ? 2 : 1, 1);
    put(ct2, rows, 4);
    if (columns)
        put(ct2, columns, 4);
    put(ct2, 0, 1);
    put(ct2, count * sizeof *block, 4);
    for (size_t left = count; left;) {
        size_t some = left < 4096 ? left : 4096;
        for (size_t i = 0; i < some; i++)
            block[i] = (float)((left - i) % 251) * 1e-3f - 0.125f;
        fwrite(block, sizeof *block, some, ct2->file);
        left -= some;
    }
    ct2->variables++;
}

static void put_linear(ct2_writer *ct2, size_t outputs, size_t inputs, const char *prefix, const char *part)
{
    char name[64];
    snprintf(name, sizeof name, "%s/weight", part);
    put_variable(ct2, outputs, inputs, prefix, name);
    snprintf(name, sizeof name, "%s/bias", part);
    put_variable(ct2, outputs, 0, prefix, name);
}

static void put_norm(ct2_writer *ct2, size_t width, const char *prefix, const char *part)
{
    char name[64];
    snprintf(name, sizeof name, "%s/gamma", part);
    put_variable(ct2, width, 0, prefix, name);
    snprintf(name, sizeof name, "%s/beta", part);
    put_variable(ct2, width, 0, prefix, name);
}

static void put_layer(ct2_writer *ct2, bool decoder, size_t layer, size_t width, size_t inner)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s/layer_%zu", decoder ? "decoder" : "encoder", layer);
    put_linear(ct2, 3 * width, width, prefix, "self_attention/linear_0");
    put_linear(ct2, width, width, prefix, "self_attention/linear_1");
    put_norm(ct2, width, prefix, "self_attention/layer_norm");
    if (decoder) {
        put_linear(ct2, width, width, prefix, "attention/linear_0");
        put_linear(ct2, 2 * width, width, prefix, "attention/linear_1");
        put_linear(ct2, width, width, prefix, "attention/linear_2");
        put_norm(ct2, width, prefix, "attention/layer_norm");
    }
    put_linear(ct2, inner, width, prefix, "ffn/linear_0");
    put_linear(ct2, width, inner, prefix, "ffn/linear_1");
    put_norm(ct2, width, prefix, "ffn/layer_norm");
}

enum { WIDTH = 256, INNER = 1536, WORDS = 32000 };

static void write_words(const char *directory)
{
    char path[512];
    snprintf(path, sizeof path, "%s/shared_vocabulary.txt", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("<unk>\n<s>\n</s>\n", file);
    for (int i = 3; i < WORDS; i++)
        fprintf(file, "word%d\n", i);
    assert_int_equal(fclose(file), 0);
}

static void write_ct2(const char *directory)
{
    char path[512];
    write_words(directory);
    snprintf(path, sizeof path, "%s/model.bin", directory);
    ct2_writer ct2 = {.file = fopen(path, "wb")};
    assert_non_null(ct2.file);
    put(&ct2, 6, 4);
    put_name(&ct2, "TransformerSpec");
    put(&ct2, 7, 4);
    long count_at = ftell(ct2.file);
    put(&ct2, 0, 4);
    put_variable(&ct2, WORDS, WIDTH, "encoder", "embeddings_0/weight");
    put_variable(&ct2, WORDS, WIDTH, "decoder", "embeddings/weight");
    put_norm(&ct2, WIDTH, "encoder", "layer_norm");
    put_norm(&ct2, WIDTH, "decoder", "layer_norm");
    for (size_t i = 0; i < 6; i++)
        put_layer(&ct2, false, i, WIDTH, INNER);
    for (size_t i = 0; i < 2; i++)
        put_layer(&ct2, true, i, WIDTH, INNER);
    put_variable(&ct2, WORDS, 0, "decoder", "projection/bias");
    put(&ct2, 1, 4);
    put_name(&ct2, "decoder/projection/weight");
    put_name(&ct2, "decoder/embeddings/weight");
    fseek(ct2.file, count_at, SEEK_SET);
    put(&ct2, ct2.variables, 4);
    assert_int_equal(fclose(ct2.file), 0);
}

/* ---- opening ---- */

typedef enum weights_form { NPZ, PACKED_NPZ, TORCH, CT2 } weights_form;

static void remove_weights(const char *directory)
{
    char path[512];
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    assert_int_equal(unlink(path), 0);
}

static void write_form(const char *directory, weights_form form)
{
    char path[512];
    td_error error;
    td_safetensors *file = NULL;
    if (form == CT2) {
        write_ct2(directory);
        return;
    }
    if (bench_shape_write(directory, "tiny", "F32", 1, &error) != TD_OK)
        fail_msg("%s", error.message);
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    assert_int_equal(td_safetensors_open(path, &file, &error), TD_OK);
    if (form == TORCH)
        write_torch(directory, file);
    else
        write_npz(directory, file, form == PACKED_NPZ);
    td_safetensors_close(file);
    remove_weights(directory);
}

/* Of what the model makes of a sentence: the same for the same weights. */
static double score_of(td_model *model)
{
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    td_session *session = NULL;
    td_result *result = NULL;
    td_error error;
    options.input = TD_INPUT_IDS;
    options.max_length = 5;
    if (td_session_new(model, NULL, &session, &error) != TD_OK ||
        td_generate_text(session, "17 4 99 5 23", &options, &result, &error) != TD_OK)
        fail_msg("%s", error.message);
    double score = td_result_score(result, 0, 0);
    td_result_free(result);
    td_session_free(session);
    return score;
}

/* In a process of its own, which hands the score back. */
static void open_in_child(const char *directory, weights_form form, const char *precision, int channel)
{
    static const char *const names[] = {"npz", "packed npz", "PyTorch", "CTranslate2"};
    td_error error = {0};
    td_model *model = NULL;
    bool good = measure_opening(directory, names[form], precision, &model, &error) == TD_OK;
    if (!good)
        fprintf(stderr, "%s as %s: %s\n", names[form], precision, error.message);
    double score = good ? score_of(model) : 0;
    good = good && write(channel, &score, sizeof score) == sizeof score;
    td_model_close(model);
    fflush(NULL);
    _exit(!good);
}

static double check(weights_form form, const char *precision)
{
    char directory[] = "/tmp/tandem-opening-XXXXXX";
    int status = 1, channel[2];
    double score = 0;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(pipe(channel), 0);
    fflush(NULL);
    pid_t child = fork(); /* what writing took is not in the memory of the next */
    if (child == 0) {
        write_form(directory, form);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    child = fork();
    if (child == 0)
        open_in_child(directory, form, precision, channel[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(td_directory_remove(directory, NULL), TD_OK);
    assert_int_equal(status, 0);
    assert_int_equal(read(channel[0], &score, sizeof score), sizeof score);
    close(channel[0]);
    close(channel[1]);
    return score;
}

static void every_form(void **state)
{
    (void)state;
    check(TORCH, "float32");
    double score = check(TORCH, "int8");
    assert_true(score < 0);
    assert_true(check(NPZ, "int8") == score);
    assert_true(check(PACKED_NPZ, "int8") == score);
    check(PACKED_NPZ, "bfloat16");
    check(CT2, "float32");
    check(CT2, "int8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_form)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
