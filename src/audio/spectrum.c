#include "audio/spectrum.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define PRE_EMPHASIS 0.97
#define INTEGER_SCALE 32768.0 /* Kaldi computes on 16-bit integers */

static bool is_kaldi(const td_spectrum_options *options)
{
    return options->kind != TD_LOG_MEL;
}

static size_t transform_length(const td_spectrum_options *options)
{
    size_t length = 2;
    while (length < options->frame)
        length *= 2;
    return is_kaldi(options) ? length : options->frame;
}

static void fill_window(const td_spectrum_options *options, double *window)
{
    for (size_t i = 0; i < options->frame; i++) {
        if (is_kaldi(options)) /* Povey's: symmetric Hann to the power of 0.85 */
            window[i] = pow(0.5 - 0.5 * cos(2.0 * M_PI * (double)i / (double)(options->frame - 1)), 0.85);
        else
            window[i] = 0.5 - 0.5 * cos(2.0 * M_PI * (double)i / (double)options->frame);
    }
}

/* Orthonormal DCT-II, each row times its lifter 1 + Q/2 sin(pi k / Q). */
static void fill_cosines(const td_spectrum_options *options, double *cosines)
{
    double bins = (double)options->mel_bins;
    for (size_t k = 0; k < options->cepstra; k++) {
        double lifter = options->lifter > 0.0 ? 1.0 + 0.5 * options->lifter * sin(M_PI * (double)k / options->lifter) : 1.0;
        double scale = sqrt((k == 0 ? 1.0 : 2.0) / bins) * lifter;
        for (size_t n = 0; n < options->mel_bins; n++)
            cosines[k * options->mel_bins + n] = scale * cos(M_PI / bins * ((double)n + 0.5) * (double)k);
    }
}

static td_status make_tables(td_spectrum *spectrum, td_error *error)
{
    const td_spectrum_options *options = &spectrum->options;
    size_t length = transform_length(options);
    TD_TRY(td_fft_make(length, &spectrum->fft, error));
    td_mel_options mel = {.scale = is_kaldi(options) ? TD_MEL_KALDI : TD_MEL_SLANEY,
                          .spectrum = length / 2 + 1,
                          .filters = options->mel_bins,
                          .rate = options->rate,
                          .low = options->low,
                          .high = options->high};
    TD_TRY(td_mel_make(&mel, &spectrum->mel, error));
    spectrum->window = td_allocate_array(options->frame, sizeof(double));
    if (!spectrum->window)
        return td_fail_memory(error, options->frame * sizeof(double));
    fill_window(options, spectrum->window);
    if (options->kind != TD_MFCC)
        return TD_OK;
    spectrum->cosines = td_allocate_array(options->cepstra, options->mel_bins * sizeof(double));
    if (!spectrum->cosines)
        return td_fail_memory(error, options->cepstra * options->mel_bins * sizeof(double));
    fill_cosines(options, spectrum->cosines);
    return TD_OK;
}

td_status td_spectrum_make(const td_spectrum_options *options, td_spectrum *ret_spectrum, td_error *error)
{
    td_spectrum spectrum = {.options = *options};
    td_status status = make_tables(&spectrum, error);
    if (status != TD_OK)
        td_spectrum_free(&spectrum);
    else
        *ret_spectrum = spectrum;
    return status;
}

void td_spectrum_free(td_spectrum *spectrum)
{
    td_fft_free(&spectrum->fft);
    td_mel_free(&spectrum->mel);
    td_release(spectrum->window);
    td_release(spectrum->cosines);
    *spectrum = (td_spectrum){0};
}

size_t td_spectrum_width(const td_spectrum *spectrum)
{
    return spectrum->options.kind == TD_MFCC ? spectrum->options.cepstra : spectrum->options.mel_bins;
}

size_t td_spectrum_frames(const td_spectrum *spectrum, size_t count)
{
    const td_spectrum_options *options = &spectrum->options;
    if (!is_kaldi(options))
        return count / options->shift;
    return count < options->frame ? 0 : 1 + (count - options->frame) / options->shift;
}

/* Memory of one call. */
typedef struct call_memory {
    double *frame, *transform; /* [fft.length] */
    double *power;             /* [fft.length / 2 + 1] */
    double *energies;          /* [mel_bins] */
} call_memory;

/* The sample at `position` of a sound mirrored at both its ends. */
static float mirrored(const float *samples, size_t count, ptrdiff_t position)
{
    if (count == 1)
        return samples[0];
    ptrdiff_t period = 2 * ((ptrdiff_t)count - 1);
    position %= period;
    if (position < 0)
        position += period;
    return samples[position < (ptrdiff_t)count ? position : period - position];
}

/* One row of log10 mel energies; frame `index` has its centre at index * shift. */
static void log_mel_row(const td_spectrum *spectrum, const float *samples, size_t count, size_t index, call_memory *scratch, float *row)
{
    size_t length = spectrum->options.frame;
    ptrdiff_t start = (ptrdiff_t)(index * spectrum->options.shift) - (ptrdiff_t)(length / 2);
    bool inside = start >= 0 && (size_t)start + length <= count, silent = true;
    for (size_t i = 0; i < length; i++) {
        float sample = inside ? samples[(size_t)start + i] : mirrored(samples, count, start + (ptrdiff_t)i);
        silent = silent && sample == 0.0f;
        scratch->frame[i] = (double)sample * spectrum->window[i];
    }
    if (silent) { /* most of a padded window */
        for (size_t i = 0; i < spectrum->options.mel_bins; i++)
            row[i] = -10.0f;
        return;
    }
    td_fft_power(&spectrum->fft, scratch->frame, scratch->transform, scratch->power);
    td_mel_apply(&spectrum->mel, scratch->power, scratch->energies);
    for (size_t i = 0; i < spectrum->options.mel_bins; i++)
        row[i] = (float)log10(fmax(scratch->energies[i], 1e-10));
}

void td_spectrum_clamp(float *values, size_t count, float loudest)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (fmaxf(values[i], loudest - 8.0f) + 4.0f) / 4.0f;
}

static void clamp_to_loudest(td_features *features)
{
    size_t total = features->rows * features->width;
    float loudest = -FLT_MAX;
    for (size_t i = 0; i < total; i++)
        loudest = fmaxf(loudest, features->data[i]);
    td_spectrum_clamp(features->data, total, loudest);
}

/* One row of Kaldi's features; frame `index` begins at index * shift. */
static void kaldi_row(const td_spectrum *spectrum, const float *samples, size_t count, size_t index, call_memory *scratch, float *row)
{
    (void)count;
    const td_spectrum_options *options = &spectrum->options;
    size_t length = options->frame;
    double *frame = scratch->frame, mean = 0.0, energy = 0.0;
    for (size_t i = 0; i < length; i++) {
        frame[i] = (double)samples[index * options->shift + i] * INTEGER_SCALE;
        mean += frame[i];
    }
    mean /= (double)length;
    for (size_t i = 0; i < length; i++) {
        frame[i] -= mean;
        energy += frame[i] * frame[i];
    }
    for (size_t i = length; i-- > 0;)
        frame[i] = (frame[i] - PRE_EMPHASIS * frame[i > 0 ? i - 1 : 0]) * spectrum->window[i];
    memset(frame + length, 0, (spectrum->fft.length - length) * sizeof *frame);
    td_fft_power(&spectrum->fft, frame, scratch->transform, scratch->power);
    td_mel_apply(&spectrum->mel, scratch->power, scratch->energies);
    for (size_t i = 0; i < options->mel_bins; i++)
        scratch->energies[i] = log(fmax(scratch->energies[i], (double)FLT_EPSILON));
    if (options->kind == TD_FBANK) {
        for (size_t i = 0; i < options->mel_bins; i++)
            row[i] = (float)scratch->energies[i];
        return;
    }
    for (size_t k = 0; k < options->cepstra; k++) {
        double sum = 0.0;
        for (size_t n = 0; n < options->mel_bins; n++)
            sum += spectrum->cosines[k * options->mel_bins + n] * scratch->energies[n];
        row[k] = (float)sum;
    }
    if (options->energy)
        row[0] = (float)log(fmax(energy, (double)FLT_EPSILON));
}

static td_status allocate_scratch(const td_spectrum *spectrum, call_memory *ret_scratch, double **ret_block, td_error *error)
{
    size_t length = spectrum->fft.length, total = 2 * length + length / 2 + 1 + spectrum->options.mel_bins;
    double *block = td_allocate_array(total, sizeof *block);
    if (!block)
        return td_fail_memory(error, total * sizeof *block);
    *ret_scratch = (call_memory){block, block + length, block + 2 * length, block + 2 * length + length / 2 + 1};
    *ret_block = block;
    return TD_OK;
}

td_status td_spectrum_compute(const td_spectrum *spectrum, const char *name, const float *samples, size_t count, td_features *ret_features,
                              td_error *error)
{
    size_t frames = td_spectrum_frames(spectrum, count), width = td_spectrum_width(spectrum);
    if (frames == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: %zu samples at %zu Hz are too short for a frame; at least %zu are needed", name,
                       count, spectrum->options.rate, is_kaldi(&spectrum->options) ? spectrum->options.frame : spectrum->options.shift);
    call_memory scratch;
    double *block = NULL;
    TD_TRY(allocate_scratch(spectrum, &scratch, &block, error));
    td_features features = {td_allocate_array(frames, width * sizeof(float)), frames, width};
    if (!features.data) {
        td_release(block);
        return td_fail_memory(error, frames * width * sizeof(float));
    }
    for (size_t i = 0; i < frames; i++)
        (is_kaldi(&spectrum->options) ? kaldi_row : log_mel_row)(spectrum, samples, count, i, &scratch, features.data + i * width);
    if (!is_kaldi(&spectrum->options))
        clamp_to_loudest(&features);
    td_release(block);
    *ret_features = features;
    return TD_OK;
}

td_status td_spectrum_log_energies(const td_spectrum *spectrum, const float *samples, size_t count, size_t first, size_t frames,
                                   float *rows, td_error *error)
{
    call_memory scratch;
    double *block = NULL;
    TD_TRY(allocate_scratch(spectrum, &scratch, &block, error));
    for (size_t i = 0; i < frames; i++)
        log_mel_row(spectrum, samples, count, first + i, &scratch, rows + i * spectrum->options.mel_bins);
    td_release(block);
    return TD_OK;
}
