/* Fourier transform of real frames in double precision. Single precision is not enough here: beside a loud tone its rounding
 * error is a tenth of what 16-bit sound leaves in quiet mel bins, and the logarithm shows it. */
#ifndef TD_AUDIO_FFT_H
#define TD_AUDIO_FFT_H

#include "base/memory.h"

/* Immutable once made. */
typedef struct td_fft {
    size_t length;             /* of the real frame; even */
    unsigned char factors[32]; /* of length / 2, ended by 0 */
    double *twiddles;          /* [length, 2]: exp(-2 pi i k / length) */
} td_fft;

/* True for even lengths whose prime factors are small enough (at most 61). */
bool td_fft_supports(size_t length);
td_status td_fft_make(size_t length, td_fft *ret_fft, td_error *error);
void td_fft_free(td_fft *fft);
/* frame [length] -> power [length / 2 + 1], the squared magnitudes; scratch [length] */
void td_fft_power(const td_fft *fft, const double *frame, double *scratch, double *power);

#endif
