#include "ops/product.h"

#ifdef TD_DOUBLE
#define TD_REAL_NAME "float64"
#else
#define TD_REAL_NAME "float32"
#endif

/* Below this many multiplications rounding the operands costs more than the faster product saves. */
enum { WORTH_ROUNDING = 1 << 16 };

td_operand td_operand_in(td_graph *graph, uint16_t *storage, const td_real *data, size_t rows, size_t columns, size_t stride)
{
    if (!storage)
        return (td_operand){data, NULL, stride};
    if (stride == columns)
        graph->kernels->to_bfloat16(storage, data, rows * columns);
    else
        for (size_t row = 0; row < rows; row++)
            graph->kernels->to_bfloat16(storage + row * columns, data + row * stride, columns);
    return (td_operand){data, storage, columns};
}

/* The copy of a weight that was rounded ahead, or NULL. */
static const uint16_t *rounded_ahead(const td_graph *graph, const td_real *data)
{
    const td_rounded_weights *weights = graph->rounded_weights;
    bool inside = weights && data >= weights->data && data < weights->data + weights->size;
    return inside ? weights->rounded + (data - weights->data) : NULL;
}

td_operand td_operand_of(td_graph *graph, const td_real *data, size_t rows, size_t columns, size_t stride)
{
    const uint16_t *rounded = graph->products ? rounded_ahead(graph, data) : NULL;
    if (rounded)
        return (td_operand){data, rounded, stride};
    uint16_t *storage = graph->products ? td_graph_allocate(graph, rows * columns, sizeof *storage) : NULL;
    return td_operand_in(graph, storage, data, rows, columns, stride);
}

/* In float32. While nothing is recorded, x w^T gives a row the same result, to the bit, whichever rows are beside it, so that what a
 * user gets for a sentence does not depend on its company; the product library chooses its ways by the number of rows. */
static void multiply(td_graph *graph, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a, size_t lda,
                     const td_real *b, size_t ldb, bool accumulate, td_real *c, size_t ldc)
{
    if (!graph->recording && !transpose_a && transpose_b)
        graph->kernels->product(a, lda, m, b, ldb, n, k, accumulate, c, ldc);
    else
        td_gemm(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
}

void td_product_operands(td_graph *graph, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, td_operand a,
                         td_operand b, bool accumulate, td_real *c, size_t ldc)
{
    if (!td_graph_ok(graph))
        return;
    TD_PROFILE_PRODUCT(graph->recorder, a.rounded && b.rounded ? "bfloat16" : TD_REAL_NAME, m, n, k, transpose_a);
    if (a.rounded && b.rounded)
        td_gemm_bfloat16(graph->products, transpose_a, transpose_b, m, n, k, a.rounded, a.stride, b.rounded, b.stride, accumulate,
                         c, ldc, &graph->error);
    else
        multiply(graph, transpose_a, transpose_b, m, n, k, a.data, a.stride, b.data, b.stride, accumulate, c, ldc);
}

void td_product(td_graph *graph, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a, size_t lda,
                const td_real *b, size_t ldb, bool accumulate, td_real *c, size_t ldc)
{
    if (!graph->products || m * n * k < WORTH_ROUNDING) {
        TD_PROFILE_PRODUCT(graph->recorder, TD_REAL_NAME, m, n, k, transpose_a);
        multiply(graph, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
        return;
    }
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_operand left = td_operand_of(graph, a, transpose_a ? k : m, transpose_a ? m : k, lda);
    td_operand right = td_operand_of(graph, b, transpose_b ? n : k, transpose_b ? k : n, ldb);
    td_product_operands(graph, transpose_a, transpose_b, m, n, k, left, right, accumulate, c, ldc);
    td_arena_release_to(graph->arena, mark);
}
