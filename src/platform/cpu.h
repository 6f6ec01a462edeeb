/* What the processor can do, asked once at start. */
#ifndef TD_PLATFORM_CPU_H
#define TD_PLATFORM_CPU_H

#include <stdbool.h>

typedef enum td_isa { TD_ISA_PLAIN, TD_ISA_AVX2, TD_ISA_AVX512, TD_ISA_COUNT } td_isa;

/* The best instruction set that processor and operating system offer. TANDEM_ISA=plain|avx2|avx512 lowers it. */
td_isa td_cpu_isa(void);
bool td_cpu_supports(td_isa isa);
bool td_cpu_has_bfloat16(void); /* products in bfloat16 faster than float32 */
const char *td_isa_name(td_isa isa);
int td_cpu_count(void); /* processors this process may run on */

#endif
