/* Public recurrent layers against torch.nn's over packed batches: every kind and flag, outputs, final states and all gradients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "io/json.h"
#include "tandem/layers.h"

enum { INPUT = 3, HIDDEN = 4, TIME = 5, BATCH = 3, MAX_STATE = 4 * BATCH * HIDDEN, MAX_OUTPUT = BATCH * TIME * 2 * HIDDEN };

static void wave(float *values, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(0.6 * sin(0.37 * (double)i * (double)(i % 7 + 1) + seed));
}

static void assert_near(double got, double expected, const char *what)
{
    if (!(fabs(got - expected) <= 1e-6 * fmax(4, fabs(expected)))) /* sums of up to 120 numbers of about 1 */
        fail_msg("%s: %.9g, expected %.9g", what, got, expected);
}

static void assert_sums(const float *values, size_t count, const json_t *expected, const char *what)
{
    double plain = 0, waved = 0;
    for (size_t i = 0; i < count; i++) {
        plain += (double)values[i];
        waved += (double)values[i] * sin((double)i);
    }
    assert_near(plain, json_number_value(json_array_get(expected, 0)), what);
    assert_near(waved, json_number_value(json_array_get(expected, 1)), what);
}

static td_layer *open_layer(const json_t *entry)
{
    const char *kind = json_string_value(json_object_get(entry, "kind"));
    td_layer_options options = TD_LAYER_OPTIONS_INIT;
    td_layer *layer = NULL;
    td_error error = {0};
    options.input_size = INPUT;
    options.hidden_size = HIDDEN;
    options.num_layers = (size_t)json_integer_value(json_object_get(entry, "layers"));
    options.bias = json_is_true(json_object_get(entry, "bias"));
    options.bidirectional = json_is_true(json_object_get(entry, "bidirectional"));
    options.nonlinearity = kind;
    if (strcmp(kind, "lstm") == 0)
        assert_int_equal(td_lstm_new(&options, &layer, &error), TD_OK);
    else if (strcmp(kind, "gru") == 0)
        assert_int_equal(td_gru_new(&options, &layer, &error), TD_OK);
    else
        assert_int_equal(td_rnn_new(&options, &layer, &error), TD_OK);
    for (size_t i = 0; i < td_layer_weight_count(layer); i++) {
        const char *name = td_layer_weight_name(layer, i);
        float values[256];
        size_t rows, columns;
        unsigned seed = 0;
        for (const char *at = name; *at; at++)
            seed += (unsigned char)*at;
        assert_non_null(td_layer_weight(layer, name, &rows, &columns));
        wave(values, rows * columns, seed % 97);
        assert_int_equal(td_layer_set_weight(layer, name, values, rows * columns, &error), TD_OK);
    }
    assert_int_equal(td_layer_weight_count(layer), json_object_size(json_object_get(entry, "weights")));
    return layer;
}

static void check_output(const float *output, size_t count, const json_t *expected)
{
    if (json_array_size(expected) == 2) {
        assert_sums(output, count, expected, "output");
        return;
    }
    assert_int_equal(count, json_array_size(expected));
    for (size_t i = 0; i < count; i++)
        if (fabs((double)output[i] - json_number_value(json_array_get(expected, i))) > 1e-6)
            fail_msg("output %zu: %.9g, expected %.9g", i, (double)output[i], json_number_value(json_array_get(expected, i)));
}

static void cosines(float *values, size_t count, size_t shift)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)cos((double)(i + shift));
}

static void run_entry(const json_t *entry)
{
    static float input[BATCH * TIME * INPUT], starts[2][MAX_STATE], output[MAX_OUTPUT], finals[2][MAX_STATE];
    static float doutput[MAX_OUTPUT], dfinals[2][MAX_STATE], dinput[BATCH * TIME * INPUT], dstarts[2][MAX_STATE];
    td_layer *layer = open_layer(entry);
    td_error error = {0};
    bool lstm = strcmp(json_string_value(json_object_get(entry, "kind")), "lstm") == 0;
    bool states = json_is_true(json_object_get(entry, "states"));
    size_t directions = json_is_true(json_object_get(entry, "bidirectional")) ? 2 : 1;
    size_t rows = directions * (size_t)json_integer_value(json_object_get(entry, "layers")), size = rows * BATCH * HIDDEN;
    size_t outputs = BATCH * TIME * directions * HIDDEN, lengths[BATCH];
    const json_t *given = json_object_get(entry, "lengths");
    for (size_t i = 0; i < BATCH; i++)
        lengths[i] = (size_t)json_integer_value(json_array_get(given, i));
    wave(input, BATCH * TIME * INPUT, 1);
    for (size_t i = 0; i < 2; i++) {
        wave(starts[i], size, 2 + (unsigned)i);
        cosines(dfinals[i], size, i + 1);
    }
    cosines(doutput, outputs, 0);
    if (td_layer_forward(layer, input, BATCH, TIME, json_is_null(given) ? NULL : lengths, states ? starts[0] : NULL,
                         states && lstm ? starts[1] : NULL, output, finals[0], lstm ? finals[1] : NULL, &error) != TD_OK ||
        td_layer_backward(layer, doutput, dfinals[0], lstm ? dfinals[1] : NULL, dinput, dstarts[0], lstm ? dstarts[1] : NULL, &error) !=
            TD_OK)
        fail_msg("%s", error.message);
    check_output(output, outputs, json_object_get(entry, "output"));
    assert_sums(dinput, BATCH * TIME * INPUT, json_object_get(entry, "input"), "gradient of the input");
    for (size_t i = 0; i < (lstm ? 2 : 1); i++) {
        assert_sums(finals[i], size, json_array_get(json_object_get(entry, "finals"), i), "final state");
        if (states)
            assert_sums(dstarts[i], size, json_array_get(json_object_get(entry, "starts"), i), "gradient of a starting state");
    }
    const char *name;
    json_t *expected;
    json_object_foreach(json_object_get(entry, "weights"), name, expected)
    {
        size_t weight_rows, columns;
        assert_non_null(td_layer_weight(layer, name, &weight_rows, &columns));
        assert_sums(td_layer_gradient(layer, name), weight_rows * columns, expected, name);
    }
    assert_int_equal(td_layer_backward(layer, doutput, NULL, NULL, NULL, NULL, NULL, &error), TD_ERROR_ARGUMENT);
    td_layer_free(layer);
}

static void layers_are_pytorchs(void **state)
{
    (void)state;
    json_t *root = NULL, *entry;
    td_error error;
    if (td_json_load_file(TD_TEST_DATA "/golden/recurrent_layers.json", &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    size_t i;
    json_array_foreach(root, i, entry) run_entry(entry);
    assert_int_equal(json_array_size(root), 128);
    json_decref(root);
}

/* [time, batch, ...] is the same numbers in another order, and without training nothing changes but the
 * last bits and that there is no way back. */
static void layout_and_mode(void **state)
{
    (void)state;
    float input[BATCH * TIME * INPUT], turned[BATCH * TIME * INPUT], output[BATCH * TIME * HIDDEN], other[BATCH * TIME * HIDDEN];
    wave(input, BATCH * TIME * INPUT, 5);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t t = 0; t < TIME; t++)
            memcpy(turned + (t * BATCH + b) * INPUT, input + (b * TIME + t) * INPUT, INPUT * sizeof *input);
    td_layer_options options = TD_LAYER_OPTIONS_INIT;
    td_gru *first = NULL, *second = NULL;
    td_error error = {0};
    options.input_size = INPUT;
    options.hidden_size = HIDDEN;
    assert_int_equal(td_gru_new(&options, &first, &error), TD_OK);
    options.batch_first = 0;
    assert_int_equal(td_gru_new(&options, &second, &error), TD_OK);
    size_t lengths[] = {2, 5, 4}, too_long[] = {2, 6, 4};
    assert_int_equal(td_layer_forward(first, input, BATCH, TIME, lengths, NULL, NULL, output, NULL, NULL, &error), TD_OK);
    assert_int_equal(td_layer_forward(second, turned, BATCH, TIME, lengths, NULL, NULL, other, NULL, NULL, &error), TD_OK);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t t = 0; t < TIME; t++)
            assert_memory_equal(output + (b * TIME + t) * HIDDEN, other + (t * BATCH + b) * HIDDEN, HIDDEN * sizeof *output);
    td_layer_set_training(second, 0); /* products of another kernel: equal up to rounding */
    assert_int_equal(td_layer_forward(second, turned, BATCH, TIME, lengths, NULL, NULL, other, NULL, NULL, &error), TD_OK);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t i = 0; i < TIME * HIDDEN; i++)
            assert_float_equal(output[b * TIME * HIDDEN + i], other[(i / HIDDEN * BATCH + b) * HIDDEN + i % HIDDEN], 1e-6);
    assert_int_equal(td_layer_backward(second, other, NULL, NULL, NULL, NULL, NULL, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_layer_forward(first, input, BATCH, TIME, too_long, NULL, NULL, output, NULL, NULL, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "sequence 1"));
    assert_int_equal(td_layer_set_weight(first, "weight_ih_l7", input, 3, &error), TD_ERROR_ARGUMENT);
    td_layer_free(first);
    td_layer_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_pytorchs),
        cmocka_unit_test(layout_and_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
