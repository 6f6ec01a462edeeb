#include "api/transcript.h"

#include "base/array.h"

#include <string.h>

static void release_segment(const td_transcript_segment *segment)
{
    td_release((char *)segment->text);
    td_release((int32_t *)segment->ids);
    for (size_t i = 0; i < segment->word_count; i++)
        td_release((char *)segment->words[i].text);
    td_release((td_transcript_word *)segment->words);
}

void td_transcript_free(td_transcript *transcript)
{
    if (!transcript)
        return;
    for (size_t i = 0; i < transcript->count; i++)
        release_segment(&transcript->segments[i]);
    td_release(transcript->segments);
    td_buffer_free(&transcript->text);
    td_release(transcript->language);
    td_release(transcript);
}

td_status td_transcript_add(td_transcript *transcript, double start, double end, const char *text, const int32_t *ids, size_t id_count,
                            td_transcript_segment **ret_segment, td_error *error)
{
    TD_TRY(td_reserve_array(&transcript->segments, &transcript->capacity, transcript->count + 1, sizeof *transcript->segments, error));
    int32_t *id_copy = td_allocate_array(id_count, sizeof *id_copy);
    char *text_copy = td_copy_string(text);
    if (!id_copy || !text_copy) {
        td_release(id_copy);
        td_release(text_copy);
        return td_fail_memory(error, id_count * sizeof *id_copy);
    }
    if (id_count)
        memcpy(id_copy, ids, id_count * sizeof *ids);
    td_transcript_segment *segment = &transcript->segments[transcript->count++];
    *segment = (td_transcript_segment){.start = start, .end = end, .text = text_copy, .ids = id_copy, .id_count = id_count};
    *ret_segment = segment;
    return TD_OK;
}

td_status td_transcript_add_words(td_transcript_segment *segment, const td_words *words, const double *times, td_error *error)
{
    td_transcript_word *made = td_allocate_array(words->count, sizeof *made);
    if (!made)
        return td_fail_memory(error, words->count * sizeof *made);
    segment->words = made;
    for (size_t i = 0; i < words->count; i++) {
        const td_word_span *span = &words->spans[i];
        char *text = td_copy_bytes(words->text.data + span->text, span->text_end - span->text);
        if (!text)
            return td_fail_memory(error, span->text_end - span->text);
        made[segment->word_count++] = (td_transcript_word){times[2 * span->first], times[2 * span->end - 1], text};
    }
    return TD_OK;
}

const char *td_transcript_text(const td_transcript *transcript)
{
    return transcript ? td_buffer_text(&transcript->text) : NULL;
}

const char *td_transcript_language(const td_transcript *transcript)
{
    return transcript ? transcript->language : NULL;
}

double td_transcript_seconds(const td_transcript *transcript)
{
    return transcript ? transcript->seconds : 0;
}

size_t td_transcript_segments(const td_transcript *transcript)
{
    return transcript ? transcript->count : 0;
}

const td_transcript_segment *td_transcript_segment_at(const td_transcript *transcript, size_t index)
{
    return transcript && index < transcript->count ? &transcript->segments[index] : NULL;
}
