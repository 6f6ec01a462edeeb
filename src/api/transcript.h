/* What a td_transcript holds. */
#ifndef TD_API_TRANSCRIPT_H
#define TD_API_TRANSCRIPT_H

#include "api/words.h"
#include "base/buffer.h"
#include "base/error.h"
#include "tandem/transcribe.h"

struct td_transcript {
    td_transcript_segment *segments; /* [count]; what they point at is owned */
    size_t count, capacity;
    td_buffer text;
    char *language; /* or NULL */
    double seconds;
};

/* Appends a segment with copies of text and ids, and gives its place. */
td_status td_transcript_add(td_transcript *transcript, double start, double end, const char *text, const int32_t *ids, size_t id_count,
                            td_transcript_segment **ret_segment, td_error *error);
/* Gives a segment its words; times: a pair for each token, when it begins and ends. */
td_status td_transcript_add_words(td_transcript_segment *segment, const td_words *words, const double *times, td_error *error);

#endif
