/* ARM's dot products: four byte products added to each of 4 sums by one instruction. */
#include "kernels/rows_vector.h"

#define TD_PACKED_INT8_DOTS
#define TD_PACKED_SIGNED 1

INLINE integers int8_dots(integers sum, uint32_t inputs, integers weights)
{
    return vdotq_s32(sum, (int8x16_t)weights, vreinterpretq_s8_u32(vdupq_n_u32(inputs ^ 0x80808080u))); /* the 128 taken off */
}
