/* The one body of the products with packed weights. The including file defines TD_PACKED_TABLE and TD_PACKED_ISA. Before that it may
 * define int8_dots or bfloat16_dots, an instruction that multiplies four bytes at once, with TD_PACKED_INT8_DOTS or
 * TD_PACKED_BFLOAT16_DOTS to say so; or a whole int8_tile or bfloat16_tile, with TD_PACKED_INT8 or TD_PACKED_BFLOAT16. */
#include "kernels/packed.h"
#include "kernels/packed_ahead.h"
#include "kernels/rows_vector.h"
#include "kernels/tile.h"

#include <math.h>
#include <string.h>

enum {
    TILE_ROWS = 6,
    TILE_VECTORS = VECTOR_REGISTERS == 32 ? 4 : 2,
    TILE_OUTPUTS = TILE_VECTORS * (int)WIDTH,
    MOST_VECTORS = 8,
    STEP_BYTES = 4 * TD_PANEL, /* of a panel, for one group of inputs */
};

/* Bias and activation while the sums are in the first cache. */
INLINE void finish(const td_packed_job *job, size_t panel, size_t row, size_t rows, float (*sums)[TD_PANEL])
{
    size_t at = panel * TD_PANEL, left = job->weights->outputs - at, count = left < TD_PANEL ? left : TD_PANEL;
    float *y = job->y + row * job->ldy + (at - job->first * TD_PANEL);
    for (size_t r = 0; r < rows; r++, y += job->ldy) {
        float *sum = sums[r];
        if (job->bias && count == TD_PANEL) {
            const float *bias = job->bias + at;
            for (size_t i = 0; i < TD_PANEL; i += WIDTH)
                store(sum + i, load(sum + i) + load(bias + i));
        } else if (job->bias) {
            for (size_t i = 0; i < count; i++)
                sum[i] += job->bias[at + i];
        }
        if (job->activate)
            job->activate(job->activation, sum, sum, TD_PANEL);
        if (count == TD_PANEL)
            for (size_t i = 0; i < TD_PANEL; i += WIDTH)
                store(y + i, load(sum + i));
        else
            memcpy(y, sum, count * sizeof *y);
    }
}

/* ---- float32 ---- */

/* As many vectors side by side as keep the additions from waiting for each other, be there ever so few rows. */
INLINE size_t vectors_for(size_t rows)
{
    size_t vectors = rows == 1 ? 8 : rows == 2 ? 4 : TILE_VECTORS, most = TD_PANEL / WIDTH;
    return vectors < TILE_VECTORS ? TILE_VECTORS : vectors < most ? vectors : most;
}

INLINE void float_vectors(const td_packed_job *job, const float *w, size_t row, size_t rows, size_t first, size_t vectors, ahead next,
                          float (*y)[TD_PANEL])
{
    const float *x = job->input.values + row * job->input.stride;
    size_t stride = job->input.stride, depth = job->weights->depth;
    vector sums[TILE_ROWS][MOST_VECTORS];
    EACH_SUM (rows, vectors)
        sums[r][v] = (vector){0};
    for (size_t k = 0; k < depth; k++) {
        vector weights[MOST_VECTORS];
        look_ahead(&next);
        EACH_VECTOR (vectors)
            weights[v] = load(w + k * TD_PANEL + first + v * WIDTH);
        EACH_ROW (rows) {
            float value = x[r * stride + k];
            EACH_VECTOR (vectors)
                sums[r][v] += value * weights[v];
        }
    }
    EACH_SUM (rows, vectors)
        store(y[r] + first + v * WIDTH, sums[r][v]);
}

INLINE void float_tile(const td_packed_job *job, const float *w, size_t row, size_t rows, size_t first, ahead next, float (*y)[TD_PANEL])
{
    size_t vectors = vectors_for(rows);
    if (first % (vectors * WIDTH) == 0)
        float_vectors(job, w, row, rows, first, vectors, next, y);
}

/* ---- instructions that multiply four bytes at once: four int8 or two bfloat16 ---- */

/* sum + the products of `inputs` with the four bytes beside each sum */
typedef integers dots(integers sum, uint32_t inputs, integers weights);

/* x, w: of the first step; stride: bytes from row to row; y [rows, TD_PANEL], float32 or int32 as `add` makes them. */
INLINE void dot_tile(dots *add, const void *x, size_t stride, size_t rows, const void *w, size_t first, size_t steps, ahead next, void *y)
{
    integers sums[TILE_ROWS][TILE_VECTORS];
    EACH_SUM (rows, TILE_VECTORS)
        sums[r][v] = (integers){0};
    for (size_t step = 0; step < steps; step++) {
        integers weights[TILE_VECTORS];
        look_ahead(&next);
        EACH_VECTOR (TILE_VECTORS)
            weights[v] = *(const loose_integers *)((const char *)w + step * STEP_BYTES + 4 * (first + v * WIDTH));
        EACH_ROW (rows) {
            uint32_t inputs;
            memcpy(&inputs, (const char *)x + r * stride + 4 * step, sizeof inputs);
            EACH_VECTOR (TILE_VECTORS)
                sums[r][v] = add(sums[r][v], inputs, weights[v]);
        }
    }
    EACH_SUM (rows, TILE_VECTORS)
        *(loose_integers *)((int32_t *)y + r * TD_PANEL + first + v * WIDTH) = sums[r][v];
}

/* ---- bfloat16 ---- */

#if defined(TD_PACKED_BFLOAT16_DOTS)
INLINE void bfloat16_tile(const td_packed_job *job, const uint16_t *w, size_t row, size_t rows, size_t first, ahead next,
                          float (*y)[TD_PANEL])
{
    const td_packed_input *x = &job->input;
    dot_tile(bfloat16_dots, x->rounded + row * x->stride, 2 * x->stride, rows, w, first, job->weights->depth / 2, next, y);
}
#elif !defined(TD_PACKED_BFLOAT16)
/* Widened to float32; the even input of a pair is added before the odd one. */
INLINE void bfloat16_tile(const td_packed_job *job, const uint16_t *w, size_t row, size_t rows, size_t first, ahead next,
                          float (*y)[TD_PANEL])
{
    const uint16_t *x = job->input.rounded + row * job->input.stride;
    size_t stride = job->input.stride, depth = job->weights->depth;
    vector sums[TILE_ROWS][TILE_VECTORS];
    EACH_SUM (rows, TILE_VECTORS)
        sums[r][v] = (vector){0};
    for (size_t k = 0; k < depth; k += 2) {
        look_ahead(&next);
        EACH_VECTOR (TILE_VECTORS) {
            integers pairs = *(const loose_integers *)(w + k * TD_PANEL + 2 * (first + v * WIDTH));
            vector even = (vector)(pairs << 16), odd = (vector)(pairs & (int32_t)0xffff0000);
            EACH_ROW (rows) {
                integers both = (integers){0} + (int32_t)(x[r * stride + k] | (uint32_t)x[r * stride + k + 1] << 16);
                sums[r][v] += (vector)(both << 16) * even;
                sums[r][v] += (vector)(both & (int32_t)0xffff0000) * odd;
            }
        }
    }
    EACH_SUM (rows, TILE_VECTORS)
        store(y[r] + first + v * WIDTH, sums[r][v]);
}
#endif

/* ---- int8 ---- */

#if defined(TD_PACKED_INT8_DOTS)
INLINE void int8_tile(const td_packed_job *job, const int8_t *w, size_t row, size_t rows, size_t first, ahead next, int32_t (*y)[TD_PANEL])
{
    const td_packed_input *x = &job->input;
    dot_tile(int8_dots, x->shifted + row * x->stride, x->stride, rows, w, first, job->weights->depth / 4, next, y);
}
#elif !defined(TD_PACKED_INT8)
/* Exact in integers: |sum| <= inputs * 255 * 127, which 32 bits hold up to 66,000 inputs. */
INLINE void int8_tile(const td_packed_job *job, const int8_t *w, size_t row, size_t rows, size_t first, ahead next, int32_t (*y)[TD_PANEL])
{
    const uint8_t *x = job->input.shifted + row * job->input.stride;
    size_t stride = job->input.stride, depth = job->weights->depth;
    (void)next;
#if defined(__AVX2__)
    /* Bytes multiplied as bytes, two products added in 16 bits: |w| * 127 * 2 fits where 255 would not, so the 128 is
     * taken off. */
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t at = first; at < first + TILE_OUTPUTS; at += 8) {
        __m256i sums[TILE_ROWS];
        for (size_t r = 0; r < rows; r++)
            sums[r] = _mm256_setzero_si256();
        for (size_t k = 0; k < depth; k += 4) {
            __m256i weights = _mm256_load_si256((const __m256i *)(w + k * TD_PANEL + 4 * at)), sizes = _mm256_abs_epi8(weights);
            EACH_ROW (rows) {
                int32_t four;
                memcpy(&four, x + r * stride + k, sizeof four);
                __m256i values = _mm256_set1_epi32(four ^ (int32_t)0x80808080);
                __m256i pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(values, weights));
                sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs, ones));
            }
        }
        for (size_t r = 0; r < rows; r++)
            _mm256_storeu_si256((__m256i *)(y[r] + at), sums[r]);
    }
#else
    for (size_t r = 0; r < rows; r++)
        memset(y[r] + first, 0, TILE_OUTPUTS * sizeof **y);
    for (size_t k = 0; k < depth; k += 4)
        for (size_t r = 0; r < rows; r++)
            for (size_t i = first; i < first + TILE_OUTPUTS; i++)
                for (size_t g = 0; g < 4; g++)
                    y[r][i] += x[r * stride + k + g] * w[k * TD_PANEL + 4 * i + g];
#endif
}
#endif

/* Whether the tile took the 128 from the inputs, so that offsets have nothing to put right. */
#ifndef TD_PACKED_SIGNED
#if defined(__AVX2__) && !defined(TD_PACKED_INT8) && !defined(TD_PACKED_INT8_DOTS)
#define TD_PACKED_SIGNED 1
#else
#define TD_PACKED_SIGNED 0
#endif
#endif

/* Integers to values with the bias added, in one pass: straight to y where nothing else is left to do. */
INLINE void finish_integers(const td_packed_job *job, size_t panel, size_t row, size_t rows, int32_t (*sums)[TD_PANEL])
{
    size_t at = panel * TD_PANEL, left = job->weights->outputs - at;
    const float *scales = job->weights->scales + at;
    const int32_t *offsets = job->weights->offsets + at;
    bool whole = left >= TD_PANEL && !job->activate;
    const float *bias = job->bias && left >= TD_PANEL ? job->bias + at : NULL;
    float *y = job->y + row * job->ldy + (at - job->first * TD_PANEL);
    for (size_t i = 0; i < TD_PANEL; i += WIDTH) {
        integers offset = {0};
        if (!TD_PACKED_SIGNED)
            offset = *(const loose_integers *)(offsets + i);
        vector scale = load(scales + i), shift = bias ? load(bias + i) : (vector){0};
        for (size_t r = 0; r < rows; r++) {
            integers sum = *(const loose_integers *)(sums[r] + i) + offset;
            vector value = multiply_add(__builtin_convertvector(sum, vector), scale * job->input.scales[row + r], shift);
            *(loose_vector *)(whole ? (void *)(y + r * job->ldy + i) : (void *)(sums[r] + i)) = value;
        }
    }
    if (whole)
        return;
    td_packed_job rest = *job;
    rest.bias = bias ? NULL : job->bias;
    finish(&rest, panel, row, rows, (float(*)[TD_PANEL])(void *)sums);
}

/* ---- all rows with one panel after the other ---- */

INLINE void rows_of(const td_packed_job *job, td_precision precision, size_t panel, size_t row, size_t rows, ahead next)
{
    const td_packed *packed = job->weights;
    union {
        float values[TILE_ROWS][TD_PANEL];
        int32_t integers[TILE_ROWS][TD_PANEL];
    } sums;
    size_t start = panel * TD_PANEL * packed->depth;
    const float *y = job->y + row * job->ldy + (panel - job->first) * TD_PANEL;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < TD_PANEL; i += 16)
            __builtin_prefetch(y + r * job->ldy + i, 1, 3);
    for (size_t first = 0; first < TD_PANEL; first += TILE_OUTPUTS) {
        if (precision == TD_FLOAT32)
            float_tile(job, (const float *)packed->data + start, row, rows, first, next, sums.values);
        else if (precision == TD_BFLOAT16)
            bfloat16_tile(job, (const uint16_t *)packed->data + start, row, rows, first, next, sums.values);
        else
            int8_tile(job, (const int8_t *)packed->data + start, row, rows, first, next, sums.integers);
        next.at += next.part;
    }
    if (precision == TD_INT8)
        finish_integers(job, panel, row, rows, sums.integers);
    else
        finish(job, panel, row, rows, sums.values);
}

/* Rows in tiles that are as full as each other: a tile of one or two rows reads the panel for little. Each tile asks
 * for its part of the next panel, so that the whole of it is on its way when the last tile is done. `precision` is a constant, that only
 * its tiles are made. */
INLINE void product(const td_packed_job *job, td_precision precision)
{
    const td_packed *packed = job->weights;
    if (job->input.rows == 0)
        return;
    size_t rows = job->input.rows, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS, panels = td_packed_panels(packed);
    size_t bytes = TD_PANEL * packed->depth * (precision == TD_FLOAT32 ? 4 : precision == TD_BFLOAT16 ? 2 : 1);
    size_t parts = tiles * (TD_PANEL / TILE_OUTPUTS);
    ahead next = {.step = STEP_BYTES / parts, .lines = tiles == 1 ? 0 : (STEP_BYTES / 64 + parts - 1) / parts, .part = bytes / parts};
    for (size_t panel = job->first; panel < job->last; panel++) {
        const char *following = (const char *)packed->data + (panel + 1 < panels ? panel + 1 : panel) * bytes;
        for (size_t tile = 0, row = 0; tile < tiles; tile++) {
            size_t end = rows * (tile + 1) / tiles;
            next.at = following + bytes / tiles * tile;
#define TILE(ROWS) rows_of(job, precision, panel, row, ROWS, next)
            WITH_ROWS(end - row, TILE)
#undef TILE
            row = end;
        }
    }
}

static void product_float32(const td_packed_job *job)
{
    product(job, TD_FLOAT32);
}

#ifndef TD_PACKED_TILES
static void product_bfloat16(const td_packed_job *job)
{
    product(job, TD_BFLOAT16);
}

static void product_int8(const td_packed_job *job)
{
    product(job, TD_INT8);
}
#endif

static void quantise(const float *x, size_t ldx, size_t rows, size_t inputs, size_t depth, uint8_t *shifted, float *scales)
{
    for (size_t row = 0; row < rows; row++, x += ldx, shifted += depth) {
        float largest = 0, finite = 0;
#pragma omp simd reduction(max : largest) reduction(+ : finite)
        for (size_t i = 0; i < inputs; i++) {
            float size = __builtin_fabsf(x[i]);
            largest = size > largest ? size : largest;
            finite += x[i] * 0.0f; /* NaN when any is */
        }
        float inverse = largest > 0 ? TD_INT8_LIMIT / largest : 0;
        scales[row] = largest * (1.0f / TD_INT8_LIMIT) + finite;
#pragma omp simd
        for (size_t i = 0; i < inputs; i++) {
            float magic = x[i] * inverse + 12582912.0f; /* 1.5 * 2^23: the integer is in the last bits */
            int32_t bits;
            memcpy(&bits, &magic, sizeof bits);
            shifted[i] = (uint8_t)(bits - 0x4b400000 + 128);
        }
        if (depth > inputs)
            memset(shifted + inputs, 0, depth - inputs);
    }
}

const td_packed_kernels TD_PACKED_TABLE = {
    .isa = TD_PACKED_ISA,
    .product = {[TD_FLOAT32] = product_float32, [TD_BFLOAT16] = product_bfloat16, [TD_INT8] = product_int8},
    .quantise = quantise,
};
