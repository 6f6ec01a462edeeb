/* VNNI: four byte products added to each of 16 sums by one instruction, without saturation. */
#include "kernels/rows_vector.h"

#define TD_PACKED_INT8_DOTS

INLINE integers int8_dots(integers sum, uint32_t inputs, integers weights)
{
    return (integers)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32((int32_t)inputs), (__m512i)weights);
}
