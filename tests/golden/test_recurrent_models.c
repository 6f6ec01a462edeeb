/* Recurrent encoder-decoders, every kind: hidden states and gradients as PyTorch computes them from the same weights, and the same
 * states whether a target is read whole or position by position, with packed weights in every precision, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/json.h"
#include "models/architecture.h"

/* Three sentences of different lengths; the targets begin with the start token. */
static const int32_t source_ids[] = {5, 6, 7, 2, 8, 2, 9, 5, 4, 3, 6, 2}, source_offsets[] = {0, 4, 6, 12};
static const int32_t target_ids[] = {0, 4, 5, 0, 6, 7, 8, 9, 0, 3}, target_offsets[] = {0, 3, 8, 10};
enum { SENTENCES = 3, POSITIONS = 10, SOURCE_ROWS = 12, MAX_FEATURES = 5 };

typedef struct fixture {
    json_t *root;
    td_network network;
    td_arena arena;
    td_graph graph;
    td_real *gradients;
    td_decoder_state *state;
} fixture;

/* The same numbers as tools/reference/recurrent_models.py makes. */
static void fill_weights(td_parameters *parameters)
{
    for (size_t p = 0; p < parameters->count; p++) {
        td_parameter *parameter = &parameters->entries[p]->parameter;
        unsigned seed = 0;
        for (const char *at = parameter->name; *at; at++)
            seed += (unsigned char)*at;
        for (size_t i = 0; i < parameter->rows * parameter->columns; i++)
            parameter->data[i] = (td_real)(0.5 * sin(0.37 * (double)i * (double)(i % 7 + 1) + (double)(seed % 97)));
    }
}

static void open_case(fixture *it, const json_t *config)
{
    td_error error = {0};
    memset(it, 0, sizeof *it);
    if (td_network_configure(config, "config.json", &it->network, &error) != TD_OK)
        fail_msg("%s", error.message);
    fill_weights(&it->network.parameters);
    it->gradients = calloc(it->network.parameters.trained_size, sizeof *it->gradients);
    td_arena_init(&it->arena);
    assert_int_equal(it->network.architecture->state_new(&it->network, &it->state, &error), TD_OK);
}

static void close_case(fixture *it)
{
    it->network.architecture->state_free(it->state);
    td_arena_free(&it->arena);
    td_network_free(&it->network);
    free(it->gradients);
}

/* The source as words, or as many rows of features where the model reads those. */
static td_batch source_of(const fixture *it, td_real *features)
{
    td_batch source = {.ragged = {SENTENCES, source_offsets}, .ids = source_ids};
    if (!it->network.feature_width)
        return source;
    assert_true(it->network.feature_width <= MAX_FEATURES);
    for (size_t i = 0; i < SOURCE_ROWS * it->network.feature_width; i++)
        features[i] = (td_real)sin(1.7 * (double)i + 0.3);
    return (td_batch){.ragged = source.ragged, .features = features, .width = it->network.feature_width};
}

static void begin(fixture *it, bool recording)
{
    static td_real features[SOURCE_ROWS * MAX_FEATURES];
    const td_architecture *architecture = it->network.architecture;
    td_graph_begin(&it->graph, &it->arena, recording);
    it->graph.gradients = it->gradients;
    td_batch source = source_of(it, features);
    td_memory memory = {0};
    architecture->encode(&it->network, &it->graph, &source, &memory);
    assert_string_equal(it->graph.error.message, "");
    architecture->begin(&it->network, &it->graph, &memory, it->state);
    assert_string_equal(it->graph.error.message, "");
}

static td_tensor *decode(fixture *it, size_t rows, const int32_t *ids, const int32_t *offsets, const td_real **ret_weights)
{
    td_tensor *hidden = NULL;
    td_batch targets = {.ragged = {rows, offsets}, .ids = ids};
    it->network.architecture->decode(&it->network, &it->graph, it->state, &targets, &hidden, ret_weights);
    assert_string_equal(it->graph.error.message, "");
    return hidden;
}

static void assert_near(const char *what, size_t i, double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance * fmax(1, fabs(expected))))
        fail_msg("%s %zu: %.9g, expected %.9g", what, i, got, expected);
}

static void check_gradients(const fixture *it, const char *name, const json_t *expected)
{
    const char *parameter_name;
    json_t *sums;
    size_t seen = 0;
    json_object_foreach((json_t *)expected, parameter_name, sums)
    {
        for (size_t p = 0; p < it->network.parameters.count; p++) {
            const td_parameter *parameter = &it->network.parameters.entries[p]->parameter;
            if (strcmp(parameter->name, parameter_name))
                continue;
            double plain = 0, waved = 0;
            for (size_t i = 0; i < parameter->rows * parameter->columns; i++) {
                plain += (double)it->gradients[parameter->offset + i];
                waved += (double)it->gradients[parameter->offset + i] * sin((double)i);
            }
            char label[256];
            snprintf(label, sizeof label, "%s: gradient of %s", name, parameter_name);
            assert_near(label, 0, plain, json_number_value(json_array_get(sums, 0)), 3e-6);
            assert_near(label, 1, waved, json_number_value(json_array_get(sums, 1)), 3e-6);
            seen++;
        }
    }
    assert_int_equal(seen, json_object_size(expected));
    assert_true(seen >= 7);
}

/* Without a tape, two positions first, then one at a time; rows leave when their target ends, and memory is copied. Tolerance 0: the
 * same bits. */
static void decode_by_steps(fixture *it, const char *name, const td_real *whole, double tolerance)
{
    td_error error;
    int32_t live[SENTENCES] = {0, 1, 2};
    for (size_t position = 0, rows = SENTENCES; rows > 0;) {
        int32_t ids[2 * SENTENCES], offsets[SENTENCES + 1] = {0}, parents[SENTENCES];
        size_t width = position ? 1 : 2, left = 0;
        for (size_t r = 0; r < rows; r++) {
            for (size_t i = 0; i < width; i++)
                ids[r * width + i] = target_ids[(size_t)target_offsets[live[r]] + position + i];
            offsets[r + 1] = offsets[r] + (int32_t)width;
        }
        td_arena_reset(&it->arena);
        td_graph_begin(&it->graph, &it->arena, false);
        const td_tensor *hidden = decode(it, rows, ids, offsets, NULL);
        size_t columns = hidden->columns;
        for (size_t i = 0; i < rows * width * columns; i++) {
            size_t at = (size_t)target_offsets[live[i / columns / width]] + position + i / columns % width;
            assert_near(name, i, (double)hidden->data[i], (double)whole[at * columns + i % columns], tolerance);
        }
        position += width;
        for (size_t r = 0; r < rows; r++) {
            if (target_offsets[live[r]] + (int32_t)position < target_offsets[live[r] + 1]) {
                parents[left] = (int32_t)r;
                live[left++] = live[r];
            }
        }
        assert_int_equal(it->network.architecture->reorder(it->state, parents, left, &error), TD_OK);
        assert_int_equal(it->network.architecture->state_rows(it->state), left);
        rows = left;
    }
}

static void run_case(const char *name, const json_t *entry)
{
    fixture it;
    open_case(&it, json_object_get(entry, "config"));
    const td_real *weights = NULL;
    begin(&it, true);
    td_tensor *hidden = decode(&it, SENTENCES, target_ids, target_offsets, &weights);
    const json_t *expected = json_object_get(entry, "hidden");
    assert_int_equal(hidden->rows * hidden->columns, json_array_size(expected));
    td_real *whole = malloc(hidden->rows * hidden->columns * sizeof *whole), *gradient = td_gradient(&it.graph, hidden);
    for (size_t i = 0; i < hidden->rows * hidden->columns; i++) {
        assert_near(name, i, (double)hidden->data[i], json_number_value(json_array_get(expected, i)), 1e-6);
        whole[i] = hidden->data[i];
        gradient[i] = (td_real)cos((double)i);
    }
    const json_t *attention = json_object_get(entry, "attention");
    assert_true(!json_array_size(attention) == !weights);
    for (size_t i = 0; i < json_array_size(attention); i++)
        assert_near(name, i, (double)weights[i], json_number_value(json_array_get(attention, i)), 1e-6);
    assert_int_equal(td_backward(&it.graph, NULL, 0, NULL), TD_OK);
    check_gradients(&it, name, json_object_get(entry, "gradients"));

    td_error error;
    assert_int_equal(it.network.architecture->reorder(it.state, NULL, 0, &error), TD_OK);
    td_arena_reset(&it.arena);
    begin(&it, false);
    decode_by_steps(&it, name, whole, 2e-6);
    free(whole);
    close_case(&it);
}

static void models_are_pytorchs(void **state)
{
    (void)state;
    json_t *root = NULL;
    td_error error;
    if (td_json_load_file(TD_TEST_DATA "/golden/recurrent_models.json", &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry) run_case(name, entry);
    assert_true(json_object_size(root) >= 20);
    json_decref(root);
}

/* The case's weights through a file into a network that is only run. */
static void open_packed(fixture *it, const json_t *config, td_precision precision)
{
    char path[] = "/tmp/tandem-recurrent-XXXXXX";
    int descriptor = mkstemp(path);
    fixture plain;
    td_safetensors *file = NULL;
    td_error error = {0};
    assert_true(descriptor >= 0);
    open_case(&plain, config);
    td_status status = td_parameters_save(&plain.network.parameters, NULL, path, &error);
    close_case(&plain);
    memset(it, 0, sizeof *it);
    if (status == TD_OK)
        status = td_safetensors_open(path, &file, &error);
    if (status == TD_OK)
        status = td_network_configure(config, "config.json", &it->network, &error);
    if (status == TD_OK)
        status = td_parameters_load_packed(&it->network.parameters, file, precision, &error);
    td_safetensors_close(file);
    close(descriptor);
    unlink(path);
    if (status != TD_OK)
        fail_msg("%s", error.message);
    td_arena_init(&it->arena);
    assert_int_equal(it->network.architecture->state_new(&it->network, &it->state, &error), TD_OK);
}

static void check_packed(const char *name, const json_t *entry, td_precision precision, double tolerance)
{
    fixture it;
    const json_t *expected = json_object_get(entry, "hidden");
    open_packed(&it, json_object_get(entry, "config"), precision);
    begin(&it, false);
    const td_tensor *hidden = decode(&it, SENTENCES, target_ids, target_offsets, NULL);
    size_t count = hidden->rows * hidden->columns;
    assert_int_equal(count, json_array_size(expected));
    td_real *whole = malloc(count * sizeof *whole);
    double square = 0, differs = 0;
    for (size_t i = 0; i < count; i++) {
        double value = json_number_value(json_array_get(expected, i)), off = (double)hidden->data[i] - value;
        whole[i] = hidden->data[i];
        square += value * value;
        differs += off * off;
    }
    if (!(sqrt(differs / square) <= tolerance))
        fail_msg("%s, precision %d: off by %g of the hidden states' size", name, (int)precision, sqrt(differs / square));
    td_error error;
    assert_int_equal(it.network.architecture->reorder(it.state, NULL, 0, &error), TD_OK);
    td_arena_reset(&it.arena);
    begin(&it, false);
    decode_by_steps(&it, name, whole, 0);
    free(whole);
    close_case(&it);
}

/* Packed weights: PyTorch's values as far as the precision goes, and the same bits whole, by steps and in dwindling company. */
static void packed_weights_are_pytorchs(void **state)
{
    (void)state;
    static const double tolerances[TD_PRECISIONS] = {[TD_FLOAT32] = 1e-6, [TD_BFLOAT16] = 0.02, [TD_INT8] = 0.05};
    json_t *root = NULL;
    td_error error;
    assert_int_equal(td_json_load_file(TD_TEST_DATA "/golden/recurrent_models.json", &root, &error), TD_OK);
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry) for (int precision = 0; precision < TD_PRECISIONS; precision++)
        check_packed(name, entry, (td_precision)precision, tolerances[precision]);
    json_decref(root);
}

#define SPEECH "{\"model_type\": \"tandem-rnn-speech\", \"vocab_size\": 9, \"hidden_size\": 4, \"embedding_size\": 4, \"feature_size\": 3, "

static void unsupported_values_name_the_key(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"model_type\": \"tandem-rnn\", \"vocab_size\": 9, \"hidden_size\": 4}", "embedding_size"},
        {"{\"model_type\": \"tandem-rnn\", \"vocab_size\": 9, \"hidden_size\": 4, \"embedding_size\": 4, \"cell\": \"sru\"}",
         "\"cell\": \"sru\""},
        {"{\"model_type\": \"tandem-rnn\", \"vocab_size\": 9, \"hidden_size\": 4, \"embedding_size\": 4, \"input_feeding\": true}",
         "input_feeding"},
        {"{\"model_type\": \"tandem-rnn\", \"vocab_size\": 9, \"hidden_size\": 4, \"embedding_size\": 4, \"attention\": \"dot\", "
         "\"encoder_bidirectional\": true}",
         "general"},
        {SPEECH "\"subsampling\": [2, 9]}", "strides from 1 to 8"},
        {SPEECH "\"subsampling\": 2}", "[2, 2]"},
        {SPEECH "\"subsampling_kernel\": 4}", "odd"},
        {SPEECH "\"encoder_layers\": 2, \"pyramid_layers\": 2}", "pyramid_layers"},
        {SPEECH "\"ctc\": true}", "blank"},
        {SPEECH "\"tie_embeddings\": \"three-way\"}", "both sides"},
        {"{\"model_type\": \"tandem-rnn-image\", \"vocab_size\": 9, \"hidden_size\": 4, \"embedding_size\": 4}", "feature_size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *config = json_loads(cases[i][0], 0, NULL);
        td_network network;
        td_error error = {0};
        assert_true(td_network_configure(config, "config.json", &network, &error) != TD_OK);
        assert_non_null(strstr(error.message, "config.json"));
        assert_non_null(strstr(error.message, cases[i][1]));
        json_decref(config);
    }
}

/* A recording alone and among others: the same bits. */
static void company_does_not_matter(void **state)
{
    (void)state;
    json_t *root = NULL;
    td_error error;
    assert_int_equal(td_json_load_file(TD_TEST_DATA "/golden/recurrent_models.json", &root, &error), TD_OK);
    const char *name;
    json_t *entry;
    size_t seen = 0;
    json_object_foreach(root, name, entry)
    {
        fixture it;
        open_case(&it, json_object_get(entry, "config"));
        td_real features[SOURCE_ROWS * MAX_FEATURES];
        td_batch batch = source_of(&it, features);
        td_memory together = {0};
        td_graph_begin(&it.graph, &it.arena, false);
        it.network.architecture->encode(&it.network, &it.graph, &batch, &together);
        for (size_t i = 0; batch.features && i < SENTENCES; i++, seen++) {
            int32_t offsets[2] = {0, source_offsets[i + 1] - source_offsets[i]};
            td_batch one = {.ragged = {1, offsets}, .features = features + (size_t)source_offsets[i] * batch.width, .width = batch.width};
            td_memory alone = {0};
            it.network.architecture->encode(&it.network, &it.graph, &one, &alone);
            assert_string_equal(it.graph.error.message, "");
            size_t rows = td_ragged_length(together.ragged, i), columns = alone.states->columns;
            assert_true(rows > 0 && rows == td_ragged_length(alone.ragged, 0) && alone.states->rows == rows);
            const td_real *from = together.states->data + (size_t)together.ragged.offsets[i] * columns;
            assert_memory_equal(alone.states->data, from, rows * columns * sizeof *from);
            columns = alone.final_state->columns;
            assert_memory_equal(alone.final_state->data, together.final_state->data + i * columns, columns * sizeof *from);
        }
        close_case(&it);
    }
    assert_true(seen >= 6 * SENTENCES);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_pytorchs),
        cmocka_unit_test(packed_weights_are_pytorchs),
        cmocka_unit_test(unsupported_values_name_the_key),
        cmocka_unit_test(company_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
