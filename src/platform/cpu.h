/* What the processor can do, asked once at start. */
#ifndef TD_PLATFORM_CPU_H
#define TD_PLATFORM_CPU_H

#include <stdbool.h>

typedef enum td_isa { TD_ISA_PLAIN, TD_ISA_AVX2, TD_ISA_AVX512, TD_ISA_NEON, TD_ISA_COUNT } td_isa;

/* The best instruction set that processor and operating system offer. TANDEM_ISA=plain|avx2|avx512|neon lowers it. */
td_isa td_cpu_isa(void);
bool td_cpu_supports(td_isa isa);
bool td_cpu_has_bfloat16(void); /* products in bfloat16 faster than float32 */
/* The same for products with packed weights: each offers what those before it of its family do. avx512_vnni multiplies
 * bytes (and bfloat16 where the processor does), AMX whole tiles of both; on ARM, dotprod multiplies bytes and bf16
 * bfloat16. TANDEM_ISA=...|vnni|amx|dotprod|bf16 lowers it. */
typedef enum td_matrix_isa {
    TD_MATRIX_PLAIN,
    TD_MATRIX_AVX2,
    TD_MATRIX_AVX512,
    TD_MATRIX_VNNI,
    TD_MATRIX_AMX,
    TD_MATRIX_NEON,
    TD_MATRIX_DOTPROD,
    TD_MATRIX_BF16,
    TD_MATRIX_ISA_COUNT
} td_matrix_isa;
td_matrix_isa td_cpu_matrix_isa(void);
bool td_cpu_supports_matrix(td_matrix_isa isa);
const char *td_matrix_isa_name(td_matrix_isa isa);
const char *td_isa_name(td_isa isa);
int td_cpu_count(void); /* processors this process may run on */

#endif
