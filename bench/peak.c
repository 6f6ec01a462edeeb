/* What the processor itself can do: chains of multiply-and-add instructions that wait for nothing but themselves, and
 * reading memory in order. Products are measured against these. */
#include "bench.h"

#include <base/memory.h>
#include <platform/pages.h>
#include <stdint.h>
#include <string.h>

enum { CHAINS = 12, STEPS = 1 << 16, LINE = 64 };
static const double LEAST_SECONDS = 0.15;

#if defined(__x86_64__)
/* Sums in CHAINS registers, STEPS times. In assembly, for a compiler keeps what it cannot take apart in memory. */
#define CHAIN(instruction, width, sum) instruction " %%" width "mm15, %%" width "mm15, %%" width "mm" #sum "\n"
/* clang-format off */
#define ALL_CHAINS(instruction, width) \
    CHAIN(instruction, width, 0) CHAIN(instruction, width, 1) CHAIN(instruction, width, 2) CHAIN(instruction, width, 3) \
    CHAIN(instruction, width, 4) CHAIN(instruction, width, 5) CHAIN(instruction, width, 6) CHAIN(instruction, width, 7) \
    CHAIN(instruction, width, 8) CHAIN(instruction, width, 9) CHAIN(instruction, width, 10) CHAIN(instruction, width, 11)
/* clang-format on */
#define PEAK(name, chains)                                                                                                                 \
    static void name(void)                                                                                                                 \
    {                                                                                                                                      \
        __asm__ volatile("vzeroall" : : : EVERY_SUM);                                                                                      \
        for (int step = 0; step < STEPS; step++)                                                                                           \
            __asm__ volatile(chains : : : EVERY_SUM);                                                                                      \
    }
#define EVERY_SUM "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm15"
PEAK(float32_avx2, ALL_CHAINS("vfmadd231ps", "y"))
PEAK(int16_avx2, ALL_CHAINS("vpmaddwd", "y"))
PEAK(float32_avx512, ALL_CHAINS("vfmadd231ps", "z"))
PEAK(bfloat16_avx512, ALL_CHAINS("vdpbf16ps", "z"))
PEAK(int8_vnni, ALL_CHAINS("vpdpbusd", "z"))
#endif

typedef struct peak {
    td_precision precision;
    td_matrix_isa isa; /* the least that has the instruction */
    bool bfloat16;     /* needs td_cpu_has_bfloat16 */
    double operations; /* of one instruction: two for each multiplication */
    void (*run)(void);
    const char *name;
} peak;

static const peak peaks[] = {
#if defined(__x86_64__)
    {TD_FLOAT32, TD_MATRIX_AVX512, false, 32, float32_avx512, "vfmadd of 512 bits"},
    {TD_FLOAT32, TD_MATRIX_AVX2, false, 16, float32_avx2, "vfmadd of 256 bits"},
    {TD_BFLOAT16, TD_MATRIX_VNNI, true, 64, bfloat16_avx512, "vdpbf16ps"},
    {TD_INT8, TD_MATRIX_VNNI, false, 128, int8_vnni, "vpdpbusd"},
    {TD_INT8, TD_MATRIX_AVX2, false, 32, int16_avx2, "vpmaddwd"},
#endif
};

static double best_of(const peak *row)
{
    double best = 0, start = bench_seconds();
    while (bench_seconds() - start < LEAST_SECONDS) {
        double before = bench_thread_seconds();
        row->run();
        double speed = 1e-9 * row->operations * CHAINS * STEPS / (bench_thread_seconds() - before);
        best = speed > best ? speed : best;
    }
    return best;
}

double bench_peak(td_precision precision, td_matrix_isa isa, const char **ret_name)
{
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        const peak *row = &peaks[i];
        if (row->precision == precision && row->isa <= isa && (!row->bfloat16 || td_cpu_has_bfloat16())) {
            *ret_name = row->name;
            return best_of(row);
        }
    }
    return 0;
}

/* Two cache lines into registers. */
static inline void read_lines(const char *at)
{
#if defined(__x86_64__)
    __asm__ volatile("movaps (%0), %%xmm0\n movaps 16(%0), %%xmm1\n movaps 32(%0), %%xmm2\n movaps 48(%0), %%xmm3\n"
                     "movaps 64(%0), %%xmm4\n movaps 80(%0), %%xmm5\n movaps 96(%0), %%xmm6\n movaps 112(%0), %%xmm7\n"
                     :
                     : "r"(at)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
#else
    for (size_t i = 0; i < 2 * LINE; i += sizeof(uint64_t))
        (void)*(const volatile uint64_t *)(at + i);
#endif
}

double bench_bandwidth(size_t bytes)
{
    enum { LEAST_BYTES = 1 << 28 };
    char *block = td_allocate_aligned(bytes);
    size_t passes = LEAST_BYTES / bytes + 1;
    double best = 0;
    if (!block)
        return 0;
    td_pages_prefer_large(block, bytes);
    memset(block, 1, bytes);
    for (int round = 0; round < 10; round++) {
        double before = bench_thread_seconds();
        for (size_t pass = 0; pass < passes; pass++)
            for (size_t at = 0; at + 2 * LINE <= bytes; at += 2 * LINE)
                read_lines(block + at);
        double speed = 1e-9 * (double)(passes * bytes) / (bench_thread_seconds() - before);
        best = speed > best ? speed : best;
    }
    td_release_aligned(block);
    return best;
}
