/* The widest vector of the instruction set being compiled for, and the few operations on it that plain C cannot say. */
#ifndef TD_KERNELS_ROWS_VECTOR_H
#define TD_KERNELS_ROWS_VECTOR_H

#include "tensor/real.h"

#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#include <immintrin.h>
#define VECTOR_BYTES 32
#else
#ifdef VECTOR_NEON /* the including file's wish */
#include <arm_neon.h>
#endif
#define VECTOR_BYTES 16
#endif
/* How many vectors the processor holds at a time. */
#if defined(__AVX512F__) || defined(VECTOR_NEON)
#define VECTOR_REGISTERS 32
#else
#define VECTOR_REGISTERS 16
#endif
#define WIDTH (VECTOR_BYTES / sizeof(td_real))

typedef td_real vector __attribute__((vector_size(VECTOR_BYTES)));
typedef td_real loose_vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(td_real)), may_alias));
typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t loose_integers __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

INLINE vector load(const td_real *x)
{
    return *(const loose_vector *)x;
}
INLINE void store(td_real *y, vector x)
{
    *(loose_vector *)y = x;
}

/* a * b + c with one rounding where the instruction set has that: what the compiler makes of the operators depends on
 * what is around. */
INLINE vector multiply_add(vector a, vector b, vector c)
{
#if defined(__AVX512F__)
    return (vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(VECTOR_NEON)
    return (vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* Numbers in bfloat16 as a vector. */
INLINE vector widen(const uint16_t *x)
{
#if defined(__AVX512F__)
    return (vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)x)), 16);
#elif defined(__AVX2__)
    return (vector)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x)), 16);
#elif defined(VECTOR_NEON)
    return (vector)vshlq_n_u32(vmovl_u16(vld1_u16(x)), 16);
#else
    vector y = {0}; /* all of it is written, which not every compiler sees */
    for (size_t i = 0; i < WIDTH; i++) {
        union {
            uint32_t bits;
            float value;
        } wide = {(uint32_t)x[i] << 16};
        y[i] = (td_real)wide.value;
    }
    return y;
#endif
}

/* load_part and store_part: the first n < WIDTH elements; in memory the others are neither read nor written.
 * larger: the larger of each pair. sum_of, largest_of: over the elements. */
#if defined(__AVX512F__)

INLINE vector load_part(const td_real *x, size_t n, td_real fill)
{
    return (vector)_mm512_mask_loadu_ps(_mm512_set1_ps(fill), (__mmask16)((1u << n) - 1), x);
}

INLINE void store_part(td_real *y, vector x, size_t n)
{
    _mm512_mask_storeu_ps(y, (__mmask16)((1u << n) - 1), (__m512)x);
}

INLINE vector larger(vector a, vector b)
{
    return (vector)_mm512_max_ps((__m512)a, (__m512)b);
}
INLINE td_real sum_of(vector x)
{
    return _mm512_reduce_add_ps((__m512)x);
}
INLINE td_real largest_of(vector x)
{
    return _mm512_reduce_max_ps((__m512)x);
}

INLINE void sums_of_four(td_real *sums, const vector *x)
{
    __m512 a = (__m512)x[0], b = (__m512)x[1], c = (__m512)x[2], d = (__m512)x[3];
    __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    __m512 y = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    y = _mm512_add_ps(y, _mm512_permute_ps(y, 0x4e));
    y = _mm512_add_ps(y, _mm512_permute_ps(y, 0xb1));
    _mm_storeu_ps(sums, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, y))); /* to memory it takes AMD a hundred steps */
}

#elif defined(__AVX2__)

INLINE __m256i part_mask(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE vector load_part(const td_real *x, size_t n, td_real fill)
{
    __m256i mask = part_mask(n);
    return (vector)_mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(x, mask), _mm256_castsi256_ps(mask));
}

INLINE void store_part(td_real *y, vector x, size_t n)
{
    _mm256_maskstore_ps(y, part_mask(n), (__m256)x);
}
INLINE vector larger(vector a, vector b)
{
    return (vector)_mm256_max_ps((__m256)a, (__m256)b);
}

INLINE td_real sum_of(vector x)
{
    __m128 y = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
}

INLINE void sums_of_four(td_real *sums, const vector *x)
{
    __m256 ab = _mm256_hadd_ps((__m256)x[0], (__m256)x[1]), cd = _mm256_hadd_ps((__m256)x[2], (__m256)x[3]);
    __m256 y = _mm256_hadd_ps(ab, cd);
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1)));
}

INLINE td_real largest_of(vector x)
{
    __m128 y = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
}

#elif defined(VECTOR_NEON)

INLINE vector load_part(const td_real *x, size_t n, td_real fill)
{
    float32x4_t y = vdupq_n_f32(fill);
    if (n & 2)
        y = vcombine_f32(vld1_f32(x), vget_high_f32(y));
    if (n == 1)
        y = vld1q_lane_f32(x, y, 0);
    if (n == 3)
        y = vld1q_lane_f32(x + 2, y, 2);
    return (vector)y;
}

INLINE void store_part(td_real *y, vector x, size_t n)
{
    if (n & 2)
        vst1_f32(y, vget_low_f32((float32x4_t)x));
    if (n == 1)
        vst1q_lane_f32(y, (float32x4_t)x, 0);
    if (n == 3)
        vst1q_lane_f32(y + 2, (float32x4_t)x, 2);
}

INLINE vector larger(vector a, vector b)
{
    return (vector)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
}

INLINE td_real sum_of(vector x)
{
    return vaddvq_f32((float32x4_t)x);
}

INLINE void sums_of_four(td_real *sums, const vector *x)
{
    float32x4_t ab = vpaddq_f32((float32x4_t)x[0], (float32x4_t)x[1]), cd = vpaddq_f32((float32x4_t)x[2], (float32x4_t)x[3]);
    vst1q_f32(sums, vpaddq_f32(ab, cd));
}

INLINE td_real largest_of(vector x)
{
    return vmaxvq_f32((float32x4_t)x);
}

#else

INLINE vector load_part(const td_real *x, size_t n, td_real fill)
{
    vector y = {0}; /* all of it is written, which not every compiler sees */
    for (size_t i = 0; i < WIDTH; i++)
        y[i] = i < n ? x[i] : fill;
    return y;
}

INLINE void store_part(td_real *y, vector x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i];
}

INLINE vector larger(vector a, vector b)
{
    for (size_t i = 0; i < WIDTH; i++)
        b[i] = a[i] > b[i] ? a[i] : b[i];
    return b;
}

INLINE td_real sum_of(vector x)
{
    td_real even = 0, odd = 0;
    for (size_t i = 0; i < WIDTH; i += 2) {
        even += x[i];
        odd += x[i + 1];
    }
    return even + odd;
}

INLINE void sums_of_four(td_real *sums, const vector *x)
{
    for (size_t i = 0; i < 4; i++)
        sums[i] = sum_of(x[i]);
}

INLINE td_real largest_of(vector x)
{
    td_real best = x[0];
    for (size_t i = 1; i < WIDTH; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

#endif
#endif
