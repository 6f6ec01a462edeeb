/* Speech models in recipes: recordings at other speeds become records of their own, for training only; and a Transformer with a head for
 * CTC learns what made-up sounds say and is saved as a speech_to_text model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "io/json.h"
#include "platform/file.h"
#include "step_memory.h"
#include "tandem/training.h"
#include "training/corpus.h"

enum { RECORDINGS = 48, RATE = 16000, LETTER = 2400, SILENCE = 400, LETTERS = 4 };

/* A tone for each letter. */
static void write_sound(const char *path, const char *text, td_random *random)
{
    size_t count = strlen(text) * (LETTER + SILENCE);
    float *samples = calloc(count, sizeof *samples);
    assert_non_null(samples);
    for (size_t i = 0; i < count; i++) {
        size_t at = i % (LETTER + SILENCE);
        double pitch = 300 + 260 * (double)(text[i / (LETTER + SILENCE)] - 'a');
        double tone = at < LETTER ? 0.3 * sin(6.283185307179586 * pitch * (double)at / RATE) : 0;
        samples[i] = (float)(tone + 0.002 * td_random_normal(random));
    }
    SF_INFO format = {.samplerate = RATE, .channels = 1, .format = SF_FORMAT_WAV | SF_FORMAT_PCM_16};
    SNDFILE *file = sf_open(path, SFM_WRITE, &format);
    assert_non_null(file);
    assert_int_equal(sf_write_float(file, samples, (sf_count_t)count), (sf_count_t)count);
    assert_int_equal(sf_close(file), 0);
    free(samples);
}

static int enter(void **state)
{
    static const char recipe[] =
        "task: transcribe\n"
        "data:\n"
        "  train: {source: train.tsv}\n"
        "  validation: {source: train.tsv}\n"
        "  vocabulary: {kind: char, size: 12, normalization: identity}\n"
        "  audio: {kind: fbank, width: 24}\n"
        "model:\n"
        "  encoder: {layers: 1, width: 32, heads: 4, feed_forward: 64}\n"
        "  decoder: {layers: 1, width: 32, heads: 4, feed_forward: 64}\n"
        "training: {batch_tokens: 80, shards: 2, max_steps: 240, learning_rate: 0.005, warmup_steps: 40, threads: 1,\n"
        "           ctc_weight: 0.3, dropout: 0, label_smoothing: 0, validate_every: 60, validation_metric: exact,\n"
        "           validation_beam: 1, report_every: 60, checkpoint_every: 1000}\n"
        "generation: {max_length: 8}\n";
    char name[] = "/tmp/tandem-speech-XXXXXX";
    td_random random = {td_random_key(9, 0, 0), 0};
    td_buffer list = TD_BUFFER_INIT;
    *state = mkdtemp(name) ? strdup(name) : NULL;
    if (!*state || chdir(*state) != 0)
        return -1;
    for (size_t i = 0; i < RECORDINGS; i++) {
        char path[32], text[8] = {0};
        size_t letters = 2 + td_random_below(&random, 2);
        for (size_t k = 0; k < letters; k++)
            text[k] = (char)('a' + td_random_below(&random, LETTERS));
        snprintf(path, sizeof path, "r%zu.wav", i);
        write_sound(path, text, &random);
        td_buffer_format(&list, "%s\t%s\n", path, text);
    }
    td_file_write("train.tsv", list.data, list.length, NULL);
    td_buffer_free(&list);
    return td_file_write("recipe.yaml", recipe, sizeof recipe - 1, NULL) == TD_OK ? 0 : -1;
}

static int leave(void **state)
{
    td_status status = chdir("/") == 0 ? td_directory_remove(*state, NULL) : TD_ERROR_IO;
    free(*state);
    return status == TD_OK ? 0 : -1;
}

/* As many files of features as there are sounds, each of another length. */
static void write_rows(void)
{
    td_buffer list = TD_BUFFER_INIT;
    for (size_t i = 0; i < RECORDINGS; i++) {
        char path[32], header[118];
        size_t frames = 30 + i;
        td_buffer file = TD_BUFFER_INIT;
        int length = snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, 4), }", frames);
        memset(header + length, ' ', sizeof header - 1 - (size_t)length);
        header[sizeof header - 1] = '\n';
        td_buffer_append(&file, "\x93NUMPY\x01\x00\x76\x00", 10);
        td_buffer_append(&file, header, sizeof header);
        for (size_t k = 0; k < frames * 4; k++) {
            float value = (float)sin((double)(k * (i + 1)));
            td_buffer_append(&file, &value, sizeof value);
        }
        snprintf(path, sizeof path, "f%zu.npy", i);
        assert_int_equal(td_file_write(path, file.data, file.length, NULL), TD_OK);
        td_buffer_format(&list, "%s\tab\n", path);
        td_buffer_free(&file);
    }
    assert_int_equal(td_file_write("rows.tsv", list.data, list.length, NULL), TD_OK);
    td_buffer_free(&list);
}

static void keep(void *context, const char *line, bool transient)
{
    if (!transient)
        td_buffer_format(context, "%s\n", line);
}

static td_status try_train(const char *const *overrides, size_t count, td_buffer *lines, td_error *error)
{
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = overrides;
    options.override_count = count;
    options.report = keep;
    options.context = lines;
    return td_train("recipe.yaml", &options, error);
}

static void train(const char *const *overrides, size_t count, td_buffer *lines)
{
    td_error error = {0};
    if (try_train(overrides, count, lines, &error) != TD_OK)
        fail_msg("%s", error.message);
}

static td_corpus open_corpus(const char *directory, const char *name, size_t width)
{
    td_corpus corpus;
    assert_int_equal(td_corpus_open(directory, name, width, &corpus, NULL), TD_OK);
    return corpus;
}

static void three_speeds(const char *const *overrides, size_t count, const char *directory, size_t width)
{
    td_buffer lines = TD_BUFFER_INIT;
    train(overrides, count, &lines);
    assert_non_null(strstr(td_buffer_text(&lines), "train: 144 pairs of 144 kept"));
    assert_non_null(strstr(td_buffer_text(&lines), "validation: 48 pairs of 48 kept"));
    td_corpus corpus = open_corpus(directory, "train", width), plain = open_corpus(directory, "validation", width);
    assert_int_equal(corpus.count, 3 * RECORDINGS);
    assert_int_equal(plain.count, RECORDINGS);
    for (size_t i = 0; i < RECORDINGS; i++) {
        td_pair pair[3], same = td_corpus_get(&plain, i);
        for (size_t k = 0; k < 3; k++) {
            pair[k] = td_corpus_get(&corpus, 3 * i + k);
            assert_int_equal(pair[k].target_length, same.target_length);
            assert_memory_equal(pair[k].target, same.target, same.target_length * sizeof *same.target);
        }
        double frames = (double)same.source_length;
        assert_int_equal(pair[0].source_length, same.source_length);
        assert_memory_equal(pair[0].features, same.features, same.source_length * width * sizeof(float));
        assert_true(fabs((double)pair[1].source_length - frames / 0.9) <= 2.5);
        assert_true(fabs((double)pair[2].source_length - frames / 1.1) <= 2.5);
    }
    td_corpus_close(&corpus);
    td_corpus_close(&plain);
    td_buffer_free(&lines);
}

static void speeds_are_records(void **state)
{
    (void)state;
    const char *fast[] = {"output=speeds", "data.audio.speed_perturbation=true", "training.max_steps=1"};
    three_speeds(fast, 3, "speeds/data", 24);
    /* Feature files: rows between rows. */
    const char *rows[] = {"output=rows",
                          "data.audio.speed_perturbation=true",
                          "training.max_steps=1",
                          "data.train.source=rows.tsv",
                          "data.validation.source=rows.tsv",
                          "data.audio.kind=features",
                          "data.audio.width=4",
                          "data.audio.normalize=none",
                          "data.audio.deltas=true"};
    write_rows();
    three_speeds(rows, sizeof rows / sizeof *rows, "rows/data", 12);
    /* The corpus on disk is not taken for one at another choice of speeds. */
    const char *plain[] = {"output=speeds", "data.audio.speed_perturbation=false", "training.max_steps=2"};
    td_buffer lines = TD_BUFFER_INIT;
    train(plain, 3, &lines);
    assert_non_null(strstr(td_buffer_text(&lines), "train: 48 pairs of 48 kept"));
    td_buffer_free(&lines);
}

static void transformer_learns(void **state)
{
    (void)state;
    const char *overrides[] = {"output=transformer"};
    td_buffer lines = TD_BUFFER_INIT;
    td_error error;
    train(overrides, 1, &lines);
    double best = 0;
    for (const char *at = td_buffer_text(&lines); (at = strstr(at, "exact ")); at++) {
        double score = strtod(at + 6, NULL);
        best = score > best ? score : best;
    }
    print_message("%.1f %% right\n", best);
    assert_true(best > 90);
    assert_memory_was_foreseen(td_buffer_text(&lines));
    json_t *config = NULL, *sound = NULL;
    assert_int_equal(td_json_load_file("transformer/config.json", &config, NULL), TD_OK);
    assert_string_equal(json_string_value(json_object_get(config, "model_type")), "speech_to_text");
    assert_true(json_is_true(json_object_get(json_object_get(config, "tandem"), "ctc")));
    assert_int_equal(json_integer_value(json_object_get(config, "decoder_start_token_id")),
                     json_integer_value(json_object_get(config, "eos_token_id")));
    assert_int_equal(td_json_load_file("transformer/preprocessor_config.json", &sound, NULL), TD_OK);
    assert_string_equal(json_string_value(json_object_get(sound, "feature_extractor_type")), "Speech2TextFeatureExtractor");
    json_decref(config);
    json_decref(sound);
    td_buffer_clear(&lines);
    const char *after[] = {"output=refused", "model.norm=post"};
    assert_int_equal(try_train(after, 2, &lines, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "model.norm: must be pre in a transformer for speech"));
    td_buffer_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(speeds_are_records), cmocka_unit_test(transformer_learns)};
    return cmocka_run_group_tests(tests, enter, leave);
}
