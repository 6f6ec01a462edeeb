/* The one body of the row kernels. Each rows_<isa>.c defines TD_KERNELS_TABLE and TD_KERNELS_ISA and includes this file
 * under its own compiler flags. Loops are plain C that the compiler vectorises; the products inside attention keep
 * their sums in registers with vector types, which it would not do by itself. */
#include "kernels/rows.h"
#include "kernels/rows_math.h"
#include "kernels/rows_vector.h"

#include <stdbool.h>

enum { TILE_ROWS = 4, TILE_VECTORS = VECTOR_REGISTERS == 32 ? 4 : 2 }; /* of a product's sums: what the registers hold */

/* ---- elementwise and reductions ---- */

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

/* The last elements of a row go through a whole vector of their own: one at a time they would cost as much as the row.
 */
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

/* ---- activations ---- */

#define ROOT_HALF ((td_real)0.70710678118654752)       /* sqrt(1 / 2) */
#define DENSITY ((td_real)0.39894228040143268)         /* 1 / sqrt(2 pi) */
#define GELU_TANH_SCALE ((td_real)0.79788456080286536) /* sqrt(2 / pi) */
#define GELU_TANH_CUBE ((td_real)0.044715)

INLINE td_real activation_of(int kind, td_real x)
{
    switch (kind) {
    case TD_RELU:
        return x > 0 ? x : 0;
    case TD_RELU6:
        return x > 0 ? (x < 6 ? x : 6) : 0;
    case TD_GELU:
        return (td_real)0.5 * x * (1 + math_erf(x * ROOT_HALF));
    case TD_SWISH:
        return x * math_sigmoid(x);
    case TD_TANH:
        return math_tanh(x);
    case TD_SIGMOID:
        return math_sigmoid(x);
    case TD_GELU_TANH:
        return (td_real)0.5 * x * (1 + math_tanh(GELU_TANH_SCALE * (x + GELU_TANH_CUBE * x * x * x)));
    default:
        return x;
    }
}

INLINE td_real activation_slope(int kind, td_real x)
{
    switch (kind) {
    case TD_RELU:
        return x > 0 ? 1 : 0;
    case TD_RELU6:
        return x > 0 ? (x < 6 ? 1 : 0) : 0;
    case TD_GELU:
        return (td_real)0.5 * (1 + math_erf(x * ROOT_HALF)) + x * DENSITY * math_exp((td_real)-0.5 * x * x);
    case TD_SWISH: {
        td_real s = math_sigmoid(x);
        return s * (1 + x * (1 - s));
    }
    case TD_TANH: {
        td_real t = math_tanh(x);
        return 1 - t * t;
    }
    case TD_SIGMOID: {
        td_real s = math_sigmoid(x);
        return s * (1 - s);
    }
    case TD_GELU_TANH: {
        td_real t = math_tanh(GELU_TANH_SCALE * (x + GELU_TANH_CUBE * x * x * x));
        td_real inner = GELU_TANH_SCALE * (1 + 3 * GELU_TANH_CUBE * x * x);
        return (td_real)0.5 * (1 + t) + (td_real)0.5 * x * (1 - t * t) * inner;
    }
    default:
        return 1;
    }
}

INLINE void activate_part(int kind, td_real *y, const td_real *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = activation_of(kind, x[i]);
}

INLINE void activate_kind(int kind, td_real *y, const td_real *x, size_t n)
{
    size_t whole = n / WIDTH * WIDTH, rest = n - whole;
    activate_part(kind, y, x, whole);
    if (rest) {
        td_real part[WIDTH];
        store(part, load_part(x + whole, rest, 0));
        activate_part(kind, part, part, WIDTH);
        store_part(y + whole, load(part), rest);
    }
}

INLINE void activate_backward_part(int kind, td_real *dx, const td_real *x, const td_real *dy, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * activation_slope(kind, x[i]);
}

INLINE void activate_backward_kind(int kind, td_real *dx, const td_real *x, const td_real *dy, size_t n)
{
    size_t whole = n / WIDTH * WIDTH, rest = n - whole;
    activate_backward_part(kind, dx, x, dy, whole);
    if (rest) {
        td_real part[3][WIDTH];
        store(part[0], load_part(dx + whole, rest, 0));
        store(part[1], load_part(x + whole, rest, 0));
        store(part[2], load_part(dy + whole, rest, 0));
        activate_backward_part(kind, part[0], part[1], part[2], WIDTH);
        store_part(dx + whole, load(part[0]), rest);
    }
}

/* One loop for each kind, so that none has a branch inside. */
#define FOR_EACH_KIND(CALL)                                                                                                                \
    switch (kind) {                                                                                                                        \
    case TD_RELU:                                                                                                                          \
        CALL(TD_RELU);                                                                                                                     \
        break;                                                                                                                             \
    case TD_RELU6:                                                                                                                         \
        CALL(TD_RELU6);                                                                                                                    \
        break;                                                                                                                             \
    case TD_GELU:                                                                                                                          \
        CALL(TD_GELU);                                                                                                                     \
        break;                                                                                                                             \
    case TD_SWISH:                                                                                                                         \
        CALL(TD_SWISH);                                                                                                                    \
        break;                                                                                                                             \
    case TD_TANH:                                                                                                                          \
        CALL(TD_TANH);                                                                                                                     \
        break;                                                                                                                             \
    case TD_SIGMOID:                                                                                                                       \
        CALL(TD_SIGMOID);                                                                                                                  \
        break;                                                                                                                             \
    case TD_GELU_TANH:                                                                                                                     \
        CALL(TD_GELU_TANH);                                                                                                                \
        break;                                                                                                                             \
    default:                                                                                                                               \
        CALL(TD_IDENTITY);                                                                                                                 \
        break;                                                                                                                             \
    }

static void activate(int kind, td_real *y, const td_real *x, size_t n)
{
#define CALL(K) activate_kind(K, y, x, n)
    FOR_EACH_KIND(CALL)
#undef CALL
}

static void activate_backward(int kind, td_real *dx, const td_real *x, const td_real *dy, size_t n){
#define CALL(K) activate_backward_kind(K, dx, x, dy, n)
    FOR_EACH_KIND(CALL)
#undef CALL
}

/* ---- dropout ---- */

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

/* ---- layer normalisation ---- */

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

/* ---- small products ---- */

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
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vectors; v++)
            sum[r][v] = (vector){0};
    const td_real *a = s->a + row * s->a_row, *b = s->b + column;
    const size_t a_row = s->a_row, a_column = s->a_column, ldb = s->ldb;
    for (size_t p = 0; p < k; p++, a += a_column, b += ldb)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            vector y = part ? load_part(b, part, 0) : load(b + v * WIDTH);
#pragma GCC unroll 4
            for (size_t r = 0; r < rows; r++)
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

/* ---- attention ---- */

static size_t padded(size_t n)
{
    return (n + 15) / 16 * 16;
}

static size_t visible_keys(size_t i, size_t nq, size_t nk, int causal)
{
    if (!causal)
        return nk;
    return nk + i + 1 > nq ? nk + i + 1 - nq : 0;
}

#ifndef TD_DOUBLE
typedef float quad __attribute__((vector_size(16)));
typedef float loose_quad __attribute__((vector_size(16), aligned(4), may_alias));

/* 4 x 4 numbers in registers: element by element the transposition would cost a third of the attention. */
INLINE void transpose_quads(float *y, size_t ldy, const float *x, size_t ldx)
{
    quad a = *(const loose_quad *)x, b = *(const loose_quad *)(x + ldx);
    quad c = *(const loose_quad *)(x + 2 * ldx), d = *(const loose_quad *)(x + 3 * ldx);
    quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    *(loose_quad *)y = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(loose_quad *)(y + ldy) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(loose_quad *)(y + 2 * ldy) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(loose_quad *)(y + 3 * ldy) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

/* Four columns of STRIP rows, so that whole vectors are stored. */
#if defined(__AVX512F__)
enum { STRIP = 16 };
INLINE void transpose_strip(float *y, size_t ldy, const float *x, size_t ldx)
{
    __m512 rows[4]; /* each of four rows that lie four apart */
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++, x += ldx) {
        rows[i] = _mm512_castps128_ps512(_mm_loadu_ps(x));
        rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(x + 4 * ldx), 1);
        rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(x + 8 * ldx), 2);
        rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(x + 12 * ldx), 3);
    }
    __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1])), cd = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
    _mm512_storeu_ps(y, _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)));
    _mm512_storeu_ps(y + ldy, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    ab = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1])), cd = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
    _mm512_storeu_ps(y + 2 * ldy, _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)));
    _mm512_storeu_ps(y + 3 * ldy, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
}
#else
enum { STRIP = 4 };
INLINE void transpose_strip(float *y, size_t ldy, const float *x, size_t ldx)
{
    transpose_quads(y, ldy, x, ldx);
}
#endif
#endif

/* x [rows, d] at stride ldx -> y [d, rows] at stride padded(rows) */
static void transpose(td_real *restrict y, const td_real *restrict x, size_t ldx, size_t rows, size_t d)
{
    size_t width = padded(rows), whole_rows = 0, whole_columns = 0;
#ifndef TD_DOUBLE
    whole_rows = rows / 4 * 4, whole_columns = d / 4 * 4;
    size_t r = 0;
    for (; r + STRIP <= rows; r += STRIP)
        for (size_t c = 0; c < whole_columns; c += 4)
            transpose_strip(y + c * width + r, width, x + r * ldx + c, ldx);
    for (; r < whole_rows; r += 4)
        for (size_t c = 0; c < whole_columns; c += 4)
            transpose_quads(y + c * width + r, width, x + r * ldx + c, ldx);
#endif
    for (size_t row = 0; row < rows; row++)
        for (size_t c = row < whole_rows ? whole_columns : 0; c < d; c++)
            y[c * width + row] = x[row * ldx + c];
}

static void attention(const td_real *q, size_t ldq, const td_real *k, size_t ldk, const td_real *v, size_t ldv, td_real *out, size_t ldo,
                      td_real *p, td_real *scratch, size_t nq, size_t nk, size_t d, td_real scale, int causal, const td_real *bias,
                      ptrdiff_t bias_step, td_dropout_mask mask, uint32_t first)
{
    size_t width = padded(nk);
    if (nq > 1)
        transpose(scratch, k, ldk, nk, d);
    for (size_t i = 0; i < nq; i += TILE_ROWS) {
        size_t rows = nq - i < TILE_ROWS ? nq - i : TILE_ROWS;
        size_t most = visible_keys(i + rows - 1, nq, nk, causal);
        td_real *scores = p + i * nk;
        if (nq > 1) {
            small_product s = {q + i * ldq, ldq, 1, scratch, width, scale, false, scores, nk};
            multiply_small(&s, rows, most, d);
        } else {
            for (size_t j = 0; j < most; j++)
                scores[j] = scale * dot(q, k + j * ldk, d);
        }
        for (size_t r = 0; r < rows; r++) {
            size_t visible = visible_keys(i + r, nq, nk, causal);
            if (bias)
                add(scores + r * nk, bias + (ptrdiff_t)(i + r) * bias_step, visible);
            softmax(scores + r * nk, visible);
            memset(scores + r * nk + visible, 0, (nk - visible) * sizeof *p);
        }
    }
    /* The transposed keys are done with: their place now takes the masked probabilities. */
    size_t step = mask.threshold && d < TILE_ROWS ? 1 : TILE_ROWS;
    for (size_t i = 0; i < nq; i += step) {
        size_t rows = nq - i < step ? nq - i : step;
        size_t most = visible_keys(i + rows - 1, nq, nk, causal);
        const td_real *weights = p + i * nk;
        if (mask.threshold) {
            dropout(scratch, weights, rows * nk, first + (uint32_t)(i * nk), mask, 0);
            weights = scratch;
        }
        small_product s = {weights, nk, 1, v, ldv, 1, false, out + i * ldo, ldo};
        multiply_small(&s, rows, d, most);
    }
}

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

#include "kernels/laid_attention.inc.h"

/* dv += masked p^T dout */
static void attention_backward_value(const td_real *p, const td_real *dout, size_t ldo, td_real *dv, size_t ldv, td_real *scratch,
                                     size_t nq, size_t nk, size_t d, td_dropout_mask mask, uint32_t first)
{
    size_t step = mask.threshold == 0 ? nq : d < TILE_ROWS ? 1 : d < 16 ? TILE_ROWS : 16;
    for (size_t i = 0; i < nq; i += step) {
        size_t rows = nq - i < step ? nq - i : step;
        const td_real *weights = p + i * nk;
        if (mask.threshold) {
            dropout(scratch, weights, rows * nk, first + (uint32_t)(i * nk), mask, 0);
            weights = scratch;
        }
        small_product s = {weights, 1, nk, dout + i * ldo, ldo, 1, true, dv, ldv};
        multiply_small(&s, nk, d, rows);
    }
}

/* ds holds dP and becomes dS = p (dP - sum p dP), the derivative of softmax, times scale */
static void softmax_backward(td_real *ds, const td_real *p, size_t visible, uint32_t first, td_dropout_mask mask, td_real scale)
{
    dropout(ds, ds, visible, first, mask, 0);
    td_real mean = dot(p, ds, visible);
#pragma omp simd
    for (size_t j = 0; j < visible; j++)
        ds[j] = scale * p[j] * (ds[j] - mean);
}

enum { BLOCK_KEYS = 512 }; /* up to this many keys TILE_ROWS rows of dS fit on the stack; beyond, one row in the scratch */

static void attention_backward(const td_real *q, size_t ldq, const td_real *k, size_t ldk, const td_real *v, size_t ldv, const td_real *p,
                               const td_real *dout, size_t ldo, td_real *dq, td_real *dk, td_real *dv, td_real *scratch, size_t nq,
                               size_t nk, size_t d, td_real scale, int causal, td_real *dbias, ptrdiff_t bias_step, td_dropout_mask mask,
                               uint32_t first)
{
    td_real block[TILE_ROWS * BLOCK_KEYS];
    size_t width = padded(nk);
    if (dv)
        attention_backward_value(p, dout, ldo, dv, ldv, scratch, nq, nk, d, mask, first);
    if (!dq && !dk && !dbias)
        return;
    transpose(scratch, v, ldv, nk, d);
    size_t step = width <= BLOCK_KEYS ? TILE_ROWS : 1;
    td_real *ds = width <= BLOCK_KEYS ? block : scratch + d * width;
    for (size_t i = 0; i < nq; i += step) {
        size_t rows = nq - i < step ? nq - i : step;
        size_t most = visible_keys(i + rows - 1, nq, nk, causal);
        small_product s = {dout + i * ldo, ldo, 1, scratch, width, 1, false, ds, width};
        multiply_small(&s, rows, most, d);
        for (size_t r = 0; r < rows; r++) {
            size_t visible = visible_keys(i + r, nq, nk, causal), at = (i + r) * nk;
            softmax_backward(ds + r * width, p + at, visible, first + (uint32_t)at, mask, scale);
            memset(ds + r * width + visible, 0, (most - visible) * sizeof *ds);
            if (dbias)
                add_scaled(dbias + (ptrdiff_t)(i + r) * bias_step, ds + r * width, 1 / scale, visible);
        }
        if (dq) {
            small_product to_query = {ds, width, 1, k, ldk, 1, true, dq + i * ldq, ldq};
            multiply_small(&to_query, rows, d, most);
        }
        if (dk) {
            small_product to_key = {ds, 1, width, q + i * ldq, ldq, 1, true, dk, ldk};
            multiply_small(&to_key, most, d, rows);
        }
    }
}

/* ---- products whose rows do not know each other ---- */

/* Weights are turned, a panel of outputs by a block of inputs at a time, so that one number of a row meets neighbouring outputs. A sum
 * goes on in y from block to block: inputs are added in their order, whichever rows are beside the row and however few there are. */
enum {
    PRODUCT_VECTORS = VECTOR_REGISTERS == 32 ? 4 : 2,
    PRODUCT_OUTPUTS = PRODUCT_VECTORS * (int)WIDTH < 16 ? 16 : PRODUCT_VECTORS * (int)WIDTH, /* a panel, as transpose pads it */
    PRODUCT_ROWS = 6,                                                                        /* rows x vectors sums stay in registers */
    PRODUCT_DEPTH = 6144 / PRODUCT_OUTPUTS < 256 ? 6144 / PRODUCT_OUTPUTS : 256, /* a block of a panel lies in the first cache */
    PRODUCT_BLOCK = 252 /* rows that pass over all panels before the next ones: they stay in the second cache */
};

typedef struct product_job {
    const td_real *x, *panel; /* panel [depth, stride] */
    td_real *y;
    size_t ldx, ldy, stride, depth;
    int add;
} product_job;

/* rows and vectors are constants wherever this is inlined, so that the loops over them disappear; `last`: numbers of the last vector */
INLINE void product_tile(const product_job *job, size_t row, size_t first, size_t rows, size_t vectors, size_t last)
{
    const td_real *x = job->x + row * job->ldx, *w = job->panel + first;
    td_real *y = job->y + row * job->ldy + first;
    vector sums[PRODUCT_ROWS][PRODUCT_VECTORS];
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const td_real *from = y + r * job->ldy + v * WIDTH;
            bool whole = v + 1 < vectors || last == WIDTH;
            sums[r][v] = !job->add ? (vector){0} : whole ? load(from) : load_part(from, last, 0);
        }
    for (size_t p = 0; p < job->depth; p++) {
        vector weights[PRODUCT_VECTORS];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            weights[v] = load(w + p * job->stride + v * WIDTH);
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            td_real value = x[r * job->ldx + p];
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++)
                sums[r][v] += value * weights[v];
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            if (v + 1 < vectors || last == WIDTH)
                store(y + r * job->ldy + v * WIDTH, sums[r][v]);
            else
                store_part(y + r * job->ldy + v * WIDTH, sums[r][v], last);
}

INLINE void product_rows(const product_job *job, size_t row, size_t first, size_t rows, size_t vectors, size_t last)
{
    switch (rows) {
    case 6:
        product_tile(job, row, first, 6, vectors, last);
        break;
    case 5:
        product_tile(job, row, first, 5, vectors, last);
        break;
    case 4:
        product_tile(job, row, first, 4, vectors, last);
        break;
    case 3:
        product_tile(job, row, first, 3, vectors, last);
        break;
    case 2:
        product_tile(job, row, first, 2, vectors, last);
        break;
    default:
        product_tile(job, row, first, 1, vectors, last);
        break;
    }
}

/* All rows with one block of a panel, in tiles as full as each other; what is left of a panel one vector at a time. */
INLINE void product_panel(const product_job *job, size_t rows, size_t outputs)
{
    const size_t width = PRODUCT_VECTORS * WIDTH;
    size_t tiles = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    for (size_t tile = 0, row = 0, end; tile < tiles; tile++, row = end) {
        size_t first = 0;
        end = rows * (tile + 1) / tiles;
        for (; first + width <= outputs; first += width)
            product_rows(job, row, first, end - row, PRODUCT_VECTORS, WIDTH);
        if (first + width / 2 <= outputs) {
            product_rows(job, row, first, end - row, PRODUCT_VECTORS / 2, WIDTH);
            first += width / 2;
        }
        for (; first < outputs; first += WIDTH)
            product_rows(job, row, first, end - row, 1, outputs - first < WIDTH ? outputs - first : WIDTH);
    }
}

static void product(const td_real *x, size_t ldx, size_t rows, const td_real *w, size_t ldw, size_t outputs, size_t k, int add, td_real *y,
                    size_t ldy)
{
    td_real panel[PRODUCT_DEPTH * PRODUCT_OUTPUTS] __attribute__((aligned(64))) = {0};
    for (size_t row = 0; row < rows; row += PRODUCT_BLOCK)
        for (size_t output = 0; output < outputs; output += PRODUCT_OUTPUTS) {
            size_t count = outputs - output < PRODUCT_OUTPUTS ? outputs - output : PRODUCT_OUTPUTS;
            for (size_t at = 0; at == 0 || at < k; at += PRODUCT_DEPTH) {
                product_job job = {x + row * ldx + at, panel, y + row * ldy + output, ldx, ldy, padded(count), 0, add || at > 0};
                job.depth = k - at < PRODUCT_DEPTH ? k - at : PRODUCT_DEPTH;
                transpose(panel, w + output * ldw + at, ldw, count, job.depth);
                product_panel(&job, rows - row < PRODUCT_BLOCK ? rows - row : PRODUCT_BLOCK, count);
            }
        }
}

/* ---- loss, optimiser, conversion ---- */

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

const td_kernels TD_KERNELS_TABLE = {
    .isa = TD_KERNELS_ISA,
    .add = add,
    .product = product,
    .add_scaled = add_scaled,
    .add_product = add_product,
    .dot = dot,
    .sum_squares = sum_squares,
    .maximum = maximum,
    .exp_sum = exp_sum,
    .softmax = softmax,
    .activate = activate,
    .activate_backward = activate_backward,
    .dropout = dropout,
    .layer_norm = layer_norm,
    .layer_norm_backward = layer_norm_backward,
    .attention = attention,
    .attend_rows = attend_rows,
    .lay_keys = lay_keys,
    .attend_laid = attend_laid,
    .attention_backward = attention_backward,
    .cross_entropy = cross_entropy,
    .adam = adam,
    .to_bfloat16 = to_bfloat16,
};
