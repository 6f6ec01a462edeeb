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
#include "opening_memory.h"

typedef struct size_case {
    const char *shape;
    const char *dtype;
    size_t shards;
    const char *precision;
} size_case;

enum { PAGE = 1500 }; /* megabytes of the whole process while it reads Donut's page */

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
    char what[96];
    snprintf(what, sizeof what, "%s, %s in %zu file%s", it->shape, it->dtype, it->shards, it->shards == 1 ? "" : "s");
    td_status status = measure_opening(directory, what, it->precision, &model, error);
    if (status == TD_OK && it->shape[0] != 'w') /* Whisper wants sound */
        status = write_something(model, error);
    size_t peak = process_memory("VmHWM") >> 20;
    if (status == TD_OK && strcmp(it->shape, "donut") == 0)
        print_message("a page of 2560 x 1920: %zu MB in all\n", peak);
    if (status == TD_OK && MEASURES && strcmp(it->shape, "donut") == 0 && peak > PAGE)
        status = td_fail(error, TD_ERROR_INTERNAL, "a page took %zu MB; %d MB are wanted at most", peak, PAGE);
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
        {"opus", "F32", 1, "float32"},     {"opus", "F16", 1, "int8"},        {"whisper-base", "F32", 1, "bfloat16"},
        {"t5-small", "F32", 2, "float32"}, {"vit-gpt2", "F32", 1, "float32"}, {"vit-gpt2", "F16", 3, "int8"},
        {"donut", "BF16", 1, "int8"},      {"nllb-600m", "BF16", 1, "int8"},  {"nllb-600m", "BF16", 4, "bfloat16"},
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
