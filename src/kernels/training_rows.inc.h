/* What training alone needs of a row: the loss, the optimiser's step, conversion to bfloat16; part of rows.inc.h. */

static td_real cross_entropy(td_real *logits, size_t n, size_t target, td_real smoothing, td_real scale, td_real *ret_nll)
{
    td_real at_target = logits[target], highest = maximum(logits, n), sum = 0;
    if (smoothing > 0)
        sum = sum_powers(logits, highest, 1, n);
    td_real total = exp_sum(logits, logits, highest, n);
    td_real log_total = (td_real)log((double)total);
    td_real factor = scale / total, even = scale * smoothing / (td_real)n;
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        logits[i] = logits[i] * factor - even;
    logits[target] -= scale * (1 - smoothing);
    td_real nll = log_total - (at_target - highest);
    *ret_nll = nll;
    return smoothing > 0 ? (1 - smoothing) * nll + smoothing * (log_total - sum / (td_real)n) : nll;
}

static void adam(td_real *restrict w, const td_real *restrict g, td_real *restrict m, td_real *restrict v, size_t n,
                 const td_adam_step *step)
{
    const td_real beta1 = step->beta1, beta2 = step->beta2, epsilon = step->epsilon;
    const td_real gradient_scale = step->gradient_scale, rate = step->learning_rate / step->correction1;
    const td_real root = 1 / math_sqrt(step->correction2), keep = 1 - step->learning_rate * step->weight_decay;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        td_real gradient = g[i] * gradient_scale;
        td_real mean = beta1 * m[i] + (1 - beta1) * gradient;
        td_real square = beta2 * v[i] + (1 - beta2) * gradient * gradient;
        m[i] = mean;
        v[i] = square;
        w[i] = keep * w[i] - rate * mean / (math_sqrt(square) * root + epsilon);
    }
}

/* To the nearest, ties to even; a NaN stays one. */
static void to_bfloat16(uint16_t *restrict y, const td_real *restrict x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float value = (float)x[i];
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
        uint32_t nan = (bits >> 16) | 0x40u;
        y[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
    }
}
