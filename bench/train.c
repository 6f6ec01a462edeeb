/* Training speed on made-up sentences with the lengths of picture captions; with a peer, on the very same batches. */
#include "bench.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tandem/training.h>
#include <time.h>

enum { PAIRS = 12000, LEXICON = 9900, PATH = 512, REPORT_EVERY = 4, REPORTS = 4 };

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Words are numbers; a length is 4 to 28, about 14 in the middle. */
static bool write_side(const char *directory, const char *name, uint64_t seed)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    for (int pair = 0; pair < PAIRS; pair++) {
        uint64_t lengths = (uint64_t)pair * 77 + 5; /* both sides of a pair have nearly the same */
        unsigned length = 4 + draw(&lengths) % 7 + draw(&lengths) % 7 + draw(&lengths) % 7 + draw(&lengths) % 4 + draw(&seed) % 3;
        for (unsigned word = 0; word < length; word++)
            fprintf(file, "%sw%u", word ? " " : "", (unsigned)pair < LEXICON && word == 0 ? (unsigned)pair : draw(&seed) % LEXICON);
        fputc('\n', file);
    }
    return fclose(file) == 0;
}

static const char *model_of(const char *variant)
{
    return strncmp(variant, "lstm", 4) == 0
               ? "  type: lstm\n  attention: general\n  encoder: {layers: 1, width: 512, bidirectional: false}\n"
                 "  decoder: {layers: 1, width: 512}\n  embedding_width: 256\n  tie_embeddings: none\n"
               : "  type: transformer\n  encoder: {layers: 4, width: 128, heads: 4, feed_forward: 256}\n"
                 "  decoder: {layers: 4, width: 128, heads: 4, feed_forward: 256}\n";
}

static bool write_recipe(const bench_settings *settings, const char *variant, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    fprintf(file,
            "data:\n  train: {source: source.txt, target: target.txt}\n  vocabulary: {kind: word, size: 10000}\nmodel:\n%s"
            "training: {batch_tokens: 4096, max_steps: %d, report_every: %d, warmup_steps: 100, dropout: 0.3, threads: %d, "
            "precision: %s}\n"
            "output: \"%s/run-%s\"\n",
            model_of(variant), REPORT_EVERY * REPORTS, REPORT_EVERY, settings->threads,
            strstr(variant, "bfloat16") ? "bfloat16" : "float32", settings->directory, variant);
    return fclose(file) == 0;
}

/* The best of the reports' speeds: what the machine does when nothing else disturbs it. */
static double best_speed(const bench_settings *settings, const char *variant)
{
    char path[PATH], line[4096];
    double best = 0;
    snprintf(path, sizeof path, "%s/run-%s/log.jsonl", settings->directory, variant);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        json_t *object = json_loads(line, 0, NULL);
        double speed = json_number_value(json_object_get(object, "tokens_per_second"));
        best = speed > best ? speed : best;
        json_decref(object);
    }
    if (file)
        fclose(file);
    return best;
}

/* Seconds of processor time of all threads when steps began and when the last one was reported. */
typedef struct step_clock {
    double begun, ended;
} step_clock;

static void watch_steps(void *context, const char *line, bool transient)
{
    step_clock *clock = context;
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    if (clock->begun == 0 && strncmp(line, "memory:", 7) == 0) /* before step one; at the end a second line says what steps took */
        clock->begun = seconds;
    if (!transient && strstr(line, " step "))
        clock->ended = seconds;
}

/* Target tokens of all steps, as the last checkpoint counts them. */
static double count_tokens(const bench_settings *settings, const char *variant)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/run-%s/checkpoints/step-%d/state.json", settings->directory, variant, REPORT_EVERY * REPORTS);
    json_t *state = json_load_file(path, 0, NULL);
    double tokens = json_number_value(json_object_get(state, "tokens"));
    json_decref(state);
    return tokens;
}

void bench_train(const bench_settings *settings, const char *model, bench_result *result)
{
    char recipe[PATH];
    step_clock clock = {0};
    td_error error;
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.restart = true;
    options.report = watch_steps;
    options.context = &clock;
    snprintf(recipe, sizeof recipe, "%s/recipe.yaml", settings->directory);
    if (!write_side(settings->directory, "source.txt", 1) || !write_side(settings->directory, "target.txt", 2) ||
        !write_recipe(settings, model, recipe))
        return bench_fail(result, "cannot write in %s", settings->directory);
    if (td_train(recipe, &options, &error) != TD_OK)
        return bench_fail(result, "%s", error.message);
    bench_add(result, "tokens/s", best_speed(settings, model), "target tokens");
    bench_add(result, "tokens/s", count_tokens(settings, model) / (clock.ended - clock.begun), "of processor time");
}

void bench_train_peer(const bench_settings *settings, const char *model, bench_result *result)
{
    char command[4 * PATH], line[1024] = "";
    snprintf(command, sizeof command, "'%s/bin/python' '" TANDEM_SOURCE "/bench/peers/train_torch.py' '%s' '%s/run-%s/data/train.index' %d",
             settings->peers, model, settings->directory, model, settings->threads);
    FILE *output = popen(command, "r");
    bool read = output && fgets(line, sizeof line, output);
    int status = output ? pclose(output) : -1;
    json_t *object = read && status == 0 ? json_loads(line, 0, NULL) : NULL;
    if (!object)
        return bench_fail(result, "%s did not answer", command);
    bench_add(result, "tokens/s", json_number_value(json_object_get(object, "tokens_per_second")), "target tokens");
    bench_add(result, "tokens/s", json_number_value(json_object_get(object, "tokens_per_processor_second")), "of processor time");
    bench_add(result, "MB", json_number_value(json_object_get(object, "peak_memory_mb")), "peak memory");
    json_decref(object);
}
