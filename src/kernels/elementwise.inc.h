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
