/* Exponentials of a row, their sum, and softmax; part of rows.inc.h. */

/* The last elements of a row go through a whole vector of their own: one at a time they would cost as much as the row. */
INLINE td_real exp_sum_part(td_real *y, const td_real *x, td_real shift, size_t n)
{
    td_real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        td_real e = math_exp(x[i] - shift);
        y[i] = e;
        sum += e;
    }
    return sum;
}

static td_real exp_sum(td_real *y, const td_real *x, td_real shift, size_t n)
{
    size_t whole = n / WIDTH * WIDTH, rest = n - whole;
    td_real sum = 0;
    for (size_t first = 0; first < whole; first += 1024) /* in blocks, so that a vocabulary's sum keeps its digits */
        sum += exp_sum_part(y + first, x + first, shift, whole - first < 1024 ? whole - first : 1024);
    if (rest == 0)
        return sum;
    td_real part[WIDTH];
    store(part, load_part(x + whole, rest, -(td_real)INFINITY)); /* whose exponentials are 0 */
    sum += exp_sum_part(part, part, shift, WIDTH);
    store_part(y + whole, load(part), rest);
    return sum;
}

#ifndef TD_DOUBLE

/* exp(x) for x <= 0 as 2^n 2^f, |f| <= 1/2, with a minimax polynomial; at least 2^-126, which is nothing in a sum that has a 1 in it.
 * `doubt` becomes NaN where x is. */
INLINE vector exp_of_negative(vector x, vector *doubt)
{
    const td_real magic = 12582912.0f; /* 1.5 * 2^23: rounds to an integer, which is in the last bits then */
    vector y = larger((vector){0} - 126.0f, x * 1.44269504f), shifted = y + magic, f = y - (shifted - magic);
    vector p = multiply_add(f, (vector){0} + 1.32764713e-3f, (vector){0} + 9.67554096e-3f);
    p = multiply_add(p, f, (vector){0} + 5.55071309e-2f);
    p = multiply_add(p, f, (vector){0} + 0.240221202f);
    p = multiply_add(p, f, (vector){0} + 0.693146944f);
    p = multiply_add(p, f, (vector){0} + 1.00000012f);
    *doubt += f;
    return (vector)((integers)p + ((integers)shifted << 23));
}

static td_real exp_total(const td_real *x, td_real shift, size_t n)
{
    vector sums[2] = {{0}}, doubt = {0};
    size_t i = 0;
    for (; i + 2 * WIDTH <= n; i += 2 * WIDTH) {
        sums[0] += exp_of_negative(load(x + i) - shift, &doubt);
        sums[1] += exp_of_negative(load(x + i + WIDTH) - shift, &doubt);
    }
    for (; i < n; i += WIDTH)
        sums[0] += exp_of_negative((n - i < WIDTH ? load_part(x + i, n - i, -INFINITY) : load(x + i)) - shift, &doubt);
    return sum_of(sums[0] + sums[1]) + 0 * sum_of(doubt);
}

#else

static td_real exp_total(const td_real *x, td_real shift, size_t n)
{
    td_real sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += math_exp(x[i] - shift);
    return sum;
}

#endif

static void scale_row(td_real *x, td_real factor, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* A row of few elements stays in one small buffer, padded to whole vectors by scores that get nothing. */
INLINE void softmax_short(td_real *x, size_t n)
{
    td_real row[4 * WIDTH];
    vector best = (vector){0} - (td_real)INFINITY;
    size_t count = 0;
    for (; count < n; count += WIDTH) {
        vector y = n - count < WIDTH ? load_part(x + count, n - count, -(td_real)INFINITY) : load(x + count);
        best = larger(best, y);
        store(row + count, y);
    }
    td_real factor = 1 / exp_sum_part(row, row, largest_of(best), count);
    for (size_t i = 0; i < n; i += WIDTH) {
        vector y = load(row + i) * factor;
        if (n - i < WIDTH)
            store_part(x + i, y, n - i);
        else
            store(x + i, y);
    }
}

static void softmax(td_real *x, size_t n)
{
    if (n == 0)
        return;
    if (n <= 4 * WIDTH) {
        softmax_short(x, n);
        return;
    }
    td_real sum = exp_sum(x, x, maximum(x, n), n);
    scale_row(x, 1 / sum, n);
}
