/* Products with packed weights for processors that multiply bytes and bfloat16 in AVX-512. */
#include "kernels/packed.h"

#if defined(__AVX512BF16__) && !defined(TD_DOUBLE)
#define TD_PACKED_TABLE td_packed_vnni_bfloat16
#define TD_PACKED_ISA TD_MATRIX_VNNI
#include "kernels/packed_vnni.inc.h"

#define TD_PACKED_BFLOAT16_DOTS

/* Two products added to each of 16 sums by one instruction. */
INLINE integers bfloat16_dots(integers sum, uint32_t inputs, integers weights)
{
    return (integers)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int32_t)inputs), (__m512bh)weights);
}

#include "kernels/packed.inc.h"
#endif
