/* Two passes over the sound: values are clamped to the loudest of the whole, so that must be known first. */
#include "audio/whisper_sound.h"

#include <float.h>
#include <string.h>

struct td_whisper_sound {
    const td_whisper_settings *settings;
    char *name;
    td_raw_sound raw;
    bool from_memory;
    td_sound_stream *stream;
    float *samples; /* [capacity]: of the sound from `start` on */
    size_t capacity, count;
    uint64_t start, total; /* samples */
    uint64_t frames;       /* of the sound; */
    uint64_t available;    /* of its spectrogram, which has a window at least */
    float *rows;           /* log energies of a sound of one window, found when it was measured; NULL: longer */
    float loudest;
    bool ended;
};

static size_t shift_of(const td_whisper_sound *sound)
{
    return sound->settings->spectrum.options.shift;
}

/* Frames that a frame's samples reach over on each side. */
static size_t margin_of(const td_whisper_sound *sound)
{
    return sound->settings->spectrum.options.frame / 2 / shift_of(sound) + 1;
}

static td_status rewind_sound(td_whisper_sound *sound, td_error *error)
{
    td_sound_stream_close(sound->stream);
    sound->stream = NULL;
    sound->start = 0;
    sound->count = 0;
    sound->ended = false;
    if (sound->from_memory)
        return td_sound_stream_take(&sound->raw, sound->settings->rate, &sound->stream, error);
    return td_sound_stream_open(sound->name, NULL, 0, sound->settings->rate, &sound->stream, error);
}

/* Has the samples of `frames` frames from `first` on in memory, or what there is of them. */
static td_status load(td_whisper_sound *sound, uint64_t first, size_t frames, td_error *error)
{
    size_t shift = shift_of(sound), margin = margin_of(sound);
    uint64_t wanted_start = first > margin ? (first - margin) * shift : 0, wanted_end = (first + frames + margin) * shift;
    while (sound->start < wanted_start) {
        size_t gap = (size_t)(wanted_start - sound->start < sound->count ? wanted_start - sound->start : sound->count);
        memmove(sound->samples, sound->samples + gap, (sound->count - gap) * sizeof *sound->samples);
        sound->start += gap;
        sound->count -= gap;
        if (sound->start == wanted_start || sound->ended)
            break;
        uint64_t skipped = wanted_start - sound->start;
        size_t block = skipped < sound->capacity ? (size_t)skipped : sound->capacity;
        TD_TRY(td_sound_stream_next(sound->stream, sound->samples, block, &sound->count, error));
        sound->ended = sound->count < block;
    }
    if (sound->ended || sound->start + sound->count >= wanted_end)
        return TD_OK;
    size_t more = (size_t)(wanted_end - sound->start) - sound->count, count;
    TD_TRY(td_sound_stream_next(sound->stream, sound->samples + sound->count, more, &count, error));
    sound->ended = count < more;
    sound->count += count;
    return TD_OK;
}

/* Log energies of `frames` frames, all of which the spectrogram has. */
static td_status energies(td_whisper_sound *sound, uint64_t first, size_t frames, float *rows, td_error *error)
{
    return td_spectrum_log_energies(&sound->settings->spectrum, sound->samples, sound->count,
                                    (size_t)(first - sound->start / shift_of(sound)), frames, rows, error);
}

/* The sound ends in silence up to a window. */
static void extend(td_whisper_sound *sound)
{
    if (!sound->ended || sound->start > 0 || sound->count >= sound->settings->samples)
        return;
    memset(sound->samples + sound->count, 0, (sound->settings->samples - sound->count) * sizeof *sound->samples);
    sound->count = sound->settings->samples;
}

static td_status measure(td_whisper_sound *sound, float *rows, td_error *error)
{
    size_t window = td_whisper_window_frames(sound->settings), shift = shift_of(sound),
           width = td_spectrum_width(&sound->settings->spectrum);
    TD_TRY(rewind_sound(sound, error));
    sound->loudest = -FLT_MAX;
    for (uint64_t first = 0;; first += window) {
        TD_TRY(load(sound, first, window, error));
        uint64_t end = sound->start + sound->count;
        if (first == 0 && sound->ended) {
            sound->total = end;
            if (end == 0)
                return td_fail(error, TD_ERROR_FORMAT, "%s: it holds no samples", sound->name);
            extend(sound);
            end = sound->count;
        } else if (sound->ended) {
            sound->total = end;
        }
        uint64_t have = end / shift > first ? end / shift - first : 0;
        size_t frames = have < window ? (size_t)have : window;
        TD_TRY(energies(sound, first, frames, rows, error));
        for (size_t i = 0; i < frames * width; i++)
            sound->loudest = rows[i] > sound->loudest ? rows[i] : sound->loudest;
        sound->available = first + frames;
        if (sound->ended && have <= window)
            break;
    }
    sound->frames = sound->total / shift;
    return rewind_sound(sound, error);
}

static td_status prepare(td_whisper_sound *sound, td_error *error)
{
    size_t window = td_whisper_window_frames(sound->settings), width = td_spectrum_width(&sound->settings->spectrum);
    sound->capacity = (window + 2 * margin_of(sound) + 1) * shift_of(sound);
    if (sound->capacity < sound->settings->samples)
        sound->capacity = sound->settings->samples;
    sound->samples = td_allocate_array(sound->capacity, sizeof *sound->samples);
    sound->rows = td_allocate_array(window, width * sizeof *sound->rows);
    if (!sound->samples || !sound->rows || !sound->name)
        return td_fail_memory(error, sound->capacity * sizeof *sound->samples + window * width * sizeof *sound->rows);
    TD_TRY(measure(sound, sound->rows, error));
    if (sound->available > window) {
        td_release(sound->rows);
        sound->rows = NULL;
    }
    return TD_OK;
}

td_status td_whisper_sound_open(const td_whisper_settings *settings, const char *path, const td_raw_sound *raw,
                                td_whisper_sound **ret_sound, td_error *error)
{
    td_whisper_sound *sound = td_allocate_array(1, sizeof *sound);
    if (!sound)
        return td_fail_memory(error, sizeof *sound);
    *sound = (td_whisper_sound){.settings = settings, .name = td_copy_string(path), .from_memory = raw != NULL};
    if (raw)
        sound->raw = *raw;
    td_status status = prepare(sound, error);
    if (status != TD_OK) {
        td_whisper_sound_close(sound);
        return status;
    }
    *ret_sound = sound;
    return TD_OK;
}

void td_whisper_sound_close(td_whisper_sound *sound)
{
    if (!sound)
        return;
    td_sound_stream_close(sound->stream);
    td_release(sound->samples);
    td_release(sound->rows);
    td_release(sound->name);
    td_release(sound);
}

size_t td_whisper_sound_frames(const td_whisper_sound *sound)
{
    return (size_t)sound->frames;
}

size_t td_whisper_sound_filled(const td_whisper_sound *sound)
{
    bool in_part = sound->total < sound->settings->samples && sound->total % shift_of(sound) > 0;
    return (size_t)sound->frames + in_part;
}

double td_whisper_sound_seconds(const td_whisper_sound *sound)
{
    return (double)sound->total / (double)sound->settings->rate;
}

static td_status read_energies(td_whisper_sound *sound, size_t first, size_t frames, float *rows, td_error *error)
{
    TD_TRY(load(sound, first, td_whisper_window_frames(sound->settings), error));
    extend(sound);
    return energies(sound, first, frames, rows, error);
}

td_status td_whisper_sound_window(td_whisper_sound *sound, size_t first, td_features *ret_features, td_error *error)
{
    size_t window = td_whisper_window_frames(sound->settings), width = td_spectrum_width(&sound->settings->spectrum);
    td_features features = {td_allocate_array(window, width * sizeof(float)), window, width}; /* zeroed */
    if (!features.data)
        return td_fail_memory(error, window * width * sizeof(float));
    size_t frames = first < sound->available ? (size_t)(sound->available - first < window ? sound->available - first : window) : 0;
    td_status status = TD_OK;
    if (frames && sound->rows)
        memcpy(features.data, sound->rows + first * width, frames * width * sizeof *features.data);
    else if (frames)
        status = read_energies(sound, first, frames, features.data, error);
    if (status != TD_OK) {
        td_features_free(&features);
        return status;
    }
    td_spectrum_clamp(features.data, frames * width, sound->loudest);
    *ret_features = features;
    return TD_OK;
}
