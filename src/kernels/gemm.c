/* Matrix products: oneDNN's in float; plain blocked loops in the double build, which only small gradient checks run. */
#include "kernels/gemm.h"

#include <omp.h>
#include <string.h>

#ifndef TD_DOUBLE
#include <oneapi/dnnl/dnnl.h>
#endif

void td_gemm_thread_setup(void)
{
    omp_set_num_threads(1);
}

static void clear(size_t m, size_t n, td_real *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        memset(c + i * ldc, 0, n * sizeof *c);
}

#ifdef TD_DOUBLE

static void add_block(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t first, size_t last, const td_real *a, size_t lda,
                      const td_real *b, size_t ldb, td_real *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t p = first; p < last; p++) {
            td_real x = transpose_a ? a[p * lda + i] : a[i * lda + p];
            const td_real *row = transpose_b ? b + p : b + p * ldb;
            size_t step = transpose_b ? ldb : 1;
            for (size_t j = 0; j < n; j++)
                c[i * ldc + j] += x * row[j * step];
        }
    }
}

void td_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a, size_t lda, const td_real *b, size_t ldb,
             bool accumulate, td_real *c, size_t ldc)
{
    if (!accumulate)
        clear(m, n, c, ldc);
    for (size_t first = 0; first < k; first += 64)
        add_block(transpose_a, transpose_b, m, n, first, first + 64 < k ? first + 64 : k, a, lda, b, ldb, c, ldc);
}

#else

void td_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a, size_t lda, const td_real *b, size_t ldb,
             bool accumulate, td_real *c, size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    if (k == 0) {
        if (!accumulate)
            clear(m, n, c, ldc);
        return;
    }
    dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k, 1.0f, a, (dnnl_dim_t)lda, b,
               (dnnl_dim_t)ldb, accumulate ? 1.0f : 0.0f, c, (dnnl_dim_t)ldc);
}

#endif
