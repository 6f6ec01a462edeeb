/* Products with packed weights for processors with AVX2 and FMA. */
#include "kernels/packed.h"

#if defined(__AVX2__) && !defined(TD_DOUBLE)
#define TD_PACKED_TABLE td_packed_avx2
#define TD_PACKED_ISA TD_MATRIX_AVX2
#include "kernels/packed.inc.h"
#endif
