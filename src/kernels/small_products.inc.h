/* Products of a few rows inside attention, sums in registers; part of rows.inc.h. */

enum { TILE_ROWS = 4, TILE_VECTORS = VECTOR_REGISTERS == 32 ? 4 : 2 }; /* of a product's sums: what the registers hold */

/* a [rows, k] at strides (row, column), b [k, columns]: c (+)= factor * a b */
typedef struct small_product {
    const td_real *a;
    size_t a_row, a_column;
    const td_real *b;
    size_t ldb;
    td_real factor;
    bool accumulate;
    td_real *c;
    size_t ldc;
} small_product;

/* rows x vectors of c, the sums in registers. With part > 0 there is one vector and only so much of it. */
INLINE void tile(const small_product *s, size_t rows, size_t vectors, size_t row, size_t column, size_t k, size_t part)
{
    vector sum[TILE_ROWS][TILE_VECTORS];
    EACH_SUM (rows, vectors)
        sum[r][v] = (vector){0};
    const td_real *a = s->a + row * s->a_row, *b = s->b + column;
    const size_t a_row = s->a_row, a_column = s->a_column, ldb = s->ldb;
    for (size_t p = 0; p < k; p++, a += a_column, b += ldb)
        EACH_VECTOR (vectors) {
            vector y = part ? load_part(b, part, 0) : load(b + v * WIDTH);
            EACH_ROW (rows)
                sum[r][v] += a[r * a_row] * y;
        }
    for (size_t r = 0; r < rows; r++) {
        td_real *c = s->c + (row + r) * s->ldc + column;
        for (size_t v = 0; v < vectors; v++, c += WIDTH) {
            vector y = s->factor * sum[r][v];
            if (part)
                store_part(c, s->accumulate ? load_part(c, part, 0) + y : y, part);
            else
                store(c, s->accumulate ? load(c) + y : y);
        }
    }
}

INLINE void tile_row(const small_product *s, size_t rows, size_t row, size_t columns, size_t k)
{
    size_t column = 0;
    for (; column + WIDTH * TILE_VECTORS <= columns; column += WIDTH * TILE_VECTORS)
        tile(s, rows, TILE_VECTORS, row, column, k, 0);
    if (TILE_VECTORS > 2 && column + 2 * WIDTH <= columns) {
        tile(s, rows, 2, row, column, k, 0);
        column += 2 * WIDTH;
    }
    for (; column + WIDTH <= columns; column += WIDTH)
        tile(s, rows, 1, row, column, k, 0);
    if (column < columns)
        tile(s, rows, 1, row, column, k, columns - column);
}

static void multiply_small(const small_product *s, size_t rows, size_t columns, size_t k)
{
    size_t row = 0;
    for (; row + TILE_ROWS <= rows; row += TILE_ROWS)
        tile_row(s, TILE_ROWS, row, columns, k);
    if (row + 2 <= rows) {
        tile_row(s, 2, row, columns, k);
        row += 2;
    }
    if (row < rows)
        tile_row(s, 1, row, columns, k);
}
