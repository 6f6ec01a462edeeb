#define _XOPEN_SOURCE 700
/* Whisper over sounds longer than its window: segments and times as transformers' sequential long form has them (tests/golden/whisper-long,
 * by tools/reference/whisper_long.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/whisper.h"
#include "base/memory.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem/transcribe.h>
#include <unistd.h>

#define DIRECTORY TD_TEST_DATA "/golden/whisper-long"

enum { RATE = 16000 };

static float *make_sound(double seconds, size_t *ret_count)
{
    size_t count = (size_t)(seconds * RATE);
    float *samples = malloc(count * sizeof *samples);
    for (size_t i = 0; i < count; i++) {
        double t = (double)i / RATE, level = 0.5 * fmax(0.0, sin(2 * M_PI * 0.4 * t)) + 0.02;
        samples[i] = (float)(level * sin(2 * M_PI * (220 + 60 * floor(t)) * t));
    }
    *ret_count = count;
    return samples;
}

static td_model *open_model(void)
{
    td_model *model;
    td_error error;
    if (td_model_open(DIRECTORY, NULL, &model, &error) != TD_OK)
        fail_msg("%s", error.message);
    return model;
}

static td_transcribe_options options_of(const json_t *settings, td_generate_options *generate)
{
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    const json_t *value;
    generate->beam = (value = json_object_get(settings, "num_beams")) ? json_integer_value(value) : 1;
    options.generate = generate;
    options.timestamps = 1;
    options.language = json_string_value(json_object_get(settings, "language"));
    options.task = json_string_value(json_object_get(settings, "task"));
    options.prompt = json_string_value(json_object_get(settings, "prompt"));
    options.word_timestamps = json_is_true(json_object_get(settings, "words"));
    options.condition_on_previous = json_is_true(json_object_get(settings, "condition_on_prev_tokens"));
    if ((value = json_object_get(settings, "logprob_threshold")))
        options.log_probability = json_number_value(value);
    if ((value = json_object_get(settings, "no_speech_threshold")))
        options.no_speech = json_number_value(value);
    return options;
}

/* Words and their times, to the hundredth. */
static bool has_words(const td_transcript_segment *segment, const json_t *words)
{
    bool same = segment->word_count == json_array_size(words);
    for (size_t i = 0; same && i < segment->word_count; i++) {
        const td_transcript_word *word = &segment->words[i];
        const json_t *wanted = json_array_get(words, i);
        same = strcmp(word->text, json_string_value(json_object_get(wanted, "text"))) == 0 &&
               fabs(word->start - json_number_value(json_object_get(wanted, "start"))) < 1e-6 &&
               fabs(word->end - json_number_value(json_object_get(wanted, "end"))) < 1e-6;
        if (!same)
            print_message("word %zu: \"%s\" %g to %g, expected \"%s\" %g to %g\n", i, word->text, word->start, word->end,
                          json_string_value(json_object_get(wanted, "text")), json_number_value(json_object_get(wanted, "start")),
                          json_number_value(json_object_get(wanted, "end")));
    }
    return same;
}

static size_t compare(const json_t *one, const td_transcript *transcript)
{
    const json_t *segments = json_object_get(one, "segments");
    const char *name = json_string_value(json_object_get(one, "name"));
    size_t wrong = 0;
    if (json_array_size(segments) != td_transcript_segments(transcript)) {
        print_message("%s: %zu segments, expected %zu\n", name, td_transcript_segments(transcript), json_array_size(segments));
        wrong++;
    }
    for (size_t i = 0; i < json_array_size(segments) && i < td_transcript_segments(transcript); i++) {
        const td_transcript_segment *segment = td_transcript_segment_at(transcript, i);
        const json_t *wanted = json_array_get(segments, i), *ids = json_object_get(wanted, "ids");
        bool same = segment->id_count == json_array_size(ids);
        for (size_t k = 0; same && k < segment->id_count; k++)
            same = segment->ids[k] == json_integer_value(json_array_get(ids, k));
        same = same && fabs(segment->start - json_number_value(json_object_get(wanted, "start"))) < 1e-3;
        same = same && fabs(segment->end - json_number_value(json_object_get(wanted, "end"))) < 1e-3;
        if (!same && wrong < 3)
            print_message("%s: segment %zu: %g to %g with %zu ids; expected %g to %g with %zu\n", name, i, segment->start, segment->end,
                          segment->id_count, json_number_value(json_object_get(wanted, "start")),
                          json_number_value(json_object_get(wanted, "end")), json_array_size(ids));
        wrong += !same || !has_words(segment, json_object_get(wanted, "words"));
    }
    const char *text = json_string_value(json_object_get(one, "text"));
    if (strcmp(text, td_transcript_text(transcript)) != 0) {
        print_message("%s: text \"%.60s\", expected \"%.60s\"\n", name, td_transcript_text(transcript), text);
        wrong++;
    }
    return wrong;
}

static void as_transformers(void **state)
{
    (void)state;
    td_error error;
    td_model *model = open_model();
    td_session *session;
    json_t *expected = json_load_file(DIRECTORY "/expected.json", 0, NULL);
    assert_non_null(expected);
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    size_t index, wrong = 0;
    const json_t *one;
    json_array_foreach(json_object_get(expected, "cases"), index, one)
    {
        size_t count;
        float *samples = make_sound(json_number_value(json_object_get(one, "seconds")), &count);
        td_generate_options generate = TD_GENERATE_OPTIONS_INIT;
        td_transcribe_options options = options_of(json_object_get(one, "settings"), &generate);
        td_transcript *transcript = NULL;
        if (td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error) != TD_OK)
            fail_msg("%s: %s", json_string_value(json_object_get(one, "name")), error.message);
        wrong += compare(one, transcript);
        td_transcript_free(transcript);
        free(samples);
    }
    assert_true(index >= 12);
    assert_int_equal(wrong, 0);
    json_decref(expected);
    td_session_free(session);
    td_model_close(model);
}

static bool stop_at_second(void *context, const td_transcript_segment *segment)
{
    assert_non_null(segment->text);
    return ++*(int *)context < 2;
}

/* A callback ends it; mistakes are named. */
static void stops_and_mistakes(void **state)
{
    (void)state;
    td_error error;
    td_model *model = open_model();
    td_session *session;
    td_transcript *transcript = NULL;
    size_t count;
    int calls = 0;
    float *samples = make_sound(7, &count);
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    options.language = "en";
    options.on_segment = stop_at_second;
    options.context = &calls;
    assert_int_equal(td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error), TD_ERROR_CANCELLED);
    assert_int_equal(calls, 2);
    options.on_segment = NULL;
    options.language = "xx";
    assert_int_equal(td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "\"xx\""));
    assert_non_null(strstr(error.message, "fr"));
    options.language = "en";
    options.temperature_count = 2;
    assert_int_equal(td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "temperatures"));
    options.temperature_count = 0;
    options.task = "sing";
    assert_int_equal(td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "\"sing\""));
    assert_null(transcript);
    free(samples);
    td_session_free(session);
    td_model_close(model);
}

/* Names of languages come from a file: they may be bare, and as short as it likes. */
static void names_languages(void **state)
{
    (void)state;
    td_error error;
    td_model model = {.network = {.vocabulary = 4}};
    td_whisper whisper = {.model = &model, .file = (char *)(uintptr_t) "generation_config.json"};
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    int32_t id;
    whisper.settings = json_pack("{s:{s:i,s:i,s:i}}", "lang_to_id", "<|de|>", 1, "f", 2, "", 3);
    options.language = "xx";
    assert_int_equal(td_whisper_language(&whisper, &options, &id, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "auto, de, f, "));
    static const char *const names[] = {"de", "f", ""};
    for (int32_t i = 0; i < 3; i++) {
        char *name = td_whisper_language_name(&whisper, i + 1);
        assert_string_equal(name, names[i]);
        td_release(name);
    }
    assert_null(td_whisper_language_name(&whisper, 0));
    json_decref(whisper.settings);
}

/* The language is the likeliest of those the model has, whatever the logits of other tokens, and the prompt names it. */
static void detects_the_likeliest_language(void **state)
{
    (void)state;
    td_error error;
    td_model model = {.network = {.vocabulary = 5}};
    td_whisper whisper = {.model = &model, .file = (char *)(uintptr_t) "generation_config.json", .start = 0, .no_timestamps = -1};
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    whisper.settings = json_pack("{s:{s:i,s:i,s:i}}", "lang_to_id", "<|en|>", 1, "<|de|>", 2, "<|fr|>", 3);
    int32_t id;
    options.language = "auto";
    assert_int_equal(td_whisper_language(&whisper, &options, &id, &error), TD_OK);
    assert_int_equal(id, TD_WHISPER_DETECT);
    for (int32_t likeliest = 1; likeliest <= 3; likeliest++) {
        float logits[5] = {9, -2, -2, -2, 9};
        logits[likeliest] = -1;
        assert_int_equal(td_whisper_detect(&whisper, logits), likeliest);
        td_ids prompt = {0};
        assert_int_equal(td_whisper_prompt(&whisper, &options, likeliest, true, &prompt, &error), TD_OK);
        assert_int_equal(prompt.length, 2);
        assert_int_equal(prompt.data[1], likeliest);
        td_ids_free(&prompt);
    }
    json_decref(whisper.settings);
}

/* Bad windows are decoded anew by sampling; the same seed gives the same. */
static void falls_back(void **state)
{
    (void)state;
    static const double temperatures[] = {0, 0.5, 1};
    td_error error;
    td_model *model = open_model();
    td_session *session;
    td_transcript *transcript[3];
    size_t count;
    float *samples = make_sound(7, &count);
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    for (int i = 0; i < 3; i++) {
        td_generate_options generate = TD_GENERATE_OPTIONS_INIT;
        td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
        generate.beam = 1;
        options.generate = &generate;
        options.language = "en";
        options.log_probability = i < 2 ? -0.001 : -1000;
        options.temperatures = temperatures;
        options.temperature_count = 3;
        assert_int_equal(td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript[i], &error), TD_OK);
    }
    assert_string_equal(td_transcript_text(transcript[0]), td_transcript_text(transcript[1]));
    assert_string_not_equal(td_transcript_text(transcript[0]), td_transcript_text(transcript[2]));
    for (int i = 0; i < 3; i++)
        td_transcript_free(transcript[i]);
    free(samples);
    td_session_free(session);
    td_model_close(model);
}

/* The file of DIRECTORY with keys changed and taken away, in `directory`. */
static void write_changed(const char *directory, const char *name, const json_t *changes, const json_t *missing)
{
    char path[512];
    size_t index;
    const json_t *key;
    snprintf(path, sizeof path, DIRECTORY "/%s", name);
    json_t *object = json_load_file(path, 0, NULL);
    assert_non_null(object);
    json_object_update(object, (json_t *)(uintptr_t)changes);
    json_array_foreach(missing, index, key) json_object_del(object, json_string_value(key));
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(json_dump_file(object, path, 0), 0);
    json_decref(object);
}

static const char *const linked[] = {"model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"};

static void make_variant(const json_t *one, const char *directory)
{
    const json_t *missing = json_object_get(one, "missing");
    for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
        char from[512], to[512];
        snprintf(from, sizeof from, DIRECTORY "/%s", linked[i]);
        snprintf(to, sizeof to, "%s/%s", directory, linked[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    write_changed(directory, "config.json", json_object_get(one, "config"), NULL);
    if (!json_is_string(missing))
        write_changed(directory, "generation_config.json", json_object_get(one, "generation"), missing);
}

static void remove_variant(const char *directory)
{
    static const char *const written[] = {"config.json", "generation_config.json"};
    char path[512];
    for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, linked[i]);
        unlink(path);
    }
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, written[i]);
        unlink(path);
    }
    rmdir(directory);
}

static size_t transcribe_variant(const json_t *one, const char *directory, const float *samples, size_t count)
{
    td_error error;
    td_model *model;
    td_session *session;
    td_transcript *transcript;
    const json_t *settings = json_object_get(one, "options"), *segments = json_object_get(one, "segments");
    const char *name = json_string_value(json_object_get(one, "name"));
    td_generate_options generate = TD_GENERATE_OPTIONS_INIT;
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    generate.beam = 1;
    options.generate = &generate;
    options.language = json_string_value(json_object_get(settings, "language"));
    options.task = json_string_value(json_object_get(settings, "task"));
    options.timestamps = json_is_true(json_object_get(settings, "return_timestamps")) ? 1 : TD_UNSET;
    if (td_model_open(directory, NULL, &model, &error) != TD_OK || td_session_new(model, NULL, &session, &error) != TD_OK ||
        td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error) != TD_OK)
        fail_msg("%s: %s", name, error.message);
    bool same = td_transcript_segments(transcript) == json_array_size(segments);
    for (size_t i = 0; same && i < json_array_size(segments); i++) {
        const td_transcript_segment *segment = td_transcript_segment_at(transcript, i);
        const json_t *ids = json_array_get(segments, i);
        same = segment->id_count == json_array_size(ids);
        for (size_t k = 0; same && k < segment->id_count; k++)
            same = segment->ids[k] == json_integer_value(json_array_get(ids, k));
    }
    if (!same)
        print_message("%s: %zu segments, the first of %zu ids; expected %zu, %zu\n", name, td_transcript_segments(transcript),
                      td_transcript_segment_at(transcript, 0) ? td_transcript_segment_at(transcript, 0)->id_count : 0,
                      json_array_size(segments), json_array_size(json_array_get(segments, 0)));
    td_transcript_free(transcript);
    td_session_free(session);
    td_model_close(model);
    return !same;
}

/* Settings that published checkpoints have in their files, or lack (tools/reference/whisper_flags.py). */
static void settings_of_published_checkpoints(void **state)
{
    (void)state;
    json_t *expected = json_load_file(DIRECTORY "/flags.json", 0, NULL);
    assert_non_null(expected);
    size_t count, index, wrong = 0;
    float *samples = make_sound(json_number_value(json_object_get(expected, "seconds")), &count);
    const json_t *one;
    json_array_foreach(json_object_get(expected, "cases"), index, one)
    {
        char directory[] = "/tmp/whisper-settings-XXXXXX";
        assert_non_null(mkdtemp(directory));
        make_variant(one, directory);
        wrong += transcribe_variant(one, directory, samples, count);
        remove_variant(directory);
    }
    assert_true(index >= 16);
    assert_int_equal(wrong, 0);
    free(samples);
    json_decref(expected);
}

/* What words need of the files is named when it is missing or wrong. */
static void refuses_to_time_words(void **state)
{
    (void)state;
    static const struct {
        const char *generation, *config, *message;
    } cases[] = {
        {"{\"alignment_heads\": null}", "{}", "\"alignment_heads\" is missing"},
        {"{\"alignment_heads\": []}", "{}", "must be a list of [layer, head]"},
        {"{\"alignment_heads\": [[0, 2]]}", "{}", "must be a list of [layer, head]"},
        {"{\"alignment_heads\": [[2, 0]]}", "{}", "must be a list of [layer, head]"},
        {"{\"alignment_heads\": [[0]]}", "{}", "must be a list of [layer, head]"},
        {"{}", "{\"median_filter_width\": 4}", "\"median_filter_width\" must be odd"},
    };
    size_t count;
    float *samples = make_sound(1, &count);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char directory[] = "/tmp/whisper-settings-XXXXXX";
        td_error error;
        td_model *model;
        td_session *session;
        td_transcript *transcript = NULL;
        td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
        json_t *one =
            json_pack("{s:o,s:o}", "generation", json_loads(cases[i].generation, 0, NULL), "config", json_loads(cases[i].config, 0, NULL));
        assert_non_null(mkdtemp(directory));
        make_variant(one, directory);
        options.word_timestamps = 1;
        assert_int_equal(td_model_open(directory, NULL, &model, &error), TD_OK);
        assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
        assert_true(td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error) != TD_OK);
        if (!strstr(error.message, cases[i].message))
            fail_msg("case %zu: %s", i, error.message);
        td_session_free(session);
        td_model_close(model);
        remove_variant(directory);
        json_decref(one);
    }
    free(samples);
}

/* A prompt is text: special tokens in it, or more than half of what the decoder reads, are mistakes. */
static void refuses_prompts(void **state)
{
    (void)state;
    td_error error;
    td_model *model = open_model();
    td_session *session;
    td_transcript *transcript = NULL;
    size_t count;
    float *samples = make_sound(1, &count);
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    options.prompt = "one <|transcribe|> two";
    assert_int_equal(td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "<|transcribe|>"));
    options.prompt = "one one one one one one one one one one one one one one one one one one one one";
    assert_int_equal(td_transcribe_samples(session, samples, count, 1, RATE, &options, &transcript, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "tokens; this model takes 19"));
    free(samples);
    td_session_free(session);
    td_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_transformers),
                                       cmocka_unit_test(stops_and_mistakes),
                                       cmocka_unit_test(names_languages),
                                       cmocka_unit_test(detects_the_likeliest_language),
                                       cmocka_unit_test(falls_back),
                                       cmocka_unit_test(settings_of_published_checkpoints),
                                       cmocka_unit_test(refuses_to_time_words),
                                       cmocka_unit_test(refuses_prompts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
