/* The int8 tile of NEON: eight products of bytes in 16 bits; two of them fit side by side (2 * 127 * 127 < 2^15) before
 * neighbours are added to 32-bit sums. */
#include "kernels/packed_ahead.h"
#include "kernels/tile.h"

#include <string.h>

#define TD_PACKED_INT8
#define TD_PACKED_SIGNED 1

/* Four bytes of a row, the 128 taken off, as often as a vector holds them. */
INLINE int8x16_t four_inputs(const uint8_t *x)
{
    uint32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
}

INLINE void int8_tile(const td_packed_job *job, const int8_t *w, size_t row, size_t rows, size_t first, ahead next, int32_t (*y)[TD_PANEL])
{
    enum { ROWS = 6, OUTPUTS = 16 };
    const uint8_t *x = job->input.shifted + row * job->input.stride;
    size_t stride = job->input.stride, depth = job->weights->depth;
    (void)next;
    for (size_t at = first; at < first + OUTPUTS; at += 4) {
        int32x4_t low[ROWS], high[ROWS]; /* each holds two sums of two outputs */
        for (size_t r = 0; r < rows; r++)
            low[r] = high[r] = vdupq_n_s32(0);
        for (size_t k = 0; k < depth; k += 8) {
            int8x16_t even = vld1q_s8(w + k * TD_PANEL + 4 * at), odd = vld1q_s8(w + (k + 4) * TD_PANEL + 4 * at);
            EACH_ROW (rows) {
                int8x16_t a = four_inputs(x + r * stride + k), b = four_inputs(x + r * stride + k + 4);
                int16x8_t products = vmull_s8(vget_low_s8(a), vget_low_s8(even));
                low[r] = vpadalq_s16(low[r], vmlal_s8(products, vget_low_s8(b), vget_low_s8(odd)));
                products = vmull_high_s8(a, even);
                high[r] = vpadalq_s16(high[r], vmlal_high_s8(products, b, odd));
            }
        }
        EACH_ROW (rows)
            vst1q_s32(y[r] + at, vpaddq_s32(low[r], high[r]));
    }
}
