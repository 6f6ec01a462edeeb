/* Complete directories as they are published, from a text, a picture or a recording to the text that transformers writes for it
 * (tools/reference/families_whole.py). Directories named on the command line are checked instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/json.h"
#include "tandem/tandem.h"

#define WHOLE TD_TEST_DATA "/golden/whole/"

static const char *text_of(const json_t *one, const char *key)
{
    return json_string_value(json_object_get(one, key));
}

static void compare(const char *directory, const char *what, const char *got, const char *expected)
{
    if (strcmp(got, expected) != 0)
        fail_msg("%s: %s: \"%s\", expected \"%s\"", directory, what, got, expected);
}

static void check_case(const char *directory, td_session *session, const json_t *one, double *worst)
{
    char path[1024];
    td_error error;
    td_result *result = NULL;
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    const json_t *texts = json_object_get(one, "texts"), *scores = json_object_get(one, "scores");
    const char *input = text_of(one, "text");
    if (!input) {
        snprintf(path, sizeof path, TD_TEST_DATA "/golden/%s", text_of(one, "file"));
        input = path;
    }
    options.source_language = text_of(one, "source");
    options.target_language = text_of(one, "target");
    options.nbest = (int64_t)json_array_size(texts);
    if (td_generate_text(session, input, &options, &result, &error) != TD_OK)
        fail_msg("%s: %s", directory, error.message);
    assert_int_equal(td_result_outputs(result, 0), json_array_size(texts));
    for (size_t i = 0; i < json_array_size(texts); i++) {
        compare(directory, "beam", td_result_text(result, 0, i), json_string_value(json_array_get(texts, i)));
        *worst = fmax(*worst, fabs(td_result_score(result, 0, i) - json_number_value(json_array_get(scores, i))));
        assert_true(*worst < 2e-4);
    }
    td_result_free(result);
    options.beam = options.nbest = 1;
    assert_int_equal(td_generate_text(session, input, &options, &result, &error), TD_OK);
    compare(directory, "greedy", td_result_text(result, 0, 0), text_of(one, "greedy"));
    td_result_free(result);
}

static void check_directory(const char *directory)
{
    char path[1024];
    td_error error;
    td_model *model = NULL;
    td_session *session = NULL;
    json_t *root = NULL;
    double worst = 0;
    snprintf(path, sizeof path, "%s/expected.json", directory);
    if (td_json_load_file(path, &root, &error) != TD_OK || td_model_open(directory, NULL, &model, &error) != TD_OK ||
        td_session_new(model, NULL, &session, &error) != TD_OK)
        fail_msg("%s", error.message);
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(directory, session, json_array_get(cases, i), &worst);
    print_message("%s: %zu cases, scores within %.1e\n", directory, json_array_size(cases), worst);
    td_session_free(session);
    td_model_close(model);
    json_decref(root);
}

static void own(void **state)
{
    (void)state;
    static const char *const names[] = {"m2m100", "mbart50", "blip", "donut", "moonshine"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[1024];
        snprintf(path, sizeof path, WHOLE "%s", names[i]);
        check_directory(path);
    }
}

static void named(void **state)
{
    for (char **path = *state; *path; path++)
        check_directory(*path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(own)};
    const struct CMUnitTest given[] = {cmocka_unit_test_prestate(named, argv + 1)};
    return argc > 1 ? cmocka_run_group_tests(given, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
}
