/* Matrix products, row-major, on the calling thread alone. */
#ifndef TD_KERNELS_GEMM_H
#define TD_KERNELS_GEMM_H

#include "base/error.h"
#include "kernels/panels.h"
#include "tensor/real.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pins the product library to the calling thread; called once by every thread that computes. */
void td_gemm_thread_setup(void);

/* c [m, n] (+)= op(a) [m, k] op(b) [k, n]; op transposes when its flag is set; ld: row stride as stored. */
void td_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a, size_t lda, const td_real *b, size_t ldb,
             bool accumulate, td_real *c, size_t ldc);

/* Products of bfloat16 numbers with float32 sums, for processors that have them in hardware. Creating a product for a
 * shape costs far more than running it, so a cache keeps them. A cache serves one thread at a time; any thread will do.
 */
typedef struct td_gemm_cache td_gemm_cache;

bool td_gemm_bfloat16_supported(void); /* and worth it: faster than td_gemm */
td_status td_gemm_cache_create(td_gemm_cache **ret_cache, td_error *error);
void td_gemm_cache_free(td_gemm_cache *cache); /* NULL is fine */
/* The products in panels that the cache uses where it can, or NULL. */
const td_panel_kernels *td_gemm_cache_panels(const td_gemm_cache *cache);

/* As td_gemm. For the product library the dimension that grows with the batch, m (k when transpose_a: a weight
 * gradient), is cut into blocks of powers of two, so that batches of all sizes share few products. When it fails, c is
 * undefined. */
td_status td_gemm_bfloat16(td_gemm_cache *cache, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const uint16_t *a,
                           size_t lda, const uint16_t *b, size_t ldb, bool accumulate, td_real *c, size_t ldc, td_error *error);

#endif
