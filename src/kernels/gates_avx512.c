/* Gate kernels compiled for AVX-512. */
#if defined(__AVX512F__) && !defined(TD_DOUBLE)
#define TD_GATES_TABLE td_gates_avx512
extern const struct td_gate_kernels td_gates_avx512;
#include "kernels/gates.inc.h"
#else
typedef int td_gates_avx512_not_compiled;
#endif
