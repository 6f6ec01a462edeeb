/* Matrix products of training with the right matrix in panels: a tile of results stays in registers while both operands
 * are read in order. Numbers are taken in units of 32 bits: a float32, or two bfloat16 that follow each other along the
 * inner dimension. */
#ifndef TD_KERNELS_PANELS_H
#define TD_KERNELS_PANELS_H

#include "platform/cpu.h"

#include <stdbool.h>
#include <stddef.h>

enum { TD_PANEL_COLUMNS = 64 };

/* Numbers as stored, row-major; stride in numbers. */
typedef struct td_panel_matrix {
    const void *data;
    size_t stride;
    bool transposed;
} td_panel_matrix;

/* What the sums of a product begin with: row r is at data + r * stride. The result itself adds to it, a bias has stride 0; NULL: zeros. */
typedef struct td_panel_start {
    const float *data;
    size_t stride;
} td_panel_start;

/* In all of these the inner dimension k consists of whole units; only that of `product` need not with a transposed and
 * b not. */
typedef struct td_panel_kernels {
    size_t group; /* numbers of a unit */
    /* Bytes of [k, n] in panels. */
    size_t (*bytes)(size_t k, size_t n);
    /* b [k, n] -> panels [n / TD_PANEL_COLUMNS][k / group][TD_PANEL_COLUMNS], zeros where there is nothing; 64-byte
     * aligned */
    void (*pack)(void *panels, td_panel_matrix b, size_t k, size_t n);
    /* c [m, n] = start + a [m, k] b, b in panels */
    void (*multiply)(size_t m, size_t n, size_t k, const void *a, size_t lda, const void *panels, td_panel_start start, float *c,
                     size_t ldc);
    /* c [m, n] = start + op(a) [m, k] op(b) [k, n]; `room`: as many bytes as the function of that name says, 64-byte aligned
     */
    size_t (*room)(bool transpose_a, size_t n, size_t k);
    void (*product)(td_panel_matrix a, td_panel_matrix b, size_t m, size_t n, size_t k, void *room, td_panel_start start, float *c,
                    size_t ldc);
} td_panel_kernels;

/* NULL where there are none: processors without the instructions, and those with tiles, which the product library uses
 * better. */
const td_panel_kernels *td_panels_float32(td_isa isa);
const td_panel_kernels *td_panels_bfloat16(void);

#endif
