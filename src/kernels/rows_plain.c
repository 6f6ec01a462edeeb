/* The row kernels for any processor. */
#define TD_KERNELS_TABLE td_kernels_plain
#define TD_KERNELS_ISA TD_ISA_PLAIN
#include "kernels/rows.inc.h"
