/* CTC losses and gradients equal PyTorch's; sequences without an alignment are left out, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "io/json.h"
#include "ops/ctc.h"

enum { MAX_ELEMENTS = 2048, MAX_SEQUENCES = 8 };

static void fill_offsets(const json_t *items, bool lists, int32_t *offsets)
{
    assert_true(json_array_size(items) <= MAX_SEQUENCES);
    offsets[0] = 0;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        offsets[i + 1] = offsets[i] + (int32_t)(lists ? json_array_size(item) : (size_t)json_integer_value(item));
    }
}

static void expect(const char *name, const char *what, size_t i, double got, double wanted)
{
    if (!(fabs(got - wanted) <= 2e-6 * fmax(1, fabs(wanted))))
        fail_msg("%s: %s %zu is %.9g, expected %.9g", name, what, i, got, wanted);
}

static void run_case(const json_t *entry)
{
    static td_real values[MAX_ELEMENTS], gradients[MAX_ELEMENTS];
    const char *name = json_string_value(json_object_get(entry, "name"));
    const json_t *targets = json_object_get(entry, "targets"), *losses = json_object_get(entry, "losses");
    const json_t *gradient = json_object_get(entry, "gradient");
    size_t words = (size_t)json_integer_value(json_object_get(entry, "words")), count = json_array_size(targets), finite = 0;
    int32_t frame_offsets[MAX_SEQUENCES + 1], label_offsets[MAX_SEQUENCES + 1], ids[64];
    fill_offsets(json_object_get(entry, "frames"), false, frame_offsets);
    fill_offsets(targets, true, label_offsets);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < json_array_size(json_array_get(targets, i)); k++)
            ids[(size_t)label_offsets[i] + k] = (int32_t)json_integer_value(json_array_get(json_array_get(targets, i), k));
    size_t elements = (size_t)frame_offsets[count] * words;
    assert_true(elements == json_array_size(gradient) && elements <= MAX_ELEMENTS && elements > 0);
    for (size_t i = 0; i < elements; i++) {
        values[i] = (td_real)(2.5 * sin(1.7 * (double)i + 0.3) + 0.8 * cos(5.1 * (double)i * (double)(i % 3)));
        gradients[i] = 0;
    }
    td_parameter parameter = {.name = "logits", .rows = elements / words, .columns = words, .data = values};
    td_arena arena;
    td_graph graph;
    td_arena_init(&arena);
    td_graph_begin(&graph, &arena, true);
    graph.gradients = gradients;
    td_ctc_options options = {(int32_t)json_integer_value(json_object_get(entry, "blank")), 1};
    double got[MAX_SEQUENCES], sum = 0;
    td_tensor *loss = td_ctc_loss(&graph, td_graph_parameter(&graph, &parameter), (td_ragged){count, frame_offsets}, ids,
                                  (td_ragged){count, label_offsets}, &options, got);
    assert_string_equal(graph.error.message, "");
    for (size_t i = 0; i < count; i++) {
        const json_t *wanted = json_array_get(losses, i);
        if (json_is_null(wanted)) {
            assert_true(got[i] == INFINITY);
            continue;
        }
        expect(name, "loss", i, got[i], json_number_value(wanted));
        sum += got[i];
        finite++;
    }
    assert_true(finite > 0);
    expect(name, "sum", 0, (double)loss->data[0], sum);
    assert_int_equal(td_backward(&graph, NULL, 0, NULL), TD_OK);
    for (size_t i = 0; i < elements; i++)
        expect(name, "gradient", i, (double)gradients[i], json_number_value(json_array_get(gradient, i)));
    td_arena_free(&arena);
}

static void losses_are_pytorchs(void **state)
{
    (void)state;
    json_t *root = NULL;
    td_error error;
    if (td_json_load_file(TD_TEST_DATA "/golden/ctc.json", &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    size_t i;
    json_t *entry;
    json_array_foreach(root, i, entry) run_case(entry);
    assert_true(json_array_size(root) >= 6);
    json_decref(root);
}

static void least_frames_count_repeats(void **state)
{
    (void)state;
    static const int32_t labels[] = {4, 4, 4, 2, 4, 4};
    assert_int_equal(td_ctc_least_frames(labels, 0), 0);
    assert_int_equal(td_ctc_least_frames(labels, 1), 1);
    assert_int_equal(td_ctc_least_frames(labels, 6), 9);
}

static void wrong_ids_are_errors(void **state)
{
    (void)state;
    td_real values[12] = {0};
    int32_t frames[] = {0, 4}, labels[] = {0, 1};
    static const struct {
        int32_t target, blank;
    } cases[] = {{3, 0}, {-1, 0}, {0, 0}, {1, 3}, {1, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        td_arena arena;
        td_graph graph;
        td_arena_init(&arena);
        td_graph_begin(&graph, &arena, false);
        td_ctc_options options = {cases[i].blank, 1};
        assert_null(td_ctc_loss(&graph, td_tensor_of(&graph, values, 4, 3), (td_ragged){1, frames}, &cases[i].target,
                                (td_ragged){1, labels}, &options, NULL));
        assert_int_equal(graph.error.status, TD_ERROR_ARGUMENT);
        td_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_pytorchs),
        cmocka_unit_test(least_frames_count_repeats),
        cmocka_unit_test(wrong_ids_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
