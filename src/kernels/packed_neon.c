/* Products with packed weights for 64-bit ARM. */
#include "kernels/packed.h"

#if defined(__aarch64__) && !defined(TD_DOUBLE)
#define VECTOR_NEON
#define TD_PACKED_TABLE td_packed_neon
#define TD_PACKED_ISA TD_MATRIX_NEON
/* First, and apart so that sorting leaves it there: the tile that the body below takes. */
#include "kernels/packed_neon.inc.h"

#include "kernels/packed.inc.h"
#endif
