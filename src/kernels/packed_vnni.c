/* Products with packed weights for processors that multiply bytes in AVX-512 (VNNI). */
#include "kernels/packed.h"

#if defined(__AVX512VNNI__) && !defined(TD_DOUBLE)
#define TD_PACKED_TABLE td_packed_vnni
#define TD_PACKED_ISA TD_MATRIX_VNNI
/* First, and apart so that sorting leaves it there: the tile that the body below takes. */
#include "kernels/packed_vnni.inc.h"

#include "kernels/packed.inc.h"
#endif
