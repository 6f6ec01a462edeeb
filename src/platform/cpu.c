#define _GNU_SOURCE
#include "platform/cpu.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static const char *const isa_names[TD_ISA_COUNT] = {"plain", "avx2", "avx512"};

const char *td_isa_name(td_isa isa)
{
    return isa_names[isa];
}

bool td_cpu_supports(td_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isa == TD_ISA_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (isa == TD_ISA_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return isa == TD_ISA_PLAIN;
}

td_isa td_cpu_isa(void)
{
    td_isa best = TD_ISA_PLAIN;
    const char *ceiling = getenv("TANDEM_ISA");
    for (td_isa isa = TD_ISA_PLAIN; isa < TD_ISA_COUNT; isa++) {
        if (td_cpu_supports(isa))
            best = isa;
        if (ceiling && strcmp(ceiling, isa_names[isa]) == 0)
            break;
    }
    return best;
}

bool td_cpu_has_bfloat16(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16") != 0;
#else
    return false;
#endif
}

int td_cpu_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}
