/* Rows become columns; part of rows.inc.h. */

static size_t padded(size_t n)
{
    return (n + 15) / 16 * 16;
}

#ifndef TD_DOUBLE
typedef float quad __attribute__((vector_size(16)));
typedef float loose_quad __attribute__((vector_size(16), aligned(4), may_alias));

/* 4 x 4 numbers in registers: element by element the transposition would cost a third of the attention. */
INLINE void transpose_quads(float *y, size_t ldy, const float *x, size_t ldx)
{
    quad a = *(const loose_quad *)x, b = *(const loose_quad *)(x + ldx);
    quad c = *(const loose_quad *)(x + 2 * ldx), d = *(const loose_quad *)(x + 3 * ldx);
    quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    *(loose_quad *)y = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(loose_quad *)(y + ldy) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(loose_quad *)(y + 2 * ldy) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(loose_quad *)(y + 3 * ldy) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

/* Four columns of STRIP rows, so that whole vectors are stored. */
#if defined(__AVX512F__)
enum { STRIP = 16 };
INLINE void transpose_strip(float *y, size_t ldy, const float *x, size_t ldx)
{
    __m512 rows[4]; /* each of four rows that lie four apart */
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++, x += ldx) {
        rows[i] = _mm512_castps128_ps512(_mm_loadu_ps(x));
        rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(x + 4 * ldx), 1);
        rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(x + 8 * ldx), 2);
        rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(x + 12 * ldx), 3);
    }
    __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1])), cd = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
    _mm512_storeu_ps(y, _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)));
    _mm512_storeu_ps(y + ldy, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    ab = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1])), cd = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
    _mm512_storeu_ps(y + 2 * ldy, _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)));
    _mm512_storeu_ps(y + 3 * ldy, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
}
#else
enum { STRIP = 4 };
INLINE void transpose_strip(float *y, size_t ldy, const float *x, size_t ldx)
{
    transpose_quads(y, ldy, x, ldx);
}
#endif
#endif

/* x [rows, d] at stride ldx -> y [d, rows] at stride padded(rows) */
static void transpose(td_real *restrict y, const td_real *restrict x, size_t ldx, size_t rows, size_t d)
{
    size_t width = padded(rows), whole_rows = 0, whole_columns = 0;
#ifndef TD_DOUBLE
    whole_rows = rows / 4 * 4, whole_columns = d / 4 * 4;
    size_t r = 0;
    for (; r + STRIP <= rows; r += STRIP)
        for (size_t c = 0; c < whole_columns; c += 4)
            transpose_strip(y + c * width + r, width, x + r * ldx + c, ldx);
    for (; r < whole_rows; r += 4)
        for (size_t c = 0; c < whole_columns; c += 4)
            transpose_quads(y + c * width + r, width, x + r * ldx + c, ldx);
#endif
    for (size_t row = 0; row < rows; row++)
        for (size_t c = row < whole_rows ? whole_columns : 0; c < d; c++)
            y[c * width + row] = x[row * ldx + c];
}
