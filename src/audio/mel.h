/* Triangular filters along a mel scale: a power spectrum becomes a few energies spaced as hearing spaces them. */
#ifndef TD_AUDIO_MEL_H
#define TD_AUDIO_MEL_H

#include "base/memory.h"

/* Slaney: straight below 1 kHz, logarithmic above, triangles straight in hertz, each of area 1 (Slaney 1998, as in Whisper).
 * Kaldi: 1127 ln(1 + f / 700), triangles straight in mel, each of height 1. */
typedef enum td_mel_scale { TD_MEL_SLANEY, TD_MEL_KALDI } td_mel_scale;

typedef struct td_mel_options {
    td_mel_scale scale;
    size_t spectrum; /* points of the power spectrum, from 0 to half the rate */
    size_t filters;
    size_t rate;
    double low, high; /* hertz */
} td_mel_options;

/* Immutable once made. Filter i weighs points first[i] ... first[i] + count[i] - 1; weights lie end to end. */
typedef struct td_mel {
    size_t filters;
    size_t *first, *count;
    double *weights;
} td_mel;

td_status td_mel_make(const td_mel_options *options, td_mel *ret_mel, td_error *error);
void td_mel_free(td_mel *mel);
/* power [spectrum] -> energies [filters] */
void td_mel_apply(const td_mel *mel, const double *power, double *energies);

#endif
