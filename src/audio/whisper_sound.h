/* A sound of any length as Whisper's windows: rows of its spectrogram from any frame on, equal to those of the spectrogram of the whole, in
 * bounded memory. */
#ifndef TD_AUDIO_WHISPER_SOUND_H
#define TD_AUDIO_WHISPER_SOUND_H

#include "audio/sound.h"
#include "audio/spectrum.h"

/* The state of the front end td_whisper_frontend. */
typedef struct td_whisper_settings {
    td_spectrum spectrum;
    size_t rate, samples; /* of a window */
} td_whisper_settings;

static inline size_t td_whisper_window_frames(const td_whisper_settings *settings)
{
    return settings->samples / settings->spectrum.options.shift;
}

typedef struct td_whisper_sound td_whisper_sound;

/* A file, or with `raw` not NULL samples in memory, `path` being what messages call them. Reads it once for its length and loudest
 * value. */
td_status td_whisper_sound_open(const td_whisper_settings *settings, const char *path, const td_raw_sound *raw,
                                td_whisper_sound **ret_sound, td_error *error);
void td_whisper_sound_close(td_whisper_sound *sound); /* NULL is fine */
size_t td_whisper_sound_frames(const td_whisper_sound *sound);
/* Frames that sound reaches into: of a short one, the last may be filled in part. */
size_t td_whisper_sound_filled(const td_whisper_sound *sound);
double td_whisper_sound_seconds(const td_whisper_sound *sound);
/* A window from `first` on, which may not be before that of an earlier call. Frames after the end of a sound are 0; a sound that is
 * shorter than a window ends in silence. */
td_status td_whisper_sound_window(td_whisper_sound *sound, size_t first, td_features *ret_features, td_error *error);

#endif
