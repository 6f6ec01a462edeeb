/* Whisper at its true size with random weights: the encoder of a window of 30 s, and beam search over one window and
 * over several, to a forced length. All threads work on it. */
#include "bench.h"

#include <api/model.h>
#include <decoding/generate.h>
#include <models/architecture.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem/tandem.h>
#include <time.h>

enum { ROWS = 3000, MEL = 80, BEAM = 5, TOKENS = 52, TOGETHER = 4, REPEATS = 3 };
/* Start, language, task and no time stamps, as published checkpoints have them. */
static const int32_t prompt[] = {50258, 50259, 50359, 50363};
enum { PROMPT = sizeof prompt / sizeof *prompt };

typedef struct whisper_run {
    td_model *model;
    td_search *search;
    td_arena arena;
    td_real *features; /* [ROWS, MEL] */
    td_real *memory;   /* of the encoder */
    size_t rows, width;
    size_t next, last, tokens;
} whisper_run;

static td_status next_window(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    whisper_run *run = context;
    *ret_given = run->next < run->last;
    *ret_index = run->next++;
    *ret_source = (td_source){.features = run->memory,
                              .length = run->rows,
                              .width = run->width,
                              .encoded = true,
                              .prefix = prompt,
                              .prefix_count = PROMPT,
                              .starts = true};
    return TD_OK;
}

static td_status finished(void *context, size_t index, const td_output *output, td_error *error)
{
    (void)index;
    (void)error;
    ((whisper_run *)context)->tokens += output->hypotheses[0].count - output->hypotheses[0].prefix_count;
    return TD_OK;
}

static td_status decode(whisper_run *run, size_t windows, td_error *error)
{
    td_generate_callbacks callbacks = {run, next_window, finished, NULL};
    td_generation generation = run->model->generation;
    generation.num_beams = BEAM;
    generation.min_length = generation.max_length = PROMPT + TOKENS;
    run->next = run->tokens = 0;
    run->last = windows;
    return td_generate(run->search, &generation, &callbacks, error);
}

/* Keeps what came out. */
static td_status encode(whisper_run *run, td_error *error)
{
    const td_network *network = &run->model->network;
    td_graph graph;
    td_memory memory = {0};
    int32_t offsets[2] = {0, ROWS};
    td_batch source = {.ragged = {1, offsets}, .features = run->features, .width = MEL};
    td_search_begin_graph(run->search, &run->arena, &graph);
    network->architecture->encode(network, &graph, &source, &memory);
    if (graph.error.status != TD_OK)
        return td_fail(error, graph.error.status, "%s", graph.error.message);
    size_t count = memory.states->rows * memory.states->columns;
    run->memory = run->memory ? run->memory : malloc(count * sizeof *run->memory);
    if (!run->memory)
        return td_fail_memory(error, count * sizeof *run->memory);
    memcpy(run->memory, memory.states->data, count * sizeof *run->memory);
    run->rows = memory.states->rows;
    run->width = memory.states->columns;
    return TD_OK;
}

static td_status prepare(const bench_settings *settings, const char *precision, whisper_run *run, td_error *error)
{
    char directory[512];
    if (!bench_random_model(settings, "whisper-base", strcmp(precision, "int8") == 0, directory, sizeof directory))
        return td_fail(error, TD_ERROR_IO, "the model could not be written");
    td_model_options options = TD_MODEL_OPTIONS_INIT;
    options.precision = precision;
    TD_TRY(td_model_open(directory, &options, &run->model, error));
    td_search_options search = {.threads = (size_t)settings->threads};
    TD_TRY(td_search_new(&run->model->network, &search, &run->search, error));
    td_arena_init(&run->arena);
    run->features = malloc(ROWS * MEL * sizeof *run->features);
    if (!run->features)
        return td_fail_memory(error, ROWS * MEL * sizeof *run->features);
    uint32_t state = 3;
    for (size_t i = 0; i < ROWS * MEL; i++) {
        state = state * 1664525u + 1013904223u;
        run->features[i] = (td_real)(state >> 8) / (1 << 23) - 1;
    }
    return TD_OK;
}

/* The least of some runs; the first, which takes memory, does not count. Others' work on the machine lengthens the time
 * less where it is the processor's. */
typedef struct whisper_times {
    double seconds, processor;
} whisper_times;

static td_status repeat(whisper_run *run, size_t windows, whisper_times *ret_least, td_error *error)
{
    whisper_times least = {1e9, 1e9};
    for (int i = 0; i <= REPEATS; i++) {
        double start = bench_seconds(), used = (double)clock() / CLOCKS_PER_SEC;
        TD_TRY(windows ? decode(run, windows, error) : encode(run, error));
        double seconds = bench_seconds() - start, processor = (double)clock() / CLOCKS_PER_SEC - used;
        least.seconds = i > 0 && seconds < least.seconds ? seconds : least.seconds;
        least.processor = i > 0 && processor < least.processor ? processor : least.processor;
    }
    *ret_least = least;
    return TD_OK;
}

static td_status measure(whisper_run *run, bench_result *result, td_error *error)
{
    whisper_times least;
    TD_TRY(repeat(run, 0, &least, error));
    bench_add(result, "ms", 1e3 * least.seconds, "encoder of a window of 30 s");
    bench_add(result, "ms", 1e3 * least.processor, "the same, processor time");
    const size_t windows[] = {1, TOGETHER};
    for (size_t k = 0; k < sizeof windows / sizeof *windows; k++) {
        TD_TRY(repeat(run, windows[k], &least, error));
        const char *plural = windows[k] > 1 ? "s" : "";
        bench_add(result, "tokens/s", (double)run->tokens / least.seconds, "beam %d, %zu window%s", BEAM, windows[k], plural);
        bench_add(result, "tokens/s", (double)run->tokens / least.processor, "%zu window%s, of processor time", windows[k], plural);
    }
    return TD_OK;
}

void bench_whisper(const bench_settings *settings, const char *precision, bench_result *result)
{
    td_error error;
    whisper_run *run = calloc(1, sizeof *run);
    if (!run)
        return bench_fail(result, "out of memory");
    if (prepare(settings, precision, run, &error) != TD_OK || measure(run, result, &error) != TD_OK)
        bench_fail(result, "%s", error.message);
    td_search_free(run->search);
    td_model_close(run->model);
    td_arena_free(&run->arena);
    free(run->features);
    free(run->memory);
    free(run);
}
