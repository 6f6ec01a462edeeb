/* Products with packed weights for any processor. */
#include "kernels/packed.h"

#ifndef TD_DOUBLE
#define TD_PACKED_TABLE td_packed_plain
#define TD_PACKED_ISA TD_MATRIX_PLAIN
#include "kernels/packed.inc.h"
#endif
