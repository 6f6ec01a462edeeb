/* Products with packed weights for ARM processors that multiply bytes four at a time. */
#include "kernels/packed.h"

#if defined(__ARM_FEATURE_DOTPROD) && !defined(TD_DOUBLE)
#define VECTOR_NEON
#define TD_PACKED_TABLE td_packed_dotprod
#define TD_PACKED_ISA TD_MATRIX_DOTPROD
#include "kernels/packed.inc.h"
#include "kernels/packed_dotprod.inc.h"
#endif
