/* Attention of one query, all heads, over rows that lie anywhere, in td_real or in bfloat16; part of rows.inc.h. */

typedef const void *const *stored_rows; /* of keys and values */

INLINE vector load_stored(const void *row, size_t at, bool rounded)
{
    return rounded ? widen((const uint16_t *)row + at) : load((const td_real *)row + at);
}

INLINE vector load_stored_part(const void *row, size_t at, size_t n, bool rounded)
{
    if (!rounded)
        return load_part((const td_real *)row + at, n, 0);
    uint16_t part[WIDTH] = {0};
    memcpy(part, (const uint16_t *)row + at, n * sizeof *part);
    return widen(part);
}

/* Products of one head's query with up to four keys, so that their sums are reduced together. */
INLINE void score_keys(const td_real *q, stored_rows rows, size_t count, bool rounded, size_t offset, size_t d, td_real scale,
                       td_real *scores)
{
    vector sums[4] = {{0}};
    td_real four[4];
    size_t i = 0;
    for (; i + WIDTH <= d; i += WIDTH) {
        vector query = load(q + i);
#pragma GCC unroll 4
        for (size_t r = 0; r < count; r++)
            sums[r] += query * load_stored(rows[r], offset + i, rounded);
    }
    for (size_t r = 0; i < d && r < count; r++)
        sums[r] += load_part(q + i, d - i, 0) * load_stored_part(rows[r], offset + i, d - i, rounded);
    sums_of_four(four, sums);
    for (size_t r = 0; r < count; r++)
        scores[r] = scale * four[r];
}

/* out (+)= weights[0] values of rows[0] + weights[1] values of rows[1] + ... */
INLINE void mix_values(const td_real *weights, stored_rows rows, size_t count, bool rounded, size_t offset, size_t d, bool add,
                       td_real *out)
{
    size_t i = 0;
    for (; i + WIDTH <= d; i += WIDTH) {
        vector sum = add ? load(out + i) : (vector){0};
#pragma GCC unroll 8
        for (size_t r = 0; r < count; r++)
            sum += weights[r] * load_stored(rows[r], offset + i, rounded);
        store(out + i, sum);
    }
    if (i == d)
        return;
    vector sum = add ? load_part(out + i, d - i, 0) : (vector){0};
    for (size_t r = 0; r < count; r++)
        sum += weights[r] * load_stored_part(rows[r], offset + i, d - i, rounded);
    store_part(out + i, sum, d - i);
}

/* The one to three keys that are left over; the compiler keeps sums in registers where it knows how many there are. */
INLINE void score_last(const td_real *q, stored_rows rows, size_t count, bool rounded, size_t offset, size_t d, td_real scale,
                       td_real *scores)
{
    if (count == 3)
        score_keys(q, rows, 3, rounded, offset, d, scale, scores);
    else if (count == 2)
        score_keys(q, rows, 2, rounded, offset, d, scale, scores);
    else
        score_keys(q, rows, 1, rounded, offset, d, scale, scores);
}

/* All heads of some rows before the next rows: each is read from its first number to its last, as memory likes it. */
INLINE void attend_stored(const td_real *q, stored_rows rows, bool rounded, size_t nk, size_t heads, size_t d, td_real scale,
                          const td_real *bias, size_t bias_step, td_real *out, td_real *p)
{
    enum { SCORED = 4, MIXED = 8 };
    size_t j = 0, values = heads * d;
    for (; j + SCORED <= nk; j += SCORED)
        for (size_t head = 0; head < heads; head++)
            score_keys(q + head * d, rows + j, SCORED, rounded, head * d, d, scale, p + head * nk + j);
    for (size_t head = 0; j < nk && head < heads; head++)
        score_last(q + head * d, rows + j, nk - j, rounded, head * d, d, scale, p + head * nk + j);
    for (size_t head = 0; head < heads; head++) {
        if (bias)
            add(p + head * nk, bias + head * bias_step, nk);
        softmax(p + head * nk, nk);
    }
    for (j = 0; j + MIXED <= nk; j += MIXED)
        for (size_t head = 0; head < heads; head++)
            mix_values(p + head * nk + j, rows + j, MIXED, rounded, values + head * d, d, j > 0, out + head * d);
    for (size_t head = 0; j < nk && head < heads; head++)
        mix_values(p + head * nk + j, rows + j, nk - j, rounded, values + head * d, d, j > 0, out + head * d);
}

static void attend_rows(const td_real *q, const td_real *const *rows, size_t nk, size_t heads, size_t d, td_real scale, const td_real *bias,
                        size_t bias_step, td_real *out, td_real *p)
{
    attend_stored(q, (stored_rows)rows, false, nk, heads, d, scale, bias, bias_step, out, p);
}

static void attend_rounded(const td_real *q, const uint16_t *const *rows, size_t nk, size_t heads, size_t d, td_real scale,
                           const td_real *bias, size_t bias_step, td_real *out, td_real *p)
{
    attend_stored(q, (stored_rows)rows, true, nk, heads, d, scale, bias, bias_step, out, p);
}

static void from_bfloat16(td_real *restrict y, const uint16_t *restrict x, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        store(y + i, widen(x + i));
    if (i < n)
        store_part(y + i, load_stored_part(x, i, n - i, true), n - i);
}
