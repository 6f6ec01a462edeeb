/* Products with packed weights for ARM processors that also multiply bfloat16, two at a time. */
#include "kernels/packed.h"

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && !defined(TD_DOUBLE)
#define VECTOR_NEON
#define TD_PACKED_TABLE td_packed_bf16
#define TD_PACKED_ISA TD_MATRIX_BF16
#include "kernels/packed_dotprod.inc.h"

#define TD_PACKED_BFLOAT16

INLINE void bfloat16_tile(const td_packed_job *job, const uint16_t *w, size_t row, size_t rows, size_t first, ahead next,
                          float (*y)[TD_PANEL])
{
    enum { ROWS = 6, VECTORS = 4 };
    const uint16_t *x = job->input.rounded + row * job->input.stride;
    size_t stride = job->input.stride, depth = job->weights->depth;
    float32x4_t sums[ROWS][VECTORS];
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < VECTORS; v++)
            sums[r][v] = vdupq_n_f32(0);
    for (size_t k = 0; k < depth; k += 2) {
        bfloat16x8_t weights[VECTORS];
        look_ahead(&next);
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++)
            weights[v] = vreinterpretq_bf16_u16(vld1q_u16(w + k * TD_PANEL + 2 * (first + 4 * v)));
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            uint32_t two;
            memcpy(&two, x + r * stride + k, sizeof two);
            bfloat16x8_t values = vreinterpretq_bf16_u32(vdupq_n_u32(two));
#pragma GCC unroll 4
            for (size_t v = 0; v < VECTORS; v++)
                sums[r][v] = vbfdotq_f32(sums[r][v], weights[v], values);
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++)
            vst1q_f32(y[r] + first + 4 * v, sums[r][v]);
}

#include "kernels/packed.inc.h"
#endif
