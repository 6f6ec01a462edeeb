/* tandem_bench: runs a table of measurements, each in a process of its own, and prints them, as JSON too. */
#include "bench.h"

#include <jansson.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <platform/cpu.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A peer follows its case: it takes the files that the case leaves, and turns with it. */
static const bench_case cases[] = {
    {"products float32", bench_products, "float32", false, false},
    {"products bfloat16", bench_products, "bfloat16", false, false},
    {"packed float32", bench_packed, "float32", false, false},
    {"packed bfloat16", bench_packed, "bfloat16", false, false},
    {"packed int8", bench_packed, "int8", false, false},
    {"unpacked float32", bench_unpacked, "", false, false},
    {"rows plain", bench_rows, "plain", false, false},
    {"rows avx2", bench_rows, "avx2", false, false},
    {"rows avx512", bench_rows, "avx512", false, false},
    {"start", bench_start, "", false, false},
    {"translate beam 1", bench_translate, "1", false, false},
    {"translate beam 4", bench_translate, "4", false, false},
    {"open opus int8", bench_open, "opus", false, true},
    {"decode opus int8 beam 1", bench_decode, "opus int8 1", false, true},
    {"CTranslate2 opus int8 beam 1", bench_decode_peer, "opus int8 1", true, true},
    {"decode opus int8 beam 4", bench_decode, "opus int8 4", false, true},
    {"CTranslate2 opus int8 beam 4", bench_decode_peer, "opus int8 4", true, true},
    {"decode opus float32 beam 1", bench_decode, "opus float32 1", false, true},
    {"CTranslate2 opus float32 beam 1", bench_decode_peer, "opus float32 1", true, true},
    {"decode opus float32 beam 4", bench_decode, "opus float32 4", false, true},
    {"CTranslate2 opus float32 beam 4", bench_decode_peer, "opus float32 4", true, true},
    {"open tiny int8", bench_open, "tiny", false, true},
    {"decode tiny int8 beam 1", bench_decode, "tiny int8 1", false, true},
    {"CTranslate2 tiny int8 beam 1", bench_decode_peer, "tiny int8 1", true, true},
    {"decode tiny int8 beam 4", bench_decode, "tiny int8 4", false, true},
    {"CTranslate2 tiny int8 beam 4", bench_decode_peer, "tiny int8 4", true, true},
    {"decode tiny float32 beam 1", bench_decode, "tiny float32 1", false, true},
    {"CTranslate2 tiny float32 beam 1", bench_decode_peer, "tiny float32 1", true, true},
    {"decode tiny float32 beam 4", bench_decode, "tiny float32 4", false, true},
    {"CTranslate2 tiny float32 beam 4", bench_decode_peer, "tiny float32 4", true, true},
    {"decode gru int8 beam 1", bench_decode, "gru int8 1", false, true},
    {"decode gru float32 beam 1", bench_decode, "gru float32 1", false, true},
    {"decode t5-small int8 beam 1", bench_decode, "t5-small int8 1", false, true},
    {"decode t5-small int8 beam 4", bench_decode, "t5-small int8 4", false, true},
    {"decode t5-small float32 beam 1", bench_decode, "t5-small float32 1", false, true},
    {"open nllb-600m int8", bench_open, "nllb-600m", false, true},
    {"decode nllb-600m int8 beam 1", bench_decode, "nllb-600m int8 1", false, true},
    {"decode nllb-600m int8 beam 4", bench_decode, "nllb-600m int8 4", false, true},
    {"open vit-gpt2 int8", bench_open, "vit-gpt2", false, true},
    {"decode vit-gpt2 int8 beam 1", bench_decode, "vit-gpt2 int8 1", false, true},
    {"decode vit-gpt2 int8 beam 4", bench_decode, "vit-gpt2 int8 4", false, true},
    {"whisper-base int8", bench_whisper, "int8", false, true},
    {"CTranslate2 whisper-base int8", bench_whisper_peer, "int8", true, true},
    {"whisper-base float32", bench_whisper, "float32", false, true},
    {"CTranslate2 whisper-base float32", bench_whisper_peer, "float32", true, true},
#define GROWTH(dimension)                                                                                                                  \
    {                                                                                                                                      \
        "growth " dimension, bench_growth, dimension, false, true                                                                          \
    }
    GROWTH("source 16"),
    GROWTH("source 64"),
    GROWTH("source 256"),
    GROWTH("source 1024"),
    GROWTH("source 4096"),
    GROWTH("beam 1"),
    GROWTH("beam 2"),
    GROWTH("beam 4"),
    GROWTH("beam 8"),
    GROWTH("beam 16"),
    GROWTH("batch 1"),
    GROWTH("batch 4"),
    GROWTH("batch 16"),
    GROWTH("batch 64"),
    GROWTH("batch 256"),
    GROWTH("vocabulary 1000"),
    GROWTH("vocabulary 8000"),
    GROWTH("vocabulary 32000"),
    GROWTH("vocabulary 128000"),
    GROWTH("threads 1"),
    GROWTH("threads 2"),
    {"train transformer float32", bench_train, "transformer float32", false, true},
    {"PyTorch beside transformer float32", bench_train_peer, "transformer float32", true, true},
    {"train transformer bfloat16", bench_train, "transformer bfloat16", false, true},
    {"PyTorch beside transformer bfloat16", bench_train_peer, "transformer bfloat16", true, true},
    {"train lstm float32", bench_train, "lstm float32", false, true},
    {"PyTorch beside lstm float32", bench_train_peer, "lstm float32", true, true},
    {"train lstm bfloat16", bench_train, "lstm bfloat16", false, true},
    {"PyTorch beside lstm bfloat16", bench_train_peer, "lstm bfloat16", true, true},
};
enum { CASES = sizeof cases / sizeof *cases };

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double bench_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double bench_thread_seconds(void)
{
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

void bench_add(bench_result *result, const char *unit, double value, const char *format, ...)
{
    if (result->count == BENCH_FIGURES)
        return;
    bench_figure *figure = &result->figures[result->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(figure->name, sizeof figure->name, format, arguments);
    va_end(arguments);
    snprintf(figure->unit, sizeof figure->unit, "%s", unit);
    figure->value = figure->low = figure->high = value;
}

void bench_fail(bench_result *result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(result->failure, sizeof result->failure, format, arguments);
    va_end(arguments);
}

void bench_add_memory(bench_result *result, const char *name)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        bench_add(result, "MB", (double)usage.ru_maxrss * 1024 / 1e6, "%s", name);
}

static bool read_whole(int file, void *bytes, size_t length)
{
    size_t done = 0;
    ssize_t got = 1;
    while (done < length && (got = read(file, (char *)bytes + done, length - done)) > 0)
        done += (size_t)got;
    return done == length;
}

/* Runs a case in a child, which adds its own peak memory; not that of the processes it started to write models. */
static void run_case(const bench_case *row, const bench_settings *settings, bench_result *result)
{
    int ends[2], status = 0;
    *result = (bench_result){.count = 0};
    if (pipe(ends) != 0)
        return bench_fail(result, "cannot make a pipe");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
#ifdef __GLIBC__
        mallopt(M_MMAP_THRESHOLD, 1 << 20); /* as the command has it */
#endif
        close(ends[0]);
        row->run(settings, row->variant, result);
        if (!*result->failure && !row->peer)
            bench_add_memory(result, "peak memory");
        bool written = write(ends[1], result, sizeof *result) == (ssize_t)sizeof *result;
        _exit(written ? 0 : 1);
    }
    close(ends[1]);
    bool complete = child > 0 && read_whole(ends[0], result, sizeof *result);
    close(ends[0]);
    if (child > 0)
        waitpid(child, &status, 0);
    if (!complete)
        bench_fail(result, "the measuring process ended early");
}

static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The rounds of one case become the first of them: of each figure the median and the extremes. */
static void join_rounds(bench_result *rounds, int count)
{
    for (size_t i = 0; i < rounds[0].count; i++) {
        double values[BENCH_ROUNDS];
        int got = 0;
        for (int r = 0; r < count; r++)
            if (i < rounds[r].count)
                values[got++] = rounds[r].figures[i].value;
        qsort(values, (size_t)got, sizeof *values, compare_values);
        bench_figure *figure = &rounds[0].figures[i];
        figure->value = (values[got / 2] + values[(got - 1) / 2]) / 2;
        figure->low = values[0];
        figure->high = values[got - 1];
    }
    for (int r = 1; r < count; r++)
        if (*rounds[r].failure && !*rounds[0].failure)
            memcpy(rounds[0].failure, rounds[r].failure, sizeof rounds[r].failure);
}

/* The figure of an earlier report, or 0. */
static double old_value(const json_t *old, const char *name, const char *figure)
{
    size_t i, k;
    json_t *row, *entry;
    json_array_foreach(json_object_get(old, "cases"), i, row)
    {
        const char *its = json_string_value(json_object_get(row, "case"));
        json_array_foreach(json_object_get(row, "figures"), k, entry)
        {
            const char *label = json_string_value(json_object_get(entry, "name"));
            if (its && label && strcmp(its, name) == 0 && strcmp(label, figure) == 0)
                return json_number_value(json_object_get(entry, "value"));
        }
    }
    return 0;
}

static void print_result(const bench_case *row, const bench_result *result, const json_t *old)
{
    printf("%s\n", row->name);
    for (size_t i = 0; i < result->count; i++) {
        const bench_figure *figure = &result->figures[i];
        printf("    %-44s %10.4g %s", figure->name, figure->value, figure->unit);
        if (figure->low < figure->high)
            printf("  (%.4g to %.4g)", figure->low, figure->high);
        double before = old_value(old, row->name, figure->name);
        if (before > 0)
            printf("  %.3f x %.4g", figure->value / before, before);
        putchar('\n');
    }
    if (*result->failure)
        printf("    not measured: %s\n", result->failure);
    fflush(stdout);
}

static json_t *json_of(const bench_case *row, const bench_result *result)
{
    json_t *figures = json_array();
    for (size_t i = 0; i < result->count; i++)
        json_array_append_new(figures,
                              json_pack("{s:s,s:f,s:f,s:f,s:s}", "name", result->figures[i].name, "value", result->figures[i].value, "low",
                                        result->figures[i].low, "high", result->figures[i].high, "unit", result->figures[i].unit));
    json_t *object = json_pack("{s:s,s:o}", "case", row->name, "figures", figures);
    if (*result->failure)
        json_object_set_new(object, "not_measured", json_string(result->failure));
    return object;
}

/* A case and the peer that follows it, in turns. Returns how many failed. */
static int run_turns(const bench_settings *settings, size_t first, const json_t *old, json_t *all)
{
    static bench_result results[2][BENCH_ROUNDS];
    size_t count = settings->peers && first + 1 < CASES && cases[first + 1].peer ? 2 : 1;
    int failures = 0, rounds = cases[first].repeated ? settings->rounds : 1;
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++)
            run_case(&cases[first + i], settings, &results[i][round]);
    for (size_t i = 0; i < count; i++) {
        join_rounds(results[i], rounds);
        print_result(&cases[first + i], &results[i][0], old);
        json_array_append_new(all, json_of(&cases[first + i], &results[i][0]));
        failures += *results[i][0].failure != 0;
    }
    return failures;
}

static int usage(void)
{
    fputs("usage: tandem_bench [--model DIR] [--json FILE] [--peers VENV] [--only PART-OF-NAME] [--threads N]\n"
          "                    [--rounds N] [--compare OLD.json] [--directory DIR-FOR-MODELS-TO-KEEP]\n"
          "       tandem_bench --draw-growth REPORT.json PICTURE.svg\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    char directory[] = "/tmp/tandem-bench-XXXXXX";
    bench_settings settings = {"pretrained/multi30k", NULL, NULL, td_cpu_count(), 3};
    const char *json = NULL, *only = "", *compare = NULL;
    if (argc == 4 && strcmp(argv[1], "--draw-growth") == 0)
        return bench_draw_growth(argv[2], argv[3]);
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return usage();
        if (strcmp(argv[i], "--model") == 0)
            settings.model = argv[i + 1];
        else if (strcmp(argv[i], "--json") == 0)
            json = argv[i + 1];
        else if (strcmp(argv[i], "--peers") == 0)
            settings.peers = argv[i + 1];
        else if (strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
        else if (strcmp(argv[i], "--threads") == 0 && atoi(argv[i + 1]) > 0)
            settings.threads = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--rounds") == 0 && atoi(argv[i + 1]) > 0 && atoi(argv[i + 1]) <= BENCH_ROUNDS)
            settings.rounds = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--compare") == 0)
            compare = argv[i + 1];
        else if (strcmp(argv[i], "--directory") == 0)
            settings.directory = argv[i + 1];
        else
            return usage();
    }
    bool kept = settings.directory != NULL;
    if (!kept && !(settings.directory = mkdtemp(directory)))
        return fputs("tandem_bench: cannot make a directory in /tmp\n", stderr), 1;
    json_t *all = json_array(), *old = compare ? json_load_file(compare, 0, NULL) : NULL;
    if (compare && !old)
        return fprintf(stderr, "tandem_bench: cannot read %s\n", compare), 1;
    int failures = 0;
    printf("%d processors, %s, %d threads\n", td_cpu_count(), td_isa_name(td_cpu_isa()), settings.threads);
    for (size_t i = 0; i < CASES; i++)
        if (!cases[i].peer && strstr(cases[i].name, only))
            failures += run_turns(&settings, i, old, all);
    json_t *report = json_pack("{s:i,s:s,s:i,s:o}", "processors", td_cpu_count(), "instruction_set", td_isa_name(td_cpu_isa()), "threads",
                               settings.threads, "cases", all);
    if (json && json_dump_file(report, json, JSON_INDENT(1)) != 0) {
        fprintf(stderr, "tandem_bench: cannot write %s\n", json);
        failures++;
    }
    json_decref(report);
    json_decref(old);
    char command[sizeof directory + 16];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return (!kept && system(command) != 0) || failures ? 1 : 0;
}
