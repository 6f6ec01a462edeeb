#define _GNU_SOURCE
#include "platform/cpu.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static const char *const isa_names[TD_ISA_COUNT] = {"plain", "avx2", "avx512", "neon"};

const char *td_isa_name(td_isa isa)
{
    return isa_names[isa];
}

bool td_cpu_supports(td_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isa == TD_ISA_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    if (isa == TD_ISA_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined(__aarch64__)
    if (isa == TD_ISA_NEON) /* no processor of this family is without */
        return true;
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

static const char *const matrix_isa_names[TD_MATRIX_ISA_COUNT] = {"plain", "avx2", "avx512", "vnni", "amx", "neon", "dotprod", "bf16"};

const char *td_matrix_isa_name(td_matrix_isa isa)
{
    return matrix_isa_names[isa];
}

#if defined(__x86_64__)
/* The system keeps a thread's tiles only for processes that have asked. */
static bool ask_for_tiles(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    bool bfloat16 = d >> 22 & 1, tile = d >> 24 & 1, int8 = d >> 25 & 1;
    return bfloat16 && tile && int8 && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* The answer does not change, and where a hypervisor gives it, it takes microseconds: too long for every step of a search. */
static bool tiles_granted(void)
{
    enum { UNKNOWN, NO, YES };
    static atomic_int answer = UNKNOWN;
    if (atomic_load_explicit(&answer, memory_order_relaxed) == UNKNOWN)
        atomic_store_explicit(&answer, ask_for_tiles() ? YES : NO, memory_order_relaxed);
    return atomic_load_explicit(&answer, memory_order_relaxed) == YES;
}
#endif

bool td_cpu_supports_matrix(td_matrix_isa isa)
{
#if defined(__x86_64__)
    bool vnni = td_cpu_supports(TD_ISA_AVX512) && __builtin_cpu_supports("avx512vnni");
    if (isa == TD_MATRIX_AMX)
        return vnni && tiles_granted();
    if (isa == TD_MATRIX_VNNI)
        return vnni;
#elif defined(__aarch64__)
    bool multiplies_bytes = false, multiplies_bfloat16 = false;
#if defined(__linux__)
    enum { BYTE_PRODUCTS = 1 << 20, BFLOAT16_PRODUCTS = 1 << 14 }; /* HWCAP_ASIMDDP, HWCAP2_BF16; older headers lack them */
    multiplies_bytes = getauxval(AT_HWCAP) & BYTE_PRODUCTS;
    multiplies_bfloat16 = getauxval(AT_HWCAP2) & BFLOAT16_PRODUCTS;
#endif
    if (isa == TD_MATRIX_NEON)
        return true;
    if (isa == TD_MATRIX_DOTPROD)
        return multiplies_bytes;
    if (isa == TD_MATRIX_BF16)
        return multiplies_bytes && multiplies_bfloat16;
#endif
    return isa <= TD_MATRIX_AVX512 && td_cpu_supports((td_isa)isa);
}

td_matrix_isa td_cpu_matrix_isa(void)
{
    td_matrix_isa best = TD_MATRIX_PLAIN;
    const char *ceiling = getenv("TANDEM_ISA");
    for (td_matrix_isa isa = TD_MATRIX_PLAIN; isa < TD_MATRIX_ISA_COUNT; isa++) {
        if (td_cpu_supports_matrix(isa))
            best = isa;
        if (ceiling && strcmp(ceiling, matrix_isa_names[isa]) == 0)
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
