/* Chooses the table of row kernels. */
#include "kernels/rows.h"

const td_kernels *td_kernels_for(td_isa isa)
{
    static const td_kernels *const tables[TD_ISA_COUNT] = {
        [TD_ISA_PLAIN] = &td_kernels_plain,
#if defined(__x86_64__) && !defined(TD_DOUBLE)
        [TD_ISA_AVX2] = &td_kernels_avx2,
        [TD_ISA_AVX512] = &td_kernels_avx512,
#elif defined(__aarch64__) && !defined(TD_DOUBLE)
        [TD_ISA_NEON] = &td_kernels_neon,
#endif
    };
    return td_cpu_supports(isa) ? tables[isa] : NULL;
}

const td_kernels *td_kernels_get(void)
{
    const td_kernels *kernels = td_kernels_for(td_cpu_isa());
    return kernels ? kernels : &td_kernels_plain;
}
