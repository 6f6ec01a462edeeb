/* Training is exact: the same bits on any number of threads, and after any interruption; and every rate is what the recipe says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"
#include "platform/file.h"
#include "step_memory.h"
#include "tandem/tandem.h"
#include "tandem/training.h"
#include "training/batches.h"
#include "training/optimizer.h"
#include "training/report.h"
#include "training/step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAIRS = 100 };

static void write_text(const char *path, const char *text)
{
    assert_int_equal(td_file_write(path, text, strlen(text), NULL), TD_OK);
}

/* Sources name things; the target says the same in a made-up language, last word first. */
static void write_corpus(void)
{
    static const char *const words[][2] = {{"boat", "kolo"},  {"lamp", "siri"}, {"grey", "umba"}, {"near", "tefi"},   {"stone", "parul"},
                                           {"field", "odan"}, {"cold", "weko"}, {"two", "ni"},    {"sings", "hapim"}, {"window", "lusor"}};
    td_buffer source = TD_BUFFER_INIT, target = TD_BUFFER_INIT;
    td_random random = {td_random_key(7, 0, 0), 0};
    for (int i = 0; i < PAIRS; i++) {
        size_t picked[6], count = 2 + td_random_below(&random, 4);
        for (size_t k = 0; k < count; k++) {
            picked[k] = td_random_below(&random, 10);
            td_buffer_format(&source, "%s%s", k ? " " : "", words[picked[k]][0]);
        }
        for (size_t k = count; k-- > 0;)
            td_buffer_format(&target, "%s%s", words[picked[k]][1], k ? " " : "");
        td_buffer_text_append(&source, "\n");
        td_buffer_text_append(&target, "\n");
    }
    write_text("train.a", td_buffer_text(&source));
    write_text("train.b", td_buffer_text(&target));
    td_buffer_free(&source);
    td_buffer_free(&target);
    write_text("recipe.yaml", "data:\n"
                              "  train: {source: train.a, target: train.b}\n"
                              "  vocabulary: {kind: bpe, size: 60}\n"
                              "model:\n"
                              "  encoder: {layers: 1, width: 16, heads: 2, feed_forward: 32}\n"
                              "training:\n"
                              "  batch_tokens: 150\n"
                              "  max_steps: 30\n"
                              "  warmup_steps: 5\n"
                              "  learning_rate: 0.01\n"
                              "  checkpoint_every: 10\n"
                              "  report_every: 3\n");
}

static int enter(void **state)
{
    /* In memory where there is such a place: runs sync what they write. */
    char name[] = "/dev/shm/tandem-training-XXXXXX", elsewhere[] = "/tmp/tandem-training-XXXXXX";
    const char *made = access("/dev/shm", W_OK) == 0 ? mkdtemp(name) : mkdtemp(elsewhere);
    *state = made ? strdup(made) : NULL;
    if (!*state || chdir(*state) != 0)
        return -1;
    write_corpus();
    return 0;
}

static int leave(void **state)
{
    td_status status = chdir("/") == 0 ? td_directory_remove(*state, NULL) : TD_ERROR_IO;
    free(*state);
    return status == TD_OK ? 0 : -1;
}

typedef struct run_plan {
    const char *extra[8];   /* overrides, NULL ends them */
    int64_t stop_after[16]; /* reports of a step until the flag is set, for each start; 0: none */
} run_plan;

typedef struct run_watch {
    volatile sig_atomic_t stop;
    int64_t left; /* steps until the flag is set; negative: never */
} run_watch;

static void watch_step(void *context, const char *line, bool transient)
{
    run_watch *watch = context;
    if (!transient && !strstr(line, "step"))
        return;
    if (watch->left > 0 && --watch->left == 0)
        watch->stop = 1;
}

static td_status start(const char *output, const char *const *extra, int64_t stop_after, td_error *error)
{
    char where[128];
    const char *overrides[10] = {where};
    size_t count = 1;
    snprintf(where, sizeof where, "output=%s", output);
    for (; extra && *extra; extra++)
        overrides[count++] = *extra;
    run_watch watch = {0, stop_after ? stop_after : -1};
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = overrides;
    options.override_count = count;
    options.report = watch_step;
    options.context = &watch;
    options.stop = &watch.stop;
    return td_train("recipe.yaml", &options, error);
}

static void train(const char *output, const char *const *extra)
{
    td_error error = {0};
    td_status status = start(output, extra, 0, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, TD_OK);
}

static void assert_same_file(const char *left, const char *right, const char *name)
{
    char path[256];
    td_buffer a = TD_BUFFER_INIT, b = TD_BUFFER_INIT;
    snprintf(path, sizeof path, "%s/%s", left, name);
    assert_int_equal(td_file_read(path, 0, &a, NULL), TD_OK);
    snprintf(path, sizeof path, "%s/%s", right, name);
    assert_int_equal(td_file_read(path, 0, &b, NULL), TD_OK);
    if (a.length != b.length || memcmp(a.data, b.data, a.length) != 0)
        fail_msg("%s/%s differs from %s", left, name, path);
    td_buffer_free(&a);
    td_buffer_free(&b);
}

static void assert_same_run(const char *left, const char *right)
{
    assert_same_file(left, right, "model.safetensors");
    assert_same_file(left, right, "checkpoints/step-30/model.safetensors");
    assert_same_file(left, right, "checkpoints/step-30/optimizer.safetensors");
}

static const char *const dropped[] = {"data.bpe_dropout=0.2",
                                      "training.word_dropout=0.1",
                                      "training.accumulation=2",
                                      "training.ema=0.9",
                                      "training.scheduled_sampling=0.5",
                                      "training.average_last=2",
                                      NULL};

static void test_threads(void **state)
{
    (void)state;
    const char *one[8], *many[8];
    for (int with = 0; with < 2; with++) {
        size_t count = 0;
        for (; with && dropped[count]; count++)
            one[count] = many[count] = dropped[count];
        one[count + 1] = many[count + 1] = NULL;
        one[count] = "training.threads=1";
        train(with ? "d1" : "p1", one);
        many[count] = "training.threads=2";
        train(with ? "d2" : "p2", many);
        many[count] = "training.threads=4";
        train(with ? "d4" : "p4", many);
        assert_same_run(with ? "d1" : "p1", with ? "d2" : "p2");
        assert_same_run(with ? "d1" : "p1", with ? "d4" : "p4");
    }
}

/* The numbers of the log that do not tell the time. */
static void read_log(const char *output, td_buffer *text)
{
    char path[256], line[1024];
    snprintf(path, sizeof path, "%s/log.jsonl", output);
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    while (fgets(line, sizeof line, stream)) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        json_object_del(object, "tokens_per_second");
        char *dumped = json_dumps(object, JSON_SORT_KEYS);
        td_buffer_format(text, "%s\n", dumped);
        free(dumped);
        json_decref(object);
    }
    fclose(stream);
}

static void interrupt_and_compare(const char *whole, const char *broken, const char *const *extra, uint64_t seed)
{
    td_random random = {td_random_key(seed, 1, 2), 0};
    td_error error = {0};
    td_status status;
    int starts = 0;
    train(whole, extra);
    do {
        int64_t steps = 1 + (int64_t)td_random_below(&random, 9);
        status = start(broken, extra, steps, &error);
        assert_true(status == TD_OK || status == TD_ERROR_CANCELLED);
    } while (status != TD_OK && ++starts < 40);
    assert_int_equal(status, TD_OK);
    assert_true(starts >= 3);
    assert_same_run(whole, broken);
    td_buffer a = TD_BUFFER_INIT, b = TD_BUFFER_INIT;
    read_log(whole, &a);
    read_log(broken, &b);
    assert_string_equal(td_buffer_text(&a), td_buffer_text(&b));
    td_buffer_free(&a);
    td_buffer_free(&b);
}

static void test_stop_and_resume(void **state)
{
    (void)state;
    interrupt_and_compare("whole", "broken", NULL, 1);
    interrupt_and_compare("whole2", "broken2", dropped, 2);
    static const char *const rounded[] = {"training.precision=bfloat16", "training.schedule=cosine", "training.optimizer=adamw",
                                          "training.weight_decay=0.1", NULL};
    interrupt_and_compare("whole3", "broken3", rounded, 3);
}

static td_recipe *recipe_with(const char *const *settings)
{
    td_recipe *recipe;
    assert_int_equal(td_recipe_new(&recipe, NULL), TD_OK);
    for (; *settings; settings++)
        assert_int_equal(td_recipe_set(recipe, *settings, NULL), TD_OK);
    return recipe;
}

/* By hand, for a peak of 0.8, 4 steps of warm-up and 20 in all. */
static void test_schedules(void **state)
{
    (void)state;
    static const struct {
        const char *schedule;
        double floor, at2, at4, at12, at16, at20;
    } rows[] = {
        {"inverse-sqrt", 0, 0.4, 0.8, 0.46188021535170065, 0.4, 0.35777087639996635}, /* 0.8 sqrt(4 / step) */
        {"linear", 0, 0.4, 0.8, 0.4, 0.2, 0},
        {"linear", 0.2, 0.4, 0.8, 0.5, 0.35, 0.2},
        {"cosine", 0, 0.4, 0.8, 0.4, 0.11715728752538100, 0}, /* at 16: 0.4 (1 - sqrt(1/2)) */
        {"cosine", 0.2, 0.4, 0.8, 0.5, 0.28786796564403575, 0.2},
        {"constant", 0, 0.4, 0.8, 0.8, 0.8, 0.8},
        {"plateau", 0, 0.4, 0.8, 0.2, 0.2, 0.2}, /* halved twice */
        {"plateau", 0.3, 0.4, 0.8, 0.3, 0.3, 0.3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char schedule[64], floor[64];
        snprintf(schedule, sizeof schedule, "training.schedule=%s", rows[i].schedule);
        snprintf(floor, sizeof floor, "training.minimum_learning_rate=%g", rows[i].floor);
        const char *settings[] = {schedule, floor, "training.learning_rate=0.8", "training.warmup_steps=4", "training.max_steps=20", NULL};
        td_recipe *recipe = recipe_with(settings);
        td_optimizer fresh = {.plateau_factor = 1}, worn = {.plateau_factor = 0.25};
        assert_float_equal(td_learning_rate(recipe, &fresh, 2), rows[i].at2, 1e-9);
        assert_float_equal(td_learning_rate(recipe, &fresh, 4), rows[i].at4, 1e-9);
        assert_float_equal(td_learning_rate(recipe, &worn, 12), rows[i].at12, 1e-9);
        assert_float_equal(td_learning_rate(recipe, &worn, 16), rows[i].at16, 1e-9);
        assert_float_equal(td_learning_rate(recipe, &worn, 20), rows[i].at20, 1e-9);
        td_recipe_free(recipe);
    }
}

/* One update of a matrix and a vector, each of one element, from weight 1 and gradient 0.5, decay 0.1 and rate 0.01. */
static void test_optimizers(void **state)
{
    (void)state;
    static const struct {
        const char *optimizer;
        double matrix, vector;
    } rows[] = {
        {"adam", 0.99, 0.99},   /* the first step is the rate times the sign */
        {"adamw", 0.989, 0.99}, /* and 0.01 * 0.1 * 1 apart from it */
        {"sgd", 0.994, 0.995},  /* 0.01 (0.5 + 0.1) and 0.01 * 0.5 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char optimizer[64];
        snprintf(optimizer, sizeof optimizer, "training.optimizer=%s", rows[i].optimizer);
        const char *settings[] = {optimizer,
                                  "training.weight_decay=0.1",
                                  "training.learning_rate=0.01",
                                  "training.warmup_steps=0",
                                  "training.schedule=constant",
                                  "training.clip_norm=0",
                                  NULL};
        td_recipe *recipe = recipe_with(settings);
        td_parameters parameters = {0};
        td_parameter *matrix = td_parameters_declare(&parameters, 1, 1, TD_INIT_ONE, 0, "matrix");
        td_parameter *vector = td_parameters_declare(&parameters, 1, 0, TD_INIT_ONE, 0, "vector");
        assert_int_equal(td_parameters_allocate(&parameters, NULL), TD_OK);
        td_parameters_initialise(&parameters, 1);
        td_real gradient[64];
        for (size_t k = 0; k < 64; k++)
            gradient[k] = (td_real)0.5;
        td_pool *pool;
        td_optimizer made;
        assert_int_equal(td_pool_new(1, NULL, &pool, NULL), TD_OK);
        assert_int_equal(td_optimizer_new(recipe, &parameters, &made, NULL), TD_OK);
        assert_float_equal(td_optimizer_update(&made, recipe, pool, parameters.data, gradient, 1), 0.01, 1e-12);
        assert_float_equal(matrix->data[0], rows[i].matrix, 1e-6);
        assert_float_equal(vector->data[0], rows[i].vector, 1e-6);
        td_optimizer_free(&made);
        td_pool_free(pool);
        td_parameters_free(&parameters);
        td_recipe_free(recipe);
    }
}

static size_t count_matches(const char *directory)
{
    td_model *model;
    td_session *session;
    assert_int_equal(td_model_open(directory, NULL, &model, NULL), TD_OK);
    assert_int_equal(td_session_new(model, NULL, &session, NULL), TD_OK);
    FILE *sources = fopen("train.a", "r"), *targets = fopen("train.b", "r");
    char source[256], target[256];
    size_t matches = 0;
    while (fgets(source, sizeof source, sources) && fgets(target, sizeof target, targets)) {
        source[strcspn(source, "\n")] = target[strcspn(target, "\n")] = 0;
        td_generate_options options = TD_GENERATE_OPTIONS_INIT;
        options.beam = 1;
        td_result *result;
        assert_int_equal(td_generate_text(session, source, &options, &result, NULL), TD_OK);
        matches += strcmp(td_result_text(result, 0, 0), target) == 0;
        td_result_free(result);
    }
    fclose(sources);
    fclose(targets);
    td_session_free(session);
    td_model_close(model);
    return matches;
}

static void test_convergence(void **state)
{
    (void)state;
    static const char *const transformer[] = {"training.max_steps=400",
                                              "training.batch_tokens=2000",
                                              "model.encoder.width=32",
                                              "training.dropout=0",
                                              "training.label_smoothing=0",
                                              "training.checkpoint_every=1000",
                                              NULL};
    train("fit", transformer);
    assert_true(count_matches("fit") >= 95);
    static const char *const lstm[] = {"training.max_steps=400",
                                       "training.batch_tokens=2000",
                                       "model.type=lstm",
                                       "model.encoder.width=32",
                                       "training.dropout=0",
                                       "training.label_smoothing=0",
                                       "training.schedule=constant",
                                       NULL};
    train("fit-lstm", lstm);
    assert_true(count_matches("fit-lstm") >= 95);
}

static void last_of_log(const char *output, const char *key, json_int_t *ret_step, double *ret_value)
{
    td_buffer text = TD_BUFFER_INIT;
    read_log(output, &text);
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *object = json_loads(line, 0, NULL);
        if (json_object_get(object, key)) {
            *ret_step = json_integer_value(json_object_get(object, "step"));
            *ret_value = json_number_value(json_object_get(object, key));
        }
        json_decref(object);
    }
    td_buffer_free(&text);
}

/* max_epochs ends after the last batch of the epoch; patience after so many validations without progress, each of which halves the
 * plateau's rate. */
static void test_ends(void **state)
{
    (void)state;
    static const char *const epochs[] = {"training.max_steps=0", "training.max_epochs=2", "training.batch_tokens=100000", NULL};
    json_int_t step = 0;
    double value = 0;
    train("epochs", epochs);
    last_of_log("epochs", "loss", &step, &value);
    assert_int_equal(step, 2); /* one batch holds all */
    static const char *const patience[] = {
        "data.validation.source=train.a", "data.validation.target=train.b", "training.max_steps=0",      "training.patience=3",
        "training.validate_every=2",      "training.learning_rate=100",     "training.schedule=plateau", NULL};
    train("patience", patience);
    last_of_log("patience", "validation_loss", &step, &value);
    assert_true(step >= 8 && step % 2 == 0);
}

typedef struct step_world {
    td_tokenizer *tokenizer;
    td_corpus corpus;
    td_network network;
    td_pool *pool;
    td_stepper *stepper;
} step_world;

/* What a run over `output` steps with, weights anew. */
static void open_world(const char *output, step_world *world)
{
    char path[64];
    json_t *config;
    snprintf(path, sizeof path, "%s/config.json", output);
    assert_int_equal(td_json_load_file(path, &config, NULL), TD_OK);
    assert_int_equal(td_network_configure(config, path, &world->network, NULL), TD_OK);
    json_decref(config);
    td_parameters_initialise(&world->network.parameters, 3);
    assert_int_equal(td_tokenizer_open(output, &world->tokenizer, NULL), TD_OK);
    snprintf(path, sizeof path, "%s/data", output);
    assert_int_equal(td_corpus_open(path, "train", 0, &world->corpus, NULL), TD_OK);
    assert_int_equal(td_pool_new(1, NULL, &world->pool, NULL), TD_OK);
    td_step_options options = {
        .network = &world->network, .tokenizer = world->tokenizer, .corpus = &world->corpus, .shards = 4, .seed = 1, .bpe_dropout = 0.9};
    assert_int_equal(td_stepper_new(&options, world->pool, &world->stepper, NULL), TD_OK);
}

static void close_world(step_world *world)
{
    td_stepper_free(world->stepper);
    td_pool_free(world->pool);
    td_corpus_close(&world->corpus);
    td_tokenizer_free(world->tokenizer);
    td_network_free(&world->network);
}

/* Mean loss of a fixed step where the weights are moved along `direction`. */
static double loss_along(step_world *world, const td_real *direction, double distance, td_real *gradient, uint64_t *ret_tokens)
{
    enum { COUNT = 20 };
    uint64_t indices[COUNT];
    td_parameters *parameters = &world->network.parameters;
    td_step_result result;
    for (uint64_t i = 0; i < COUNT; i++)
        indices[i] = i;
    for (size_t i = 0; direction && i < parameters->trained_size; i++)
        parameters->data[i] += (td_real)distance * direction[i];
    assert_int_equal(td_stepper_run(world->stepper, 5, indices, COUNT, gradient, &result, NULL), TD_OK);
    for (size_t i = 0; direction && i < parameters->trained_size; i++)
        parameters->data[i] -= (td_real)distance * direction[i];
    *ret_tokens = result.target_tokens;
    return result.loss / (double)result.target_tokens;
}

/* The gradient is of the mean over the tokens that the sampled segmentation made, which are more than the plain one's. */
static void test_sampled_gradient(void **state)
{
    (void)state;
    static const char *const sampled[] = {"data.bpe_dropout=0.1", "training.max_steps=1", NULL};
    step_world world;
    uint64_t seen, plain = 0;
    train("sampled", sampled);
    open_world("sampled", &world);
    size_t size = world.network.parameters.trained_size;
    td_real *gradient = calloc(size, sizeof *gradient), *unused = calloc(size, sizeof *unused);
    loss_along(&world, NULL, 0, gradient, &seen);
    for (size_t i = 0, source, target; i < 20; i++) {
        td_corpus_lengths(&world.corpus, i, &source, &target);
        plain += target;
    }
    assert_true(seen > plain + plain / 5);
    double square = 0, distance = 0.01;
    for (size_t i = 0; i < size; i++)
        square += (double)gradient[i] * (double)gradient[i];
    double slope =
        (loss_along(&world, gradient, distance, unused, &seen) - loss_along(&world, gradient, -distance, unused, &seen)) / (2 * distance);
    assert_true(fabs(slope / square - 1) < 0.03);
    free(gradient);
    free(unused);
    close_world(&world);
}

/* Probability 0 is the key not given; above it other inputs are learnt from, the same each time. */
static void test_scheduled_sampling(void **state)
{
    (void)state;
    static const char *const none[] = {"training.scheduled_sampling=0", NULL}, *const some[] = {"training.scheduled_sampling=0.5", NULL};
    train("s", NULL);
    train("s0", none);
    train("s5", some);
    train("s5again", some);
    assert_same_run("s", "s0");
    assert_same_run("s5", "s5again");
    td_buffer a = TD_BUFFER_INIT, b = TD_BUFFER_INIT;
    assert_int_equal(td_file_read("s/model.safetensors", 0, &a, NULL), TD_OK);
    assert_int_equal(td_file_read("s5/model.safetensors", 0, &b, NULL), TD_OK);
    assert_true(a.length == b.length && memcmp(a.data, b.data, a.length) != 0);
    td_buffer_free(&a);
    td_buffer_free(&b);
}

static void keep_line(void *context, const char *line, bool transient)
{
    if (!transient)
        td_buffer_format(context, "%s\n", line);
}

/* What a run says, which the caller frees. */
static td_buffer train_aloud(const char *const *overrides, size_t count)
{
    td_buffer lines = TD_BUFFER_INIT;
    td_error error;
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = overrides;
    options.override_count = count;
    options.report = keep_line;
    options.context = &lines;
    if (td_train("recipe.yaml", &options, &error) != TD_OK)
        fail_msg("%s", error.message);
    return lines;
}

static void assert_says(td_buffer *lines, const char *what, bool expected)
{
    if (!strstr(td_buffer_text(lines), what) == expected)
        fail_msg("\"%s\" should %sbe in:\n%s", what, expected ? "" : "not ", td_buffer_text(lines));
    td_buffer_free(lines);
}

/* A run that goes on with other data or in another order says so, and only then. */
static void test_changes_are_said(void **state)
{
    (void)state;
    const char *overrides[] = {"output=changes", "training.max_steps=10", "training.learning_rate=0.01"};
    td_buffer lines = train_aloud(overrides, 3);
    assert_null(strstr(td_buffer_text(&lines), "best at step")); /* nothing was validated */
    assert_says(&lines, "goes on", false);
    overrides[1] = "training.max_steps=12";
    overrides[2] = "training.learning_rate=0.02";
    lines = train_aloud(overrides, 3);
    assert_says(&lines, "goes on", false);
    overrides[1] = "training.max_steps=14";
    overrides[2] = "training.seed=5";
    lines = train_aloud(overrides, 3);
    assert_null(strstr(td_buffer_text(&lines), "the files"));
    assert_says(&lines, "training.seed has changed: the run goes on from its last step", true);
    td_buffer text = TD_BUFFER_INIT;
    assert_int_equal(td_file_read("train.a", 0, &text, NULL), TD_OK);
    td_buffer_text_append(&text, "boat\n");
    write_text("other.a", td_buffer_text(&text));
    td_buffer_clear(&text);
    assert_int_equal(td_file_read("train.b", 0, &text, NULL), TD_OK);
    td_buffer_text_append(&text, "kolo\n");
    write_text("other.b", td_buffer_text(&text));
    td_buffer_free(&text);
    const char *other[] = {"output=changes",
                           "training.max_steps=16",
                           "training.seed=5",
                           "data.train.source=other.a",
                           "data.train.target=other.b",
                           "data.validation.source=train.a",
                           "data.validation.target=train.b"};
    lines = train_aloud(other, 7);
    assert_non_null(strstr(td_buffer_text(&lines), "best at step 16"));
    assert_null(strstr(td_buffer_text(&lines), "validation: the files")); /* there were none */
    assert_says(&lines, "train: the files are not those of the run so far", true);
}

static void test_memory_is_foreseen(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const char *overrides[] = {i ? "output=m2" : "output=m1",
                                   "training.threads=2",
                                   "data.validation.source=train.a",
                                   "data.validation.target=train.b",
                                   "training.validate_every=10",
                                   i ? "model.type=lstm" : "training.r_drop=0.5",
                                   i ? "model.attention=general" : "training.dropout=0.1"};
        td_buffer lines = train_aloud(overrides, 7);
        assert_memory_was_foreseen(td_buffer_text(&lines));
        td_buffer_free(&lines);
    }
}

/* Before the first step, and with what would help. */
static void test_too_large_a_step(void **state)
{
    (void)state;
    static const struct {
        const char *threads, *message;
    } cases[] = {{"training.threads=1", "training.batch_tokens: a step of 4000 needs more than the 1 MB of memory there are for it on 1 "
                                        "thread; lower it, raise training.shards"},
                 {"training.threads=3", "training.batch_tokens: a step of 4000 needs more than the 1 MB of memory there are for it on 3 "
                                        "threads; lower it, raise training.shards, lower training.threads"}};
    const char *limited[] = {"training.max_memory=0.001", "training.batch_tokens=4000", NULL, NULL};
    for (size_t i = 0; i < 2; i++) {
        td_error error = {0};
        limited[2] = cases[i].threads;
        assert_int_equal(start("limited", limited, 0, &error), TD_ERROR_MEMORY);
        assert_string_equal(error.message, cases[i].message);
        assert_false(td_file_exists("limited/model.safetensors"));
    }
    const char *enough[] = {"training.max_memory=1", "training.batch_tokens=4000", "training.threads=2", "training.max_steps=2", NULL};
    const char *unlimited[] = {"training.batch_tokens=4000", "training.threads=2", "training.max_steps=2", NULL};
    train("limited", enough);
    train("unlimited", unlimited);
    assert_same_file("limited", "unlimited", "model.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_optimizers),
        cmocka_unit_test_setup_teardown(test_threads, enter, leave),
        cmocka_unit_test_setup_teardown(test_stop_and_resume, enter, leave),
        cmocka_unit_test_setup_teardown(test_ends, enter, leave),
        cmocka_unit_test_setup_teardown(test_scheduled_sampling, enter, leave),
        cmocka_unit_test_setup_teardown(test_sampled_gradient, enter, leave),
        cmocka_unit_test_setup_teardown(test_convergence, enter, leave),
        cmocka_unit_test_setup_teardown(test_changes_are_said, enter, leave),
        cmocka_unit_test_setup_teardown(test_memory_is_foreseen, enter, leave),
        cmocka_unit_test_setup_teardown(test_too_large_a_step, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
