/* Matrix products of a graph: float32, or bfloat16 operands with float32 sums where the graph asks for it. */
#ifndef TD_OPS_PRODUCT_H
#define TD_OPS_PRODUCT_H

#include "kernels/gemm.h"
#include "tensor/graph.h"

/* A flat buffer of weights and its bfloat16 copy, made once for many products. */
typedef struct td_rounded_weights {
    const td_real *data;
    const uint16_t *rounded;
    size_t size;
} td_rounded_weights;

/* A weight [n, k] that lies in panels already, transposed, for many graphs: of its bfloat16 copy where graphs have one. */
typedef struct td_laid_weight {
    const td_real *data;
    const void *panels;
} td_laid_weight;

/* As td_gemm; a failure is noted in the graph. */
void td_product(td_graph *graph, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a, size_t lda,
                const td_real *b, size_t ldb, bool accumulate, td_real *c, size_t ldc);
/* y [m, n] = bias [n] + x [m, k] w^T, w [n, k]; bias NULL: none. */
void td_product_biased(td_graph *graph, size_t m, size_t n, size_t k, const td_real *x, size_t ldx, const td_real *w, size_t ldw,
                       const td_real *bias, td_real *y, size_t ldy);

/* A matrix in the form products take: the numbers themselves, or a bfloat16 copy in the arena, made once for several products. */
typedef struct td_operand {
    const td_real *data;
    const uint16_t *rounded; /* NULL: use data */
    size_t stride;           /* of the form in use */
    bool whole;              /* of a left one: zeros follow each row as far as products in panels read (kernels/panels.h) */
    const void *panels;      /* of a right operand: the form that kernels/panels.h multiplies, or NULL */
} td_operand;
td_operand td_operand_of(td_graph *graph, const td_real *data, size_t rows, size_t columns, size_t stride);
/* op(data) [k, n] as the right operand of many products of few rows. */
td_operand td_right_operand(td_graph *graph, bool transpose, const td_real *data, size_t k, size_t n, size_t stride);
/* A weight's operand for its product with transpose: in panels if the graph has it so (td_laid_weight). */
td_operand td_laid_operand(const td_graph *graph, td_operand weight, size_t columns);
void td_product_operands(td_graph *graph, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, td_operand a, td_operand b,
                         bool accumulate, td_real *c, size_t ldc);

#endif
