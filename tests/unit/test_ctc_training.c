/* CTC in a run: its loss is mixed with the decoder's by weight, on any number of threads; a recording too short for its text is named,
 * counted and left out; the model then writes down what it was taught, with the decoder or without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "io/json.h"
#include "platform/file.h"
#include "tandem/tandem.h"
#include "tandem/training.h"

enum { RECORDINGS = 40, SHORT = 7, WIDTH = 6, FRAMES_EACH = 6 };

static void write_features(const char *path, const char *text, size_t frames, td_random *random)
{
    td_buffer file = TD_BUFFER_INIT;
    char header[118];
    int length = snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %d), }", frames, WIDTH);
    memset(header + length, ' ', sizeof header - 1 - (size_t)length);
    header[sizeof header - 1] = '\n';
    td_buffer_append(&file, "\x93NUMPY\x01\x00\x76\x00", 10);
    td_buffer_append(&file, header, sizeof header);
    for (size_t t = 0; t < frames; t++)
        for (size_t i = 0; i < WIDTH; i++) {
            float value = (float)(2 * sin((double)text[t / FRAMES_EACH] * (double)(i + 1)) + 0.2 * td_random_normal(random));
            td_buffer_append(&file, &value, sizeof value);
        }
    assert_int_equal(td_file_write(path, file.data, file.length, NULL), TD_OK);
    td_buffer_free(&file);
}

static int enter(void **state)
{
    char name[] = "/tmp/tandem-ctc-XXXXXX";
    *state = mkdtemp(name) ? strdup(name) : NULL;
    if (!*state || chdir(*state) != 0)
        return -1;
    td_buffer list = TD_BUFFER_INIT;
    td_random random = {td_random_key(3, 0, 0), 0};
    for (size_t i = 0; i < RECORDINGS; i++) {
        char path[32], text[8] = {0};
        size_t letters = 3 + td_random_below(&random, 2);
        for (size_t k = 0; k < letters; k++)
            do
                text[k] = (char)('a' + td_random_below(&random, 4));
            while (k && text[k] == text[k - 1]);
        snprintf(path, sizeof path, "r%zu.npy", i);
        write_features(path, text, i == SHORT ? 4 : letters * FRAMES_EACH, &random);
        td_buffer_format(&list, "%s\t%s\n", path, text);
    }
    td_file_write("train.tsv", list.data, list.length, NULL);
    td_buffer_free(&list);
    static const char recipe[] = "task: transcribe\n"
                                 "data:\n"
                                 "  train: {source: train.tsv}\n"
                                 "  vocabulary: {kind: char, size: 12, normalization: identity}\n"
                                 "  audio: {kind: features, width: 6, normalize: none}\n"
                                 "model:\n"
                                 "  type: gru\n"
                                 "  encoder: {layers: 2, width: 24, subsampling: [2], pyramid_layers: 1}\n"
                                 "  decoder: {layers: 1, width: 24}\n"
                                 "  embedding_width: 12\n"
                                 "training: {batch_tokens: 1000, shards: 3, max_steps: 1, learning_rate: 0.01, warmup_steps: 10,\n"
                                 "           report_every: 1, threads: 1, dropout: 0, label_smoothing: 0}\n";
    return td_file_write("recipe.yaml", recipe, sizeof recipe - 1, NULL) == TD_OK ? 0 : -1;
}

static int leave(void **state)
{
    td_status status = chdir("/") == 0 ? td_directory_remove(*state, NULL) : TD_ERROR_IO;
    free(*state);
    return status == TD_OK ? 0 : -1;
}

static void keep_naming(void *context, const char *line, bool transient)
{
    (void)transient;
    if (strstr(line, "CTC leaves out"))
        td_buffer_format(context, "%s\n", line);
}

static void train(const char *const *overrides, size_t count, td_buffer *named)
{
    td_error error = {0};
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = overrides;
    options.override_count = count;
    options.report = keep_naming;
    options.context = named;
    if (td_train("recipe.yaml", &options, &error) != TD_OK)
        fail_msg("%s", error.message);
}

static double first_loss(const char *weight, const char *threads)
{
    char path[64], output[64], weight_key[64], thread_key[64];
    snprintf(output, sizeof output, "output=run-%s-%s", weight, threads);
    snprintf(weight_key, sizeof weight_key, "training.ctc_weight=%s", weight);
    snprintf(thread_key, sizeof thread_key, "training.threads=%s", threads);
    const char *overrides[] = {output, weight_key, thread_key};
    td_buffer named = TD_BUFFER_INIT, log = TD_BUFFER_INIT;
    train(overrides, 3, &named);
    const char *text = td_buffer_text(&named), *line_end = strchr(text, '\n');
    assert_non_null(strstr(text, "r7.npy (4 frames)"));
    assert_true(line_end && line_end[1] == 0); /* one line: the other recordings fit */
    snprintf(path, sizeof path, "run-%s-%s/log.jsonl", weight, threads);
    assert_int_equal(td_file_read(path, 0, &log, NULL), TD_OK);
    json_t *first = json_loads(td_buffer_text(&log), JSON_DISABLE_EOF_CHECK, NULL);
    assert_int_equal(json_integer_value(json_object_get(first, "ctc_left_out")), 1);
    double loss = json_real_value(json_object_get(first, "loss"));
    json_decref(first);
    td_buffer_free(&log);
    td_buffer_free(&named);
    return loss;
}

static void losses_are_mixed_by_weight(void **state)
{
    (void)state;
    double low = first_loss("0.25", "1"), middle = first_loss("0.5", "1"), alone = first_loss("1", "1");
    assert_true(fabs(alone - low) > 0.1); /* the two losses differ, so the weight shows */
    assert_true(fabs(middle - (low + (alone - low) / 3)) < 1e-5);
    assert_true(first_loss("0.5", "3") == middle);
}

static void what_was_taught_is_written(void **state)
{
    (void)state;
    static const char *const weights[][2] = {{"training.ctc_weight=0.5", "generation.ctc_weight=0.4"},
                                             {"training.ctc_weight=1", "generation.ctc_weight=1"}};
    for (size_t w = 0; w < 2; w++) {
        char output[32];
        snprintf(output, sizeof output, "output=taught-%zu", w);
        const char *overrides[] = {output,
                                   weights[w][0],
                                   weights[w][1],
                                   "training.max_steps=150",
                                   "training.batch_tokens=60",
                                   "data.validation.source=train.tsv",
                                   "training.validation_metric=cer",
                                   "training.validate_every=150"};
        td_buffer named = TD_BUFFER_INIT, log = TD_BUFFER_INIT;
        train(overrides, sizeof overrides / sizeof *overrides, &named);
        char path[64];
        snprintf(path, sizeof path, "taught-%zu/log.jsonl", w);
        assert_int_equal(td_file_read(path, 0, &log, NULL), TD_OK);
        const char *score = strstr(td_buffer_text(&log), "\"validation_cer\":");
        assert_non_null(score);
        if (!(atof(score + strlen("\"validation_cer\":")) < 12)) /* the one that is too short cannot be right */
            fail_msg("%s: %.60s", weights[w][0], score);
        td_buffer_free(&log);
        td_buffer_free(&named);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_mixed_by_weight),
        cmocka_unit_test(what_was_taught_is_written),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
