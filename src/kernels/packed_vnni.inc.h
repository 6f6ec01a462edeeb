/* The int8 tile of VNNI: four byte products added to each of 16 sums by one instruction, without saturation. */
#include "kernels/packed_ahead.h"

#include <string.h>

#define TD_PACKED_INT8

INLINE void int8_tile(const td_packed_job *job, const int8_t *w, size_t row, size_t rows, size_t first, ahead next, int32_t (*y)[TD_PANEL])
{
    enum { ROWS = 6, VECTORS = 4 };
    const uint8_t *x = job->input.shifted + row * job->input.stride;
    size_t stride = job->input.stride, depth = job->weights->depth;
    __m512i sums[ROWS][VECTORS];
    (void)first; /* the tile is the panel */
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < VECTORS; v++)
            sums[r][v] = _mm512_setzero_si512();
    for (size_t k = 0; k < depth; k += 4) {
        __m512i weights[VECTORS];
        look_ahead(&next);
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++)
            weights[v] = _mm512_load_si512(w + k * TD_PANEL + v * 64);
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + r * stride + k, sizeof four);
            __m512i values = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (size_t v = 0; v < VECTORS; v++)
                sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], values, weights[v]);
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++)
            _mm512_storeu_si512(y[r] + v * 16, sums[r][v]);
}
