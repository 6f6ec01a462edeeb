/* Products in panels: pairs of bfloat16 with float32 sums. */
#include "kernels/panels.h"

#if defined(__AVX512BF16__) && !defined(TD_DOUBLE)

#include <immintrin.h>
#include <stdint.h>

#define TD_PANELS_TABLE td_panels_vnni
#define GROUP 2
typedef uint16_t number;

static inline __m512 multiply_add(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

/* Numbers of two rows in turns; zeros for a second row that is not there. */
static inline __m512i units_of_rows(const number *from, size_t stride, size_t rows, __mmask16 mask)
{
    const __m512i in_turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
                                              3, 18, 2, 17, 1, 16, 0);
    __m256i first = _mm256_maskz_loadu_epi16(mask, from), second = _mm256_setzero_si256();
    if (rows > 1)
        second = _mm256_maskz_loadu_epi16(mask, from + stride);
    return _mm512_permutexvar_epi16(in_turns, _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
}

#include "kernels/panels.inc.h"

#endif
