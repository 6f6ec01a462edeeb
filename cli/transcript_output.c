#include "transcript_output.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* hh:mm:ss and milliseconds after `point`. */
static void print_time(double seconds, char point, FILE *stream)
{
    unsigned long long time = seconds > 0 ? (unsigned long long)llround(seconds * 1000) : 0;
    fprintf(stream, "%02llu:%02llu:%02llu%c%03llu", time / 3600000, time / 60000 % 60, time / 1000 % 60, point, time % 1000);
}

static void print_span(double start, double end, char point, FILE *stream)
{
    print_time(start, point, stream);
    fputs(" --> ", stream);
    print_time(end, point, stream);
}

/* On one line, without spaces around. `marked`: in WebVTT some characters begin marks. */
static void print_line(const char *text, bool trim, bool marked, FILE *stream)
{
    size_t length = strlen(text);
    while (trim && length && strchr(" \t\r\n", text[length - 1]))
        length--;
    while (trim && length && strchr(" \t\r\n", *text)) {
        text++;
        length--;
    }
    for (size_t i = 0; i < length; i++) {
        const char *mark = !marked ? NULL : text[i] == '&' ? "&amp;" : text[i] == '<' ? "&lt;" : text[i] == '>' ? "&gt;" : NULL;
        if (mark)
            fputs(mark, stream);
        else
            fputc(text[i] == '\r' || text[i] == '\n' ? ' ' : text[i], stream);
    }
}

void transcript_print_text(const td_transcript *transcript, FILE *stream)
{
    print_line(td_transcript_text(transcript), false, false, stream);
    fputc('\n', stream);
}

static void print_times(double start, double end, const char *text, const char *before, FILE *stream)
{
    fprintf(stream, "%s[", before);
    print_span(start, end, '.', stream);
    fputs("] ", stream);
    print_line(text, true, false, stream);
    fputc('\n', stream);
}

void transcript_print_times(const td_transcript *transcript, const char *before, FILE *stream)
{
    for (size_t i = 0; i < td_transcript_segments(transcript); i++) {
        const td_transcript_segment *segment = td_transcript_segment_at(transcript, i);
        for (size_t k = 0; k < segment->word_count; k++)
            print_times(segment->words[k].start, segment->words[k].end, segment->words[k].text, before, stream);
        if (!segment->words)
            print_times(segment->start, segment->end, segment->text, before, stream);
    }
}

static void print_srt_cue(size_t number, double start, double end, const char *text, FILE *stream)
{
    fprintf(stream, "%zu\n", number);
    print_span(start, end, ',', stream);
    fputc('\n', stream);
    print_line(text, true, false, stream);
    fputs("\n\n", stream);
}

void transcript_print_srt(const td_transcript *transcript, FILE *stream)
{
    size_t number = 0;
    for (size_t i = 0; i < td_transcript_segments(transcript); i++) {
        const td_transcript_segment *segment = td_transcript_segment_at(transcript, i);
        for (size_t k = 0; k < segment->word_count; k++)
            print_srt_cue(++number, segment->words[k].start, segment->words[k].end, segment->words[k].text, stream);
        if (!segment->words)
            print_srt_cue(++number, segment->start, segment->end, segment->text, stream);
    }
}

/* Words within a cue, each after the time at which it is said; times of WebVTT must rise, so a word that has none of its own goes with
 * the one before. */
static void print_vtt_words(const td_transcript_segment *segment, FILE *stream)
{
    double last = segment->start;
    for (size_t k = 0; k < segment->word_count; k++) {
        const td_transcript_word *word = &segment->words[k];
        bool rises = word->start > last && word->start < segment->end;
        const char *text = word->text + (k == 0 ? strspn(word->text, " ") : 0);
        if (k > 0 && rises && *text == ' ')
            fputc(*text++, stream);
        if (rises) {
            fputc('<', stream);
            print_time(word->start, '.', stream);
            fputc('>', stream);
            last = word->start;
        }
        print_line(text, false, true, stream);
    }
}

void transcript_print_vtt(const td_transcript *transcript, FILE *stream)
{
    fputs("WEBVTT\n\n", stream);
    for (size_t i = 0; i < td_transcript_segments(transcript); i++) {
        const td_transcript_segment *segment = td_transcript_segment_at(transcript, i);
        print_span(segment->start, segment->end, '.', stream);
        fputc('\n', stream);
        if (segment->words)
            print_vtt_words(segment, stream);
        else
            print_line(segment->text, true, true, stream);
        fputs("\n\n", stream);
    }
}

static json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    return value ? value : json_null(); /* not UTF-8 */
}

static json_t *json_time(double seconds)
{
    return json_real(round(seconds * 1000) / 1000);
}

static json_t *json_words(const td_transcript_segment *segment)
{
    json_t *words = json_array();
    for (size_t i = 0; i < segment->word_count; i++) {
        const td_transcript_word *word = &segment->words[i];
        json_t *object = json_object();
        json_object_set_new(object, "start", json_time(word->start));
        json_object_set_new(object, "end", json_time(word->end));
        json_object_set_new(object, "text", json_text(word->text));
        json_array_append_new(words, object);
    }
    return words;
}

static json_t *json_segment(const td_transcript_segment *segment)
{
    json_t *object = json_object();
    json_object_set_new(object, "start", json_time(segment->start));
    json_object_set_new(object, "end", json_time(segment->end));
    json_object_set_new(object, "text", json_text(segment->text));
    json_object_set_new(object, "score", json_real(segment->score));
    if (segment->words)
        json_object_set_new(object, "words", json_words(segment));
    return object;
}

void transcript_print_json(const td_transcript *transcript, const char *file, const char *problem, FILE *stream)
{
    json_t *object = json_object(), *segments = json_array();
    const char *language = td_transcript_language(transcript);
    json_object_set_new(object, "file", json_text(file));
    if (transcript) {
        json_object_set_new(object, "language", language ? json_text(language) : json_null());
        json_object_set_new(object, "seconds", json_time(td_transcript_seconds(transcript)));
        json_object_set_new(object, "text", json_text(td_transcript_text(transcript)));
        for (size_t i = 0; i < td_transcript_segments(transcript); i++)
            json_array_append_new(segments, json_segment(td_transcript_segment_at(transcript, i)));
        json_object_set(object, "segments", segments);
    } else {
        json_object_set_new(object, "error", json_text(problem));
    }
    json_decref(segments);
    json_dumpf(object, stream, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', stream);
    json_decref(object);
}
