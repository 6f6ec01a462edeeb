/* Generating and copying mixed, and the coverage loss: distributions, losses and gradients as tools/reference/copying.py has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "io/json.h"
#include "models/copying.h"

enum { WORDS = 7, WIDTH = 3, ROWS = 5, LONGEST = 6, EXTENDED = 2 };

static const int32_t first_source[] = {1, 8, 4, 8, 7, 0}, second_source[] = {3, 3, 7}, targets[] = {0, 2, 5}, labels[] = {8, 4, 7, 3, 2};
static const double smoothing = 0.15, coverage = 0.6;

typedef struct fixture {
    json_t *expected;
    td_arena arena;
    td_graph graph;
    td_real hidden[ROWS * WIDTH], weight[WORDS * WIDTH], bias[WORDS], gate[ROWS], attention[ROWS * LONGEST];
    td_real gradients[5][64];
    td_parameter parameters[5];
    td_copy_source sources[ROWS];
} fixture;

static void wave(td_real *values, size_t count, double seed)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (td_real)(1.2 * sin(1.7 * (double)i + seed) + 0.4 * cos(3.1 * (double)i));
}

static double number(const fixture *it, const char *key, size_t i)
{
    return json_number_value(json_array_get(json_object_get(it->expected, key), i));
}

static void expect(const fixture *it, const char *key, const td_real *got, size_t count)
{
    assert_int_equal(json_array_size(json_object_get(it->expected, key)), count);
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - number(it, key, i)) <= 3e-6 * fmax(1, fabs(number(it, key, i)))))
            fail_msg("%s %zu is %.9g, expected %.9g", key, i, (double)got[i], number(it, key, i));
}

static int set_up(void **state)
{
    static fixture it;
    td_error error;
    if (td_json_load_file(TD_TEST_DATA "/golden/copying.json", &it.expected, &error) != TD_OK)
        return -1;
    wave(it.hidden, ROWS * WIDTH, 1);
    wave(it.weight, WORDS * WIDTH, 2);
    wave(it.bias, WORDS, 3);
    wave(it.gate, ROWS, 4);
    for (size_t i = 0; i < ROWS * LONGEST; i++)
        it.attention[i] = (td_real)number(&it, "attention", i);
    td_real *data[] = {it.hidden, it.weight, it.bias, it.gate, it.attention};
    static const size_t shapes[][2] = {{ROWS, WIDTH}, {WORDS, WIDTH}, {1, WORDS}, {ROWS, 1}, {ROWS, LONGEST}};
    for (size_t i = 0; i < 5; i++)
        it.parameters[i] =
            (td_parameter){.name = "input", .rows = shapes[i][0], .columns = shapes[i][1], .data = data[i], .offset = 64 * i};
    for (size_t i = 0; i < ROWS; i++)
        it.sources[i] = i < 2 ? (td_copy_source){first_source, 6} : (td_copy_source){second_source, 3};
    td_arena_init(&it.arena);
    td_graph_begin(&it.graph, &it.arena, true);
    it.graph.gradients = &it.gradients[0][0];
    *state = &it;
    return 0;
}

static int tear_down(void **state)
{
    fixture *it = *state;
    json_decref(it->expected);
    td_arena_free(&it->arena);
    return 0;
}

static td_projection stub_projection(const td_network *network)
{
    const td_parameter *parameters = network->family;
    return (td_projection){&parameters[1], &parameters[2], 0};
}

/* Rows asked for out of order and in company of a source with fewer extended ids. */
static void next_scores_are_the_mixture(void **state)
{
    fixture *it = *state;
    static const td_architecture stub = {.model_type = "stub", .projection = stub_projection};
    td_network network = {.architecture = &stub, .family = it->parameters, .vocabulary = WORDS, .copies = true};
    static const int32_t index[] = {4, 0, 1, 2, 3};
    td_copy_source sources[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        sources[i] = it->sources[index[i]];
    assert_int_equal(td_extended_count(&network, &sources[0]), 1);
    assert_int_equal(td_extended_count(&network, &sources[1]), EXTENDED);
    td_copying copying = {td_tensor_of(&it->graph, it->attention, ROWS, LONGEST), td_tensor_of(&it->graph, it->gate, ROWS, 1)};
    td_tensor *scores =
        td_next_scores(&network, &it->graph, td_tensor_of(&it->graph, it->hidden, ROWS, WIDTH), &copying, index, ROWS, sources, EXTENDED);
    assert_string_equal(it->graph.error.message, "");
    assert_int_equal(scores->columns, WORDS + EXTENDED);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t w = 0; w < WORDS + EXTENDED; w++) {
            size_t at = (size_t)index[row] * (WORDS + EXTENDED) + w;
            double got = (double)scores->data[row * scores->stride + w];
            if (json_is_null(json_array_get(json_object_get(it->expected, "log_probabilities"), at)))
                assert_true(isinf(got) && got < 0);
            else
                assert_true(fabs(got - number(it, "log_probabilities", at)) < 3e-6);
        }
}

static void loss_and_gradients_are_pytorchs(void **state)
{
    fixture *it = *state;
    td_tensor *inputs[5];
    for (size_t i = 0; i < 5; i++)
        inputs[i] = td_graph_parameter(&it->graph, &it->parameters[i]);
    td_copy_loss copy = {inputs[4], inputs[3], it->sources};
    td_cross_entropy_options options = {.label_smoothing = (td_real)smoothing, .gradient_scale = 1, .copy = &copy};
    td_tensor *loss = td_projected_cross_entropy(&it->graph, inputs[0], inputs[1], inputs[2], labels, &options, NULL);
    td_tensor *overlap = td_coverage_loss(&it->graph, inputs[4], (td_ragged){2, targets}, (td_real)coverage);
    assert_string_equal(it->graph.error.message, "");
    assert_true(fabs((double)loss->data[0] - json_number_value(json_object_get(it->expected, "loss"))) < 1e-5);
    assert_true(fabs((double)overlap->data[0] - json_number_value(json_object_get(it->expected, "overlap"))) < 1e-6);
    expect(it, "hidden", it->gradients[0], ROWS * WIDTH);
    expect(it, "weight", it->gradients[1], WORDS * WIDTH);
    expect(it, "bias", it->gradients[2], WORDS);
    expect(it, "gate", it->gradients[3], ROWS);
    for (size_t i = 0; i < ROWS; i++) /* beyond a source weights are nobody's */
        for (size_t j = it->sources[i].length; j < LONGEST; j++)
            it->gradients[4][i * LONGEST + j] = 0;
    expect(it, "weights", it->gradients[4], ROWS * LONGEST);
}

static void a_label_that_is_nowhere_is_an_error(void **state)
{
    fixture *it = *state;
    static const int32_t wrong[] = {8, 4, 8, 3, 2}; /* the second source has no 8 */
    td_tensor *inputs[5];
    for (size_t i = 0; i < 5; i++)
        inputs[i] = td_graph_parameter(&it->graph, &it->parameters[i]);
    td_copy_loss copy = {inputs[4], inputs[3], it->sources};
    td_cross_entropy_options options = {.gradient_scale = 1, .copy = &copy};
    assert_null(td_projected_cross_entropy(&it->graph, inputs[0], inputs[1], inputs[2], wrong, &options, NULL));
    assert_int_equal(it->graph.error.status, TD_ERROR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(next_scores_are_the_mixture, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loss_and_gradients_are_pytorchs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_label_that_is_nowhere_is_an_error, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
