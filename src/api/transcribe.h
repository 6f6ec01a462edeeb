/* Recordings that one session transcribes together. */
#ifndef TD_API_TRANSCRIBE_H
#define TD_API_TRANSCRIBE_H

#include "api/request.h"
#include "api/transcript.h"

typedef struct td_recording {
    const char *name;        /* a file; or what messages call samples in memory */
    const td_raw_sound *raw; /* NULL: a file */
    size_t number;           /* random streams depend on it */
    td_transcript *transcript;
    td_error error; /* status not TD_OK: it failed, the others go on */
} td_recording;

typedef struct td_transcribe_call {
    td_search *search;
    const td_request *request;
    td_transcribe_options options; /* complete */
    td_recording *recordings;
    size_t count;
    const volatile int *cancel; /* or NULL */
} td_transcribe_call;

/* For models of utterances, and for Whisper. They return only what ends the whole: cancelled, out of memory. */
td_status td_transcribe_utterances(td_transcribe_call *call, td_error *error);
td_status td_transcribe_windows(td_transcribe_call *call, td_error *error);

static inline bool td_transcribe_cancelled(const td_transcribe_call *call)
{
    return call->cancel && *call->cancel;
}
/* Shows a finished segment to the caller. */
static inline td_status td_transcribe_show(const td_transcribe_call *call, const td_transcript_segment *segment, td_error *error)
{
    const td_transcribe_options *options = &call->options;
    if (options->on_segment && !options->on_segment(options->context, segment))
        return td_fail(error, TD_ERROR_CANCELLED, "stopped by the callback");
    return TD_OK;
}

#endif
