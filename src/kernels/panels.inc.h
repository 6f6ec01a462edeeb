/* The one body of the products in panels. The including file defines TD_PANELS_TABLE, GROUP (numbers of a unit), number
 * (their type), multiply_add(sum, a, b): sum + the products of the units of a and b; units_of_rows(from, stride, rows,
 * mask): 16 units, each of the next GROUP rows (of which `rows` exist) of one column. A tile of 6 rows by 64 columns
 * keeps 24 sums in registers; 10 loads feed 24 multiplications. */
#include "kernels/tile.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    LANES = 16,
    ROWS = 6,
    VECTORS = TD_PANEL_COLUMNS / LANES,
    COLUMNS = TD_PANEL_COLUMNS,
    DEPTH = 512,       /* units multiplied before the next panel's turn: a panel of them stays in the second cache */
    LEFT_COLUMNS = 48, /* panels of a left matrix that is transposed: whole groups of ROWS */
    LEFT_BLOCK = 192,  /* rows of it in panels at a time */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

static size_t units_of(size_t k)
{
    return (k + GROUP - 1) / GROUP;
}

/* Lanes of vector v of so many columns. */
static __mmask16 lanes(size_t columns, size_t v)
{
    size_t left = columns > v * LANES ? columns - v * LANES : 0;
    return (__mmask16)(left >= LANES ? 0xffffu : (1u << left) - 1);
}

/* ---- tiles ---- */

/* Unit u of row r begins at data[r * row_step + u * unit_step]. */
typedef struct left_matrix {
    const number *data;
    size_t row_step, unit_step;
} left_matrix;

INLINE __m512i broadcast(const number *unit)
{
    int32_t bits;
    memcpy(&bits, unit, sizeof bits);
    return _mm512_set1_epi32(bits);
}

INLINE void tile(size_t rows, left_matrix a, const uint32_t *panel, size_t units, td_panel_start start, float *c, size_t ldc,
                 const __mmask16 *masks)
{
    __m512 sums[ROWS][VECTORS];
    EACH_SUM (rows, VECTORS)
        sums[r][v] = start.data ? _mm512_maskz_loadu_ps(masks[v], start.data + r * start.stride + v * LANES) : _mm512_setzero_ps();
    for (size_t u = 0; u < units; u++, a.data += a.unit_step, panel += COLUMNS) {
        __m512i right[VECTORS];
        EACH_VECTOR (VECTORS)
            right[v] = _mm512_load_si512(panel + v * LANES);
        EACH_ROW (rows) {
            __m512i left = broadcast(a.data + r * a.row_step);
            EACH_VECTOR (VECTORS)
                sums[r][v] = multiply_add(sums[r][v], left, right[v]);
        }
    }
    EACH_SUM (rows, VECTORS)
        _mm512_mask_storeu_ps(c + r * ldc + v * LANES, masks[v], sums[r][v]);
}

/* Asks for the lines of a tile of results ahead: they come from far when the result is large and the inner dimension short. */
INLINE void ask_for(const float *c, size_t ldc, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < VECTORS; v++)
            _mm_prefetch((const char *)(c + r * ldc + v * LANES), _MM_HINT_T0);
}

static td_panel_start rows_from(td_panel_start start, size_t row)
{
    return (td_panel_start){start.data ? start.data + row * start.stride : NULL, start.stride};
}

/* That of the columns from `column`; a later part of the inner dimension adds to the result of those before it. */
static td_panel_start start_of(td_panel_start start, size_t column, bool later, const float *c, size_t ldc)
{
    if (later)
        return (td_panel_start){c + column, ldc};
    return (td_panel_start){start.data ? start.data + column : NULL, start.stride};
}

/* All rows by one panel. */
static void multiply_panel(size_t m, left_matrix a, const uint32_t *panel, size_t units, size_t columns, td_panel_start start, float *c,
                           size_t ldc)
{
    __mmask16 masks[VECTORS];
    for (size_t v = 0; v < VECTORS; v++)
        masks[v] = lanes(columns, v);
    ask_for(c, ldc, smaller(m, ROWS));
    for (; m >= ROWS; m -= ROWS, a.data += ROWS * a.row_step, c += ROWS * ldc, start = rows_from(start, ROWS)) {
        ask_for(c + ROWS * ldc, ldc, smaller(m - ROWS, ROWS));
        tile(ROWS, a, panel, units, start, c, ldc, masks);
    }
#define TILE(ROWS) tile(ROWS, a, panel, units, start, c, ldc, masks)
    if (m)
        WITH_ROWS(m, TILE)
#undef TILE
}

/* ---- packing ---- */

/* to[u * COLUMNS + i] = from[i][u] for 16 rows of 16 units, of which `count` exist */
static void transpose_block(uint32_t *to, const number *const *from, size_t count)
{
    __m512i a[LANES], b[LANES];
    __mmask16 mask = lanes(count, 0);
#pragma GCC unroll 16
    for (size_t i = 0; i < LANES; i++)
        a[i] = from[i] ? _mm512_maskz_loadu_epi32(mask, from[i]) : _mm512_setzero_si512();
#pragma GCC unroll 8
    for (size_t i = 0; i < LANES; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < LANES; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        b[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
        b[i + 4] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
        b[i + 8] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
        b[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88);
        a[i + 8] = _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd);
        a[i + 4] = _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0x88);
        a[i + 12] = _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0xdd);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < LANES; i++)
        if (i < count)
            _mm512_store_si512(to + i * COLUMNS, a[i]);
}

/* from [columns, k] -> one panel */
static void pack_transposed(uint32_t *to, const number *from, size_t stride, size_t units, size_t columns)
{
    for (size_t first = 0; first < COLUMNS; first += LANES)
        for (size_t u = 0; u < units; u += LANES) {
            const number *rows[LANES];
            for (size_t i = 0; i < LANES; i++)
                rows[i] = first + i < columns ? from + (first + i) * stride + u * GROUP : NULL;
            transpose_block(to + u * COLUMNS + first, rows, smaller(units - u, LANES));
        }
}

/* from [k, columns] -> one panel of `width`. Rows that lie apart are asked for ahead: no processor guesses them. */
INLINE void pack_straight(uint32_t *to, size_t width, const number *from, size_t stride, size_t k, size_t columns)
{
    enum { AHEAD = 16, LINE = 64 / sizeof(number) };
    for (size_t at = 0; at < k; at += GROUP, to += width) {
        for (size_t row = at + AHEAD; row < at + AHEAD + GROUP && row < k; row++)
            for (size_t i = 0; i < width; i += LINE)
                _mm_prefetch((const char *)(from + row * stride + i), _MM_HINT_T0);
        for (size_t v = 0; v < width / LANES; v++)
            _mm512_store_si512(to + v * LANES, units_of_rows(from + at * stride + v * LANES, stride, k - at, lanes(columns, v)));
    }
}

/* The panel of b that begins at `column`, its numbers first .. first + k of the inner dimension. */
static void pack_panel(uint32_t *to, td_panel_matrix b, size_t first, size_t k, size_t column, size_t columns)
{
    const number *data = b.data;
    if (b.transposed)
        pack_transposed(to, data + column * b.stride + first, b.stride, units_of(k), columns);
    else
        pack_straight(to, COLUMNS, data + first * b.stride + column, b.stride, k, columns);
}

static void pack_panels(uint32_t *to, td_panel_matrix b, size_t first, size_t k, size_t n)
{
    for (size_t column = 0; column < n; column += COLUMNS)
        pack_panel(to + column * units_of(k), b, first, k, column, smaller(n - column, COLUMNS));
}

static size_t bytes(size_t k, size_t n)
{
    return units_of(k) * round_up(n, COLUMNS) * sizeof(uint32_t);
}

static void pack(void *panels, td_panel_matrix b, size_t k, size_t n)
{
    pack_panels(panels, b, 0, k, n);
}

/* ---- products ---- */

static void multiply(size_t m, size_t n, size_t k, const void *a, size_t lda, const void *panels, td_panel_start start, float *c,
                     size_t ldc)
{
    size_t units = units_of(k);
    for (size_t first = 0; first < units; first += DEPTH)
        for (size_t column = 0; column < n; column += COLUMNS) {
            left_matrix left = {(const number *)a + first * GROUP, lda, GROUP};
            const uint32_t *panel = (const uint32_t *)panels + column * units + first * COLUMNS;
            multiply_panel(m, left, panel, smaller(units - first, DEPTH), smaller(n - column, COLUMNS),
                           start_of(start, column, first > 0, c, ldc), c + column, ldc);
        }
}

/* Each panel is made, used by all rows, and written over by the next. */
static void product_straight(td_panel_matrix a, td_panel_matrix b, size_t m, size_t n, size_t k, uint32_t *panel, td_panel_start start,
                             float *c, size_t ldc)
{
    for (size_t first = 0; first < k; first += DEPTH * GROUP) {
        size_t depth = smaller(k - first, DEPTH * GROUP);
        left_matrix left = {(const number *)a.data + first, a.stride, GROUP};
        for (size_t column = 0; column < n; column += COLUMNS) {
            size_t columns = smaller(n - column, COLUMNS);
            pack_panel(panel, b, first, depth, column, columns);
            multiply_panel(m, left, panel, units_of(depth), columns, start_of(start, column, first > 0, c, ldc), c + column, ldc);
        }
    }
}

/* Rows `row` .. + rows of the transposed a into panels of LEFT_COLUMNS. */
static void pack_left(uint32_t *to, td_panel_matrix a, size_t first, size_t k, size_t row, size_t rows)
{
    const number *from = (const number *)a.data + first * a.stride + row;
    for (size_t i = 0; i < rows; i += LEFT_COLUMNS)
        pack_straight(to + i * units_of(k), LEFT_COLUMNS, from + i, a.stride, k, smaller(rows - i, LEFT_COLUMNS));
}

static void multiply_block(size_t m, size_t n, size_t units, const uint32_t *left, const uint32_t *right, td_panel_start start, float *c,
                           size_t ldc)
{
    for (size_t column = 0; column < n; column += COLUMNS)
        for (size_t i = 0; i < m; i += LEFT_COLUMNS) {
            left_matrix part = {(const number *)(const void *)(left + i * units), GROUP, LEFT_COLUMNS * GROUP};
            multiply_panel(smaller(m - i, LEFT_COLUMNS), part, right + column * units, units, smaller(n - column, COLUMNS),
                           rows_from(start_of(start, column, false, c, ldc), i), c + i * ldc + column, ldc);
        }
}

/* Both in panels: all of b, and LEFT_BLOCK rows of a. */
static void product_transposed(td_panel_matrix a, td_panel_matrix b, size_t m, size_t n, size_t k, uint32_t *room, td_panel_start start,
                               float *c, size_t ldc)
{
    uint32_t *left = room, *right = room + LEFT_BLOCK * DEPTH;
    for (size_t first = 0; first < k; first += DEPTH * GROUP) {
        size_t depth = smaller(k - first, DEPTH * GROUP);
        pack_panels(right, b, first, depth, n);
        for (size_t row = 0; row < m; row += LEFT_BLOCK) {
            size_t rows = smaller(m - row, LEFT_BLOCK);
            pack_left(left, a, first, depth, row, rows);
            multiply_block(rows, n, units_of(depth), left, right, rows_from(start_of(start, 0, first > 0, c, ldc), row), c + row * ldc,
                           ldc);
        }
    }
}

static size_t room(bool transpose_a, size_t n, size_t k)
{
    size_t depth = smaller(k, DEPTH * GROUP), left = LEFT_BLOCK * DEPTH * sizeof(uint32_t);
    return transpose_a ? left + bytes(depth, n) : bytes(depth, COLUMNS);
}

static void product(td_panel_matrix a, td_panel_matrix b, size_t m, size_t n, size_t k, void *work, td_panel_start start, float *c,
                    size_t ldc)
{
    if (a.transposed)
        product_transposed(a, b, m, n, k, work, start, c, ldc);
    else
        product_straight(a, b, m, n, k, work, start, c, ldc);
}

const td_panel_kernels TD_PANELS_TABLE = {GROUP, bytes, pack, multiply, room, product};
