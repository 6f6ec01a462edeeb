/* Every Transformer family against transformers: encoder states and log-probabilities of given targets of tiny models with unusual
 * settings, made by tools/reference/families*.py and fine_tuned.py. Directories named on the command line are checked instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoding/generate.h"
#include "family_case.h"

static double number(const json_t *value)
{
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void expect(subject *s, const char *what, size_t index, double got, double wanted, double tolerance, double *worst)
{
    *worst = fmax(*worst, fabs(got - wanted));
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("%s: %s %zu is %.7g, expected %.7g", s->directory, what, index, got, wanted);
}

static void check_encoder(subject *s, const td_tensor *states, const json_t *one)
{
    double sum = 0, squares = 0, count = (double)(states->rows * states->columns);
    for (size_t row = 0; row < states->rows; row++)
        for (size_t i = 0; i < states->columns; i++) {
            double value = (double)states->data[row * states->stride + i];
            sum += value;
            squares += value * value;
        }
    double l2 = number(json_object_get(one, "encoder_l2"));
    expect(s, "encoder mean", 0, sum / count, number(json_object_get(one, "encoder_mean")), s->tolerance, &s->worst_encoder);
    expect(s, "encoder norm", 0, sqrt(squares), l2, s->tolerance * fmax(1, l2), &s->worst_encoder);
    for (size_t i = 0; i < 8; i++)
        expect(s, "encoder state", i, (double)states->data[i], number(json_array_get(json_object_get(one, "encoder_first8"), i)),
               s->tolerance, &s->worst_encoder);
}

static void check_case(subject *s, const json_t *one, bool recording)
{
    int32_t wanted[TOKENS];
    size_t count = read_ids(one, "target_ids", wanted);
    td_memory memory;
    td_tensor *logits = feed(s, one, recording, &memory);
    if (!logits)
        fail_msg("%s: %s", s->directory, s->graph.error.message);
    check_encoder(s, memory.states, one);
    for (size_t i = 0; i < count; i++)
        expect(s, "log-probability", i, log_probability(logits->data + i * logits->stride, logits->columns, wanted[i]),
               number(json_array_get(json_object_get(one, "logprobs"), i)), s->tolerance, &s->worst);
    forget(s);
}

/* ---- search ---- */

typedef struct searching {
    subject *s;
    const json_t *one;
    td_source source;
    bool given, finished;
} searching;

static td_status give(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    searching *c = context;
    *ret_given = !c->given;
    *ret_source = c->source;
    *ret_index = 0;
    c->given = true;
    return TD_OK;
}

static void compare_hypothesis(const subject *s, const td_hypothesis *hypothesis, const json_t *ids)
{
    bool same = json_array_size(ids) == hypothesis->count;
    for (size_t i = 0; same && i < hypothesis->count; i++)
        same = json_integer_value(json_array_get(ids, i)) == hypothesis->ids[i];
    if (!same)
        fail_msg("%s: %zu ids (%.6f), expected %s", s->directory, hypothesis->count, hypothesis->score, json_dumps(ids, JSON_COMPACT));
}

static td_status compare(void *context, size_t index, const td_output *output, td_error *error)
{
    (void)index;
    (void)error;
    searching *c = context;
    const json_t *beams = json_object_get(c->one, "beam_ids"), *scores = json_object_get(c->one, "beam_scores");
    c->finished = true;
    if (output->count == 1) {
        compare_hypothesis(c->s, &output->hypotheses[0], json_object_get(c->one, "greedy_ids"));
        return TD_OK;
    }
    assert_int_equal(output->count, json_array_size(beams));
    for (size_t i = 0; i < output->count; i++) {
        compare_hypothesis(c->s, &output->hypotheses[i], json_array_get(beams, i));
        expect(c->s, "score", i, output->hypotheses[i].score, number(json_array_get(scores, i)), c->s->tolerance, &c->s->worst);
    }
    return TD_OK;
}

/* Greedy output and the whole n-best list, of cases that hold them. */
static void check_search(subject *s, const json_t *one)
{
    if (!json_object_get(one, "beam_ids"))
        return;
    bool text = s->network.architecture->source == TD_TEXT;
    int32_t ids[TOKENS];
    td_real features[FEATURES];
    td_search *search = NULL;
    td_error error;
    size_t length = text ? read_ids(one, "input_ids", ids) : make_features(s, one, features);
    assert_int_equal(td_search_new(&s->network, NULL, &search, &error), TD_OK);
    for (int greedy = 0; greedy < 2; greedy++) {
        searching c = {s,
                       one,
                       {.ids = text ? ids : NULL, .features = text ? NULL : features, .length = length, .width = s->network.feature_width},
                       false,
                       false};
        td_generation generation = td_generation_default();
        td_generate_callbacks callbacks = {.context = &c, .next = give, .finished = compare};
        generation.num_beams = generation.num_return_sequences = greedy ? 1 : json_array_size(json_object_get(one, "beam_ids"));
        generation.max_length = (size_t)json_integer_value(json_object_get(one, "max_length"));
        if (td_generate(search, &generation, &callbacks, &error) != TD_OK)
            fail_msg("%s: %s", s->directory, error.message);
        assert_true(c.finished);
        td_generation_free(&generation);
    }
    td_search_free(search);
}

/* ---- company ---- */

static void encode_batch(subject *s, const td_batch *batch, td_memory *memory)
{
    td_arena_reset(&s->arena);
    td_graph_begin(&s->graph, &s->arena, false);
    if (s->network.architecture->encode(&s->network, &s->graph, batch, memory) != TD_OK)
        fail_msg("%s: %s", s->directory, s->graph.error.message);
}

/* Two sources together, then the second one alone: the very same bits. The first one's features are the second one's
 * backwards. */
static void check_company(subject *s, const json_t *one)
{
    static td_real features[2 * FEATURES];
    int32_t ids[2 * TOKENS];
    bool text = s->network.architecture->source == TD_TEXT;
    size_t width = text ? 1 : s->network.feature_width, length = text ? read_ids(one, "input_ids", ids) : make_features(s, one, features);
    for (size_t i = 0; i < length * width; i++) {
        if (text)
            ids[length + i] = ids[i];
        else
            features[length * width + i] = features[i];
    }
    for (size_t i = 0; i < length * width; i++) {
        if (text)
            ids[i] = ids[2 * length - 1 - i];
        else
            features[i] = features[2 * length * width - 1 - i];
    }
    int32_t both[3] = {0, (int32_t)length, (int32_t)(2 * length)};
    td_memory memory;
    encode_batch(s, &(td_batch){{2, both}, text ? ids : NULL, text ? NULL : features, s->network.feature_width}, &memory);
    size_t rows = td_ragged_length(memory.ragged, 1), columns = memory.states->columns, first = (size_t)memory.ragged.offsets[1];
    td_real *kept = td_allocate(rows * columns * sizeof *kept);
    assert_non_null(kept);
    assert_int_equal(memory.states->stride, columns);
    memcpy(kept, memory.states->data + first * columns, rows * columns * sizeof *kept);
    encode_batch(s, &(td_batch){{1, both}, text ? ids + length : NULL, text ? NULL : features + length * width, s->network.feature_width},
                 &memory);
    assert_int_equal(td_ragged_length(memory.ragged, 0), rows);
    assert_memory_equal(memory.states->data, kept, rows * columns * sizeof *kept);
    td_release(kept);
}

static void check_directory(const char *directory, double tolerance)
{
    subject s = {.directory = directory, .tolerance = tolerance};
    load(&s);
    json_t *root = read_json(directory, "expected.json");
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        check_case(&s, json_array_get(cases, i), false);
        check_case(&s, json_array_get(cases, i), true);
        check_search(&s, json_array_get(cases, i));
        check_company(&s, json_array_get(cases, i));
    }
    print_message("%s: log-probabilities within %.1e, encoder within %.1e\n", directory, s.worst, s.worst_encoder);
    json_decref(root);
    unload(&s);
}

/* What is saved opens again with the same numbers, also where files hold weights joined and transposed. */
static void check_saved(const char *directory)
{
    char path[] = "/tmp/tandem-families-XXXXXX";
    int handle = mkstemp(path);
    td_error error;
    td_safetensors *file = NULL;
    subject s = {.directory = directory};
    assert_true(handle >= 0);
    close(handle);
    load(&s);
    td_parameters *parameters = &s.network.parameters;
    size_t bytes = parameters->size * sizeof(td_real);
    td_real *before = td_allocate(bytes);
    assert_non_null(before);
    memcpy(before, parameters->data, bytes);
    if (td_parameters_save(parameters, NULL, path, &error) != TD_OK || td_safetensors_open(path, &file, &error) != TD_OK)
        fail_msg("%s: %s", directory, error.message);
    memset(parameters->data, 0, parameters->trained_size * sizeof(td_real));
    if (td_parameters_load(parameters, file, &error) != TD_OK)
        fail_msg("%s: %s", directory, error.message);
    assert_memory_equal(before, parameters->data, bytes);
    td_release(before);
    td_safetensors_close(file);
    unlink(path);
    unload(&s);
}

static void families(void **state)
{
    (void)state;
    static const char *const names[] = {"bart-base",
                                        "bart-copies",
                                        "t5-copies",
                                        "fine-tuned-marian",
                                        "fine-tuned-bart",
                                        "fine-tuned-pegasus",
                                        "fine-tuned-t5",
                                        "fine-tuned-m2m_100",
                                        "fine-tuned-mbart",
                                        "marian-untied",
                                        "marian-separate",
                                        "marian-shared",
                                        "bart",
                                        "bart-untied",
                                        "mbart",
                                        "pegasus",
                                        "m2m_100",
                                        "m2m_100-padding",
                                        "t5",
                                        "t5-gated",
                                        "t5-silu",
                                        "mt5",
                                        "whisper",
                                        "whisper-relu",
                                        "whisper-untied",
                                        "speech_to_text",
                                        "speech_to_text-padding",
                                        "moonshine",
                                        "moonshine-bias",
                                        "vit-gpt2",
                                        "vit-gpt2-bridge",
                                        "deit-gpt2",
                                        "vit-trocr",
                                        "vit-trocr-sinusoidal",
                                        "bert2bert",
                                        "bert2roberta",
                                        "roberta2bert",
                                        "vit-bert",
                                        "swin-gpt2",
                                        "swin-bart",
                                        "donut",
                                        "blip"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[4096];
        snprintf(path, sizeof path, FAMILIES "/%s", names[i]);
        check_directory(path, 1e-4);
        check_saved(path);
    }
}

static void packed(void **state)
{
    (void)state;
    static const char *const names[] = {"t5", "t5-gated", "mt5"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[1024];
        snprintf(path, sizeof path, FAMILIES "/%s", names[i]);
        subject s = {.directory = path, .tolerance = 1e-4, .packed = true};
        load(&s);
        assert_true(td_parameters_products(&s.network.parameters) > 0);
        json_t *root = read_json(path, "expected.json");
        const json_t *cases = json_object_get(root, "cases");
        for (size_t c = 0; c < json_array_size(cases); c++)
            check_search(&s, json_array_get(cases, c));
        json_decref(root);
        unload(&s);
    }
}

/* A value that means another network is an error that names its key. */
static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *family, *part, *key, *value;
    } wrong[] = {
        {"bert2bert", NULL, "tie_encoder_decoder", "true"},
        {"bert2bert", "encoder", "model_type", "\"albert\""},
        {"bert2bert", "encoder", "is_decoder", "true"},
        {"bert2bert", "encoder", "position_embedding_type", "\"relative_key\""},
        {"bert2bert", "decoder", "model_type", "\"gpt2\""},
        {"bert2bert", "decoder", "is_decoder", "false"},
        {"bert2bert", "decoder", "add_cross_attention", "false"},
        {"bert2bert", "decoder", "hidden_act", "\"mish\""},
        {"bert2bert", "decoder", "layer_norm_eps", "0"},
        {"bert2roberta", "decoder", "pad_token_id", "29"},
        {"bert2roberta", "decoder", "cross_attention_hidden_size", "32"},
        {"swin-gpt2", "encoder", "window_size", "4"}, /* more than the last stage has */
        {"swin-gpt2", "encoder", "depths", "2"},
        {"swin-gpt2", "encoder", "num_heads", "[2, 4]"},
        {"swin-gpt2", "encoder", "use_absolute_embeddings", "true"},
        {"swin-bart", "encoder", "mlp_ratio", "0.01"},
        {"swin-bart", "encoder", "patch_size", "[2, 4]"},
        {"swin-bart", "decoder", "normalize_before", "true"},
        {"donut", "encoder", "hidden_act", "\"mish\""},
        {"donut", "decoder", "normalize_before", "false"},
        {"donut", "decoder", "static_position_embeddings", "true"},
        {"moonshine", NULL, "encoder_num_key_value_heads", "1"},
        {"moonshine", NULL, "rope_scaling", "{\"rope_type\": \"linear\"}"},
        {"moonshine", "rope_parameters", "rope_type", "\"yarn\""},
        {"moonshine", "rope_parameters", "partial_rotary_factor", "1.5"},
        {"moonshine", NULL, "hidden_size", "20"},
        {"vit-bert", "encoder", "model_type", "\"beit\""},
        {"vit-bert", "encoder", "patch_size", "3"},
        {"blip", NULL, "text_config", "1"},
        {"blip", "text_config", "sep_token_id", "43"},
        {"blip", "text_config", "num_attention_heads", "5"},
        {"blip", "vision_config", "hidden_size", "20"},
        {"blip", "vision_config", "image_size", "[12, 12]"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char path[1024];
        snprintf(path, sizeof path, FAMILIES "/%s", wrong[i].family);
        json_t *config = read_json(path, "config.json"), *part = wrong[i].part ? json_object_get(config, wrong[i].part) : config;
        assert_int_equal(json_object_set_new(part, wrong[i].key, json_loads(wrong[i].value, JSON_DECODE_ANY, NULL)), 0);
        td_network network = {0};
        td_error error = {TD_OK, ""};
        assert_int_not_equal(td_network_configure(config, "config.json", &network, &error), TD_OK);
        bool heads = strcmp(wrong[i].key, "num_attention_heads") == 0; /* named by the width that it does not divide */
        if (!strstr(error.message, heads ? "hidden_size" : wrong[i].key))
            fail_msg("%s: \"%s\" is not named: %s", wrong[i].family, wrong[i].key, error.message);
        json_decref(config);
    }
}

static void directories(void **state)
{
    for (char **path = *state; *path; path++)
        check_directory(*path, 2e-4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest own[] = {cmocka_unit_test(families), cmocka_unit_test(packed), cmocka_unit_test(refusals)};
    const struct CMUnitTest given[] = {cmocka_unit_test_prestate(directories, argv + 1)};
    return argc > 1 ? cmocka_run_group_tests(given, NULL, NULL) : cmocka_run_group_tests(own, NULL, NULL);
}
