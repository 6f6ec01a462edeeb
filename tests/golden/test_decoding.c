/* Search over a real network against transformers: ids exactly, scores closely. The numbers come from
 * tools/reference/decoding.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "decoding/generate.h"
#include "io/json.h"
#include "models/architecture.h"

#define SOURCES 64

typedef struct golden {
    json_t *root;
    td_network network;
    td_search *search;
    int32_t *ids[SOURCES];
    size_t lengths[SOURCES], count;
} golden;

static json_t *read_json(const char *directory, const char *name)
{
    char path[4096];
    td_error error;
    json_t *root = NULL;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (td_json_load_file(path, &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    return root;
}

static int32_t *read_ids(const json_t *array, size_t *ret_count)
{
    *ret_count = json_array_size(array);
    int32_t *ids = td_allocate_array(*ret_count + 1, sizeof *ids);
    for (size_t i = 0; i < *ret_count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return ids;
}

static void load_network(td_network *network)
{
    td_error error;
    td_safetensors *file = NULL;
    json_t *config = read_json(TD_TEST_DATA "/golden/tiny-marian", "config.json");
    if (td_network_configure(config, "config.json", network, &error) != TD_OK ||
        td_safetensors_open(TD_TEST_DATA "/golden/tiny-marian/model.safetensors", &file, &error) != TD_OK ||
        td_parameters_load(&network->parameters, file, &error) != TD_OK)
        fail_msg("%s", error.message);
    td_safetensors_close(file);
    json_decref(config);
}

static int set_up(void **state)
{
    golden *g = td_allocate_array(1, sizeof *g);
    td_error error;
    g->root = read_json(TD_TEST_DATA "/golden", "decoding.json");
    load_network(&g->network);
    if (td_search_new(&g->network, NULL, &g->search, &error) != TD_OK)
        fail_msg("%s", error.message);
    const json_t *sources = json_object_get(g->root, "sources");
    g->count = json_array_size(sources);
    for (size_t i = 0; i < g->count; i++)
        g->ids[i] = read_ids(json_array_get(sources, i), &g->lengths[i]);
    *state = g;
    return 0;
}

static int tear_down(void **state)
{
    golden *g = *state;
    td_search_free(g->search);
    td_network_free(&g->network);
    for (size_t i = 0; i < g->count; i++)
        td_release(g->ids[i]);
    json_decref(g->root);
    td_release(g);
    return 0;
}

/* One run over the first `results` sources; `finished` compares each as it comes. */
typedef struct comparison {
    golden *g;
    const json_t *results;
    size_t next, finished, number;
} comparison;

static td_status give(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    comparison *c = context;
    *ret_given = c->next < json_array_size(c->results);
    if (!*ret_given)
        return TD_OK;
    *ret_source = (td_source){.ids = c->g->ids[c->next], .length = c->g->lengths[c->next]};
    *ret_index = c->next++;
    return TD_OK;
}

static void assert_close(const char *what, double value, double expected, double tolerance)
{
    if (!(value >= expected - tolerance && value <= expected + tolerance))
        fail_msg("%s is %.7f, not %.7f", what, value, expected);
}

static void compare_hypothesis(const comparison *c, const td_hypothesis *hypothesis, const json_t *expected, size_t index, size_t rank)
{
    const json_t *ids = json_object_get(expected, "ids"), *logprobs = json_object_get(expected, "logprobs");
    char text[2048];
    size_t at = 0;
    for (size_t i = 0; i < hypothesis->count && at < 1900; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, " %d", (int)hypothesis->ids[i]);
    bool same = json_array_size(ids) == hypothesis->count;
    for (size_t i = 0; same && i < hypothesis->count; i++)
        same = json_integer_value(json_array_get(ids, i)) == hypothesis->ids[i];
    if (!same)
        fail_msg("setting %zu, source %zu, rank %zu: got%s (%.6f), wanted %s", c->number, index, rank, text, hypothesis->score,
                 json_dumps(expected, JSON_COMPACT));
    assert_close("score", hypothesis->score, json_number_value(json_object_get(expected, "score")), 2e-4);
    assert_int_equal(hypothesis->ended, json_is_true(json_object_get(expected, "ended")));
    assert_int_equal(json_array_size(logprobs) + hypothesis->prefix_count, hypothesis->count);
    for (size_t i = 0; i < json_array_size(logprobs); i++)
        assert_close("log-probability", (double)hypothesis->logprobs[hypothesis->prefix_count + i],
                     json_number_value(json_array_get(logprobs, i)), 2e-4);
}

static td_status compare(void *context, size_t index, const td_output *output, td_error *error)
{
    (void)error;
    comparison *c = context;
    const json_t *result = json_array_get(c->results, index), *expected = json_object_get(result, "hypotheses");
    const json_t *attention = json_object_get(result, "attention");
    c->finished++;
    assert_int_equal(output->count, json_array_size(expected));
    for (size_t i = 0; i < output->count; i++)
        compare_hypothesis(c, &output->hypotheses[i], json_array_get(expected, i), index, i);
    for (size_t i = 0; i < json_array_size(attention); i++)
        for (size_t j = 0; j < output->source_length; j++)
            assert_close("attention", (double)output->hypotheses[0].attention[i * output->source_length + j],
                         json_number_value(json_array_get(json_array_get(attention, i), j)), 1e-4);
    return TD_OK;
}

static void run_settings(golden *g, size_t batch_tokens)
{
    td_error error;
    td_search *search = NULL;
    td_search_options options = {.batch_tokens = batch_tokens};
    assert_int_equal(td_search_new(&g->network, &options, &search, &error), TD_OK);
    const json_t *cases = json_object_get(g->root, "cases");
    assert_true(json_array_size(cases) > 20);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        comparison c = {.g = g, .results = json_object_get(item, "results"), .number = i};
        td_generate_callbacks callbacks = {.context = &c, .next = give, .finished = compare};
        td_generation generation = td_generation_default();
        generation.output_attentions = true;
        if (td_generation_load(&generation, json_object_get(item, "options"), "options", &error) != TD_OK ||
            td_generate(search, &generation, &callbacks, &error) != TD_OK)
            fail_msg("setting %zu: %s", i, error.message);
        assert_int_equal(c.finished, json_array_size(c.results));
        td_generation_free(&generation);
    }
    td_search_free(search);
}

static void all_settings_match_in_any_company(void **state)
{
    run_settings(*state, 1);
    run_settings(*state, 100);
    run_settings(*state, 0);
}

static void targets_score_alike(void **state)
{
    golden *g = *state;
    const json_t *targets = json_object_get(g->root, "targets");
    td_score_request requests[8];
    td_real logprobs[8][32];
    int32_t *ids[8];
    size_t count = json_array_size(targets);
    td_error error;
    assert_in_range(count, 2, 8);
    for (size_t i = 0; i < count; i++) {
        size_t length;
        ids[i] = read_ids(json_object_get(json_array_get(targets, i), "ids"), &length);
        requests[i] = (td_score_request){{.ids = g->ids[i], .length = g->lengths[i]}, ids[i], length, logprobs[i]};
    }
    if (td_score(g->search, NULL, requests, count, &error) != TD_OK)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < count; i++) {
        const json_t *expected = json_object_get(json_array_get(targets, i), "logprobs");
        for (size_t t = 0; t < requests[i].target_count; t++)
            assert_close("log-probability", (double)logprobs[i][t], json_number_value(json_array_get(expected, t)), 2e-4);
        td_release(ids[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_settings_match_in_any_company),
        cmocka_unit_test(targets_score_alike),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
