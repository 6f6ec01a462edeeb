/* The decoding cases with CTranslate2, from the same weights and the same sources. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes the figures that a peer prints. */
static void run_peer(const char *command, bench_result *result)
{
    char line[256], last[256] = "no output";
    FILE *output = popen(command, "r");
    while (output && fgets(line, sizeof line, output)) {
        char unit[16], name[48];
        double value;
        if (sscanf(line, "figure %lf %15s %47[^\n]", &value, unit, name) == 3)
            bench_add(result, unit, value, "%s", name);
        else
            snprintf(last, sizeof last, "%s", line);
    }
    if (!output || pclose(output) != 0 || result->count == 0)
        bench_fail(result, "%s", last);
}

void bench_whisper_peer(const bench_settings *settings, const char *precision, bench_result *result)
{
    char directory[512], command[2048];
    if (!bench_random_model(settings, "whisper-base", false, directory, sizeof directory))
        return bench_fail(result, "the model could not be written");
    snprintf(command, sizeof command,
             "OMP_NUM_THREADS=%d '%s/bin/python' '" TANDEM_SOURCE "/bench/peers/whisper_ctranslate2.py' '%s' %s %d 2>&1", settings->threads,
             settings->peers, directory, precision, settings->threads);
    run_peer(command, result);
}

void bench_decode_peer(const bench_settings *settings, const char *variant, bench_result *result)
{
    char directory[512], sources[512], command[2048], shape[32], precision[16];
    int beam, threads = settings->threads;
    if (sscanf(variant, "%31s %15s %d", shape, precision, &beam) != 3 ||
        !bench_random_model(settings, shape, false, directory, sizeof directory))
        return bench_fail(result, "the model could not be written");
    snprintf(sources, sizeof sources, "%s/sources", settings->directory);
    if (!bench_write_sources(sources))
        return bench_fail(result, "cannot write %s", sources);
    snprintf(command, sizeof command,
             "OMP_NUM_THREADS=%d '%s/bin/python' '" TANDEM_SOURCE "/bench/peers/decode_ctranslate2.py' '%s' %s %d '%s' %d 2>&1", threads,
             settings->peers, directory, precision, beam, sources, threads);
    run_peer(command, result);
}
