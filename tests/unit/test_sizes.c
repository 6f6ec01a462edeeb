/* Models of true size with random weights: they open within their packed weights and one tensor of memory, and write something. In the
 * normal run two small ones; with TANDEM_SIZES=all (make test-sizes) every shape of bench/shapes.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench/shapes.h"
#include "api/model.h"
#include "io/safetensors.h"
#include "tandem/tandem.h"

/* Sanitizers keep memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEASURES false
#else
#define MEASURES true
#endif

enum { KB = 1024, SLACK = 12 * KB * KB /* the allocator's, libraries', buffers of one panel */ };

typedef struct size_case {
    const char *shape;
    const char *dtype;
    size_t shards;
    const char *precision;
} size_case;

/* A line of /proc/self/status in bytes; 0: there is none. */
static size_t process_memory(const char *key)
{
    char line[256];
    size_t kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            sscanf(line + strlen(key), ": %zu", &kilobytes);
    if (file)
        fclose(file);
    return kilobytes * KB;
}

/* The peak begins again from what there is now. */
static bool reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    bool good = file && fputs("5", file) >= 0;
    return file && fclose(file) == 0 && good;
}

/* As a model that runs has it, or as the file does: whichever is larger of one tensor. */
static size_t largest_tensor(const char *directory)
{
    td_safetensors *file = NULL;
    size_t largest = 0;
    if (td_safetensors_open_directory(directory, &file, NULL) == TD_OK)
        for (size_t i = 0; i < td_safetensors_count(file); i++) {
            size_t bytes = td_stored_count(td_safetensors_at(file, i)) * sizeof(float);
            largest = bytes > largest ? bytes : largest;
        }
    td_safetensors_close(file);
    return largest;
}

static td_status write_something(td_model *model, td_error *error)
{
    td_session *session = NULL;
    td_result *result = NULL;
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    options.input = TD_INPUT_IDS;
    options.beam = 2;
    options.max_length = 5;
    size_t count = 0;
    static uint8_t pixels[64 * 64 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 31);
    TD_TRY(td_session_new(model, NULL, &session, error));
    bool picture = model->network.architecture->source == TD_IMAGE;
    td_status status = picture ? td_generate_pixels(session, pixels, 64, 64, 3, &options, &result, error)
                               : td_generate_text(session, "17 4 99 5 23", &options, &result, error);
    if (status == TD_OK && (!td_result_ids(result, 0, 0, &count) || count == 0))
        status = td_fail(error, TD_ERROR_INTERNAL, "nothing was written");
    if (status == TD_OK)
        td_result_free(result);
    td_session_free(session);
    return status;
}

/* In a process of its own. */
static td_status measure(const size_case *it, const char *directory, td_error *error)
{
    td_model *model = NULL;
    td_model_options options = TD_MODEL_OPTIONS_INIT;
    options.precision = it->precision;
    size_t largest = largest_tensor(directory), before = process_memory("VmRSS");
    bool measured = MEASURES && reset_peak();
    TD_TRY(td_model_open(directory, &options, &model, error));
    size_t peak = process_memory("VmHWM") - before, packed = td_parameters_bytes(&model->network.parameters),
           bound = packed + largest + SLACK;
    print_message("%s, %s in %zu file%s, as %s: peak %zu MB, weights %zu MB, largest tensor %zu MB\n", it->shape, it->dtype, it->shards,
                  it->shards == 1 ? "" : "s", it->precision, peak >> 20, packed >> 20, largest >> 20);
    if (measured && peak > bound)
        return td_fail(error, TD_ERROR_INTERNAL, "opening took %zu MB; %zu MB are wanted at most", peak >> 20, bound >> 20);
    td_status status = it->shape[0] == 'w' ? TD_OK : write_something(model, error); /* Whisper wants sound */
    td_model_close(model);
    return status;
}

static void remove_directory(const char *directory)
{
    DIR *list = opendir(directory);
    char path[1024];
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    closedir(list);
    rmdir(directory);
}

static void check(const size_case *it)
{
    char directory[] = "/tmp/tandem-sizes-XXXXXX";
    td_error error;
    int status = 1;
    assert_non_null(mkdtemp(directory));
    if (bench_shape_write(directory, it->shape, it->dtype, it->shards, &error) != TD_OK)
        fail_msg("%s: %s", it->shape, error.message);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        status = measure(it, directory, &error) != TD_OK;
        if (status)
            fprintf(stderr, "%s: %s\n", it->shape, error.message);
        fflush(NULL);
        _exit(status);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    remove_directory(directory);
    assert_int_equal(status, 0);
}

static void small_ones(void **state)
{
    (void)state;
    static const size_case cases[] = {{"tiny", "F32", 1, "float32"},
                                      {"tiny", "BF16", 3, "float32"},
                                      {"tiny", "F16", 2, "bfloat16"},
                                      {"tiny", "F32", 1, "int8"},
                                      {"t5-small", "BF16", 1, "int8"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i]);
}

static void all(void **state)
{
    (void)state;
    static const size_case cases[] = {
        {"opus", "F32", 1, "float32"},     {"opus", "F16", 1, "int8"},           {"whisper-base", "F32", 1, "bfloat16"},
        {"t5-small", "F32", 2, "float32"}, {"vit-gpt2", "F32", 1, "float32"},    {"vit-gpt2", "F16", 3, "int8"},
        {"nllb-600m", "BF16", 1, "int8"},  {"nllb-600m", "BF16", 4, "bfloat16"},
    };
    const char *wanted = getenv("TANDEM_SIZES");
    if (!wanted || strcmp(wanted, "all") != 0)
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(small_ones), cmocka_unit_test(all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
