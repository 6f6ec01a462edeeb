/* Wav2Vec2FeatureExtractor: the samples themselves, one a row, brought to mean 0 and variance 1 where the configuration asks for it. */
#include "audio/frontends.h"
#include "audio/settings.h"
#include "audio/sound.h"
#include "io/json.h"

#include <math.h>

typedef struct waveform {
    size_t rate;
    bool normalize;
} waveform;

static td_status waveform_open(const json_t *config, const char *file, void **ret_state, td_error *error)
{
    waveform made;
    double none;
    size_t width;
    const td_setting rows[] = {
        {"feature_size", 1, 1, 1, NULL, &width},
        {"sampling_rate", 16000, 1000, 192000, NULL, &made.rate},
        {"padding_value", 0, 0, 0, &none, NULL}, /* nothing is padded here; another value would mean another training */
        {NULL, 0, 0, 0, NULL, NULL},
    };
    TD_TRY(td_settings_read(rows, config, file, error));
    TD_TRY(td_json_get_bool(config, file, "do_normalize", true, &made.normalize, error));
    waveform *front = td_allocate(sizeof *front);
    if (!front)
        return td_fail_memory(error, sizeof *front);
    *front = made;
    *ret_state = front;
    return TD_OK;
}

static void waveform_close(void *state)
{
    td_release(state);
}

static size_t waveform_width(const void *state)
{
    (void)state;
    return 1;
}

static void normalize(float *samples, size_t count)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)samples[i];
    double mean = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += ((double)samples[i] - mean) * ((double)samples[i] - mean);
    double inverse = 1 / sqrt(squares / (double)count + 1e-7);
    for (size_t i = 0; i < count; i++)
        samples[i] = (float)(((double)samples[i] - mean) * inverse);
}

/* Takes the whole stream and closes it. */
static td_status take(const waveform *front, td_sound_stream *stream, td_features *ret_features, td_error *error)
{
    td_features features = {.width = 1};
    td_status status = td_sound_stream_rest(stream, TD_SOUND_LIMIT, &features.data, &features.rows, error);
    td_sound_stream_close(stream);
    TD_TRY(status);
    if (front->normalize)
        normalize(features.data, features.rows);
    *ret_features = features;
    return TD_OK;
}

static td_status waveform_read(const void *state, const char *path, const void *bytes, size_t length, td_features *ret_features,
                               td_error *error)
{
    td_sound_stream *stream;
    TD_TRY(td_sound_stream_open(path, bytes, length, ((const waveform *)state)->rate, &stream, error));
    return take(state, stream, ret_features, error);
}

static td_status waveform_take(const void *state, const td_raw_sound *sound, td_features *ret_features, td_error *error)
{
    td_sound_stream *stream;
    TD_TRY(td_sound_stream_take(sound, ((const waveform *)state)->rate, &stream, error));
    return take(state, stream, ret_features, error);
}

static size_t waveform_rate(const void *state, const char *path)
{
    (void)path;
    return ((const waveform *)state)->rate;
}

const td_frontend_kind td_waveform_frontend = {
    .modality = TD_AUDIO,
    .open = waveform_open,
    .close = waveform_close,
    .width = waveform_width,
    .read = waveform_read,
    .take_sound = waveform_take,
    .sound_rate = waveform_rate,
};
