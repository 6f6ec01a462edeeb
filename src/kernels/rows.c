/* Chooses the table of row kernels. */
#include "kernels/rows.h"

const td_kernels *td_kernels_for(td_isa isa)
{
    if (!td_cpu_supports(isa))
        return NULL;
    switch (isa) {
#if defined(__x86_64__) && !defined(TD_DOUBLE)
    case TD_ISA_AVX512:
        return &td_kernels_avx512;
    case TD_ISA_AVX2:
        return &td_kernels_avx2;
#elif defined(__aarch64__) && !defined(TD_DOUBLE)
    case TD_ISA_NEON:
        return &td_kernels_neon;
#endif
    case TD_ISA_PLAIN:
        return &td_kernels_plain;
    default:
        return NULL;
    }
}

const td_kernels *td_kernels_get(void)
{
    const td_kernels *kernels = td_kernels_for(td_cpu_isa());
    return kernels ? kernels : &td_kernels_plain;
}
