/* Whole checkpoints that read sound or pictures, in the layout people have them: a file in, then encoder states, log-probabilities of given
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

#include "decoding/generate.h"
#include "frontend/frontend.h"
#include "io/json.h"
#include "models/architecture.h"
#include "text/tokenizer.h"

#include "tally.h"

static const double tolerance = 2e-4;
enum { BEAM = 4, TOKENS = 512 };

typedef struct subject {
    tally tally;
    char directory[4096];
    td_network network;
    td_frontend frontend;
    td_tokenizer *tokenizer;
    td_search *search;
} subject;

/* One source and where its result goes. */
typedef struct run {
    subject *subject;
    const json_t *one;
    td_source source;
    bool given;
    size_t beams;
} run;

static json_t *read_json(const subject *s, const char *name)
{
    char path[4200];
    td_error error;
    json_t *root = NULL;
    snprintf(path, sizeof path, "%s/%s", s->directory, name);
    if (td_json_load_file(path, &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    return root;
}

static void load(subject *s)
{
    td_error error;
    td_safetensors *file = NULL;
    json_t *config = read_json(s, "config.json");
    if (td_network_configure(config, "config.json", &s->network, &error) != TD_OK ||
        td_safetensors_open_directory(s->directory, &file, &error) != TD_OK ||
        td_parameters_load(&s->network.parameters, file, &error) != TD_OK ||
        td_search_new(&s->network, NULL, &s->search, &error) != TD_OK ||
        td_frontend_open(s->directory, s->network.architecture->source, &s->frontend, &error) != TD_OK ||
        td_tokenizer_open(s->directory, &s->tokenizer, &error) != TD_OK)
        fail_msg("%s: %s", s->directory, error.message);
    td_safetensors_close(file);
    json_decref(config);
}

static void number(subject *s, const json_t *one, const char *what, size_t index, double got, const json_t *wanted, double size,
                   double *worst)
{
    double distance = fabs(got - json_number_value(wanted)) / size;
    *worst = fmax(*worst, distance);
    if (!json_is_number(wanted) || !(distance <= tolerance))
        complain(&s->tally, one, "%s %zu is %.7g, expected %.7g", what, index, got, json_number_value(wanted));
}

static void check_ids(subject *s, const json_t *one, const char *what, const td_hypothesis *got, const json_t *wanted)
{
    bool same = json_array_size(wanted) == got->count + 1;
    for (size_t i = 0; same && i < got->count; i++)
        same = json_integer_value(json_array_get(wanted, i + 1)) == got->ids[i];
    if (same)
        return;
    char text[512] = "", *right = json_dumps(wanted, JSON_COMPACT | JSON_ENCODE_ANY);
    for (size_t i = 0, at = 0; i < got->count && at + 16 < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d,", got->ids[i]);
    complain(&s->tally, one, "%s are %s expected %.400s", what, text, right);
    free(right);
}

static void check_text(subject *s, const json_t *one, const char *key, const td_hypothesis *got)
{
    td_error error;
    td_buffer text = TD_BUFFER_INIT;
    const char *wanted = json_string_value(json_object_get(one, key));
    if (td_tokenizer_decode(s->tokenizer, got->ids, got->count, true, &text, &error) != TD_OK)
        complain(&s->tally, one, "%s: %s", key, error.message);
    else if (strcmp(td_buffer_text(&text), wanted) != 0)
        complain(&s->tally, one, "%s is \"%s\", expected \"%s\"", key, td_buffer_text(&text), wanted);
    td_buffer_free(&text);
}

static td_status next(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    run *it = context;
    (void)error;
    *ret_index = 0;
    *ret_source = it->source;
    *ret_given = !it->given;
    it->given = true;
    return TD_OK;
}

static td_status finished(void *context, size_t index, const td_output *output, td_error *error)
{
    run *it = context;
    (void)index;
    (void)error;
    subject *s = it->subject;
    if (it->beams == 1) {
        check_ids(s, it->one, "greedy ids", &output->hypotheses[0], json_object_get(it->one, "greedy_ids"));
        check_text(s, it->one, "greedy_text", &output->hypotheses[0]);
        return TD_OK;
    }
    const json_t *nbest = json_object_get(it->one, "beam4_nbest");
    if (output->count != json_array_size(nbest))
        complain(&s->tally, it->one, "%zu outputs, expected %zu", output->count, json_array_size(nbest));
    for (size_t i = 0; i < output->count && i < json_array_size(nbest); i++) {
        const json_t *wanted = json_array_get(nbest, i);
        check_ids(s, it->one, "beam ids", &output->hypotheses[i], json_object_get(wanted, "ids"));
        number(s, it->one, "score", i, output->hypotheses[i].score, json_object_get(wanted, "score"), 1, &s->tally.worst_score);
    }
    check_text(s, it->one, "beam4_text", &output->hypotheses[0]);
    s->tally.searches++;
    return TD_OK;
}

/* generation_config.json, under the settings of the case. Whisper: the prompt is a prefix, and one without <|notimestamps|> asks for them.
 */
static td_generation settings(subject *s, const json_t *one)
{
    td_error error;
    td_generation generation = td_generation_default();
    json_t *file = read_json(s, "generation_config.json");
    if (td_generation_load(&generation, file, "generation_config.json", &error) != TD_OK ||
        td_generation_load(&generation, json_object_get(one, "generate"), "generate", &error) != TD_OK)
        fail_msg("%s", error.message);
    const json_t *prompt = json_object_get(one, "prompt_ids"), *mark = json_object_get(file, "no_timestamps_token_id");
    size_t count = json_array_size(prompt);
    if (count) {
        char text[1024] = "prefix_ids=[";
        for (size_t i = 1; i < count; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i > 1 ? "," : "",
                     (int)json_integer_value(json_array_get(prompt, i)));
        strcat(text, "]");
        assert_int_equal(td_generation_set(&generation, text, &error), TD_OK);
        generation.return_timestamps = !json_equal(json_array_get(prompt, count - 1), mark);
    }
    json_decref(file);
    return generation;
}

static void check_search(subject *s, const json_t *one, const td_features *features, size_t beams)
{
    td_error error;
    td_generation generation = settings(s, one);
    generation.num_beams = generation.num_return_sequences = beams;
    run it = {s, one, {.features = features->data, .length = features->rows, .width = features->width}, false, beams};
    td_generate_callbacks callbacks = {.context = &it, .next = next, .finished = finished};
    if (td_generate(s->search, &generation, &callbacks, &error) != TD_OK)
        complain(&s->tally, one, "search: %s", error.message);
    td_generation_free(&generation);
}

static void check_score(subject *s, const json_t *one, const td_features *features)
{
    td_error error;
    const json_t *ids = json_object_get(one, "target_ids"), *logprobs = json_object_get(one, "logprobs");
    int32_t target[TOKENS];
    td_real got[TOKENS];
    size_t count = json_array_size(ids);
    assert_in_range(count, 1, TOKENS);
    for (size_t i = 0; i < count; i++)
        target[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    td_score_request request = {{.features = features->data, .length = features->rows, .width = features->width}, target, count, got};
    if (td_score(s->search, NULL, &request, 1, &error) != TD_OK) {
        complain(&s->tally, one, "score: %s", error.message);
        return;
    }
    for (size_t i = 0; i < count; i++)
        number(s, one, "log-probability", i, (double)got[i], json_array_get(logprobs, i), 1, &s->tally.worst_logprob);
}

static void check_encoder(subject *s, const json_t *one, const td_features *features)
{
    td_arena arena;
    td_graph graph;
    td_memory memory;
    int32_t offsets[2] = {0, (int32_t)features->rows};
    td_batch batch = {{1, offsets}, NULL, features->data, features->width};
    td_arena_init(&arena);
    td_graph_begin(&graph, &arena, false);
    if (s->network.architecture->encode(&s->network, &graph, &batch, &memory) != TD_OK) {
        complain(&s->tally, one, "encode: %s", graph.error.message);
        td_arena_free(&arena);
        return;
    }
    const td_tensor *states = memory.states;
    const json_t *shape = json_object_get(one, "encoder_shape");
    double sum = 0, squares = 0, count = (double)(states->rows * states->columns);
    for (size_t i = 0; i < states->rows * states->columns; i++) {
        sum += (double)states->data[i];
        squares += (double)states->data[i] * (double)states->data[i];
    }
    if (states->rows != (size_t)json_integer_value(json_array_get(shape, 0)))
        complain(&s->tally, one, "%zu rows of memory", states->rows);
    double l2 = json_number_value(json_object_get(one, "encoder_l2"));
    number(s, one, "encoder mean", 0, sum / count, json_object_get(one, "encoder_mean"), 1, &s->tally.worst_encoder);
    number(s, one, "encoder norm", 0, sqrt(squares), json_object_get(one, "encoder_l2"), l2, &s->tally.worst_encoder);
    for (size_t i = 0; i < 8; i++)
        number(s, one, "encoder state", i, (double)states->data[i], json_array_get(json_object_get(one, "encoder_first8"), i), 1,
               &s->tally.worst_encoder);
    td_arena_free(&arena);
}

static void check_case(subject *s, const json_t *one)
{
    char path[4200];
    td_error error;
    td_features features = {0};
    snprintf(path, sizeof path, "%s/%s", s->directory, json_string_value(json_object_get(one, "file")));
    if (s->frontend.kind->read(s->frontend.state, path, NULL, 0, &features, &error) != TD_OK) {
        complain(&s->tally, one, "features: %s", error.message);
        return;
    }
    check_encoder(s, one, &features);
    check_score(s, one, &features);
    if (json_object_get(one, "greedy_ids"))
        check_search(s, one, &features, 1);
    if (json_object_get(one, "beam4_nbest"))
        check_search(s, one, &features, BEAM);
    td_features_free(&features);
    s->tally.cases++;
}

static void checkpoint(void **state)
{
    const char *root = getenv("TANDEM_REFERENCE");
    if (!root || !*root) {
        print_message("set TANDEM_REFERENCE to a directory of reference checkpoints to compare with them\n");
        skip();
    }
    subject s = {.tally.name = *state};
    snprintf(s.directory, sizeof s.directory, "%s/%s", root, s.tally.name);
    load(&s);
    json_t *expected = read_json(&s, "expected.json");
    size_t index;
    json_t *one;
    json_array_foreach(json_object_get(expected, "cases"), index, one) check_case(&s, one);
    print_message("%s: %zu cases, %zu searches, encoder within %.1e, log-probabilities within %.1e, scores within %.1e, %zu differences\n",
                  s.tally.name, s.tally.cases, s.tally.searches, s.tally.worst_encoder, s.tally.worst_logprob, s.tally.worst_score,
                  s.tally.failures);
    json_decref(expected);
    td_tokenizer_free(s.tokenizer);
    td_frontend_close(&s.frontend);
    td_search_free(s.search);
    td_network_free(&s.network);
    assert_true(s.tally.cases > 0 && s.tally.searches > 0);
    assert_int_equal(s.tally.failures, 0);
}

int main(int argc, char **argv)
{
    static const char *const families[] = {"whisper", "speech2text", "vision-encoder-decoder"};
    const char *const *names = argc > 1 ? (const char *const *)(argv + 1) : families;
    size_t count = argc > 1 ? (size_t)argc - 1 : sizeof families / sizeof *families;
    struct CMUnitTest tests[64];
    count = count < 64 ? count : 64;
    for (size_t i = 0; i < count; i++)
        tests[i] = (struct CMUnitTest){names[i], checkpoint, NULL, NULL, (void *)(uintptr_t)names[i]};
    return _cmocka_run_group_tests("reference checkpoints of sound and pictures", tests, count, NULL, NULL);
}
