/* The row kernels for processors with AVX-512 (F, BW, DQ, VL). */
#include "kernels/rows.h"

#if defined(__AVX512F__) && !defined(TD_DOUBLE)
#define TD_KERNELS_TABLE td_kernels_avx512
#define TD_KERNELS_ISA TD_ISA_AVX512
#include "kernels/rows.inc.h"
#endif
