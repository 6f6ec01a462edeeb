/* Sums and the largest of a row; part of rows.inc.h. */

/* Four sums side by side hide the latency of the additions. */
static td_real dot(const td_real *a, const td_real *b, size_t n)
{
    vector sum[4] = {{0}};
    size_t i = 0;
    for (; i + 4 * WIDTH <= n; i += 4 * WIDTH)
        for (size_t v = 0; v < 4; v++)
            sum[v] += load(a + i + v * WIDTH) * load(b + i + v * WIDTH);
    for (; i + WIDTH <= n; i += WIDTH)
        sum[0] += load(a + i) * load(b + i);
    if (i < n)
        sum[1] += load_part(a + i, n - i, 0) * load_part(b + i, n - i, 0);
    return sum_of((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* Sum of (x - shift)^power, power 1 or 2. */
INLINE td_real sum_powers(const td_real *x, td_real shift, int power, size_t n)
{
    vector sum[4] = {{0}};
    td_real rest = 0;
    size_t i = 0;
    for (; i + 4 * WIDTH <= n; i += 4 * WIDTH)
        for (size_t v = 0; v < 4; v++) {
            vector y = load(x + i + v * WIDTH) - shift;
            sum[v] += power == 2 ? y * y : y;
        }
    for (; i + WIDTH <= n; i += WIDTH) {
        vector y = load(x + i) - shift;
        sum[0] += power == 2 ? y * y : y;
    }
    for (; i < n; i++)
        rest += power == 2 ? (x[i] - shift) * (x[i] - shift) : x[i] - shift;
    return sum_of((sum[0] + sum[1]) + (sum[2] + sum[3])) + rest;
}

/* In double from block to block: the norm of millions of gradients stays exact. */
static double sum_squares(const td_real *x, size_t n)
{
    double total = 0;
    for (size_t first = 0; first < n; first += 1024) {
        size_t count = n - first < 1024 ? n - first : 1024;
        total += (double)dot(x + first, x + first, count);
    }
    return total;
}

static td_real maximum(const td_real *x, size_t n)
{
    const td_real none = -(td_real)INFINITY;
    vector first = (vector){0} + none, second = first;
    size_t i = 0;
    for (; i + 2 * WIDTH <= n; i += 2 * WIDTH) {
        first = larger(first, load(x + i));
        second = larger(second, load(x + i + WIDTH));
    }
    if (i + WIDTH <= n) {
        first = larger(first, load(x + i));
        i += WIDTH;
    }
    if (i < n)
        second = larger(second, load_part(x + i, n - i, none));
    return largest_of(larger(first, second));
}
