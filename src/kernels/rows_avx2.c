/* The row kernels for processors with AVX2 and FMA. */
#include "kernels/rows.h"

#if defined(__AVX2__) && !defined(TD_DOUBLE)
#define TD_KERNELS_TABLE td_kernels_avx2
#define TD_KERNELS_ISA TD_ISA_AVX2
#include "kernels/rows.inc.h"
#endif
