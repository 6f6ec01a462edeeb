/* Whole checkpoints in the layout people have them, through the public interface: text in, then ids, log-probabilities of given
 * targets, greedy output, and the n-best list of a beam of four, against what transformers computed with the same files.
 *
 * The checkpoints are not part of the source: TANDEM_REFERENCE names a directory with one of them in each subdirectory, every one with
 * its expected.json; without it the tests are skipped. Names of subdirectories on the command line choose among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/json.h"
#include "tandem/tandem.h"

#include "tally.h"

static const double tolerance = 2e-4;
enum { BEAM = 4, MAX_SETTINGS = 32 };

typedef struct subject {
    tally tally;
    td_model *model;
    td_session *session;
    size_t longest; /* ids that the reference cut its texts to */
} subject;

/* A case's languages and settings as options. */
typedef struct case_options {
    td_generate_options options;
    char settings[MAX_SETTINGS][512];
    const char *pointers[MAX_SETTINGS];
} case_options;

static const char *text_of(const json_t *one, const char *key)
{
    return json_string_value(json_object_get(one, key));
}

/* The languages say how the decoder starts and what it is forced to write first; a case that wants something else says so itself. */
static bool comes_from_language(const json_t *one, const char *key, const json_t *value)
{
    const json_t *target = json_object_get(one, "target_ids");
    size_t count = json_array_size(target);
    if (!text_of(one, "tgt_lang") || count == 0)
        return false;
    if (strcmp(key, "decoder_start_token_id") == 0)
        return json_equal(value, json_array_get(json_object_get(one, "decoder_input_ids"), 0));
    return strcmp(key, "forced_bos_token_id") == 0 && json_equal(value, json_array_get(target, 0));
}

static void set_options(const json_t *one, case_options *c)
{
    *c = (case_options){.options = TD_GENERATE_OPTIONS_INIT};
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(one, "generate"), key, value)
    {
        if (comes_from_language(one, key, value))
            continue;
        assert_in_range(c->options.setting_count, 0, MAX_SETTINGS - 1);
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        snprintf(c->settings[c->options.setting_count], sizeof c->settings[0], "%s=%s", key, text);
        free(text);
        c->pointers[c->options.setting_count] = c->settings[c->options.setting_count];
        c->options.setting_count++;
    }
    c->options.settings = c->pointers;
    c->options.source_language = text_of(one, "src_lang");
    c->options.target_language = text_of(one, "tgt_lang");
}

static void check_ids(subject *s, const json_t *one, const char *what, const int32_t *ids, size_t count, const json_t *expected,
                      size_t skip)
{
    size_t wanted = json_array_size(expected);
    bool same = wanted == count + skip;
    for (size_t i = 0; same && i < count; i++)
        same = json_integer_value(json_array_get(expected, i + skip)) == ids[i];
    if (same)
        return;
    char got[512] = "", *right = json_dumps(expected, JSON_COMPACT | JSON_ENCODE_ANY);
    for (size_t i = 0, at = 0; i < count && at + 16 < sizeof got; i++)
        at += (size_t)snprintf(got + at, sizeof got - at, "%d,", ids[i]);
    complain(&s->tally, one, "%s are %s expected %.400s", what, got, right);
    free(right);
}

static void check_number(subject *s, const json_t *one, const char *what, size_t index, double got, const json_t *expected, double *worst)
{
    double distance = fabs(got - json_number_value(expected));
    *worst = fmax(*worst, distance);
    if (!json_is_number(expected) || !(distance <= tolerance))
        complain(&s->tally, one, "%s %zu is %.7g, expected %.7g", what, index, got, json_number_value(expected));
}

/* "5 17 2": what TD_INPUT_IDS takes. */
static void spell_ids(const json_t *ids, char *text, size_t size)
{
    size_t index, at = 0;
    json_t *id;
    json_array_foreach(ids, index, id)
    {
        at += (size_t)snprintf(text + at, size - at, "%lld ", json_integer_value(id));
        assert_true(at < size);
    }
}

/* The case's source for generation: its text, or, where the reference cut that and the model itself has no limit, the ids left of it. */
static const char *source_of(const subject *s, const json_t *one, case_options *c, char *ids, size_t size)
{
    if (td_model_max_source(s->model) || json_array_size(json_object_get(one, "input_ids")) < s->longest)
        return text_of(one, "input");
    spell_ids(json_object_get(one, "input_ids"), ids, size);
    c->options.input = TD_INPUT_IDS;
    return ids;
}

/* A target that was cut is no text's: such a case goes in as ids. */
static td_status score(subject *s, const json_t *one, td_result **ret_result, td_error *error)
{
    case_options c;
    char source[8192], target[8192];
    set_options(one, &c);
    if (json_array_size(json_object_get(one, "target_ids")) < s->longest &&
        source_of(s, one, &c, source, sizeof source) == text_of(one, "input"))
        return td_score_text(s->session, text_of(one, "input"), text_of(one, "target_text"), &c.options, ret_result, error);
    spell_ids(json_object_get(one, "input_ids"), source, sizeof source);
    spell_ids(json_object_get(one, "target_ids"), target, sizeof target);
    c.options.input = TD_INPUT_IDS;
    return td_score_text(s->session, source, target, &c.options, ret_result, error);
}

static void check_scoring(subject *s, const json_t *one)
{
    td_error error;
    td_result *result = NULL;
    size_t count;
    if (score(s, one, &result, &error) != TD_OK) {
        complain(&s->tally, one, "score: %s", error.message);
        return;
    }
    const int32_t *ids = td_result_source_ids(result, 0, &count);
    check_ids(s, one, "source ids", ids, count, json_object_get(one, "input_ids"), 0);
    ids = td_result_ids(result, 0, 0, &count);
    check_ids(s, one, "target ids", ids, count, json_object_get(one, "target_ids"), 0);
    const json_t *expected = json_object_get(one, "logprobs");
    const float *logprobs = td_result_token_logprobs(result, 0, 0, &count);
    if (count != json_array_size(expected))
        complain(&s->tally, one, "%zu log-probabilities, expected %zu", count, json_array_size(expected));
    for (size_t i = 0; i < count && count == json_array_size(expected); i++)
        check_number(s, one, "log-probability", i, (double)logprobs[i], json_array_get(expected, i), &s->tally.worst_logprob);
    td_result_free(result);
}

static void check_text(subject *s, const json_t *one, const char *key, const char *got)
{
    if (strcmp(got, text_of(one, key)) != 0)
        complain(&s->tally, one, "%s is \"%s\", expected \"%s\"", key, got, text_of(one, key));
}

static void check_greedy(subject *s, const json_t *one)
{
    case_options c;
    td_error error;
    td_result *result = NULL;
    size_t count;
    char ids_of_source[8192];
    set_options(one, &c);
    c.options.beam = 1;
    if (td_generate_text(s->session, source_of(s, one, &c, ids_of_source, sizeof ids_of_source), &c.options, &result, &error) != TD_OK) {
        complain(&s->tally, one, "greedy: %s", error.message);
        return;
    }
    const int32_t *ids = td_result_ids(result, 0, 0, &count);
    check_ids(s, one, "greedy ids", ids, count, json_object_get(one, "greedy_ids"), 1);
    check_text(s, one, "greedy_text", td_result_text(result, 0, 0));
    td_result_free(result);
}

static void check_beam(subject *s, const json_t *one)
{
    case_options c;
    td_error error;
    td_result *result = NULL;
    char ids_of_source[8192];
    const json_t *nbest = json_object_get(one, "beam4_nbest");
    set_options(one, &c);
    c.options.beam = c.options.nbest = BEAM;
    if (td_generate_text(s->session, source_of(s, one, &c, ids_of_source, sizeof ids_of_source), &c.options, &result, &error) != TD_OK) {
        complain(&s->tally, one, "beam: %s", error.message);
        return;
    }
    if (td_result_outputs(result, 0) != json_array_size(nbest))
        complain(&s->tally, one, "%zu outputs, expected %zu", td_result_outputs(result, 0), json_array_size(nbest));
    for (size_t i = 0; i < td_result_outputs(result, 0) && i < json_array_size(nbest); i++) {
        size_t count;
        const int32_t *ids = td_result_ids(result, 0, i, &count);
        const json_t *expected = json_array_get(nbest, i);
        check_ids(s, one, "beam ids", ids, count, json_object_get(expected, "ids"), 1);
        check_number(s, one, "score", i, td_result_score(result, 0, i), json_object_get(expected, "score"), &s->tally.worst_score);
    }
    check_text(s, one, "beam4_text", td_result_text(result, 0, 0));
    td_result_free(result);
    s->tally.searches++;
}

/* The model's own limit, else what its tokenizer was told to cut at. */
static size_t longest_text(const char *root, const subject *s)
{
    char path[4096];
    td_error error;
    json_t *config = NULL;
    if (td_model_max_source(s->model))
        return td_model_max_source(s->model);
    snprintf(path, sizeof path, "%s/%s/tokenizer_config.json", root, s->tally.name);
    if (td_json_load_file(path, &config, &error) != TD_OK)
        fail_msg("%s", error.message);
    size_t longest = (size_t)json_integer_value(json_object_get(config, "model_max_length"));
    json_decref(config);
    assert_true(longest > 0);
    return longest;
}

static void check_checkpoint(const char *root, const char *name)
{
    char path[4096];
    td_error error;
    json_t *expected = NULL;
    subject s = {.tally.name = name};
    snprintf(path, sizeof path, "%s/%s/expected.json", root, name);
    if (td_json_load_file(path, &expected, &error) != TD_OK)
        fail_msg("%s", error.message);
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (td_model_open(path, NULL, &s.model, &error) != TD_OK || td_session_new(s.model, NULL, &s.session, &error) != TD_OK)
        fail_msg("%s", error.message);
    s.longest = longest_text(root, &s);
    size_t index;
    json_t *one;
    json_array_foreach(json_object_get(expected, "cases"), index, one)
    {
        check_scoring(&s, one);
        s.tally.cases++;
        if (json_object_get(one, "greedy_ids"))
            check_greedy(&s, one);
        if (json_object_get(one, "beam4_nbest"))
            check_beam(&s, one);
    }
    print_message("%s: %zu cases, %zu searches, log-probabilities within %.1e, scores within %.1e, %zu differences\n", name, s.tally.cases,
                  s.tally.searches, s.tally.worst_logprob, s.tally.worst_score, s.tally.failures);
    td_session_free(s.session);
    td_model_close(s.model);
    json_decref(expected);
    assert_true(s.tally.cases > 0 && s.tally.searches > 0);
    assert_int_equal(s.tally.failures, 0);
}

static void checkpoint(void **state)
{
    const char *root = getenv("TANDEM_REFERENCE");
    if (!root || !*root) {
        print_message("set TANDEM_REFERENCE to a directory of reference checkpoints to compare with them\n");
        skip();
    }
    check_checkpoint(root, *state);
}

int main(int argc, char **argv)
{
    static const char *const families[] = {"marian", "bart", "mbart", "m2m100", "pegasus", "t5"};
    const char *const *names = argc > 1 ? (const char *const *)(argv + 1) : families;
    size_t count = argc > 1 ? (size_t)argc - 1 : sizeof families / sizeof *families;
    struct CMUnitTest tests[64];
    count = count < 64 ? count : 64;
    for (size_t i = 0; i < count; i++)
        tests[i] = (struct CMUnitTest){names[i], checkpoint, NULL, NULL, (void *)(uintptr_t)names[i]};
    return _cmocka_run_group_tests("reference checkpoints", tests, count, NULL, NULL);
}
