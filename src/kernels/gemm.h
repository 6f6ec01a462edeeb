/* Matrix products, row-major, on the calling thread alone. */
#ifndef TD_KERNELS_GEMM_H
#define TD_KERNELS_GEMM_H

#include "base/error.h"
#include "tensor/real.h"

#include <stdbool.h>
#include <stddef.h>

/* Pins the product library to the calling thread; called once by every thread that computes. */
void td_gemm_thread_setup(void);

/* c [m, n] (+)= op(a) [m, k] op(b) [k, n]; op transposes when its flag is set; ld: row stride as stored. */
void td_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a, size_t lda,
             const td_real *b, size_t ldb, bool accumulate, td_real *c, size_t ldc);

#endif
