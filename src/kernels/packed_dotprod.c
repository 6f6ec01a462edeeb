/* Products with packed weights for ARM processors that multiply bytes four at a time. */
#include "kernels/packed.h"

#if defined(__ARM_FEATURE_DOTPROD) && !defined(TD_DOUBLE)
#define VECTOR_NEON
#define TD_PACKED_TABLE td_packed_dotprod
#define TD_PACKED_ISA TD_MATRIX_DOTPROD
/* First, and apart so that sorting leaves it there: the tile that the body below takes. */
#include "kernels/packed_dotprod.inc.h"

#include "kernels/packed.inc.h"
#endif
