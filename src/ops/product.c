#include "ops/product.h"

#include <string.h>

#ifdef TD_DOUBLE
#define TD_REAL_NAME "float64"
#else
#define TD_REAL_NAME "float32"
#endif

/* Below this many multiplications rounding the operands costs more than the faster product saves. */
enum { WORTH_ROUNDING = 1 << 16 };

/* Rounded into `storage`, or as it is when there is none. */
static td_operand operand_in(const td_graph *graph, uint16_t *storage, const td_real *data, size_t rows, size_t columns, size_t stride)
{
    if (!storage)
        return (td_operand){.data = data, .stride = stride};
    if (stride == columns)
        graph->kernels->to_bfloat16(storage, data, rows * columns);
    else
        for (size_t row = 0; row < rows; row++)
            graph->kernels->to_bfloat16(storage + row * columns, data + row * stride, columns);
    return (td_operand){.data = data, .rounded = storage, .stride = columns};
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
        return (td_operand){.data = data, .rounded = rounded, .stride = stride};
    uint16_t *storage = graph->products ? td_graph_allocate(graph, rows * columns, sizeof *storage) : NULL;
    return operand_in(graph, storage, data, rows, columns, stride);
}

/* The products in panels of the form in use. */
static const td_panel_kernels *panels_of(const td_graph *graph, bool rounded)
{
    return rounded ? td_gemm_cache_panels(graph->products) : td_panels_float32(graph->kernels->isa);
}

td_operand td_right_operand(td_graph *graph, bool transpose, const td_real *data, size_t k, size_t n, size_t stride)
{
    td_operand operand = td_operand_of(graph, data, transpose ? n : k, transpose ? k : n, stride);
    const td_panel_kernels *kernels = panels_of(graph, operand.rounded);
    if (!td_graph_ok(graph) || !kernels || !graph->recording || k % kernels->group != 0)
        return operand;
    void *panels = td_graph_allocate(graph, kernels->bytes(k, n), 1);
    if (panels)
        kernels->pack(panels, (td_panel_matrix){operand.rounded ? (const void *)operand.rounded : data, operand.stride, transpose}, k, n);
    operand.panels = panels;
    return operand;
}

td_operand td_laid_operand(const td_graph *graph, td_operand weight, size_t columns)
{
    if (graph->laid_weight && graph->laid_weight->data == weight.data && weight.stride == columns)
        weight.panels = graph->laid_weight->panels;
    return weight;
}

/* Rows of x w^T, shared by the graph's threads. */
typedef struct row_parts {
    const td_kernels *kernels;
    size_t m, n, k, lda, ldb, ldc, parts;
    const td_real *a, *b;
    bool accumulate;
    td_real *c;
} row_parts;

static void multiply_rows(void *context, size_t part, size_t thread)
{
    (void)thread;
    const row_parts *parts = context;
    size_t first = parts->m * part / parts->parts, end = parts->m * (part + 1) / parts->parts;
    parts->kernels->product(parts->a + first * parts->lda, parts->lda, end - first, parts->b, parts->ldb, parts->n, parts->k,
                            parts->accumulate, parts->c + first * parts->ldc, parts->ldc);
}

#ifdef TD_DOUBLE

static void product_in_panels(td_graph *graph, const td_panel_kernels *kernels, td_panel_matrix a, td_panel_matrix b, size_t m, size_t n,
                              size_t k, const td_real *start, size_t start_stride, td_real *c, size_t ldc)
{
    (void)graph, (void)kernels, (void)a, (void)b, (void)m, (void)n, (void)k, (void)start, (void)start_stride, (void)c, (void)ldc;
}

#else

/* The right matrix is laid out on the way; rows of the result begin with those of `start`, as far apart. */
static void product_in_panels(td_graph *graph, const td_panel_kernels *kernels, td_panel_matrix a, td_panel_matrix b, size_t m, size_t n,
                              size_t k, const td_real *start, size_t start_stride, td_real *c, size_t ldc)
{
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    void *room = td_graph_allocate(graph, kernels->room(a.transposed, n, k), 1);
    if (room)
        kernels->product(a, b, m, n, k, room, (td_panel_start){start, start_stride}, c, ldc);
    td_arena_release_to(graph->arena, mark);
}

#endif

/* a^T b in panels, for results wide enough to pay for laying out a: the product library is slower at these. */
static bool multiplied_in_panels(td_graph *graph, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a,
                                 size_t lda, const td_real *b, size_t ldb, bool accumulate, td_real *c, size_t ldc)
{
    enum { LEAST_COLUMNS = 256 };
    const td_panel_kernels *kernels = panels_of(graph, false);
    if (!graph->recording || !kernels || !transpose_a || transpose_b || n < LEAST_COLUMNS || k == 0)
        return false;
    product_in_panels(graph, kernels, (td_panel_matrix){a, lda, true}, (td_panel_matrix){b, ldb, false}, m, n, k, accumulate ? c : NULL,
                      ldc, c, ldc);
    return true;
}

/* In float32. While nothing is recorded, x w^T gives a row the same result, to the bit, whichever rows are beside it, so that what a
 * user gets for a sentence does not depend on its company; the product library chooses its ways by the number of rows. */
static void multiply(td_graph *graph, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const td_real *a, size_t lda,
                     const td_real *b, size_t ldb, bool accumulate, td_real *c, size_t ldc)
{
    if (multiplied_in_panels(graph, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, accumulate, c, ldc))
        return;
    if (graph->recording || transpose_a || !transpose_b) {
        td_gemm(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
        return;
    }
    row_parts rows = {graph->kernels, m, n, k, lda, ldb, ldc, td_graph_parts(graph, m * n * k / 16), a, b, accumulate, c};
    td_graph_run(graph, rows.parts, multiply_rows, &rows);
}

static void multiply_panels(const td_panel_kernels *kernels, size_t m, size_t n, size_t k, td_operand a, td_operand b, bool accumulate,
                            td_real *c, size_t ldc)
{
#ifdef TD_DOUBLE
    (void)kernels, (void)m, (void)n, (void)k, (void)a, (void)b, (void)accumulate, (void)c, (void)ldc;
#else
    td_panel_start start = {accumulate ? c : NULL, ldc};
    kernels->multiply(m, n, k, a.rounded ? (const void *)a.rounded : a.data, a.stride, b.panels, start, c, ldc);
#endif
}

void td_product_operands(td_graph *graph, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, td_operand a, td_operand b,
                         bool accumulate, td_real *c, size_t ldc)
{
    if (!td_graph_ok(graph))
        return;
    TD_PROFILE_PRODUCT(graph->recorder, a.rounded && b.rounded ? "bfloat16" : TD_REAL_NAME, m, n, k, transpose_a);
    if (b.panels && !transpose_a && !a.rounded == !b.rounded)
        multiply_panels(panels_of(graph, b.rounded), m, n, k, a, b, accumulate, c, ldc);
    else if (a.whole && a.rounded && b.rounded && !transpose_a && !transpose_b && panels_of(graph, true))
        product_in_panels(graph, panels_of(graph, true), (td_panel_matrix){a.rounded, a.stride, false},
                          (td_panel_matrix){b.rounded, b.stride, false}, m, n, k, accumulate ? c : NULL, ldc, c, ldc);
    else if (a.rounded && b.rounded)
        td_gemm_bfloat16(graph->products, transpose_a, transpose_b, m, n, k, a.rounded, a.stride, b.rounded, b.stride, accumulate, c, ldc,
                         &graph->error);
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

/* Every row starts as the bias and is added to. */
static void biased_in_two(td_graph *graph, size_t m, size_t n, size_t k, const td_real *x, size_t ldx, const td_real *w, size_t ldw,
                          const td_real *bias, td_real *y, size_t ldy)
{
    for (size_t row = 0; bias && row < m; row++)
        memcpy(y + row * ldy, bias, n * sizeof *y);
    td_product(graph, false, true, m, n, k, x, ldx, w, ldw, bias != NULL, y, ldy);
}

/* In panels, results are written once and not read before. */
void td_product_biased(td_graph *graph, size_t m, size_t n, size_t k, const td_real *x, size_t ldx, const td_real *w, size_t ldw,
                       const td_real *bias, td_real *y, size_t ldy)
{
    bool rounds = graph->products && m * n * k >= WORTH_ROUNDING;
    const td_panel_kernels *kernels = panels_of(graph, rounds);
    if (!graph->recording || !kernels || k == 0 || k % kernels->group != 0) {
        biased_in_two(graph, m, n, k, x, ldx, w, ldw, bias, y, ldy);
        return;
    }
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_operand left = rounds ? td_operand_of(graph, x, m, k, ldx) : (td_operand){.data = x, .stride = ldx};
    td_operand right = rounds ? td_operand_of(graph, w, n, k, ldw) : (td_operand){.data = w, .stride = ldw};
    if (td_graph_ok(graph)) {
        TD_PROFILE_PRODUCT(graph->recorder, rounds ? "bfloat16" : TD_REAL_NAME, m, n, k, 0);
        product_in_panels(graph, kernels, (td_panel_matrix){rounds ? (const void *)left.rounded : x, left.stride, false},
                          (td_panel_matrix){rounds ? (const void *)right.rounded : w, right.stride, true}, m, n, k, bias, 0, y, ldy);
    }
    td_arena_release_to(graph->arena, mark);
}
