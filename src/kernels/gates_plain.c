/* Gate kernels for any processor. */
#define TD_GATES_TABLE td_gates_plain
extern const struct td_gate_kernels td_gates_plain;
#include "kernels/gates.inc.h"
