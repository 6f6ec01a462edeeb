/* Products with packed weights for processors that multiply bytes and bfloat16 in AVX-512. */
#include "kernels/packed.h"

#if defined(__AVX512BF16__) && !defined(TD_DOUBLE)
#define TD_PACKED_TABLE td_packed_vnni_bfloat16
#define TD_PACKED_ISA TD_MATRIX_VNNI
#define TD_PACKED_BFLOAT16
#include "kernels/packed_vnni.inc.h"

/* Two products added to each of 16 sums by one instruction. */
INLINE void bfloat16_tile(const td_packed_job *job, const uint16_t *w, size_t row, size_t rows, size_t first, ahead next,
                          float (*y)[TD_PANEL])
{
    enum { ROWS = 6, VECTORS = 4 };
    const uint16_t *x = job->input.rounded + row * job->input.stride;
    size_t stride = job->input.stride, depth = job->weights->depth;
    __m512 sums[ROWS][VECTORS];
    (void)first; /* the tile is the panel */
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < VECTORS; v++)
            sums[r][v] = _mm512_setzero_ps();
    for (size_t k = 0; k < depth; k += 2) {
        __m512bh weights[VECTORS];
        look_ahead(&next);
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++)
            weights[v] = (__m512bh)_mm512_load_si512(w + k * TD_PANEL + v * 32);
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            int32_t two;
            memcpy(&two, x + r * stride + k, sizeof two);
            __m512bh values = (__m512bh)_mm512_set1_epi32(two);
#pragma GCC unroll 4
            for (size_t v = 0; v < VECTORS; v++)
                sums[r][v] = _mm512_dpbf16_ps(sums[r][v], values, weights[v]);
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++)
            _mm512_storeu_ps(y[r] + v * 16, sums[r][v]);
}

#include "kernels/packed.inc.h"
#endif
