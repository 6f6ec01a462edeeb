/* Every operation against PyTorch: outputs and gradients, from tools/reference/operations.py, which also says what each case is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "io/json.h"
#include "ops/ops.h"

enum { MAX_INPUTS = 4, MAX_ELEMENTS = 2048, MAX_IDS = 128 };

typedef struct operation_case {
    const json_t *json;
    const char *name;
    td_arena arena;
    td_graph graph;
    td_parameter parameters[MAX_INPUTS];
    td_tensor *inputs[MAX_INPUTS];
    td_real values[MAX_INPUTS][MAX_ELEMENTS], gradients[MAX_INPUTS * MAX_ELEMENTS];
    int32_t ids[MAX_IDS], queries[8], keys[8];
    size_t count, id_count, sequences;
    double worst;
} operation_case;

static double wave(size_t i)
{
    return sin(1.7 * (double)i + 0.3) * 0.9 + 0.3 * cos(5.1 * (double)i);
}

static double setting(const operation_case *it, const char *key)
{
    return json_number_value(json_object_get(it->json, key));
}

static size_t offsets(const json_t *lengths, int32_t *to)
{
    to[0] = 0;
    for (size_t i = 0; i < json_array_size(lengths); i++)
        to[i + 1] = to[i] + (int32_t)json_integer_value(json_array_get(lengths, i));
    return json_array_size(lengths);
}

static void prepare(operation_case *it, const json_t *json)
{
    memset(it, 0, sizeof *it);
    it->json = json;
    it->name = json_string_value(json_object_get(json, "name"));
    const json_t *shapes = json_object_get(json, "shapes"), *ids = json_object_get(json, "ids");
    td_arena_init(&it->arena);
    td_graph_begin(&it->graph, &it->arena, true);
    it->graph.gradients = it->gradients;
    it->count = json_array_size(shapes);
    for (size_t k = 0; k < it->count; k++) {
        size_t rows = (size_t)json_integer_value(json_array_get(json_array_get(shapes, k), 0));
        size_t columns = (size_t)json_integer_value(json_array_get(json_array_get(shapes, k), 1));
        assert_true(k < MAX_INPUTS && rows * columns <= MAX_ELEMENTS);
        for (size_t i = 0; i < rows * columns; i++)
            it->values[k][i] = (td_real)wave(i + 137 * k);
        it->parameters[k] =
            (td_parameter){.name = "input", .rows = rows, .columns = columns, .data = it->values[k], .offset = k * MAX_ELEMENTS};
        it->inputs[k] = td_graph_parameter(&it->graph, &it->parameters[k]);
    }
    it->id_count = json_array_size(ids);
    for (size_t i = 0; i < it->id_count; i++)
        it->ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    it->sequences = offsets(json_object_get(json, "queries"), it->queries);
    offsets(json_object_get(json, "keys"), it->keys);
}

static td_tensor *activated(operation_case *it)
{
    static const char *const names[] = {"", "relu", "gelu", "swish", "tanh", "sigmoid", "gelu_tanh"};
    for (int kind = TD_RELU; kind <= TD_GELU_TANH; kind++)
        if (strcmp(it->name, names[kind]) == 0)
            return td_activate(&it->graph, it->inputs[0], (td_activation)kind, 0);
    fail_msg("\"%s\" is no operation known here", it->name);
    return NULL;
}

static td_tensor *apply(operation_case *it)
{
    td_graph *graph = &it->graph;
    td_tensor **in = it->inputs;
    const char *name = it->name;
    if (strncmp(name, "linear", 6) == 0)
        return td_linear(graph, in[0], in[1], in[2]);
    if (strcmp(name, "embedding") == 0)
        return td_embedding(graph, in[0], it->ids, it->id_count, (td_real)2.5);
    if (strcmp(name, "positions") == 0)
        return td_add_positions(graph, in[0], in[1], it->ids);
    if (strcmp(name, "add") == 0)
        return td_add_dropout(graph, in[0], in[1], (td_real)0.5); /* not training: no dropout */
    if (strcmp(name, "scale") == 0)
        return td_scale(graph, td_dropout(graph, in[0], (td_real)0.5), (td_real)-0.75);
    if (strcmp(name, "layer_norm") == 0)
        return td_layer_norm(graph, in[0], in[1], in[2], (td_real)1e-5);
    if (strcmp(name, "rms_norm") == 0)
        return td_rms_norm(graph, in[0], in[1], (td_real)1e-6);
    if (strcmp(name, "concatenate") == 0)
        return td_concatenate(graph, in, it->count);
    if (strcmp(name, "gather_rows") == 0)
        return td_gather_rows(graph, in[0], it->ids, it->id_count);
    if (strncmp(name, "convolution", 11) == 0) {
        td_convolution_options options = {(size_t)setting(it, "kernel"), (size_t)setting(it, "stride"), (size_t)setting(it, "padding")};
        td_ragged output;
        return td_conv_time(graph, in[0], (td_ragged){it->sequences, it->queries}, in[1], in[2], options, &output);
    }
    if (strncmp(name, "gated_linear", 12) == 0)
        return td_gated_linear(graph, in[0], strcmp(name, "gated_linear") == 0 ? TD_SIGMOID : TD_SWISH);
    if (strcmp(name, "sequence_norm") == 0)
        return td_sequence_norm(graph, in[0], (td_ragged){it->sequences, it->queries}, in[1], in[2], (td_real)1e-5);
    if (strcmp(name, "rotary") == 0) {
        td_rotary_options options = {td_rotary_angles(graph, it->ids, it->id_count, 5, 100), 3, 7, 2, 1};
        return td_rotary(graph, in[0], &options);
    }
    if (strncmp(name, "attention", 9) == 0) {
        td_attention_options options = {.heads = (size_t)setting(it, "heads"),
                                        .causal = json_is_true(json_object_get(it->json, "causal")),
                                        .scale = (td_real)setting(it, "scale")};
        if (it->count > 3) /* distances -20 to 20 */
            options.bias =
                (td_attention_bias){td_relative_bias(graph, in[3], it->ids, it->id_count), it->id_count, it->id_count / 2, -1, NULL};
        return td_attention(graph, in[0], (td_ragged){it->sequences, it->queries}, in[1], in[2], (td_ragged){it->sequences, it->keys},
                            &options, NULL);
    }
    if (strncmp(name, "cross_entropy", 13) == 0) {
        td_cross_entropy_options options = {(td_real)setting(it, "smoothing"), 1, (td_real)setting(it, "r_drop"), NULL, NULL};
        return td_projected_cross_entropy(graph, in[0], in[1], in[2], it->ids, &options, NULL);
    }
    return activated(it);
}

/* Errors are relative to the largest of the numbers compared: a sum's last digit, not a small difference's. */
static void expect(operation_case *it, const char *what, const json_t *wanted, const td_real *got)
{
    double largest = 1;
    for (size_t i = 0; i < json_array_size(wanted); i++)
        largest = fmax(largest, fabs(json_number_value(json_array_get(wanted, i))));
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        double difference = fabs((double)got[i] - json_number_value(json_array_get(wanted, i))) / largest;
        it->worst = fmax(it->worst, difference);
        if (!(difference <= 1e-6))
            fail_msg("%s: %s %zu is %.8g, expected %.8g", it->name, what, i, (double)got[i], json_number_value(json_array_get(wanted, i)));
    }
}

static void check_case(const json_t *json)
{
    static operation_case it;
    prepare(&it, json);
    const json_t *output = json_object_get(json, "output"), *gradients = json_object_get(json, "gradients");
    td_tensor *y = apply(&it);
    assert_string_equal(it.graph.error.message, "");
    assert_int_equal(y->rows * y->columns, json_array_size(output));
    expect(&it, "output", output, y->data);
    td_real *dy = td_gradient(&it.graph, y);
    for (size_t i = 0; dy && i < y->rows * y->columns; i++)
        dy[i] = (td_real)wave(i + 11);
    assert_int_equal(td_backward(&it.graph, NULL, 0, NULL), TD_OK);
    for (size_t k = 0; k < it.count; k++) {
        assert_int_equal(json_array_size(json_array_get(gradients, k)), it.parameters[k].rows * it.parameters[k].columns);
        expect(&it, "gradient", json_array_get(gradients, k), it.gradients + k * MAX_ELEMENTS);
    }
    print_message("%-28s within %.1e\n", it.name, it.worst);
    td_arena_free(&it.arena);
}

static void operations(void **state)
{
    (void)state;
    td_error error;
    json_t *root = NULL;
    if (td_json_load_file(TD_TEST_DATA "/golden/operations.json", &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    assert_true(json_array_size(root) >= 25);
    for (size_t i = 0; i < json_array_size(root); i++)
        check_case(json_array_get(root, i));
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(operations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
