/* Voice activity by energy: a stream of sound is cut at its pauses into segments of bounded length, so that a recording of hours can be
 * read by a model that was trained on sentences. Memory holds one segment at most, and a second around it. */
#ifndef TD_AUDIO_VOICE_H
#define TD_AUDIO_VOICE_H

#include "audio/sound.h"

typedef struct td_voice_options {
    double longest; /* seconds of a segment, padding included; speech without a pause is cut at its quietest point */
    double pause;   /* seconds of quiet that end a segment */
    double padding; /* seconds kept before and after speech */
} td_voice_options;
#define TD_VOICE_OPTIONS_INIT                                                                                                              \
    {                                                                                                                                      \
        20.0, 0.5, 0.2                                                                                                                     \
    }

typedef struct td_voice_segment {
    float *samples; /* [count]; owned by the caller; NULL: there is no further segment */
    size_t count;
    double start, end; /* seconds */
} td_voice_segment;

/* One thread at a time. */
typedef struct td_voice td_voice;

/* The stream stays the caller's and must outlive the voice. */
td_status td_voice_open(td_sound_stream *stream, const td_voice_options *options, td_voice **ret_voice, td_error *error);
void td_voice_close(td_voice *voice); /* NULL is fine */
/* The next segment with speech in it. A recording that is no longer than a segment and holds speech in one place is given whole, as
 * the sounds that models are trained on are. */
td_status td_voice_next(td_voice *voice, td_voice_segment *ret_segment, td_error *error);
/* Seconds read from the stream; once there is no further segment, the length of the sound. */
double td_voice_seconds(const td_voice *voice);

#endif
