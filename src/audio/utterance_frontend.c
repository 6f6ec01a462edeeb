/* Front ends over a whole utterance: Speech2TextFeatureExtractor, which is a Kaldi filter bank with mean and variance
 * normalisation, and TandemFeatureExtractor, whose configuration names every step so that a model's directory is complete. */
#include "audio/augment.h"
#include "audio/feature_file.h"
#include "audio/frontends.h"
#include "audio/normalize.h"
#include "audio/settings.h"
#include "audio/sound.h"
#include "audio/spectrum.h"
#include "io/json.h"
#include "platform/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FEATURE_FILE_LIMIT ((size_t)1 << 30) /* bytes */

typedef struct front_end {
    bool from_sound;      /* false: only feature files are taken */
    bool takes_features;  /* false: only sound is taken */
    td_spectrum spectrum; /* from_sound */
    size_t rate;
    size_t static_width; /* before deltas */
    bool deltas, means, deviations;
    float *mean, *deviation; /* [width] or NULL: global normalisation */
} front_end;

static void front_close(void *state)
{
    front_end *front = state;
    td_spectrum_free(&front->spectrum);
    td_release(front->mean);
    td_release(front->deviation);
    td_release(front);
}

static size_t front_width(const void *state)
{
    const front_end *front = state;
    return front->static_width * (front->deltas ? 3 : 1);
}

static td_status configure_spectrum(front_end *front, const td_spectrum_options *options, td_error *error)
{
    TD_TRY(td_spectrum_make(options, &front->spectrum, error));
    front->from_sound = true;
    front->rate = options->rate;
    front->static_width = td_spectrum_width(&front->spectrum);
    return TD_OK;
}

static td_status configure_speech_to_text(front_end *front, const json_t *config, const char *file, td_error *error)
{
    td_spectrum_options options = {.kind = TD_FBANK, .frame = 400, .shift = 160, .low = 20.0, .high = 8000.0};
    double none;
    const td_setting rows[] = {
        {"num_mel_bins", 80, 1, 1024, NULL, &options.mel_bins},
        {"sampling_rate", 16000, 16000, 16000, NULL, &options.rate}, /* the window is given in samples */
        {"dither", 0, 0, 0, &none, NULL},
        {NULL, 0, 0, 0, NULL, NULL},
    };
    TD_TRY(td_settings_read(rows, config, file, error));
    bool normalize; /* the key is spelled as it is */
    TD_TRY(td_json_get_bool(config, file, "do_ceptral_normalize", true, &normalize, error));
    TD_TRY(td_json_get_bool(config, file, "normalize_means", true, &front->means, error));
    TD_TRY(td_json_get_bool(config, file, "normalize_vars", true, &front->deviations, error));
    front->means = front->means && normalize;
    front->deviations = front->deviations && normalize;
    return configure_spectrum(front, &options, error);
}

static td_status read_numbers(const json_t *config, const char *file, const char *key, size_t count, float **ret_numbers, td_error *error)
{
    const json_t *array = json_object_get(config, key);
    if (!json_is_array(array) || json_array_size(array) != count)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a list of %zu numbers", file, key, count);
    float *numbers = td_allocate_array(count, sizeof *numbers);
    if (!numbers)
        return td_fail_memory(error, count * sizeof *numbers);
    *ret_numbers = numbers; /* the caller's, also on failure */
    for (size_t i = 0; i < count; i++) {
        const json_t *number = json_array_get(array, i);
        numbers[i] = (float)json_number_value(number);
        if (!json_is_number(number) || !isfinite(numbers[i]))
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\": entry %zu is not a number", file, key, i);
    }
    return TD_OK;
}

static td_status configure_normalization(front_end *front, const json_t *config, const char *file, td_error *error)
{
    const char *name;
    TD_TRY(td_json_get_string(config, file, "normalize", "none", &name, error));
    if (strcmp(name, "none") == 0)
        return TD_OK;
    if (strcmp(name, "utterance") == 0) {
        front->means = front->deviations = true;
        return TD_OK;
    }
    if (strcmp(name, "global") != 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"normalize\": \"%s\" is not supported (none, utterance, global)", file, name);
    TD_TRY(read_numbers(config, file, "mean", front_width(front), &front->mean, error));
    TD_TRY(read_numbers(config, file, "std", front_width(front), &front->deviation, error));
    for (size_t i = 0; i < front_width(front); i++)
        if (!(front->deviation[i] > 0.0f))
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"std\": entry %zu is %g; it must be above 0", file, i,
                           (double)front->deviation[i]);
    return TD_OK;
}

/* The keys of "fbank", "mfcc" and "log-mel"; lengths are in milliseconds. */
static td_status read_spectrum(td_spectrum_options *options, const json_t *config, const char *file, td_error *error)
{
    double frame, shift;
    const td_setting rows[] = {
        {"sampling_rate", 16000, 1000, 192000, NULL, &options->rate},
        {"frame_length", 25, 1, 1000, &frame, NULL},
        {"frame_shift", 10, 1, 1000, &shift, NULL},
        {"num_mel_bins", options->kind == TD_MFCC ? 23 : 80, 1, 1024, NULL, &options->mel_bins},
        {"num_ceps", 13, 1, 1024, NULL, &options->cepstra},
        {"cepstral_lifter", 22, 0, 1000, &options->lifter, NULL},
        {"low_freq", options->kind == TD_LOG_MEL ? 0 : 20, 0, 96000, &options->low, NULL},
        {"high_freq", 0, 0, 96000, &options->high, NULL},
        {NULL, 0, 0, 0, NULL, NULL},
    };
    TD_TRY(td_settings_read(rows, config, file, error));
    TD_TRY(td_json_get_bool(config, file, "use_energy", false, &options->energy, error));
    double rate = (double)options->rate;
    options->high = options->high > 0.0 ? options->high : rate / 2.0;
    options->frame = (size_t)(rate * frame / 1000.0);
    options->shift = (size_t)(rate * shift / 1000.0);
    if (options->kind == TD_LOG_MEL)
        options->frame += options->frame % 2; /* the transform is of even length */
    if (options->frame < 2 || (options->kind == TD_LOG_MEL && !td_fft_supports(options->frame)))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"frame_length\": %g ms are %zu samples; there is no transform for so many", file,
                       frame, options->frame);
    if (options->low >= options->high || options->high > rate / 2.0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"low_freq\" %g, \"high_freq\" %g: must rise and end at half of \"sampling_rate\"",
                       file, options->low, options->high);
    if (options->kind == TD_MFCC && options->cepstra > options->mel_bins)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"num_ceps\": %zu must be at most \"num_mel_bins\", %zu", file, options->cepstra,
                       options->mel_bins);
    return TD_OK;
}

static td_status configure_tandem(front_end *front, const json_t *config, const char *file, td_error *error)
{
    static const char *const names[] = {[TD_LOG_MEL] = "log-mel", [TD_FBANK] = "fbank", [TD_MFCC] = "mfcc"};
    const char *name;
    front->takes_features = true;
    TD_TRY(td_json_get_string(config, file, "kind", "", &name, error));
    TD_TRY(td_json_get_bool(config, file, "deltas", false, &front->deltas, error));
    size_t kind = 0;
    while (kind < 3 && strcmp(name, names[kind]) != 0)
        kind++;
    if (kind < 3) {
        td_spectrum_options options = {.kind = (td_spectrum_kind)kind};
        TD_TRY(read_spectrum(&options, config, file, error));
        TD_TRY(configure_spectrum(front, &options, error));
    } else if (strcmp(name, "features") == 0) {
        const td_setting rows[] = {{"width", 0, 1, 65536, NULL, &front->static_width}, {NULL, 0, 0, 0, NULL, NULL}};
        TD_TRY(td_settings_read(rows, config, file, error));
    } else {
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"kind\": \"%s\" is not supported (fbank, mfcc, log-mel, features)", file, name);
    }
    return configure_normalization(front, config, file, error);
}

static td_status open_with(td_status (*configure)(front_end *, const json_t *, const char *, td_error *), const json_t *config,
                           const char *file, void **ret_state, td_error *error)
{
    front_end *front = td_allocate_array(1, sizeof *front);
    if (!front)
        return td_fail_memory(error, sizeof *front);
    td_status status = configure(front, config, file, error);
    if (status != TD_OK)
        front_close(front);
    else
        *ret_state = front;
    return status;
}

static td_status speech_to_text_open(const json_t *config, const char *file, void **ret_state, td_error *error)
{
    return open_with(configure_speech_to_text, config, file, ret_state, error);
}

static td_status tandem_open(const json_t *config, const char *file, void **ret_state, td_error *error)
{
    return open_with(configure_tandem, config, file, ret_state, error);
}

/* Deltas and normalisation; frees *features on failure. */
static td_status finish(const front_end *front, td_features *features, td_features *ret_features, td_error *error)
{
    td_status status = front->deltas ? td_append_deltas(features, error) : TD_OK;
    if (status != TD_OK) {
        td_features_free(features);
        return status;
    }
    if (front->mean)
        td_normalize_global(features, front->mean, front->deviation);
    else if (front->means || front->deviations)
        td_normalize_utterance(features, front->means, front->deviations);
    *ret_features = *features;
    return TD_OK;
}

static td_status change_speed(double speed, float **samples, size_t *count, td_error *error)
{
    float *changed;
    TD_TRY(td_speed_samples(*samples, *count, speed, &changed, count, error));
    td_release(*samples);
    *samples = changed;
    return TD_OK;
}

/* Takes all of the stream and closes it. */
static td_status compute(const front_end *front, const char *name, td_sound_stream *stream, double speed, td_features *ret_features,
                         td_error *error)
{
    float *samples;
    size_t count;
    td_features features;
    td_status status = td_sound_stream_rest(stream, TD_SOUND_LIMIT, &samples, &count, error);
    td_sound_stream_close(stream);
    TD_TRY(status);
    if (speed != 1)
        status = change_speed(speed, &samples, &count, error);
    if (status == TD_OK)
        status = td_spectrum_compute(&front->spectrum, name, samples, count, &features, error);
    td_release(samples);
    return status == TD_OK ? finish(front, &features, ret_features, error) : status;
}

static td_status read_sound(const front_end *front, const char *path, const void *bytes, size_t length, double speed,
                            td_features *ret_features, td_error *error)
{
    if (!front->from_sound)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: the model takes feature files (.mfc, .npy) of %zu columns, not sound", path,
                       front->static_width);
    td_sound_stream *stream;
    TD_TRY(td_sound_stream_open(path, bytes, length, front->rate, &stream, error));
    return compute(front, path, stream, speed, ret_features, error);
}

/* The first bytes tell feature files from sound without reading an hour of it. */
static td_feature_format file_format(const front_end *front, const char *path, const void *bytes, size_t length)
{
    uint8_t head[8];
    if (!front->takes_features)
        return TD_NOT_FEATURES;
    if (bytes)
        return td_feature_format_of(path, bytes, length, length);
    FILE *file = fopen(path, "rb");
    size_t got = file ? fread(head, 1, sizeof head, file) : 0;
    long size = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : 0;
    if (file)
        fclose(file);
    return td_feature_format_of(path, head, got, size > 0 ? (size_t)size : 0);
}

static td_status read_any(const void *state, const char *path, const void *bytes, size_t length, double speed, td_features *ret_features,
                          td_error *error)
{
    const front_end *front = state;
    td_feature_format format = file_format(front, path, bytes, length);
    if (format == TD_NOT_FEATURES)
        return read_sound(front, path, bytes, length, speed, ret_features, error);
    td_buffer content = TD_BUFFER_INIT;
    td_features features;
    td_status status = bytes ? TD_OK : td_file_read(path, FEATURE_FILE_LIMIT, &content, error);
    if (status == TD_OK)
        status = td_feature_file_parse(format, path, bytes ? bytes : (const void *)td_buffer_text(&content),
                                       bytes ? length : content.length, front->static_width, &features, error);
    td_buffer_free(&content);
    TD_TRY(status);
    status = speed == 1 ? TD_OK : td_speed_features(&features, speed, error);
    if (status == TD_OK)
        return finish(front, &features, ret_features, error);
    td_features_free(&features);
    return status;
}

static td_status front_read(const void *state, const char *path, const void *bytes, size_t length, td_features *ret_features,
                            td_error *error)
{
    return read_any(state, path, bytes, length, 1, ret_features, error);
}

static td_status front_read_at_speed(const void *state, const char *path, double speed, td_features *ret_features, td_error *error)
{
    return read_any(state, path, NULL, 0, speed, ret_features, error);
}

static td_status front_take(const void *state, const td_raw_sound *sound, td_features *ret_features, td_error *error)
{
    const front_end *front = state;
    if (!front->from_sound)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "the model takes features of %zu columns, not sound", front->static_width);
    td_sound_stream *stream;
    TD_TRY(td_sound_stream_take(sound, front->rate, &stream, error));
    return compute(front, "sound in memory", stream, 1, ret_features, error);
}

static size_t front_rate(const void *state, const char *path)
{
    const front_end *front = state;
    return front->from_sound && (!path || file_format(front, path, NULL, 0) == TD_NOT_FEATURES) ? front->rate : 0;
}

const td_frontend_kind td_speech_to_text_frontend = {
    .modality = TD_AUDIO,
    .open = speech_to_text_open,
    .close = front_close,
    .width = front_width,
    .read = front_read,
    .read_at_speed = front_read_at_speed,
    .take_sound = front_take,
    .sound_rate = front_rate,
};

const td_frontend_kind td_tandem_sound_frontend = {
    .modality = TD_AUDIO,
    .open = tandem_open,
    .close = front_close,
    .width = front_width,
    .read = front_read,
    .read_at_speed = front_read_at_speed,
    .take_sound = front_take,
    .sound_rate = front_rate,
};
