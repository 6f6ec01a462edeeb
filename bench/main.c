/* tandem_bench: runs a table of measurements, each in a process of its own, and prints them, as JSON too. */
#include "bench.h"

#include <jansson.h>
#include <platform/cpu.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Training comes before its peer: the peer takes the same batches from the files it leaves. */
static const bench_case cases[] = {
    {"products float32", bench_products, "float32", false},
    {"products bfloat16", bench_products, "bfloat16", false},
    {"rows plain", bench_rows, "plain", false},
    {"rows avx2", bench_rows, "avx2", false},
    {"rows avx512", bench_rows, "avx512", false},
    {"start", bench_start, "", false},
    {"translate beam 1", bench_translate, "1", false},
    {"translate beam 4", bench_translate, "4", false},
    {"train transformer", bench_train, "transformer", false},
    {"train transformer bfloat16", bench_train, "transformer bfloat16", false},
    {"train lstm", bench_train, "lstm", false},
    {"PyTorch train transformer", bench_train_peer, "transformer", true},
    {"PyTorch train lstm", bench_train_peer, "lstm", true},
};
enum { CASES = sizeof cases / sizeof *cases };

double bench_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
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
    figure->value = value;
}

void bench_fail(bench_result *result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(result->failure, sizeof result->failure, format, arguments);
    va_end(arguments);
}

static bool read_whole(int file, void *bytes, size_t length)
{
    size_t done = 0;
    ssize_t got = 1;
    while (done < length && (got = read(file, (char *)bytes + done, length - done)) > 0)
        done += (size_t)got;
    return done == length;
}

/* Runs a case in a child and adds the child's peak memory. */
static void run_case(const bench_case *row, const bench_settings *settings, bench_result *result)
{
    int ends[2], status = 0;
    struct rusage usage;
    *result = (bench_result){.count = 0};
    if (pipe(ends) != 0)
        return bench_fail(result, "cannot make a pipe");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        row->run(settings, row->variant, result);
        bool written = write(ends[1], result, sizeof *result) == (ssize_t)sizeof *result;
        _exit(written ? 0 : 1);
    }
    close(ends[1]);
    bool complete = child > 0 && read_whole(ends[0], result, sizeof *result);
    close(ends[0]);
    if (child > 0)
        wait4(child, &status, 0, &usage);
    if (!complete)
        return bench_fail(result, "the measuring process ended early");
    if (!*result->failure && !row->peer)
        bench_add(result, "MB", (double)usage.ru_maxrss * 1024 / 1e6, "peak memory");
}

static void print_result(const bench_case *row, const bench_result *result)
{
    printf("%s\n", row->name);
    for (size_t i = 0; i < result->count; i++)
        printf("    %-44s %10.4g %s\n", result->figures[i].name, result->figures[i].value, result->figures[i].unit);
    if (*result->failure)
        printf("    not measured: %s\n", result->failure);
    fflush(stdout);
}

static json_t *json_of(const bench_case *row, const bench_result *result)
{
    json_t *figures = json_array();
    for (size_t i = 0; i < result->count; i++)
        json_array_append_new(figures, json_pack("{s:s,s:f,s:s}", "name", result->figures[i].name, "value",
                                                 result->figures[i].value, "unit", result->figures[i].unit));
    json_t *object = json_pack("{s:s,s:o}", "case", row->name, "figures", figures);
    if (*result->failure)
        json_object_set_new(object, "not_measured", json_string(result->failure));
    return object;
}

static int usage(void)
{
    fputs("usage: tandem_bench [--model DIR] [--json FILE] [--peers VENV] [--only PART-OF-NAME] [--threads N]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    char directory[] = "/tmp/tandem-bench-XXXXXX";
    bench_settings settings = {"pretrained/multi30k", NULL, directory, td_cpu_count()};
    const char *json = NULL, *only = "";
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
        else
            return usage();
    }
    if (!mkdtemp(directory))
        return fputs("tandem_bench: cannot make a directory in /tmp\n", stderr), 1;
    json_t *all = json_array();
    int failures = 0;
    printf("%d processors, %s, %d threads\n", td_cpu_count(), td_isa_name(td_cpu_isa()), settings.threads);
    for (size_t i = 0; i < CASES; i++) {
        bench_result result;
        if (!strstr(cases[i].name, only) || (cases[i].peer && !settings.peers))
            continue;
        run_case(&cases[i], &settings, &result);
        print_result(&cases[i], &result);
        failures += *result.failure != 0;
        json_array_append_new(all, json_of(&cases[i], &result));
    }
    json_t *report = json_pack("{s:i,s:s,s:i,s:o}", "processors", td_cpu_count(), "instruction_set",
                               td_isa_name(td_cpu_isa()), "threads", settings.threads, "cases", all);
    if (json && json_dump_file(report, json, JSON_INDENT(1)) != 0) {
        fprintf(stderr, "tandem_bench: cannot write %s\n", json);
        failures++;
    }
    json_decref(report);
    char command[sizeof directory + 16];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command) != 0 || failures ? 1 : 0;
}
