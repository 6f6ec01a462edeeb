/* Sound to feature rows, in the two published families. Whisper's log-mel: centred frames, Hann window, log10, clamped to
 * the loudest. Kaldi's filter bank and MFCC: whole frames only, mean removed, pre-emphasis, Povey window, natural logarithm. */
#ifndef TD_AUDIO_SPECTRUM_H
#define TD_AUDIO_SPECTRUM_H

#include "audio/fft.h"
#include "audio/mel.h"
#include "frontend/kind.h"

typedef enum td_spectrum_kind { TD_LOG_MEL, TD_FBANK, TD_MFCC } td_spectrum_kind;

typedef struct td_spectrum_options {
    td_spectrum_kind kind;
    size_t rate;
    size_t frame, shift; /* samples; for log-mel also the length of the transform, Kaldi's is the next power of two */
    size_t mel_bins;
    double low, high; /* hertz: where the filters begin and end */
    size_t cepstra;   /* MFCC: how many, at most mel_bins */
    double lifter;    /* MFCC: 0 for none */
    bool energy;      /* MFCC: the first coefficient is the frame's log energy */
} td_spectrum_options;

/* Immutable once made, so that threads may share it. */
typedef struct td_spectrum {
    td_spectrum_options options;
    td_fft fft;
    td_mel mel;
    double *window;  /* [frame] */
    double *cosines; /* MFCC: [cepstra, mel_bins], lifter included */
} td_spectrum;

td_status td_spectrum_make(const td_spectrum_options *options, td_spectrum *ret_spectrum, td_error *error);
void td_spectrum_free(td_spectrum *spectrum);
size_t td_spectrum_width(const td_spectrum *spectrum);
/* How many frames so many samples give. */
size_t td_spectrum_frames(const td_spectrum *spectrum, size_t count);
/* samples [count], full scale 1 -> features [frames, width]. `name` is what a message calls the sound: too short is an error. */
td_status td_spectrum_compute(const td_spectrum *spectrum, const char *name, const float *samples, size_t count, td_features *ret_features,
                              td_error *error);

/* Log-mel without the last step: log10 energies of `frames` frames from `first` on, as the sound in `samples` has them -> rows [frames,
 * mel_bins]. */
td_status td_spectrum_log_energies(const td_spectrum *spectrum, const float *samples, size_t count, size_t first, size_t frames,
                                   float *rows, td_error *error);
/* The last step: nothing lies more than 8 decades below the loudest; then about -1 to 1. */
void td_spectrum_clamp(float *values, size_t count, float loudest);

#endif
