/* Attention over many keys, laid out once for many queries; part of rows.inc.h. Sums of several queries and keys stay in registers, so
 * that the processor's products and not its memory set the pace. */

enum { LAID_VECTORS = VECTOR_BYTES == 64 ? 4 : 2 };

/* Keys [nk, d] -> [panel][d][TD_KEY_PANEL], zeros behind the last key; then values [nk, d]. */
static void lay_keys(const td_real *k, size_t ldk, const td_real *v, size_t ldv, size_t nk, size_t d, td_real *restrict laid)
{
    for (size_t first = 0; first < nk; first += TD_KEY_PANEL, laid += d * TD_KEY_PANEL) {
        size_t count = nk - first < TD_KEY_PANEL ? nk - first : TD_KEY_PANEL;
        if (count < TD_KEY_PANEL)
            memset(laid, 0, d * TD_KEY_PANEL * sizeof *laid);
        transpose(laid, k + first * ldk, ldk, count, d);
    }
    for (size_t j = 0; j < nk; j++)
        memcpy(laid + j * d, v + j * ldv, d * sizeof *laid);
}

/* scores[r][column ..] of `rows` queries and `vectors` vectors of keys; every sum goes through the head's numbers in their order. */
INLINE void score_tile(const td_real *q, size_t ldq, size_t rows, const td_real *keys, size_t d, size_t column, size_t vectors,
                       td_real scale, td_real *scores, size_t lds)
{
    vector sums[TD_LAID_ROWS][LAID_VECTORS];
    const td_real *at[LAID_VECTORS];
    for (size_t v = 0; v < vectors; v++) {
        size_t key = column + v * WIDTH;
        at[v] = keys + key / TD_KEY_PANEL * TD_KEY_PANEL * d + key % TD_KEY_PANEL;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vectors; v++)
            sums[r][v] = (vector){0};
    for (size_t i = 0; i < d; i++) {
        vector key[LAID_VECTORS];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            key[v] = load(at[v] + i * TD_KEY_PANEL);
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            td_real value = q[r * ldq + i];
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++)
                sums[r][v] += value * key[v];
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            store(scores + r * lds + column + v * WIDTH, scale * sums[r][v]);
}

/* out[r][column ..] = sum over keys of p[r][j] values[j][column ..] */
INLINE void mix_tile(const td_real *p, size_t ldp, size_t rows, const td_real *values, size_t nk, size_t d, size_t column, size_t vectors,
                     td_real *out, size_t ldo)
{
    vector sums[TD_LAID_ROWS][LAID_VECTORS];
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vectors; v++)
            sums[r][v] = (vector){0};
    for (size_t j = 0; j < nk; j++) {
        vector value[LAID_VECTORS];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            value[v] = load(values + j * d + column + v * WIDTH);
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            td_real weight = p[r * ldp + j];
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++)
                sums[r][v] += weight * value[v];
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            store(out + r * ldo + column + v * WIDTH, sums[r][v]);
}

INLINE void attend_tile(const td_real *q, size_t ldq, size_t rows, const td_real *laid, size_t nk, size_t d, td_real scale, td_real *out,
                        size_t ldo, td_real *p, size_t ldp)
{
    size_t column = 0;
    for (; column + LAID_VECTORS * WIDTH <= ldp; column += LAID_VECTORS * WIDTH)
        score_tile(q, ldq, rows, laid, d, column, LAID_VECTORS, scale, p, ldp);
    for (; column < ldp; column += WIDTH)
        score_tile(q, ldq, rows, laid, d, column, 1, scale, p, ldp);
    for (size_t r = 0; r < rows; r++)
        softmax(p + r * ldp, nk);
    const td_real *values = laid + ldp * d;
    for (column = 0; column + LAID_VECTORS * WIDTH <= d; column += LAID_VECTORS * WIDTH)
        mix_tile(p, ldp, rows, values, nk, d, column, LAID_VECTORS, out, ldo);
    for (; column < d; column += WIDTH)
        mix_tile(p, ldp, rows, values, nk, d, column, 1, out, ldo);
}

static void attend_laid(const td_real *q, size_t ldq, size_t nq, const td_real *laid, size_t nk, size_t d, td_real scale, td_real *out,
                        size_t ldo, td_real *p)
{
    size_t ldp = td_laid_keys(nk), row = 0;
#define TILE(ROWS) attend_tile(q + row * ldq, ldq, ROWS, laid, nk, d, scale, out + row * ldo, ldo, p + row * ldp, ldp)
    for (; row + TD_LAID_ROWS <= nq; row += TD_LAID_ROWS)
        TILE(TD_LAID_ROWS);
    switch (nq - row) {
    case 5:
        TILE(5);
        break;
    case 4:
        TILE(4);
        break;
    case 3:
        TILE(3);
        break;
    case 2:
        TILE(2);
        break;
    case 1:
        TILE(1);
        break;
    default:
        break;
    }
#undef TILE
}
