/* Gate kernels compiled for 64-bit ARM. */
#if defined(__aarch64__) && !defined(TD_DOUBLE)
#define TD_GATES_TABLE td_gates_neon
extern const struct td_gate_kernels td_gates_neon;
#include "kernels/gates.inc.h"
#else
typedef int td_gates_neon_not_compiled;
#endif
