/* Dropout: whether a number is dropped follows from its index and the call's key; part of rows.inc.h. */

/* Wellons' lowbias32 with the key entering twice: once would make two keys' masks permutations of each other. */
INLINE uint32_t hash32(uint32_t index, uint32_t key)
{
    uint32_t x = index ^ key;
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x += key * 0x9e3779b1u;
    x = (x ^ (x >> 15)) * 0xd35a2d97u;
    return x ^ (x >> 15);
}

INLINE td_real dropout_factor(uint32_t index, td_dropout_mask mask)
{
    return hash32(index, mask.key) < mask.threshold ? (td_real)0 : mask.scale;
}

static void dropout(td_real *y, const td_real *x, size_t n, uint32_t first, td_dropout_mask mask, int accumulate)
{
    if (mask.threshold == 0) {
        if (accumulate)
            add(y, x, n);
        else if (y != x && n)
            memmove(y, x, n * sizeof *y);
        return;
    }
    if (accumulate) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            y[i] += x[i] * dropout_factor(first + (uint32_t)i, mask);
    } else {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] * dropout_factor(first + (uint32_t)i, mask);
    }
}
