/* Products in panels: float32. */
#include "kernels/panels.h"

#if defined(__AVX512F__) && !defined(TD_DOUBLE)

#include <immintrin.h>
#include <stdint.h>

#define TD_PANELS_TABLE td_panels_avx512
#define GROUP 1
typedef float number;

static inline __m512 multiply_add(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

static inline __m512i units_of_rows(const number *from, size_t stride, size_t rows, __mmask16 mask)
{
    (void)stride, (void)rows;
    return _mm512_maskz_loadu_epi32(mask, from);
}

#include "kernels/panels.inc.h"

#endif
