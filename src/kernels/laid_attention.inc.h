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

typedef struct laid_matrix {
    const td_real *data; /* [steps, columns], or the same in panels: [columns / TD_KEY_PANEL][steps][TD_KEY_PANEL] */
    size_t steps, columns;
    bool in_panels;
} laid_matrix;

INLINE const td_real *laid_at(const laid_matrix *matrix, size_t step, size_t column)
{
    if (!matrix->in_panels)
        return matrix->data + step * matrix->columns + column;
    return matrix->data + column / TD_KEY_PANEL * TD_KEY_PANEL * matrix->steps + step * TD_KEY_PANEL + column % TD_KEY_PANEL;
}

/* y[r][column ..] = factor * sum over steps of x[r][step] * right[step][column ..], every sum in the steps' order */
INLINE void laid_tile(const td_real *x, size_t ldx, size_t rows, const laid_matrix *right, size_t column, size_t vectors, td_real factor,
                      td_real *y, size_t ldy)
{
    vector sums[TD_LAID_ROWS][LAID_VECTORS];
    EACH_SUM (rows, vectors)
        sums[r][v] = (vector){0};
    for (size_t step = 0; step < right->steps; step++) {
        vector values[LAID_VECTORS];
        EACH_VECTOR (vectors)
            values[v] = load(laid_at(right, step, column + v * WIDTH));
        EACH_ROW (rows) {
            td_real value = x[r * ldx + step];
            EACH_VECTOR (vectors)
                sums[r][v] += value * values[v];
        }
    }
    EACH_SUM (rows, vectors)
        store(y + r * ldy + column + v * WIDTH, factor * sums[r][v]);
}

INLINE void laid_product(const td_real *x, size_t ldx, size_t rows, laid_matrix right, td_real factor, td_real *y, size_t ldy)
{
    size_t column = 0;
    for (; column + LAID_VECTORS * WIDTH <= right.columns; column += LAID_VECTORS * WIDTH)
        laid_tile(x, ldx, rows, &right, column, LAID_VECTORS, factor, y, ldy);
    for (; column < right.columns; column += WIDTH)
        laid_tile(x, ldx, rows, &right, column, 1, factor, y, ldy);
}

/* Scores, their softmax, and with it the mean of the values. */
INLINE void attend_tile(const td_real *q, size_t ldq, size_t rows, const td_real *laid, size_t nk, size_t d, td_real scale, td_real *out,
                        size_t ldo, td_real *p, size_t ldp)
{
    laid_product(q, ldq, rows, (laid_matrix){laid, d, ldp, true}, scale, p, ldp);
    for (size_t r = 0; r < rows; r++)
        softmax(p + r * ldp, nk);
    laid_product(p, ldp, rows, (laid_matrix){laid + ldp * d, nk, d, false}, 1, out, ldo);
}

static void attend_laid(const td_real *q, size_t ldq, size_t nq, const td_real *laid, size_t nk, size_t d, td_real scale, td_real *out,
                        size_t ldo, td_real *p)
{
    size_t ldp = td_laid_keys(nk), row = 0, left = nq;
#define TILE(ROWS) attend_tile(q + row * ldq, ldq, ROWS, laid, nk, d, scale, out + row * ldo, ldo, p + row * ldp, ldp)
    for (; left >= TD_LAID_ROWS; left -= TD_LAID_ROWS, row += TD_LAID_ROWS)
        TILE(TD_LAID_ROWS);
    if (left)
        WITH_ROWS(left, TILE)
#undef TILE
}
