/* Decoding with models of true size and random weights: outputs of a forced length, so that every program does the same
 * work. */
#include "bench.h"

#include <api/model.h>
#include <decoding/generate.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <platform/thread.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem/tandem.h>
#include <time.h>

enum { MEAN_LENGTH = 24, TOGETHER = 32, SOURCES = 256, ALONE = 8, OUTPUT = 26 };

enum { LONGEST_OUTPUT = 2 * OUTPUT };

typedef struct decode_run {
    td_model *model;
    td_search *search; /* on one thread */
    td_search *shared; /* on all threads, for one sentence at a time; NULL: there is one thread */
    td_generation generation;
    int32_t ids[SOURCES][MEAN_LENGTH * 2];
    size_t length[SOURCES];
    td_features picture; /* of models that read one: every source is it */
    size_t next, last, tokens;
    pthread_mutex_t mutex; /* of what the searches of several threads share */
    td_search_options options;
    int32_t outputs[SOURCES][LONGEST_OUTPUT];
    size_t output_length[SOURCES];
} decode_run;

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Lengths of 12 to 36 with the end token, the same everywhere. Two neighbours have twice the mean, so that a batch of so many tokens is one
 * of so many sentences. */
static void make_sources(decode_run *run)
{
    uint32_t state = 7;
    for (size_t i = 0; i < SOURCES; i++) {
        run->length[i] = i % 2 ? 2 * MEAN_LENGTH - run->length[i - 1] : MEAN_LENGTH / 2 + draw(&state) % (MEAN_LENGTH + 1);
        for (size_t k = 0; k + 1 < run->length[i]; k++)
            run->ids[i][k] = (int32_t)(2 + draw(&state) % 30000);
        run->ids[i][run->length[i] - 1] = 0;
    }
}

bool bench_write_sources(const char *path)
{
    static decode_run run;
    FILE *file = fopen(path, "w");
    make_sources(&run);
    for (size_t i = 0; file && i < SOURCES; i++)
        for (size_t k = 0; k < run.length[i]; k++)
            fprintf(file, "%d%c", run.ids[i][k], k + 1 < run.length[i] ? ' ' : '\n');
    return file && fclose(file) == 0;
}

static td_status next_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    decode_run *run = context;
    pthread_mutex_lock(&run->mutex);
    *ret_given = run->next < run->last;
    *ret_index = run->next;
    run->next += *ret_given;
    pthread_mutex_unlock(&run->mutex);
    if (*ret_given && run->picture.rows)
        *ret_source = (td_source){.features = run->picture.data, .length = run->picture.rows, .width = run->picture.width};
    else if (*ret_given)
        *ret_source = (td_source){.ids = run->ids[*ret_index], .length = run->length[*ret_index]};
    return TD_OK;
}

static td_status finished(void *context, size_t index, const td_output *output, td_error *error)
{
    (void)error;
    decode_run *run = context;
    const td_hypothesis *best = &output->hypotheses[0];
    size_t count = best->count < LONGEST_OUTPUT ? best->count : LONGEST_OUTPUT;
    pthread_mutex_lock(&run->mutex);
    run->tokens += best->count;
    memcpy(run->outputs[index], best->ids, count * sizeof *best->ids);
    run->output_length[index] = count;
    pthread_mutex_unlock(&run->mutex);
    return TD_OK;
}

static td_status decode(decode_run *run, td_search *search, size_t first, size_t last, td_error *error)
{
    td_generate_callbacks callbacks = {run, next_source, finished, NULL};
    run->next = first;
    run->last = last;
    return td_generate(search, &run->generation, &callbacks, error);
}

/* 224 pixels square, the same everywhere. */
static td_status make_picture(decode_run *run, td_error *error)
{
    enum { SIDE = 224 };
    static uint8_t pixels[SIDE * SIDE * 3];
    const td_frontend *frontend = &run->model->frontend;
    if (run->model->network.architecture->source != TD_IMAGE)
        return TD_OK;
    if (!frontend->kind)
        return td_fail(error, run->model->frontend_error.status, "%s", run->model->frontend_error.message);
    uint32_t state = 7;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)draw(&state);
    td_raw_picture picture = {pixels, SIDE, SIDE, 3};
    return frontend->kind->take_picture(frontend->state, &picture, &run->picture, error);
}

static td_status prepare(const bench_settings *settings, const char *shape, const char *precision, int beam, decode_run *run,
                         td_error *error)
{
    char directory[512];
    bool int8 = strcmp(precision, "int8") == 0;
    if (!bench_random_model(settings, shape, int8, directory, sizeof directory))
        return td_fail(error, TD_ERROR_IO, "the model could not be written");
    td_model_options options = TD_MODEL_OPTIONS_INIT;
    options.precision = precision;
    make_sources(run);
    TD_TRY(td_model_open(directory, &options, &run->model, error));
    TD_TRY(make_picture(run, error));
    run->generation = run->model->generation;
    run->generation.num_beams = (size_t)beam;
    run->generation.min_length = run->generation.max_length = OUTPUT + 1; /* with the start token */
    run->generation.forced_eos_token_id =
        (td_id_list){0}; /* CTranslate2 does not end what the length cuts: 26 words, none of them the end */
    td_search_options search = run->options = (td_search_options){.batch_tokens = (size_t)beam * MEAN_LENGTH * TOGETHER};
    TD_TRY(td_search_new(&run->model->network, &search, &run->search, error));
    search.threads = (size_t)settings->threads;
    return settings->threads > 1 ? td_search_new(&run->model->network, &search, &run->shared, error) : TD_OK;
}

static td_status measure_alone(decode_run *run, td_search *search, const char *name, bench_result *result, td_error *error)
{
    TD_TRY(decode(run, search, 0, 1, error));
    run->tokens = 0;
    double start = bench_seconds(), cpu = cpu_seconds();
    for (size_t i = 0; i < ALONE; i++)
        TD_TRY(decode(run, search, i, i + 1, error));
    bench_add(result, "tokens/s", (double)run->tokens / (bench_seconds() - start), "%s", name);
    if (search == run->search)
        bench_add(result, "tokens/s", (double)run->tokens / (cpu_seconds() - cpu), "the same, of processor time");
    return TD_OK;
}

/* One of several threads, each with a search of its own, that take sentences until there are none; NULL when all went well. */
static void *decode_share(void *context)
{
    decode_run *run = context;
    td_generate_callbacks callbacks = {run, next_source, finished, NULL};
    td_search *search = NULL;
    td_error error;
    bool done = td_search_new(&run->model->network, &run->options, &search, &error) == TD_OK &&
                td_generate(search, &run->generation, &callbacks, &error) == TD_OK;
    td_search_free(search);
    return done ? NULL : context;
}

/* Sets the peak that the system counts back to what is in use now; where it cannot, later peaks are the larger of both. */
static void forget_peak(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

/* As many sentences at once as on one thread, each thread a part of them: so the memory is of the same work. */
static td_status measure_threads(const bench_settings *settings, decode_run *run, bench_result *result, td_error *error)
{
    if (settings->threads == 1)
        return TD_OK;
    forget_peak();
    run->tokens = run->next = 0;
    run->last = SOURCES;
    run->options.batch_tokens /= (size_t)settings->threads;
    double start = bench_seconds();
    TD_TRY(td_threads_run((size_t)settings->threads, decode_share, run, error));
    bench_add(result, "tokens/s", (double)run->tokens / (bench_seconds() - start), "together, %d on each of %d threads",
              TOGETHER / settings->threads, settings->threads);
    bench_add_memory(result, "peak memory of all threads");
    return run->next == SOURCES ? TD_OK : td_fail(error, TD_ERROR_INTERNAL, "a thread stopped early");
}

static td_status measure_one_thread(decode_run *run, bench_result *result, td_error *error)
{
    forget_peak();
    run->tokens = 0;
    double start = bench_seconds(), cpu = cpu_seconds();
    TD_TRY(decode(run, run->search, 0, SOURCES, error));
    bench_add(result, "tokens/s", (double)run->tokens / (bench_seconds() - start), "%d sentences together", TOGETHER);
    bench_add(result, "tokens/s", (double)run->tokens / (cpu_seconds() - cpu), "together, of processor time");
    bench_add_memory(result, "peak memory of one thread");
    return TD_OK;
}

static void release_searches(decode_run *run)
{
    td_search_free(run->search);
    td_search_free(run->shared);
    run->search = run->shared = NULL;
}

/* For the peer to compare: the ids of each sentence on a line. */
static td_status write_outputs(const bench_settings *settings, const decode_run *run, td_error *error)
{
    char path[600];
    snprintf(path, sizeof path, "%s/outputs", settings->directory);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; file && i < SOURCES; i++)
        for (size_t k = 0; k < run->output_length[i]; k++)
            fprintf(file, "%d%c", run->outputs[i][k], k + 1 < run->output_length[i] ? ' ' : '\n');
    return file && fclose(file) == 0 ? TD_OK : td_fail(error, TD_ERROR_IO, "cannot write %s", path);
}

/* variant: "SHAPE PRECISION BEAM" */
static td_status measure(const bench_settings *settings, const char *variant, decode_run *run, bench_result *result, td_error *error)
{
    char shape[32], precision[16];
    int beam;
    if (sscanf(variant, "%31s %15s %d", shape, precision, &beam) != 3)
        return td_fail(error, TD_ERROR_ARGUMENT, "no such case");
    double start = bench_seconds();
    TD_TRY(prepare(settings, shape, precision, beam, run, error));
    start = bench_seconds();
    TD_TRY(decode(run, run->search, 0, 1, error));
    bench_add(result, "ms", 1e3 * (bench_seconds() - start), "first sentence");
    if (run->shared)
        TD_TRY(measure_alone(run, run->shared, "a sentence at a time, all threads", result, error));
    TD_TRY(measure_alone(run, run->search, "a sentence at a time", result, error));
    TD_TRY(measure_one_thread(run, result, error));
    release_searches(run);
    TD_TRY(measure_threads(settings, run, result, error));
    return write_outputs(settings, run, error);
}

static void release(decode_run *run)
{
    release_searches(run);
    td_model_close(run->model);
    td_features_free(&run->picture);
    free(run);
}

void bench_decode(const bench_settings *settings, const char *variant, bench_result *result)
{
    td_error error;
    decode_run *run = calloc(1, sizeof *run);
    if (!run)
        return bench_fail(result, "out of memory");
    pthread_mutex_init(&run->mutex, NULL);
    if (measure(settings, variant, run, result, &error) != TD_OK)
        bench_fail(result, "%s", error.message);
    release(run);
}

/* From nothing to the first token, the model read from an int8 directory. */
void bench_open(const bench_settings *settings, const char *shape, bench_result *result)
{
    char directory[512];
    decode_run *run = calloc(1, sizeof *run);
    td_error error;
    if (!run || !bench_random_model(settings, shape, true, directory, sizeof directory)) {
        free(run);
        return bench_fail(result, "the model could not be written");
    }
    pthread_mutex_init(&run->mutex, NULL);
    double start = bench_seconds(), cpu = cpu_seconds();
    td_status status = prepare(settings, shape, "int8", 1, run, &error);
    if (status == TD_OK)
        status = decode(run, run->shared ? run->shared : run->search, 0, 1, &error);
    bench_add(result, "ms", 1e3 * (bench_seconds() - start), "opening and the first sentence");
    bench_add(result, "ms", 1e3 * (cpu_seconds() - cpu), "the same, processor time");
    if (status != TD_OK)
        bench_fail(result, "%s", error.message);
    release(run);
}
