/* Chooses the gate kernels of an instruction set. */
#include "kernels/gates.h"

extern const td_gate_kernels td_gates_plain;
#if defined(__x86_64__) && !defined(TD_DOUBLE)
extern const td_gate_kernels td_gates_avx2, td_gates_avx512;
#elif defined(__aarch64__) && !defined(TD_DOUBLE)
extern const td_gate_kernels td_gates_neon;
#endif

const td_gate_kernels *td_gate_kernels_for(td_isa isa)
{
    static const td_gate_kernels *const tables[TD_ISA_COUNT] = {
        [TD_ISA_PLAIN] = &td_gates_plain,
#if defined(__x86_64__) && !defined(TD_DOUBLE)
        [TD_ISA_AVX2] = &td_gates_avx2,
        [TD_ISA_AVX512] = &td_gates_avx512,
#elif defined(__aarch64__) && !defined(TD_DOUBLE)
        [TD_ISA_NEON] = &td_gates_neon,
#endif
    };
    return tables[isa];
}
