/* Picture encoders against transformers and PyTorch (tools/reference/cnn.py): feature maps and pooled vectors folded and recorded,
 * gradients, running statistics, a batch against its pictures alone. TANDEM_CNN, if set, names a mobilenet_v2 checkpoint's
 * directory with pixels.f32 ([n, 224, 224, 3]) and hidden.f32 ([n, 7, 7, C]) in it, compared and timed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/json.h"
#include "models/cnn.h"
#include "platform/clock.h"
#include "platform/file.h"
#include "platform/thread.h"

typedef struct subject {
    json_t *config, *expected;
    td_parameters parameters;
    td_cnn *cnn;
    td_arena arena;
    td_grid pictures;
    td_real *pixels;
} subject;

static void configure(subject *it, const char *folder, const char *prefix, size_t trained_blocks)
{
    char path[512];
    td_error error = {0};
    td_safetensors *file = NULL;
    memset(it, 0, sizeof *it);
    td_arena_init(&it->arena);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(td_json_load_file(path, &it->config, &error), TD_OK);
    if (td_cnn_configure(it->config, path, prefix, trained_blocks, &it->parameters, &it->cnn, &error) != TD_OK ||
        td_parameters_allocate(&it->parameters, &error) != TD_OK || td_safetensors_open_directory(folder, &file, &error) != TD_OK ||
        td_parameters_load(&it->parameters, file, &error) != TD_OK)
        fail_msg("%s: %s", folder, error.message);
    td_safetensors_close(file);
}

static void open_subject(subject *it, const char *name, const char *prefix, size_t trained_blocks)
{
    char path[512];
    td_error error = {0};
    snprintf(path, sizeof path, "%s/golden/cnn/%s", TD_TEST_DATA, name);
    configure(it, path, prefix, trained_blocks);
    snprintf(path, sizeof path, "%s/golden/cnn/%s/expected.json", TD_TEST_DATA, name);
    assert_int_equal(td_json_load_file(path, &it->expected, &error), TD_OK);
    const json_t *size = json_object_get(it->expected, "pictures");
    it->pictures = (td_grid){(size_t)json_integer_value(json_array_get(size, 0)), (size_t)json_integer_value(json_array_get(size, 1)),
                             (size_t)json_integer_value(json_array_get(size, 2))};
    size_t count = td_grid_rows(it->pictures) * 3;
    it->pixels = td_allocate_array(count, sizeof *it->pixels);
    for (size_t i = 0; i < count; i++)
        it->pixels[i] = (td_real)(sin(1.7 * (double)i + 0.3) * 0.9 + 0.3 * cos(5.1 * (double)i));
}

static void close_subject(subject *it)
{
    td_cnn_free(it->cnn);
    td_parameters_free(&it->parameters);
    td_arena_free(&it->arena);
    td_release(it->pixels);
    json_decref(it->config);
    json_decref(it->expected);
}

static void assert_values(const char *what, const td_tensor *got, const json_t *expected, double tolerance)
{
    double worst = 0, largest = 0;
    assert_int_equal(got->rows * got->columns, json_array_size(expected));
    for (size_t i = 0; i < got->rows * got->columns; i++) {
        double wanted = json_number_value(json_array_get(expected, i));
        worst = fmax(worst, fabs((double)got->data[i] - wanted));
        largest = fmax(largest, fabs(wanted));
    }
    print_message("%-24s largest difference %.1e, largest value %.2g\n", what, worst, largest);
    assert_true(largest > 0.05);
    if (!(worst <= tolerance))
        fail_msg("%s: differs by %g", what, worst);
}

static void assert_sums(const char *what, const td_real *values, size_t count, const json_t *expected)
{
    double sums[2] = {0}, size = 0;
    for (size_t i = 0; i < count; i++) {
        sums[0] += (double)values[i];
        sums[1] += (double)values[i] * sin((double)i);
        size += fabs((double)values[i]);
    }
    assert_true(size > 0);
    for (size_t k = 0; k < 2; k++)
        if (!(fabs(sums[k] - json_number_value(json_array_get(expected, k))) <= 2e-5 * size + 1e-6)) /* float32 on both sides */
            fail_msg("%s: %.9g, expected %.9g", what, sums[k], json_number_value(json_array_get(expected, k)));
}

static void check_inference(subject *it, const json_t *hidden)
{
    td_graph graph;
    td_grid map, foretold;
    td_error error;
    td_graph_begin(&graph, &it->arena, false);
    assert_int_equal(td_cnn_output(it->cnn, it->pictures, &foretold, &error), TD_OK);
    td_tensor *both = td_cnn_forward(it->cnn, &graph, td_tensor_of(&graph, it->pixels, td_grid_rows(it->pictures), 3), it->pictures, &map);
    assert_string_equal(graph.error.message, "");
    assert_memory_equal(&map, &foretold, sizeof map);
    const json_t *size = json_object_get(it->expected, "map");
    assert_int_equal(map.height, json_integer_value(json_array_get(size, 1)));
    assert_int_equal(map.width, json_integer_value(json_array_get(size, 2)));
    assert_int_equal(both->columns, td_cnn_channels(it->cnn));
    assert_values("folded", both, hidden, 1e-4);
    td_grid one = {1, it->pictures.height, it->pictures.width};
    td_tensor *second =
        td_cnn_forward(it->cnn, &graph, td_tensor_of(&graph, it->pixels + td_grid_rows(one) * 3, td_grid_rows(one), 3), one, &map);
    size_t count = second->rows * second->columns;
    assert_memory_equal(second->data, both->data + count, count * sizeof *both->data);
    td_arena_reset(&it->arena);
}

/* With gradients: the map, and the gradients of pixels and weights of its sum weighed by a wave. */
static void check_training(subject *it, bool training, td_real *gradients)
{
    td_graph graph;
    td_grid map;
    td_graph_begin(&graph, &it->arena, true);
    graph.training = training;
    graph.gradients = gradients;
    graph.share = (td_real)0.5; /* done twice: all */
    td_tensor *pixels = td_tensor_of(&graph, it->pixels, td_grid_rows(it->pictures), 3);
    pixels->requires_gradient = true;
    td_tensor *y = td_cnn_forward(it->cnn, &graph, pixels, it->pictures, &map);
    assert_string_equal(graph.error.message, "");
    assert_values("recorded", y, json_object_get(it->expected, "hidden"), 1e-4);
    assert_values("pooled", td_global_average_pool(&graph, y, map), json_object_get(it->expected, "pooled"), 1e-4);
    td_real *dy = td_gradient(&graph, y);
    for (size_t i = 0; i < y->rows * y->columns; i++)
        dy[i] = (td_real)(sin(1.7 * (double)i + 0.3) * 0.9 + 0.3 * cos(5.1 * (double)i));
    assert_int_equal(td_backward(&graph, NULL, 0, NULL), TD_OK);
    assert_sums("pixels", td_gradient(&graph, pixels), pixels->rows * 3, json_object_get(it->expected, "pixels_gradient"));
    td_arena_reset(&it->arena);
}

static void check_gradients(subject *it, const td_real *gradients)
{
    size_t checked = 0;
    for (size_t i = 0; i < it->parameters.count; i++) {
        const td_parameter *parameter = &it->parameters.entries[i]->parameter;
        const json_t *expected = json_object_get(json_object_get(it->expected, "gradients"), parameter->name);
        assert_true(parameter->constant == !expected);
        if (expected)
            assert_sums(parameter->name, gradients + parameter->offset, parameter->rows * parameter->columns, expected);
        checked += expected != NULL;
    }
    assert_int_equal(checked, json_object_size(json_object_get(it->expected, "gradients")));
}

/* The gradients of what is trained are those that all have, whether the rest is computed on the way or was before. */
static void check_last_blocks(subject *it, bool halves)
{
    td_graph graph;
    td_grid map;
    size_t checked = 0, rows = td_grid_rows(it->pictures);
    td_real *gradients = td_allocate_array(it->parameters.step_size, sizeof *gradients);
    td_graph_begin(&graph, &it->arena, true);
    graph.training = true;
    graph.gradients = gradients;
    td_tensor *x = td_tensor_of(&graph, it->pixels, rows, 3);
    if (halves) {
        td_grid middle;
        td_tensor *kept = td_cnn_frozen(it->cnn, &graph, x, it->pictures, &middle);
        assert_false(td_needs_gradient(kept));
        assert_int_equal(kept->columns, td_cnn_frozen_channels(it->cnn));
        x = td_cnn_trained(it->cnn, &graph, kept, middle, &map);
    } else
        x = td_cnn_forward(it->cnn, &graph, x, it->pictures, &map);
    assert_string_equal(graph.error.message, "");
    assert_values("last blocks", x, json_object_get(it->expected, "hidden"), 1e-4);
    td_real *dy = td_gradient(&graph, x);
    for (size_t i = 0; i < x->rows * x->columns; i++)
        dy[i] = (td_real)(sin(1.7 * (double)i + 0.3) * 0.9 + 0.3 * cos(5.1 * (double)i));
    assert_int_equal(td_backward(&graph, NULL, 0, NULL), TD_OK);
    for (size_t i = 0; i < it->parameters.count; i++) {
        const td_parameter *parameter = &it->parameters.entries[i]->parameter;
        if (parameter->constant)
            continue;
        assert_sums(parameter->name, gradients + parameter->offset, parameter->rows * parameter->columns,
                    json_object_get(json_object_get(it->expected, "gradients"), parameter->name));
        checked++;
    }
    assert_in_range(checked, 3, json_object_size(json_object_get(it->expected, "gradients")) - 3);
    td_release(gradients);
    td_arena_reset(&it->arena);
}

static void last_blocks(void **state)
{
    (void)state;
    static const char *const names[] = {"mobilenet-same", "mobilenet-even", "resnet-basic", "resnet-bottleneck"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t blocks = 1; blocks <= 3; blocks++) {
            subject it;
            print_message("%s, the last %zu\n", names[i], blocks);
            open_subject(&it, names[i], "", blocks);
            check_last_blocks(&it, false);
            check_last_blocks(&it, true);
            close_subject(&it);
        }
}

static void too_many_blocks(void **state)
{
    (void)state;
    static const char text[] = "{\"model_type\": \"tandem-cnn\", \"channels\": [4, 8]}";
    td_error error = {0};
    td_cnn *cnn = NULL;
    td_parameters parameters = {0};
    json_t *config = json_loads(text, 0, NULL);
    assert_int_equal(td_cnn_configure(config, "config.json", "", 3, &parameters, &cnn, &error), TD_ERROR_FORMAT);
    assert_string_equal(error.message, "config.json: the picture encoder has 2 blocks, of which 3 cannot be trained");
    td_parameters_free(&parameters);
    json_decref(config);
}

static void checkpoints(void **state)
{
    (void)state;
    static const char *const names[] = {"mobilenet-same", "mobilenet-even", "resnet-basic", "resnet-bottleneck", "resnet-early"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        subject it;
        print_message("%s\n", names[i]);
        open_subject(&it, names[i], "", TD_CNN_ALL);
        check_inference(&it, json_object_get(it.expected, "hidden"));
        static const size_t memory[][2] = {{1 << 26, 1 << 28}, {1, SIZE_MAX}, {1, 0}}; /* all together; one by one, kept and not */
        for (size_t k = 0; k < 3; k++) {
            td_real *gradients = td_allocate_array(it.parameters.step_size, sizeof *gradients);
            td_cnn_set_memory(it.cnn, memory[k][0], memory[k][1]);
            check_training(&it, true, gradients);
            check_gradients(&it, gradients);
            td_release(gradients);
        }
        close_subject(&it);
    }
}

enum { MANY = 7, MAP = 1 << 18 };

typedef struct outcome {
    td_real map[MAP];
    td_real *weights, *pixels;
    size_t rows, peak;
} outcome;

/* `count` pictures, each unlike the others, as a step has them: gradients of weights go to sums. */
static void go_both_ways(subject *it, size_t count, bool pixel_gradient, outcome *ret_outcome)
{
    td_graph graph;
    td_grid map, pictures = {count, it->pictures.height, it->pictures.width};
    size_t rows = td_grid_rows(pictures), weights = it->parameters.count;
    td_real *pixels = td_allocate_array(rows * 3, sizeof *pixels);
    size_t *offsets = td_allocate_array(weights + 1, sizeof *offsets);
    td_gradient_sums sums = {td_allocate_array(it->parameters.trained_size, sizeof(td_real)), weights, offsets, NULL};
    offsets[weights] = it->parameters.trained_size;
    for (size_t i = weights; i-- > 0;)
        offsets[i] = it->parameters.entries[i]->parameter.constant ? offsets[i + 1] : it->parameters.entries[i]->parameter.offset;
    assert_int_equal(td_turns_new(weights, &sums.turns, NULL), TD_OK);
    for (size_t i = 0; i < rows * 3; i++)
        pixels[i] = (td_real)(sin(1.7 * (double)i + 0.3) * 0.9 + 0.3 * cos(0.7 * (double)i));
    td_arena_free(&it->arena);
    td_graph_begin(&graph, &it->arena, true);
    graph.training = true;
    td_graph_sum_begin(&graph, &sums, 0);
    td_tensor *x = td_tensor_of(&graph, pixels, rows, 3);
    x->requires_gradient = pixel_gradient;
    td_tensor *y = td_cnn_forward(it->cnn, &graph, x, pictures, &map);
    assert_string_equal(graph.error.message, "");
    assert_true(y->rows * y->columns <= MAP);
    memcpy(ret_outcome->map, y->data, y->rows * y->columns * sizeof *y->data);
    td_real *dy = td_gradient(&graph, y);
    for (size_t i = 0; i < y->rows * y->columns; i++)
        dy[i] = (td_real)sin(1.7 * (double)i + 0.3);
    assert_int_equal(td_backward(&graph, NULL, 0, NULL), TD_OK);
    td_graph_sum_finish(&graph);
    ret_outcome->rows = rows;
    ret_outcome->peak = it->arena.peak;
    ret_outcome->pixels = pixel_gradient ? td_allocate_array(rows * 3, sizeof *pixels) : NULL;
    if (pixel_gradient)
        memcpy(ret_outcome->pixels, x->gradient, rows * 3 * sizeof *pixels);
    ret_outcome->weights = sums.sums;
    td_turns_free(sums.turns);
    td_release(offsets);
    td_release(pixels);
}

static void free_outcome(outcome *it)
{
    td_release(it->pixels);
    td_release(it->weights);
}

/* Whether results are kept or made once more changes no bit of the map and of the gradients. */
static void recomputed(void **state)
{
    (void)state;
    static const char *const names[] = {"mobilenet-same", "mobilenet-even", "resnet-basic", "resnet-bottleneck", "resnet-early"};
    static outcome kept, again;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t pixels = 0; pixels < 2; pixels++) {
            subject it;
            size_t group = pixels ? 1 << 17 : 1 << 20; /* of a picture or of several */
            open_subject(&it, names[i], "", TD_CNN_ALL);
            td_cnn_set_memory(it.cnn, group, SIZE_MAX);
            go_both_ways(&it, MANY, pixels, &kept);
            td_cnn_set_memory(it.cnn, group, 0);
            go_both_ways(&it, MANY, pixels, &again);
            print_message("%-20s %zu bytes kept, %zu made again\n", names[i], kept.peak, again.peak);
            assert_true(again.peak < kept.peak);
            assert_memory_equal(again.map, kept.map, sizeof kept.map);
            assert_memory_equal(again.weights, kept.weights, it.parameters.trained_size * sizeof *kept.weights);
            if (pixels)
                assert_memory_equal(again.pixels, kept.pixels, kept.rows * 3 * sizeof *kept.pixels);
            free_outcome(&kept);
            free_outcome(&again);
            close_subject(&it);
        }
}

/* A picture more needs hardly more than its map and the map's gradient. */
static void memory_of_a_group(void **state)
{
    (void)state;
    static outcome few, many;
    subject it;
    open_subject(&it, "mobilenet-same", "", TD_CNN_ALL);
    td_cnn_set_memory(it.cnn, 1 << 20, 1 << 20);
    td_grid map;
    assert_int_equal(td_cnn_output(it.cnn, it.pictures, &map, NULL), TD_OK);
    size_t bytes = map.height * map.width * td_cnn_channels(it.cnn) * sizeof(td_real);
    go_both_ways(&it, 60, false, &few);
    go_both_ways(&it, 160, false, &many);
    print_message("60 pictures %zu bytes, 160 pictures %zu bytes, a map %zu\n", few.peak, many.peak, bytes);
    assert_true(many.peak - few.peak < 100 * (2 * bytes + 256));
    assert_true(many.peak < 3 << 20);
    free_outcome(&few);
    free_outcome(&many);
    close_subject(&it);
}

/* Under a prefix the weights are found by their own names too; kept, they take no gradient and are saved. */
static void kept_under_a_prefix(void **state)
{
    (void)state;
    subject it;
    open_subject(&it, "resnet-basic", "encoder.", 0);
    assert_int_equal(it.parameters.trained_size, 0);
    assert_int_equal(it.parameters.step_size, 0);
    check_inference(&it, json_object_get(it.expected, "hidden"));
    char path[512];
    td_error error = {0};
    td_safetensors *file = NULL;
    snprintf(path, sizeof path, "%s/tandem-cnn-%ld.safetensors", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (long)time(NULL));
    assert_int_equal(td_parameters_save(&it.parameters, NULL, path, &error), TD_OK);
    assert_int_equal(td_safetensors_open(path, &file, &error), TD_OK);
    assert_int_equal(td_safetensors_count(file), it.parameters.count);
    assert_non_null(td_safetensors_find(file, "encoder.encoder.stages.0.layers.0.layer.0.normalization.running_mean"));
    const td_stored_tensor *stored = td_safetensors_find(file, "encoder.embedder.embedder.convolution.weight");
    assert_int_equal(stored->rank, 4);
    td_safetensors_close(file);
    remove(path);
    close_subject(&it);
}

/* Normalisation by the batch; the running statistics follow it. */
static void from_scratch(void **state)
{
    (void)state;
    subject it;
    open_subject(&it, "tandem", "", TD_CNN_ALL);
    check_inference(&it, json_object_get(it.expected, "evaluated"));
    td_real *gradients = td_allocate_array(it.parameters.step_size, sizeof *gradients);
    assert_true(it.parameters.step_size > it.parameters.trained_size);
    check_training(&it, true, gradients);
    check_gradients(&it, gradients);
    check_training(&it, true, gradients); /* the other half of the step */
    td_parameters_follow(&it.parameters, gradients);
    const char *name;
    json_t *values;
    size_t checked = 0;
    json_object_foreach(json_object_get(it.expected, "statistics"), name, values) for (size_t i = 0; i < it.parameters.count; i++)
    {
        const td_parameter *parameter = &it.parameters.entries[i]->parameter;
        if (strcmp(parameter->name, name) != 0)
            continue;
        td_tensor tensor = {.data = parameter->data, .rows = 1, .columns = parameter->columns};
        assert_values(name, &tensor, values, 1e-6);
        checked++;
    }
    assert_int_equal(checked, 6);
    td_release(gradients);
    close_subject(&it);
}

static void wrong_configurations(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "model_type"},
        {"{\"model_type\": \"vgg\"}", "mobilenet_v2, resnet, tandem-cnn"},
        {"{\"model_type\": \"mobilenet_v2\", \"output_stride\": 16}", "output_stride"},
        {"{\"model_type\": \"mobilenet_v2\", \"depth_multiplier\": -1}", "depth_multiplier"},
        {"{\"model_type\": \"mobilenet_v2\", \"num_channels\": 1}", "num_channels"},
        {"{\"model_type\": \"mobilenet_v2\", \"hidden_act\": \"mish\"}", "hidden_act"},
        {"{\"model_type\": \"resnet\"}", "hidden_sizes"},
        {"{\"model_type\": \"resnet\", \"hidden_sizes\": [8, 9], \"depths\": [1]}", "depths"},
        {"{\"model_type\": \"resnet\", \"layer_type\": \"deep\"}", "layer_type"},
        {"{\"model_type\": \"tandem-cnn\", \"channels\": [8, 1e9]}", "channels"},
        {"{\"model_type\": \"tandem-cnn\", \"channels\": [8], \"kernel_size\": 2}", "kernel_size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        td_error error = {0};
        td_parameters parameters = {0};
        td_cnn *cnn = NULL;
        json_t *config = json_loads(cases[i][0], 0, NULL);
        assert_non_null(config);
        assert_int_not_equal(td_cnn_configure(config, "config.json", "", TD_CNN_ALL, &parameters, &cnn, &error), TD_OK);
        assert_null(cnn);
        if (!strstr(error.message, "config.json") || !strstr(error.message, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], error.message);
        td_parameters_free(&parameters);
        json_decref(config);
    }
}

static void widths_of_mobilenet(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        size_t channels;
    } cases[] = {{"{\"model_type\": \"mobilenet_v2\", \"depth_multiplier\": 0.5}", 1280},
                 {"{\"model_type\": \"mobilenet_v2\", \"depth_multiplier\": 0.5, \"finegrained_output\": false}", 640},
                 {"{\"model_type\": \"mobilenet_v2\", \"depth_multiplier\": 1.4}", 1792}};
    for (size_t i = 0; i < 3; i++) {
        td_error error = {0};
        td_parameters parameters = {0};
        td_cnn *cnn;
        td_grid map;
        json_t *config = json_loads(cases[i].config, 0, NULL);
        assert_int_equal(td_cnn_configure(config, "config.json", "", TD_CNN_ALL, &parameters, &cnn, &error), TD_OK);
        assert_int_equal(td_cnn_channels(cnn), cases[i].channels);
        assert_int_equal(td_cnn_output(cnn, (td_grid){3, 224, 225}, &map, &error), TD_OK);
        assert_true(map.count == 3 && map.height == 7 && map.width == 8);
        td_cnn_free(cnn);
        td_parameters_free(&parameters);
        json_decref(config);
    }
}

static void too_small_a_picture(void **state)
{
    (void)state;
    subject it;
    td_graph graph;
    td_grid map;
    td_real pixels[3] = {0};
    td_error error = {0};
    open_subject(&it, "tandem", "", TD_CNN_ALL);
    assert_int_equal(td_cnn_output(it.cnn, (td_grid){1, 0, 4}, &map, &error), TD_ERROR_ARGUMENT);
    td_graph_begin(&graph, &it.arena, false);
    assert_null(td_cnn_forward(it.cnn, &graph, td_tensor_of(&graph, pixels, 0, 3), (td_grid){1, 0, 4}, &map));
    assert_int_equal(graph.error.status, TD_ERROR_ARGUMENT);
    close_subject(&it);
}

static float *read_floats(const char *folder, const char *name, size_t *ret_count)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    rewind(file);
    float *values = td_allocate(bytes);
    *ret_count = fread(values, sizeof *values, bytes / sizeof *values, file);
    fclose(file);
    return values;
}

static void real_weights(void **state)
{
    (void)state;
    const char *folder = getenv("TANDEM_CNN");
    if (!folder)
        skip();
    subject it;
    td_graph graph;
    td_grid map;
    size_t pixel_count = 0, hidden_count = 0;
    configure(&it, folder, "", 0);
    it.pixels = read_floats(folder, "pixels.f32", &pixel_count);
    float *hidden = read_floats(folder, "hidden.f32", &hidden_count);
    assert_non_null(it.pixels);
    assert_non_null(hidden);
    td_grid pictures = {pixel_count / (224 * 224 * 3), 224, 224};
    double fastest = 1e9, worst = 0;
    for (size_t round = 0; round < 5; round++) {
        td_arena_reset(&it.arena);
        td_graph_begin(&graph, &it.arena, false);
        double start = td_clock_seconds();
        td_tensor *y = td_cnn_forward(it.cnn, &graph, td_tensor_of(&graph, it.pixels, td_grid_rows(pictures), 3), pictures, &map);
        fastest = fmin(fastest, td_clock_seconds() - start);
        assert_string_equal(graph.error.message, "");
        assert_int_equal(y->rows * y->columns, hidden_count);
        for (size_t i = 0; i < hidden_count; i++)
            worst = fmax(worst, fabs((double)y->data[i] - (double)hidden[i]));
    }
    print_message("%zu pictures: largest difference %.1e, %.1f ms each, arena %.1f MB\n", pictures.count, worst,
                  1000 * fastest / (double)pictures.count, (double)it.arena.peak / 1e6);
    assert_true(worst < 5e-4);
    td_release(hidden);
    close_subject(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints),         cmocka_unit_test(recomputed),           cmocka_unit_test(memory_of_a_group),
        cmocka_unit_test(last_blocks),         cmocka_unit_test(too_many_blocks),      cmocka_unit_test(kept_under_a_prefix),
        cmocka_unit_test(from_scratch),        cmocka_unit_test(wrong_configurations), cmocka_unit_test(widths_of_mobilenet),
        cmocka_unit_test(too_small_a_picture), cmocka_unit_test(real_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
