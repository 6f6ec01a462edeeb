/* The way back through attention; part of rows.inc.h. */

/* dv += masked p^T dout */
static void attention_backward_value(const td_real *p, const td_real *dout, size_t ldo, td_real *dv, size_t ldv, td_real *scratch,
                                     size_t nq, size_t nk, size_t d, td_dropout_mask mask, uint32_t first)
{
    size_t step = mask.threshold == 0 ? nq : d < TILE_ROWS ? 1 : d < 16 ? TILE_ROWS : 16;
    for (size_t i = 0; i < nq; i += step) {
        size_t rows = nq - i < step ? nq - i : step;
        const td_real *weights = p + i * nk;
        if (mask.threshold) {
            dropout(scratch, weights, rows * nk, first + (uint32_t)(i * nk), mask, 0);
            weights = scratch;
        }
        small_product s = {weights, 1, nk, dout + i * ldo, ldo, 1, true, dv, ldv};
        multiply_small(&s, nk, d, rows);
    }
}

/* ds holds dP and becomes dS = p (dP - sum p dP), the derivative of softmax, times scale */
static void softmax_backward(td_real *ds, const td_real *p, size_t visible, uint32_t first, td_dropout_mask mask, td_real scale)
{
    dropout(ds, ds, visible, first, mask, 0);
    td_real mean = dot(p, ds, visible);
#pragma omp simd
    for (size_t j = 0; j < visible; j++)
        ds[j] = scale * p[j] * (ds[j] - mean);
}

enum { BLOCK_KEYS = 512 }; /* up to this many keys TILE_ROWS rows of dS fit on the stack; beyond, one row in the scratch */

static void attention_backward(const td_real *q, size_t ldq, const td_real *k, size_t ldk, const td_real *v, size_t ldv, const td_real *p,
                               const td_real *dout, size_t ldo, td_real *dq, td_real *dk, td_real *dv, td_real *scratch, size_t nq,
                               size_t nk, size_t d, td_real scale, int causal, td_real *dbias, ptrdiff_t bias_step, td_dropout_mask mask,
                               uint32_t first)
{
    td_real block[TILE_ROWS * BLOCK_KEYS];
    size_t width = padded(nk);
    if (dv)
        attention_backward_value(p, dout, ldo, dv, ldv, scratch, nq, nk, d, mask, first);
    if (!dq && !dk && !dbias)
        return;
    transpose(scratch, v, ldv, nk, d);
    size_t step = width <= BLOCK_KEYS ? TILE_ROWS : 1;
    td_real *ds = width <= BLOCK_KEYS ? block : scratch + d * width;
    for (size_t i = 0; i < nq; i += step) {
        size_t rows = nq - i < step ? nq - i : step;
        size_t most = visible_keys(i + rows - 1, nq, nk, causal);
        small_product s = {dout + i * ldo, ldo, 1, scratch, width, 1, false, ds, width};
        multiply_small(&s, rows, most, d);
        for (size_t r = 0; r < rows; r++) {
            size_t visible = visible_keys(i + r, nq, nk, causal), at = (i + r) * nk;
            softmax_backward(ds + r * width, p + at, visible, first + (uint32_t)at, mask, scale);
            memset(ds + r * width + visible, 0, (most - visible) * sizeof *ds);
            if (dbias)
                add_scaled(dbias + (ptrdiff_t)(i + r) * bias_step, ds + r * width, 1 / scale, visible);
        }
        if (dq) {
            small_product to_query = {ds, width, 1, k, ldk, 1, true, dq + i * ldq, ldq};
            multiply_small(&to_query, rows, d, most);
        }
        if (dk) {
            small_product to_key = {ds, 1, width, q + i * ldq, ldq, 1, true, dk, ldk};
            multiply_small(&to_key, most, d, rows);
        }
    }
}
