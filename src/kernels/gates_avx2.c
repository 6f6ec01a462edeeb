/* Gate kernels compiled for AVX2. */
#if defined(__AVX2__) && !defined(TD_DOUBLE)
#define TD_GATES_TABLE td_gates_avx2
extern const struct td_gate_kernels td_gates_avx2;
#include "kernels/gates.inc.h"
#else
typedef int td_gates_avx2_not_compiled;
#endif
