/* Cutting recordings at pauses, and transcripts as subtitles, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../cli/transcript_output.c"
#include "api/transcript.h"
#include "audio/voice.h"
#include "audio/whisper_sound.h"
#include "audio/frontends.h"
#include "base/memory.h"

#include <stdlib.h>

enum { RATE = 8000 };

/* Seconds of a tone (level above 0) or of faint noise, appended. */
static size_t append(float *samples, size_t at, double seconds, double level)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < (size_t)(seconds * RATE); i++) {
        state = state * 1664525u + 1013904223u;
        double noise = ((double)(state >> 8) / (1 << 24) - 0.5) * 0.002;
        samples[at++] = (float)(level * sin(0.4 * (double)i) + noise);
    }
    return at;
}

typedef struct cuts {
    size_t count;
    double start[64], end[64], seconds;
} cuts;

static cuts cut(const float *samples, size_t count, const td_voice_options *options)
{
    td_error error;
    td_raw_sound sound = {samples, count, 1, RATE};
    td_sound_stream *stream;
    td_voice *voice;
    td_voice_segment segment;
    cuts found = {0};
    assert_int_equal(td_sound_stream_take(&sound, RATE, &stream, &error), TD_OK);
    assert_int_equal(td_voice_open(stream, options, &voice, &error), TD_OK);
    for (;;) {
        assert_int_equal(td_voice_next(voice, &segment, &error), TD_OK);
        if (!segment.samples)
            break;
        assert_true(found.count < 64);
        found.start[found.count] = segment.start;
        found.end[found.count++] = segment.end;
        assert_true(segment.count <= (size_t)(options->longest * RATE) + RATE / 100);
        /* The samples are those of the recording at that time, unless all of it was given. */
        size_t first = (size_t)(segment.start * RATE + 0.5);
        if (segment.count < count)
            assert_memory_equal(segment.samples, samples + first, segment.count * sizeof *samples);
        td_release(segment.samples);
    }
    found.seconds = td_voice_seconds(voice);
    td_voice_close(voice);
    td_sound_stream_close(stream);
    return found;
}

static void pauses(void **state)
{
    (void)state;
    float *samples = calloc(40 * RATE, sizeof *samples);
    size_t count = append(samples, 0, 1, 0);
    count = append(samples, count, 2, 0.3); /* 1 to 3 */
    count = append(samples, count, 1, 0);
    count = append(samples, count, 0.6, 0.2); /* 4 to 4.6, and after too short a pause */
    count = append(samples, count, 0.2, 0);
    count = append(samples, count, 0.7, 0.3); /* 4.8 to 5.5 */
    count = append(samples, count, 20, 0);
    count = append(samples, count, 0.02, 0.5); /* a click */
    count = append(samples, count, 5, 0);
    count = append(samples, count, 1, 0.05); /* 30.52 to 31.52: quiet speech */
    count = append(samples, count, 2, 0);
    td_voice_options options = TD_VOICE_OPTIONS_INIT;
    cuts found = cut(samples, count, &options);
    static const double start[] = {0.8, 3.8, 30.32}, end[] = {3.2, 5.7, 31.72};
    assert_int_equal(found.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(fabs(found.start[i] - start[i]) < 0.03);
        assert_true(fabs(found.end[i] - end[i]) < 0.03);
    }
    assert_true(fabs(found.seconds - 33.52) < 1e-6);
    free(samples);
}

static void speech_without_a_pause(void **state)
{
    (void)state;
    float *samples = calloc(20 * RATE, sizeof *samples);
    size_t count = append(samples, 0, 0.5, 0);
    for (int i = 0; i < 4; i++) { /* dips every 3.1 s, too short for pauses */
        count = append(samples, count, 3, 0.3);
        count = append(samples, count, 0.1, 0);
    }
    count = append(samples, count, 1, 0);
    td_voice_options options = {4, 0.5, 0.2};
    cuts found = cut(samples, count, &options);
    assert_int_equal(found.count, 4);
    for (size_t i = 0; i < 3; i++) { /* cut in the dip, nothing lost */
        assert_true(fabs(found.end[i] - (0.5 + 3.05 + 3.1 * (double)i)) < 0.06);
        assert_true(fabs(found.end[i] - found.start[i + 1]) < 0.11);
    }
    free(samples);
}

static void nothing_and_all(void **state)
{
    (void)state;
    float *samples = calloc(10 * RATE, sizeof *samples);
    td_voice_options options = TD_VOICE_OPTIONS_INIT;
    assert_int_equal(cut(samples, 10 * RATE, &options).count, 0); /* digital silence */
    assert_int_equal(cut(samples, append(samples, 0, 5, 0), &options).count, 0);
    assert_int_equal(cut(samples, 0, &options).count, 0);
    cuts all = cut(samples, append(samples, 0, 0.4, 0.3), &options); /* a word without quiet around it */
    assert_int_equal(all.count, 1);
    assert_true(all.start[0] == 0 && fabs(all.end[0] - 0.4) < 1e-9);
    td_error error;
    td_voice *voice;
    td_raw_sound sound = {samples, 100, 1, RATE};
    td_sound_stream *stream;
    options.longest = 0.3;
    assert_int_equal(td_sound_stream_take(&sound, RATE, &stream, &error), TD_OK);
    assert_int_equal(td_voice_open(stream, &options, &voice, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "0.3 s"));
    td_sound_stream_close(stream);
    free(samples);
}

static size_t held, most;
static void *counted_allocate(void *context, size_t bytes)
{
    (void)context;
    size_t *block = malloc(bytes + 16);
    *block = bytes;
    held += bytes;
    most = held > most ? held : most;
    return (char *)block + 16;
}
static void counted_release(void *context, void *block)
{
    (void)context;
    if (!block)
        return;
    held -= *(size_t *)(void *)((char *)block - 16);
    free((char *)block - 16);
}
static void *counted_resize(void *context, void *block, size_t bytes)
{
    void *grown = counted_allocate(context, bytes);
    size_t old = block ? *(size_t *)(void *)((char *)block - 16) : 0;
    if (block)
        memcpy(grown, block, old < bytes ? old : bytes);
    counted_release(context, block);
    return grown;
}

/* Ten minutes need no more memory than one. */
static void bounded_memory(void **state)
{
    (void)state;
    size_t needed[2];
    for (int round = 0; round < 2; round++) {
        size_t minutes = round ? 10 : 1;
        float *samples = calloc(minutes * 60 * RATE, sizeof *samples);
        size_t count = 0;
        while (count + 13 * RATE < minutes * 60 * RATE)
            count = append(samples, append(samples, count, 9, 0.3), 3.5, 0);
        td_allocator counted = {counted_allocate, counted_resize, counted_release, NULL};
        held = most = 0;
        td_set_allocator(&counted);
        td_voice_options options = TD_VOICE_OPTIONS_INIT;
        assert_true(cut(samples, count, &options).count == count / (size_t)(12.5 * RATE));
        td_set_allocator(NULL);
        assert_int_equal(held, 0);
        needed[round] = most;
        free(samples);
    }
    assert_int_equal(needed[0], needed[1]);
    assert_true(needed[1] < 2000000);
}

/* Rows of windows are rows of the whole's spectrogram. */
static void whisper_windows(void **state)
{
    (void)state;
    td_error error;
    json_t *config = json_pack("{s:s,s:i,s:i}", "feature_extractor_type", "WhisperFeatureExtractor", "feature_size", 16, "chunk_length", 2);
    void *front, *whole_front;
    assert_int_equal(td_whisper_frontend.open(config, "test", &front, &error), TD_OK);
    json_object_set_new(config, "chunk_length", json_integer(7));
    assert_int_equal(td_whisper_frontend.open(config, "test", &whole_front, &error), TD_OK);
    json_decref(config);
    float *samples = calloc(7 * 16000, sizeof *samples);
    for (size_t i = 0; i < 7 * 16000; i++)
        samples[i] = (float)(sin(0.3 * (double)i) * sin(0.0001 * (double)i));
    td_raw_sound sound = {samples, 7 * 16000, 1, 16000};
    td_features whole, window;
    td_whisper_sound *reader;
    assert_int_equal(td_whisper_frontend.take_sound(whole_front, &sound, &whole, &error), TD_OK);
    assert_int_equal(td_whisper_sound_open(front, "sound", &sound, &reader, &error), TD_OK);
    assert_int_equal(td_whisper_sound_frames(reader), 700);
    static const size_t first[] = {0, 0, 1, 2, 7, 190, 402, 600, 699};
    for (size_t k = 0; k < sizeof first / sizeof *first; k++) {
        assert_int_equal(td_whisper_sound_window(reader, first[k], &window, &error), TD_OK);
        size_t rows = 700 - first[k] < 200 ? 700 - first[k] : 200;
        assert_memory_equal(window.data, whole.data + first[k] * 16, rows * 16 * sizeof(float));
        for (size_t i = rows * 16; i < 200 * 16; i++)
            assert_true(window.data[i] == 0);
        td_features_free(&window);
    }
    td_whisper_sound_close(reader);
    td_features_free(&whole);
    sound.frames = 16000; /* shorter than a window: as the front end itself */
    assert_int_equal(td_whisper_frontend.take_sound(front, &sound, &whole, &error), TD_OK);
    assert_int_equal(td_whisper_sound_open(front, "sound", &sound, &reader, &error), TD_OK);
    assert_int_equal(td_whisper_sound_window(reader, 0, &window, &error), TD_OK);
    assert_memory_equal(window.data, whole.data, 200 * 16 * sizeof(float));
    assert_int_equal(td_whisper_sound_frames(reader), 100);
    td_features_free(&window);
    td_features_free(&whole);
    td_whisper_sound_close(reader);
    td_whisper_frontend.close(front);
    td_whisper_frontend.close(whole_front);
    free(samples);
}

static td_transcript *example(void)
{
    td_error error;
    td_transcript *transcript = td_allocate_array(1, sizeof *transcript);
    td_transcript_segment *segment;
    transcript->text = (td_buffer)TD_BUFFER_INIT;
    assert_int_equal(td_transcript_add(transcript, 0, 1.2345, " one\ntwo ", NULL, 0, &segment, &error), TD_OK);
    segment->score = -0.5;
    assert_int_equal(td_transcript_add(transcript, 61, 3723.9999, "a <b> & \"c\"", NULL, 0, &segment, &error), TD_OK);
    segment->score = -1;
    transcript->seconds = 3724;
    td_buffer_text_append(&transcript->text, " one\ntwo a <b> & \"c\"");
    return transcript;
}

typedef void (*printer)(const td_transcript *, FILE *);
static void print_plain_times(const td_transcript *transcript, FILE *stream)
{
    transcript_print_times(transcript, "f\t", stream);
}
static void print_json(const td_transcript *transcript, FILE *stream)
{
    transcript_print_json(transcript, "f.wav", NULL, stream);
}
static void print_problem(const td_transcript *transcript, FILE *stream)
{
    (void)transcript;
    transcript_print_json(NULL, "f.wav", "no \"such\" file", stream);
}

static void formats(void **state)
{
    (void)state;
    static const struct {
        printer print;
        const char *expected;
    } rows[] = {
        {transcript_print_text, " one two a <b> & \"c\"\n"},
        {print_plain_times, "f\t[00:00:00.000 --> 00:00:01.235] one two\nf\t[00:01:01.000 --> 01:02:04.000] a <b> & \"c\"\n"},
        {transcript_print_srt, "1\n00:00:00,000 --> 00:00:01,235\none two\n\n2\n00:01:01,000 --> 01:02:04,000\na <b> & \"c\"\n\n"},
        {transcript_print_vtt,
         "WEBVTT\n\n00:00:00.000 --> 00:00:01.235\none two\n\n00:01:01.000 --> 01:02:04.000\na &lt;b&gt; &amp; \"c\"\n\n"},
        {print_json, "{\"file\":\"f.wav\",\"language\":null,\"seconds\":3724.0,\"text\":\" one\\ntwo a <b> & \\\"c\\\"\",\"segments\":["
                     "{\"start\":0.0,\"end\":1.235,\"text\":\" one\\ntwo \",\"score\":-0.5},"
                     "{\"start\":61.0,\"end\":3724.0,\"text\":\"a <b> & \\\"c\\\"\",\"score\":-1.0}]}\n"},
        {print_problem, "{\"file\":\"f.wav\",\"error\":\"no \\\"such\\\" file\"}\n"},
    };
    td_transcript *transcript = example();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = NULL;
        size_t length;
        FILE *stream = open_memstream(&text, &length);
        rows[i].print(transcript, stream);
        fclose(stream);
        assert_string_equal(text, rows[i].expected);
        free(text);
    }
    td_transcript_free(transcript);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses),         cmocka_unit_test(speech_without_a_pause), cmocka_unit_test(nothing_and_all),
        cmocka_unit_test(bounded_memory), cmocka_unit_test(whisper_windows),        cmocka_unit_test(formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
