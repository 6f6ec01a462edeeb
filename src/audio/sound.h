/* Sound from a file or from memory: any format, rate and number of channels becomes one channel at the wanted rate. All
 * reading goes through one stream of bounded memory, so that a part of a sound has the samples that the whole has. */
#ifndef TD_AUDIO_SOUND_H
#define TD_AUDIO_SOUND_H

#include "frontend/kind.h"

#define TD_SOUND_LIMIT ((size_t)1 << 28) /* samples read whole: 1 GiB, 4.6 hours at 16 kHz; longer sounds are streamed */

/* One thread at a time. */
typedef struct td_sound_stream td_sound_stream;

/* Opens a file (wav, flac, ogg, mp3 and what else libsndfile reads); or, with `bytes` not NULL, a file's content, which must
 * stay until close, `path` being what messages call it. Channels are averaged. `rate`: of the samples given; 0: the file's own. */
td_status td_sound_stream_open(const char *path, const void *bytes, size_t length, size_t rate, td_sound_stream **ret_stream,
                               td_error *error);
/* The same for samples in memory, which must stay until close. */
td_status td_sound_stream_take(const td_raw_sound *sound, size_t rate, td_sound_stream **ret_stream, td_error *error);
/* Up to `count` samples; fewer only at the end. A truncated file and a sample that is not a finite number are errors. */
td_status td_sound_stream_next(td_sound_stream *stream, float *samples, size_t count, size_t *ret_count, td_error *error);
size_t td_sound_stream_rate(const td_sound_stream *stream); /* of the samples given */
void td_sound_stream_close(td_sound_stream *stream);

/* What is left of the stream; *ret_samples is never NULL. More than `limit` samples are an error, none too. */
td_status td_sound_stream_rest(td_sound_stream *stream, size_t limit, float **ret_samples, size_t *ret_count, td_error *error);

/* samples [count] at rate `from` -> at rate `to`; only the ratio matters. */
td_status td_sound_resample(const float *samples, size_t count, double from, double to, float **ret_samples, size_t *ret_count,
                            td_error *error);

#endif
