/* Sums and products of two rows, element by element; part of rows.inc.h. */

static void add(td_real *restrict y, const td_real *restrict x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void add_scaled(td_real *restrict y, const td_real *restrict x, td_real a, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void add_product(td_real *restrict y, const td_real *a, const td_real *b, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += a[i] * b[i];
}

/* `vectors` is a constant wherever this is inlined: so many sums wait for each other's additions. */
INLINE void add_products_tile(td_real *y, const td_factors *factors, size_t count, size_t first, size_t vectors)
{
    vector sums[4];
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++)
        sums[v] = load(y + first + v * WIDTH);
    for (size_t k = 0; k < count; k++) {
        const td_real *a = factors[k].a + first, *b = factors[k].b + first;
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            sums[v] = multiply_add(load(a + v * WIDTH), load(b + v * WIDTH), sums[v]);
    }
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++)
        store(y + first + v * WIDTH, sums[v]);
}

static void add_products(td_real *y, const td_factors *factors, size_t count, size_t n)
{
    size_t first = 0;
    for (; first + 4 * WIDTH <= n; first += 4 * WIDTH)
        add_products_tile(y, factors, count, first, 4);
    if (first + 2 * WIDTH <= n) {
        add_products_tile(y, factors, count, first, 2);
        first += 2 * WIDTH;
    }
    if (first + WIDTH <= n) {
        add_products_tile(y, factors, count, first, 1);
        first += WIDTH;
    }
    for (size_t k = 0; first < n && k < count; k++)
        for (size_t i = first; i < n; i++)
            y[i] += factors[k].a[i] * factors[k].b[i];
}
