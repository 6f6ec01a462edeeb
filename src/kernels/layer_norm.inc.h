/* Layer normalisation of a row, and its way back; part of rows.inc.h. */

static void layer_norm(td_real *y, const td_real *x, const td_real *weight, const td_real *bias, td_real epsilon, size_t n,
                       td_real *ret_mean, td_real *ret_inverse)
{
    td_real mean = n ? sum_powers(x, 0, 1, n) / (td_real)n : 0;
    td_real variance = n ? sum_powers(x, mean, 2, n) / (td_real)n : 0;
    td_real inverse = (td_real)1 / math_sqrt(variance + epsilon);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
    *ret_mean = mean;
    *ret_inverse = inverse;
}

/* dx = inverse * (g - mean(g) - h * mean(g h)) with h = (x - mean) * inverse, g = dy * weight (Ba 2016); all added to.
 */
static void layer_norm_backward(td_real *restrict dx, td_real *restrict dweight, td_real *restrict dbias, const td_real *x,
                                const td_real *dy, const td_real *weight, td_real mean, td_real inverse, size_t n)
{
    vector sums[2] = {{0}}, products[2] = {{0}};
    td_real sum = 0, product = 0;
    size_t at = 0;
    for (; at + 2 * WIDTH <= n; at += 2 * WIDTH)
        for (size_t v = 0; v < 2; v++) {
            vector g = load(dy + at + v * WIDTH) * load(weight + at + v * WIDTH);
            sums[v] += g;
            products[v] += g * (load(x + at + v * WIDTH) - mean);
        }
    for (; at < n; at++) {
        sum += dy[at] * weight[at];
        product += dy[at] * weight[at] * (x[at] - mean);
    }
    sum += sum_of(sums[0] + sums[1]);
    product += sum_of(products[0] + products[1]);
    td_real shift = n ? sum / (td_real)n : 0;
    td_real slope = n ? product * inverse * inverse / (td_real)n : 0;
    if (dx) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            dx[i] += inverse * (dy[i] * weight[i] - shift - (x[i] - mean) * slope);
    }
    if (dweight) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            dweight[i] += dy[i] * (x[i] - mean) * inverse;
    }
    if (dbias)
        add(dbias, dy, n);
}
