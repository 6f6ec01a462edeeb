/* Products with packed weights for ARM processors that also multiply bfloat16, two at a time. */
#include "kernels/packed.h"

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && !defined(TD_DOUBLE)
#define VECTOR_NEON
#define TD_PACKED_TABLE td_packed_bf16
#define TD_PACKED_ISA TD_MATRIX_BF16
#include "kernels/packed_dotprod.inc.h"

#define TD_PACKED_BFLOAT16_DOTS

INLINE integers bfloat16_dots(integers sum, uint32_t inputs, integers weights)
{
    return (integers)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)weights, vreinterpretq_bf16_u32(vdupq_n_u32(inputs)));
}

#include "kernels/packed.inc.h"
#endif
