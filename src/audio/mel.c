#include "audio/mel.h"

#include <math.h>

static double kaldi_mel(double hertz)
{
    return 1127.0 * log(1.0 + hertz / 700.0);
}

static double slaney_mel(double hertz)
{
    return hertz < 1000.0 ? 3.0 * hertz / 200.0 : 15.0 + log(hertz / 1000.0) * (27.0 / log(6.4));
}

static double slaney_hertz(double mel)
{
    return mel < 15.0 ? 200.0 * mel / 3.0 : 1000.0 * exp((mel - 15.0) * (log(6.4) / 27.0));
}

/* Corner i of filters + 2, in the unit in which the triangles are straight. */
static double corner(const td_mel_options *options, size_t i)
{
    bool slaney = options->scale == TD_MEL_SLANEY;
    double low = slaney ? slaney_mel(options->low) : kaldi_mel(options->low);
    double high = slaney ? slaney_mel(options->high) : kaldi_mel(options->high);
    double at = low + (high - low) * (double)i / (double)(options->filters + 1);
    return slaney ? slaney_hertz(at) : at;
}

/* Weight of spectrum point `point` in the triangle left-centre-right; 0 outside. */
static double triangle(const td_mel_options *options, size_t point, const double *corners)
{
    double hertz = (double)options->rate / 2.0 * (double)point / (double)(options->spectrum - 1);
    double at = options->scale == TD_MEL_SLANEY ? hertz : kaldi_mel(hertz);
    double rising = (at - corners[0]) / (corners[1] - corners[0]), falling = (corners[2] - at) / (corners[2] - corners[1]);
    double weight = rising < falling ? rising : falling;
    if (weight <= 0.0)
        return 0.0;
    return options->scale == TD_MEL_SLANEY ? weight * 2.0 / (corners[2] - corners[0]) : weight;
}

/* Finds which points the filters weigh, and with `weights` also how much. Returns the number of weights. */
static size_t lay_out(const td_mel_options *options, td_mel *mel, double *weights)
{
    size_t total = 0;
    for (size_t i = 0; i < options->filters; i++) {
        double corners[3] = {corner(options, i), corner(options, i + 1), corner(options, i + 2)};
        mel->first[i] = mel->count[i] = 0;
        for (size_t point = 0; point < options->spectrum; point++) {
            double weight = triangle(options, point, corners);
            if (weight == 0.0)
                continue;
            if (mel->count[i]++ == 0)
                mel->first[i] = point;
            if (weights)
                weights[total] = weight;
            total++;
        }
    }
    return total;
}

td_status td_mel_make(const td_mel_options *options, td_mel *ret_mel, td_error *error)
{
    td_mel mel = {.filters = options->filters};
    mel.first = td_allocate_array(options->filters, sizeof *mel.first);
    mel.count = td_allocate_array(options->filters, sizeof *mel.count);
    size_t total = mel.first && mel.count ? lay_out(options, &mel, NULL) : 0;
    mel.weights = td_allocate_array(total + 1, sizeof *mel.weights);
    if (!mel.first || !mel.count || !mel.weights) {
        td_mel_free(&mel);
        return td_fail_memory(error, options->filters * 2 * sizeof(size_t));
    }
    lay_out(options, &mel, mel.weights);
    *ret_mel = mel;
    return TD_OK;
}

void td_mel_free(td_mel *mel)
{
    td_release(mel->first);
    td_release(mel->count);
    td_release(mel->weights);
    *mel = (td_mel){0};
}

void td_mel_apply(const td_mel *mel, const double *power, double *energies)
{
    const double *weight = mel->weights;
    for (size_t i = 0; i < mel->filters; i++) {
        double energy = 0.0;
        const double *points = power + mel->first[i];
        for (size_t k = 0; k < mel->count[i]; k++)
            energy += *weight++ * points[k];
        energies[i] = energy;
    }
}
