/* Translating with the bundled model: throughput of many sentences on all threads, and the first sentence of a fresh
 * process. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <tandem/tandem.h>

/* Our own sentences, in the manner of what the model was trained on. */
static const char *const sentences[] = {
    "Zwei Männer tragen eine lange Leiter über den Hof.",
    "Ein Mädchen mit roten Stiefeln springt in eine Pfütze.",
    "Drei Hunde jagen einander auf einer Wiese.",
    "Eine Frau verkauft Obst und Gemüse auf dem Markt, während ein Kind neben ihr auf einer Kiste sitzt.",
    "Ein Mann repariert sein Fahrrad vor dem Haus.",
    "Mehrere Leute warten an einer Haltestelle im Regen.",
    "Ein kleiner Junge in einem blauen Hemd malt mit Kreide auf den Gehweg.",
    "Die Musiker spielen auf einer Bühne unter freiem Himmel.",
};
enum { SENTENCES = sizeof sentences / sizeof *sentences, COPIES = 64, COUNT = SENTENCES * COPIES };

static td_status open_model(const bench_settings *settings, td_model **ret_model, td_generate_options *options, td_error *error)
{
    td_status status = td_model_open(settings->model, NULL, ret_model, error);
    if (status == TD_OK && td_model_language(*ret_model, 0) && td_model_language(*ret_model, 1))
        options->target_language = "en";
    return status;
}

static bool add_tokens(void *context, size_t index, const td_result *result, const td_error *error)
{
    (void)index;
    (void)error;
    size_t count = 0;
    if (result)
        td_result_ids(result, 0, 0, &count);
    *(size_t *)context += count;
    return result != NULL;
}

void bench_translate(const bench_settings *settings, const char *beam, bench_result *result)
{
    td_model *model = NULL;
    td_error error;
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    td_batch_options batch = TD_BATCH_OPTIONS_INIT;
    const char *texts[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        texts[i] = sentences[i % SENTENCES];
    options.beam = atoi(beam);
    batch.threads = (size_t)settings->threads;
    if (open_model(settings, &model, &options, &error) != TD_OK)
        return bench_fail(result, "%s", error.message);
    double best = 0;
    for (int round = 0; round < 3; round++) {
        size_t tokens = 0;
        double start = bench_seconds();
        if (td_generate_batch(model, texts, COUNT, &options, &batch, add_tokens, &tokens, &error) != TD_OK)
            return bench_fail(result, "%s", error.message);
        double speed = (double)tokens / (bench_seconds() - start);
        best = speed > best ? speed : best;
    }
    bench_add(result, "tokens/s", best, "%d sentences, target tokens", COUNT);
    td_model_close(model);
}

void bench_start(const bench_settings *settings, const char *variant, bench_result *result)
{
    (void)variant;
    td_model *model = NULL;
    td_session *session = NULL;
    td_result *output = NULL;
    td_error error;
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    double start = bench_seconds();
    if (open_model(settings, &model, &options, &error) != TD_OK)
        return bench_fail(result, "%s", error.message);
    bench_add(result, "ms", 1e3 * (bench_seconds() - start), "opening the model");
    if (td_session_new(model, NULL, &session, &error) != TD_OK ||
        td_generate_text(session, sentences[0], &options, &output, &error) != TD_OK)
        return bench_fail(result, "%s", error.message);
    bench_add(result, "ms", 1e3 * (bench_seconds() - start), "and the first sentence");
    td_result_free(output);
    start = bench_seconds();
    if (td_generate_text(session, sentences[0], &options, &output, &error) != TD_OK)
        return bench_fail(result, "%s", error.message);
    bench_add(result, "ms", 1e3 * (bench_seconds() - start), "a sentence after that");
    td_result_free(output);
    td_session_free(session);
    td_model_close(model);
}
