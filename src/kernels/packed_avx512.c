/* Products with packed weights for processors with AVX-512 that multiply no bytes. */
#include "kernels/packed.h"

#if defined(__AVX512F__) && !defined(TD_DOUBLE)
#define TD_PACKED_TABLE td_packed_avx512
#define TD_PACKED_ISA TD_MATRIX_AVX512
#include "kernels/packed.inc.h"
#endif
