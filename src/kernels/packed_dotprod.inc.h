/* The int8 tile of ARM's dot products: four byte products added to each of 4 sums by one instruction. */
#include "kernels/packed_ahead.h"

#include <string.h>

#define TD_PACKED_INT8
#define TD_PACKED_SIGNED 1

INLINE void int8_tile(const td_packed_job *job, const int8_t *w, size_t row, size_t rows, size_t first, ahead next, int32_t (*y)[TD_PANEL])
{
    enum { ROWS = 6, VECTORS = 4 };
    const uint8_t *x = job->input.shifted + row * job->input.stride;
    size_t stride = job->input.stride, depth = job->weights->depth;
    int32x4_t sums[ROWS][VECTORS];
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < VECTORS; v++)
            sums[r][v] = vdupq_n_s32(0);
    for (size_t k = 0; k < depth; k += 4) {
        int8x16_t weights[VECTORS];
        look_ahead(&next);
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++)
            weights[v] = vld1q_s8(w + k * TD_PANEL + 4 * (first + 4 * v));
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            uint32_t four;
            memcpy(&four, x + r * stride + k, sizeof four);
            int8x16_t values = vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u)); /* the 128 taken off */
#pragma GCC unroll 4
            for (size_t v = 0; v < VECTORS; v++)
                sums[r][v] = vdotq_s32(sums[r][v], weights[v], values);
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++)
            vst1q_s32(y[r] + first + 4 * v, sums[r][v]);
}
