/* How time and memory grow with the source's length, the beam, the batch, the vocabulary and the threads, for a small random
 * Transformer. A value is a case, in a process of its own, so that its memory is its own too. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem/tandem.h>
#include <time.h>

enum { SOURCE = 32, OUTPUT = 32, TIMED = 3 };

typedef struct growth_work {
    size_t source, beam, batch, threads;
    clockid_t clock; /* of the process: what else runs on the machine counts little; of the wall where threads are compared */
} growth_work;

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* "17 942 ..." with the end token, by position and sentence. */
static char *make_source(size_t number, size_t length)
{
    char *text = malloc(8 * length + 8), *at = text;
    for (size_t i = 0; text && i + 1 < length; i++)
        at += sprintf(at, "%zu ", 2 + (number * 131 + i * 37) % 900);
    if (text)
        sprintf(at, "0");
    return text;
}

static bool take(void *context, size_t index, const td_result *result, const td_error *error)
{
    (void)context;
    (void)index;
    (void)error;
    return result != NULL;
}

/* Seconds of decoding `length` tokens for every source: the least of some runs. */
static double time_of(td_model *model, const growth_work *work, char **sources, int64_t length, td_error *error)
{
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    td_batch_options batch = TD_BATCH_OPTIONS_INIT;
    double best = 0;
    options.input = TD_INPUT_IDS;
    options.beam = (int64_t)work->beam;
    options.min_length = options.max_length = length + 1;
    batch.threads = work->threads;
    batch.batch_tokens = (work->source > 8 ? work->source : 8) * work->beam * work->batch; /* all of them at once */
    for (int run = 0; run < TIMED; run++) {
        double start = seconds_of(work->clock);
        if (td_generate_batch(model, (const char *const *)sources, work->batch, &options, &batch, take, NULL, error) != TD_OK)
            return -1;
        double seconds = seconds_of(work->clock) - start;
        best = run == 0 || seconds < best ? seconds : best;
    }
    return best;
}

/* A batch on several threads is shared by their searches: as many sentences each. */
static bool read_work(const char *variant, growth_work *work, char *shape, size_t size)
{
    char dimension[16];
    size_t value;
    if (sscanf(variant, "%15s %zu", dimension, &value) != 2)
        return false;
    *work = (growth_work){SOURCE, 1, 1, 1, CLOCK_PROCESS_CPUTIME_ID};
    snprintf(shape, size, "growth-%zu", strcmp(dimension, "vocabulary") == 0 ? value : 8000);
    if (strcmp(dimension, "source") == 0)
        work->source = value;
    else if (strcmp(dimension, "beam") == 0)
        work->beam = value;
    else if (strcmp(dimension, "batch") == 0)
        work->batch = value;
    else if (strcmp(dimension, "threads") == 0) {
        work->threads = value;
        work->batch = 64;
        work->clock = CLOCK_MONOTONIC;
    }
    return true;
}

void bench_growth(const bench_settings *settings, const char *variant, bench_result *result)
{
    char directory[512], shape[32];
    growth_work work;
    td_model *model = NULL;
    td_error error = {TD_OK, ""};
    if (!read_work(variant, &work, shape, sizeof shape) || !bench_random_model(settings, shape, false, directory, sizeof directory))
        return bench_fail(result, "the model could not be written");
    char **sources = calloc(work.batch, sizeof *sources);
    for (size_t i = 0; sources && i < work.batch; i++)
        sources[i] = make_source(i, work.source);
    double first = -1, whole = -1;
    if (sources && td_model_open(directory, NULL, &model, &error) == TD_OK) {
        first = time_of(model, &work, sources, 1, &error);
        whole = first < 0 ? -1 : time_of(model, &work, sources, 1 + OUTPUT, &error);
    }
    if (whole < 0)
        bench_fail(result, "%s", error.message);
    bench_add(result, "ms", 1e3 * first, "source and first token");
    bench_add(result, "ms", 1e3 * (whole - first) / OUTPUT, "each further step");
    td_model_close(model);
    for (size_t i = 0; sources && i < work.batch; i++)
        free(sources[i]);
    free(sources);
}
