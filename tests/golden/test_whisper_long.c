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
#include <stdlib.h>
#include <string.h>
#include <tandem/transcribe.h>

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
    options.condition_on_previous = json_is_true(json_object_get(settings, "condition_on_prev_tokens"));
    if ((value = json_object_get(settings, "logprob_threshold")))
        options.log_probability = json_number_value(value);
    if ((value = json_object_get(settings, "no_speech_threshold")))
        options.no_speech = json_number_value(value);
    return options;
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
        wrong += !same;
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
    assert_true(index >= 7);
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
    td_whisper whisper = {.model = &model, .file = (char *)(uintptr_t)"generation_config.json"};
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
    td_whisper whisper = {.model = &model, .file = (char *)(uintptr_t)"generation_config.json", .start = 0, .no_timestamps = -1};
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_transformers), cmocka_unit_test(stops_and_mistakes), cmocka_unit_test(names_languages),
                                       cmocka_unit_test(detects_the_likeliest_language),
                                       cmocka_unit_test(falls_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
