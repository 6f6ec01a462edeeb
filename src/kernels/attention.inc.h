/* Attention of one head of one sequence; part of rows.inc.h. */

static size_t visible_keys(size_t i, size_t nq, size_t nk, int causal)
{
    if (!causal)
        return nk;
    return nk + i + 1 > nq ? nk + i + 1 - nq : 0;
}

static void attention(const td_real *q, size_t ldq, const td_real *k, size_t ldk, const td_real *v, size_t ldv, td_real *out, size_t ldo,
                      td_real *p, td_real *scratch, size_t nq, size_t nk, size_t d, td_real scale, int causal, const td_real *bias,
                      ptrdiff_t bias_step, td_dropout_mask mask, uint32_t first)
{
    size_t width = padded(nk);
    if (nq > 1)
        transpose(scratch, k, ldk, nk, d);
    for (size_t i = 0; i < nq; i += TILE_ROWS) {
        size_t rows = nq - i < TILE_ROWS ? nq - i : TILE_ROWS;
        size_t most = visible_keys(i + rows - 1, nq, nk, causal);
        td_real *scores = p + i * nk;
        if (nq > 1) {
            small_product s = {q + i * ldq, ldq, 1, scratch, width, scale, false, scores, nk};
            multiply_small(&s, rows, most, d);
        } else {
            for (size_t j = 0; j < most; j++)
                scores[j] = scale * dot(q, k + j * ldk, d);
        }
        for (size_t r = 0; r < rows; r++) {
            size_t visible = visible_keys(i + r, nq, nk, causal);
            if (bias)
                add(scores + r * nk, bias + (ptrdiff_t)(i + r) * bias_step, visible);
            softmax(scores + r * nk, visible);
            memset(scores + r * nk + visible, 0, (nk - visible) * sizeof *p);
        }
    }
    /* The transposed keys are done with: their place now takes the masked probabilities. */
    size_t step = mask.threshold && d < TILE_ROWS ? 1 : TILE_ROWS;
    for (size_t i = 0; i < nq; i += step) {
        size_t rows = nq - i < step ? nq - i : step;
        size_t most = visible_keys(i + rows - 1, nq, nk, causal);
        const td_real *weights = p + i * nk;
        if (mask.threshold) {
            dropout(scratch, weights, rows * nk, first + (uint32_t)(i * nk), mask, 0);
            weights = scratch;
        }
        small_product s = {weights, nk, 1, v, ldv, 1, false, out + i * ldo, ldo};
        multiply_small(&s, rows, d, most);
    }
}
