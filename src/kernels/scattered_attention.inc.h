/* Attention of one query, all heads, over rows that lie anywhere; part of rows.inc.h. */

/* Products of one head's query with four keys, so that their sums are reduced together. */
INLINE void score_four(const td_real *q, const td_real *const *rows, size_t offset, size_t d, td_real scale, td_real *scores)
{
    vector sums[4] = {{0}};
    size_t i = 0;
    for (; i + WIDTH <= d; i += WIDTH) {
        vector query = load(q + i);
#pragma GCC unroll 4
        for (size_t r = 0; r < 4; r++)
            sums[r] += query * load(rows[r] + offset + i);
    }
    for (size_t r = 0; i < d && r < 4; r++)
        sums[r] += load_part(q + i, d - i, 0) * load_part(rows[r] + offset + i, d - i, 0);
    sums_of_four(scores, sums);
    for (size_t r = 0; r < 4; r++)
        scores[r] *= scale;
}

INLINE void mix_values(const td_real *p, const td_real *const *rows, size_t nk, size_t offset, size_t vectors, size_t part, td_real *out)
{
    vector sums[4] = {{0}};
    for (size_t j = 0; j < nk; j++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const td_real *value = rows[j] + offset + v * WIDTH;
            sums[v] += p[j] * (part ? load_part(value, part, 0) : load(value));
        }
    for (size_t v = 0; v < vectors; v++)
        if (part)
            store_part(out, sums[v], part);
        else
            store(out + v * WIDTH, sums[v]);
}

static void attend_rows(const td_real *q, const td_real *const *rows, size_t nk, size_t heads, size_t d, td_real scale, const td_real *bias,
                        size_t bias_step, td_real *out, td_real *p)
{
    for (size_t head = 0; head < heads; head++, q += d, out += d, p += nk) {
        size_t offset = head * d, j = 0, i = 0;
        for (; j + 4 <= nk; j += 4)
            score_four(q, rows + j, offset, d, scale, p + j);
        for (; j < nk; j++)
            p[j] = scale * dot(q, rows[j] + offset, d);
        if (bias)
            add(p, bias + head * bias_step, nk);
        softmax(p, nk);
        offset += heads * d;
        for (; i + 4 * WIDTH <= d; i += 4 * WIDTH)
            mix_values(p, rows, nk, offset + i, 4, 0, out + i);
        for (; i + 2 * WIDTH <= d; i += 2 * WIDTH)
            mix_values(p, rows, nk, offset + i, 2, 0, out + i);
        for (; i + WIDTH <= d; i += WIDTH)
            mix_values(p, rows, nk, offset + i, 1, 0, out + i);
        if (i < d)
            mix_values(p, rows, nk, offset + i, 1, d - i, out + i);
    }
}
