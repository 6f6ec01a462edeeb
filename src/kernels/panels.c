/* Chooses the products in panels. */
#include "kernels/panels.h"

#if defined(__x86_64__) && !defined(TD_DOUBLE)

extern const td_panel_kernels td_panels_avx512, td_panels_vnni;

const td_panel_kernels *td_panels_float32(td_isa isa)
{
    return isa == TD_ISA_AVX512 ? &td_panels_avx512 : NULL;
}

const td_panel_kernels *td_panels_bfloat16(void)
{
    return td_cpu_has_bfloat16() && td_cpu_matrix_isa() == TD_MATRIX_VNNI ? &td_panels_vnni : NULL;
}

#else

const td_panel_kernels *td_panels_float32(td_isa isa)
{
    (void)isa;
    return NULL;
}

const td_panel_kernels *td_panels_bfloat16(void)
{
    return NULL;
}

#endif
