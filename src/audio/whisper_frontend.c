/* WhisperFeatureExtractor: the sound is cut or filled with silence to chunk_length seconds, then log-mel rows. */
#include "audio/frontends.h"
#include "audio/settings.h"
#include "audio/whisper_sound.h"

typedef td_whisper_settings whisper;

static void whisper_close(void *state)
{
    whisper *front = state;
    td_spectrum_free(&front->spectrum);
    td_release(front);
}

static td_status configure(whisper *front, const json_t *config, const char *file, td_error *error)
{
    td_spectrum_options options = {.kind = TD_LOG_MEL, .high = 8000.0};
    size_t seconds;
    double none;
    const td_setting rows[] = {
        {"feature_size", 80, 1, 1024, NULL, &options.mel_bins},
        {"sampling_rate", 16000, 1000, 192000, NULL, &options.rate},
        {"n_fft", 400, 16, 65536, NULL, &options.frame},
        {"hop_length", 160, 1, 65536, NULL, &options.shift},
        {"chunk_length", 30, 1, 3600, NULL, &seconds},
        {"dither", 0, 0, 0, &none, NULL},        /* noise would make results random */
        {"padding_value", 0, 0, 0, &none, NULL}, /* silence */
        {NULL, 0, 0, 0, NULL, NULL},
    };
    TD_TRY(td_settings_read(rows, config, file, error));
    if (!td_fft_supports(options.frame))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"n_fft\": %zu is not supported; it must be even, without large prime factors",
                       file, options.frame);
    front->rate = options.rate;
    front->samples = seconds * options.rate;
    if (front->samples < options.frame)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"chunk_length\": %zu s are shorter than \"n_fft\", %zu samples", file, seconds,
                       options.frame);
    return td_spectrum_make(&options, &front->spectrum, error);
}

static td_status whisper_open(const json_t *config, const char *file, void **ret_state, td_error *error)
{
    whisper *front = td_allocate_array(1, sizeof *front);
    if (!front)
        return td_fail_memory(error, sizeof *front);
    td_status status = configure(front, config, file, error);
    if (status != TD_OK)
        whisper_close(front);
    else
        *ret_state = front;
    return status;
}

static size_t whisper_width(const void *state)
{
    return td_spectrum_width(&((const whisper *)state)->spectrum);
}

/* Takes the stream's first chunk and closes it. */
static td_status compute(const whisper *front, const char *name, td_sound_stream *stream, td_features *ret_features, td_error *error)
{
    float *samples = td_allocate_array(front->samples, sizeof *samples); /* zeroed: silence after the end */
    size_t count = 0;
    td_status status = samples ? td_sound_stream_next(stream, samples, front->samples, &count, error)
                               : td_fail_memory(error, front->samples * sizeof *samples);
    if (status == TD_OK && count == 0)
        status = td_fail(error, TD_ERROR_FORMAT, "%s: it holds no samples", name);
    if (status == TD_OK)
        status = td_spectrum_compute(&front->spectrum, name, samples, front->samples, ret_features, error);
    td_release(samples);
    td_sound_stream_close(stream);
    return status;
}

static td_status whisper_read(const void *state, const char *path, const void *bytes, size_t length, td_features *ret_features,
                              td_error *error)
{
    const whisper *front = state;
    td_sound_stream *stream;
    TD_TRY(td_sound_stream_open(path, bytes, length, front->rate, &stream, error));
    return compute(front, path, stream, ret_features, error);
}

static td_status whisper_take(const void *state, const td_raw_sound *sound, td_features *ret_features, td_error *error)
{
    const whisper *front = state;
    td_sound_stream *stream;
    TD_TRY(td_sound_stream_take(sound, front->rate, &stream, error));
    return compute(front, "sound in memory", stream, ret_features, error);
}

static size_t whisper_rate(const void *state, const char *path)
{
    (void)path;
    return ((const whisper *)state)->rate;
}

const td_frontend_kind td_whisper_frontend = {
    .modality = TD_AUDIO,
    .open = whisper_open,
    .close = whisper_close,
    .width = whisper_width,
    .read = whisper_read,
    .take_sound = whisper_take,
    .sound_rate = whisper_rate,
};
