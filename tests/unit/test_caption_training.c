/* Captions of made-up pictures, a shape of a colour somewhere on grey: a convolutional network learnt from scratch, and one that exists
 * and is trained on, lead to the right words for pictures not seen in training. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "io/json.h"
#include "platform/file.h"
#include "step_memory.h"
#include "tandem/training.h"

enum { SIDE = 24, SHAPE = 9, LEARNT = 240, HELD_OUT = 60 };

static const struct {
    const char *name;
    uint8_t rgb[3];
} colours[] = {{"red", {220, 40, 30}}, {"green", {30, 200, 60}}, {"blue", {40, 60, 230}}, {"yellow", {230, 220, 40}}};

static const char *const shapes[] = {"square", "cross", "frame"};

static bool covers(size_t shape, size_t y, size_t x)
{
    size_t third = SHAPE / 3;
    bool middle_row = y / third == 1, middle_column = x / third == 1;
    bool inside = y > 1 && x > 1 && y + 2 < SHAPE && x + 2 < SHAPE;
    return shape == 0 || (shape == 1 && (middle_row || middle_column)) || (shape == 2 && !inside);
}

static void draw(const char *path, size_t colour, size_t shape, td_random *random)
{
    uint8_t pixels[SIDE * SIDE * 3];
    size_t top = td_random_below(random, SIDE - SHAPE), left = td_random_below(random, SIDE - SHAPE);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(110 + td_random_below(random, 30));
    for (size_t y = 0; y < SHAPE; y++)
        for (size_t x = 0; x < SHAPE; x++)
            if (covers(shape, y, x))
                memcpy(pixels + ((top + y) * SIDE + left + x) * 3, colours[colour].rgb, 3);
    png_image image = {.version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE, .format = PNG_FORMAT_RGB};
    assert_true(png_image_write_to_file(&image, path, 0, pixels, 0, NULL));
}

static void draw_all(const char *list_path, const char *prefix, size_t count, td_random *random)
{
    td_buffer list = TD_BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        char path[32];
        size_t colour = i % 4, shape = i / 4 % 3;
        snprintf(path, sizeof path, "%s%zu.png", prefix, i);
        draw(path, colour, shape, random);
        td_buffer_format(&list, "%s\ta %s %s\n", path, colours[colour].name, shapes[shape]);
    }
    assert_int_equal(td_file_write(list_path, list.data, list.length, NULL), TD_OK);
    td_buffer_free(&list);
}

static int enter(void **state)
{
    static const char recipe[] =
        "task: caption\n"
        "data:\n"
        "  train: {source: train.tsv}\n"
        "  validation: {source: dev.tsv}\n"
        "  vocabulary: {kind: word, size: 24, normalization: identity}\n"
        "  image: {size: 24}\n"
        "model:\n"
        "  type: gru\n"
        "  attention: additive\n"
        "  encoder: {width: 32}\n"
        "  decoder: {layers: 1, width: 32}\n"
        "training: {batch_tokens: 160, shards: 1, max_steps: 160, learning_rate: 0.005, warmup_steps: 20,\n"
        "           schedule: constant, dropout: 0, label_smoothing: 0, validate_every: 40, validation_metric: exact,\n"
        "           validation_beam: 1, report_every: 40, checkpoint_every: 1000, threads: 1}\n"
        "generation: {max_length: 8}\n";
    char name[] = "/tmp/tandem-caption-XXXXXX";
    td_random random = {td_random_key(5, 0, 0), 0};
    *state = mkdtemp(name) ? strdup(name) : NULL;
    if (!*state || chdir(*state) != 0)
        return -1;
    draw_all("train.tsv", "t", LEARNT, &random);
    draw_all("dev.tsv", "d", HELD_OUT, &random);
    return td_file_write("recipe.yaml", recipe, sizeof recipe - 1, NULL) == TD_OK ? 0 : -1;
}

static int leave(void **state)
{
    td_status status = chdir("/") == 0 ? td_directory_remove(*state, NULL) : TD_ERROR_IO;
    free(*state);
    return status == TD_OK ? 0 : -1;
}

typedef struct watched {
    volatile sig_atomic_t stop;
    bool stop_early;
    td_buffer lines;
} watched;

static void watch(void *context, const char *line, bool transient)
{
    watched *it = context;
    td_buffer_format(&it->lines, "%s%s\n", transient ? "~" : "", line);
    if (it->stop_early && strstr(line, " files read"))
        it->stop = 1;
}

static td_status train(const char *const *overrides, size_t count, watched *it, td_error *error)
{
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = overrides;
    options.override_count = count;
    options.report = watch;
    options.context = it;
    options.stop = &it->stop;
    return td_train("recipe.yaml", &options, error);
}

/* Share of held-out pictures whose caption is right, in percent: the best validation of a run. */
static double best_exact(const char *const *overrides, size_t count)
{
    watched it = {.lines = TD_BUFFER_INIT};
    td_error error = {0};
    double best = 0;
    if (train(overrides, count, &it, &error) != TD_OK)
        fail_msg("%s", error.message);
    for (const char *at = td_buffer_text(&it.lines); (at = strstr(at, "exact ")); at++) {
        double score = strtod(at + 6, NULL);
        best = score > best ? score : best;
    }
    print_message("%s: %.1f %% right\n", overrides[0], best);
    assert_memory_was_foreseen(td_buffer_text(&it.lines));
    td_buffer_free(&it.lines);
    return best;
}

static void from_scratch(void **state)
{
    (void)state;
    const char *overrides[] = {"output=scratch", "model.encoder.cnn.channels=[12, 24, 32]", "model.encoder.cnn.strides=[2, 2, 1]"};
    assert_true(best_exact(overrides, 3) > 90);
    json_t *config = NULL;
    assert_int_equal(td_json_load_file("scratch/config.json", &config, NULL), TD_OK);
    const json_t *encoder = json_object_get(config, "encoder");
    assert_string_equal(json_string_value(json_object_get(encoder, "model_type")), "tandem-cnn");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(encoder, "channels"), 2)), 32);
    assert_true(json_is_false(json_object_get(config, "encoder_frozen")));
    json_decref(config);
}

static void copy(const char *from, const char *to)
{
    td_buffer bytes = TD_BUFFER_INIT;
    assert_int_equal(td_file_read(from, 0, &bytes, NULL), TD_OK);
    assert_int_equal(td_file_write(to, bytes.data, bytes.length, NULL), TD_OK);
    td_buffer_free(&bytes);
}

/* A residual network of random weights: useless until it is trained on. */
static void trained_on(void **state)
{
    (void)state;
    static const char processor[] = "{\"image_processor_type\": \"ViTImageProcessor\"}";
    assert_int_equal(td_directory_create("resnet", NULL), TD_OK);
    copy(TD_TEST_DATA "/golden/cnn/resnet-basic/config.json", "resnet/config.json");
    copy(TD_TEST_DATA "/golden/cnn/resnet-basic/model.safetensors", "resnet/model.safetensors");
    assert_int_equal(td_file_write("resnet/preprocessor_config.json", processor, sizeof processor - 1, NULL), TD_OK);
    const char *tuned[] = {"output=tuned", "model.encoder.from=resnet", "model.encoder.frozen=false", "training.max_steps=1000",
                           "data.image.size=48"};
    const char *frozen[] = {"output=frozen", "model.encoder.from=resnet", "model.encoder.frozen=true", "training.max_steps=400",
                            "data.image.size=48"};
    double without = best_exact(frozen, 5), with = best_exact(tuned, 5);
    assert_true(with > 90);
    assert_true(with > without + 10);
}

/* An encoder that is trained whole takes part in everything that a step is cut into, to the same bits on any number of threads. */
static void any_threads(void **state)
{
    (void)state;
    td_buffer models[2] = {TD_BUFFER_INIT, TD_BUFFER_INIT};
    for (size_t i = 0; i < 2; i++) {
        const char *overrides[] = {i ? "output=three" : "output=one",
                                   i ? "training.threads=3" : "training.threads=1",
                                   "model.encoder.from=resnet",
                                   "model.encoder.frozen=false",
                                   "training.shards=3",
                                   "training.accumulation=2",
                                   "training.r_drop=0.5",
                                   "training.dropout=0.2",
                                   "training.max_steps=3",
                                   "data.image.size=48"};
        watched it = {.lines = TD_BUFFER_INIT};
        td_error error = {0};
        if (train(overrides, sizeof overrides / sizeof *overrides, &it, &error) != TD_OK)
            fail_msg("%s", error.message);
        td_buffer_free(&it.lines);
        assert_int_equal(td_file_read(i ? "three/model.safetensors" : "one/model.safetensors", 0, &models[i], NULL), TD_OK);
    }
    assert_int_equal(models[0].length, models[1].length);
    assert_memory_equal(models[0].data, models[1].data, models[0].length);
    td_buffer_free(&models[0]);
    td_buffer_free(&models[1]);
}

/* The rows of a convolution of a step's pictures alone take more; what can be done follows from how much of the encoder is trained. */
static void too_large_a_step(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"model.encoder.frozen=false",
         "training.batch_tokens: a step of 160 needs more than the 2 MB of memory there are for it on 1 thread; "
         "lower it, raise training.shards, or train only its last blocks (model.encoder.frozen: true, "
         "trained_blocks)"},
        {"model.encoder.trained_blocks=3",
         "training.batch_tokens: a step of 160 needs more than the 2 MB of memory there are for it on 1 "
         "thread; lower it, raise training.shards, or train fewer blocks (model.encoder.trained_blocks)"}};
    for (size_t i = 0; i < 2; i++) {
        const char *overrides[] = {"output=large", "model.encoder.from=resnet", cases[i][0], "data.image.size=48",
                                   "training.max_memory=0.002"};
        watched it = {.lines = TD_BUFFER_INIT};
        td_error error = {0};
        assert_int_equal(train(overrides, 5, &it, &error), TD_ERROR_MEMORY);
        assert_string_equal(error.message, cases[i][1]);
        td_buffer_free(&it.lines);
    }
}

/* The frozen run's captioner goes on with two of its encoder's blocks: what comes before them is computed once, and pictures are read as
 * the first run read them. */
static void last_blocks_are_trained(void **state)
{
    (void)state;
    const char *some[] = {"output=some", "model.from=frozen", "model.encoder.trained_blocks=2", "training.max_steps=300"};
    double with = best_exact(some, 4);
    print_message("some: %.1f %%\n", with);
    json_t *config = NULL, *processor = NULL;
    assert_int_equal(td_json_load_file("some/config.json", &config, NULL), TD_OK);
    assert_int_equal(json_integer_value(json_object_get(config, "encoder_trained_blocks")), 2);
    assert_int_equal(td_json_load_file("some/preprocessor_config.json", &processor, NULL), TD_OK);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(processor, "size"), "height")), 24);
    json_decref(config);
    json_decref(processor);
}

static void preparing_can_be_stopped(void **state)
{
    (void)state;
    const char *overrides[] = {"output=stopped"};
    watched it = {.lines = TD_BUFFER_INIT, .stop_early = true};
    td_error error = {0};
    assert_int_equal(train(overrides, 1, &it, &error), TD_ERROR_CANCELLED);
    assert_string_equal(error.message, "stopped while reading the data; the same command reads it again");
    const char *first = strstr(td_buffer_text(&it.lines), "~train: 64 files read\n");
    assert_non_null(first);
    assert_null(strstr(first + strlen("~train: 64 files read\n"), "read\n")); /* and nothing after it */
    assert_false(td_file_exists("stopped/data/train.json"));
    assert_false(td_file_exists("stopped/data/train.records"));
    td_buffer_free(&it.lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(from_scratch),
                                       cmocka_unit_test(trained_on),
                                       cmocka_unit_test(any_threads),
                                       cmocka_unit_test(too_large_a_step),
                                       cmocka_unit_test(last_blocks_are_trained),
                                       cmocka_unit_test(preparing_can_be_stopped)};
    return cmocka_run_group_tests(tests, enter, leave);
}
