/* The row kernels for 64-bit ARM. */
#include "kernels/rows.h"

#if defined(__aarch64__) && !defined(TD_DOUBLE)
#define VECTOR_NEON
#define TD_KERNELS_TABLE td_kernels_neon
#define TD_KERNELS_ISA TD_ISA_NEON
#include "kernels/rows.inc.h"
#endif
