/* Output product, softmax and cross-entropy in blocks of rows: the block's logits stay in cache, become their own gradient in place,
 * and are multiplied back at once, so that nothing of size [T, V] ever exists. */
#include "kernels/gemm.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

enum { BLOCK_ROWS = 64 };

typedef struct loss_operation {
    const td_kernels *kernels;
    td_tensor *hidden, *weight, *bias;
    const int32_t *targets;
    td_cross_entropy_options options;
    td_real *logits; /* [BLOCK_ROWS, V] */
    td_real *dhidden, *dweight, *dbias;
    double loss, nll;
} loss_operation;

static void block_logits(const loss_operation *op, const td_real *hidden, size_t rows, td_real *logits)
{
    size_t words = op->weight->rows, width = op->weight->columns;
    for (size_t row = 0; op->bias && row < rows; row++)
        memcpy(logits + row * words, op->bias->data, words * sizeof *logits);
    td_gemm(false, true, rows, words, width, hidden, width, op->weight->data, width, op->bias != NULL, logits, words);
}

static void block_backward(const loss_operation *op, size_t first, size_t rows, const td_real *dlogits)
{
    size_t words = op->weight->rows, width = op->weight->columns;
    if (op->dhidden)
        td_gemm(false, false, rows, width, words, dlogits, words, op->weight->data, width, true, op->dhidden + first * width, width);
    if (op->dweight)
        td_gemm(true, false, words, width, rows, dlogits, words, op->hidden->data + first * width, width, true, op->dweight, width);
    for (size_t row = 0; op->dbias && row < rows; row++)
        op->kernels->add(op->dbias, dlogits + row * words, words);
}

static void block_loss(loss_operation *op, size_t first, size_t rows)
{
    size_t words = op->weight->rows;
    block_logits(op, op->hidden->data + first * op->hidden->columns, rows, op->logits);
    for (size_t row = 0; row < rows; row++) {
        td_real nll;
        op->loss += (double)op->kernels->cross_entropy(op->logits + row * words, words, (size_t)op->targets[first + row],
                                                       op->options.label_smoothing, op->options.gradient_scale, &nll);
        op->nll += (double)nll;
    }
    block_backward(op, first, rows, op->logits);
}

/* log-softmax in place */
static void log_softmax(const td_kernels *kernels, td_real *x, td_real *scratch, size_t n)
{
    td_real shift = kernels->maximum(x, n);
    td_real log_sum = shift + (td_real)log((double)kernels->exp_sum(scratch, x, shift, n));
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        x[i] -= log_sum;
}

/* One pair of rows holding log-probabilities a and b of one position. Adds r (KL(p|q) + KL(q|p)) / 2 and both rows' cross-entropy to
 * the loss and replaces the rows by their gradients. With p = e^a and d = a - b: dKL(p|q)/dlogit_i of a = p_i (d_i - KL(p|q)),
 * dKL(q|p)/dlogit_i of a = p_i - q_i. */
static double pair_loss(const td_cross_entropy_options *options, td_real *a, td_real *b, size_t n, size_t target, double *nll)
{
    double forward = 0, backward = 0, mean_a = 0, mean_b = 0;
    for (size_t i = 0; i < n; i++) {
        double p = exp((double)a[i]), q = exp((double)b[i]), d = (double)a[i] - (double)b[i];
        forward += p * d;
        backward -= q * d;
        mean_a += (double)a[i];
        mean_b += (double)b[i];
    }
    double s = (double)options->label_smoothing, half = (double)options->r_drop / 2, scale = (double)options->gradient_scale;
    double target_a = (double)a[target], target_b = (double)b[target];
    for (size_t i = 0; i < n; i++) {
        double p = exp((double)a[i]), q = exp((double)b[i]), d = (double)a[i] - (double)b[i];
        double wanted = s / (double)n + (i == target ? 1 - s : 0);
        a[i] = (td_real)(scale * (p - wanted + half * (p * (d - forward) + p - q)));
        b[i] = (td_real)(scale * (q - wanted + half * (q * (-d - backward) + q - p)));
    }
    *nll -= target_a + target_b;
    return -(1 - s) * (target_a + target_b) - s * (mean_a + mean_b) / (double)n + half * (forward + backward);
}

static void block_pair_loss(loss_operation *op, size_t first, size_t rows, td_real *scratch)
{
    size_t words = op->weight->rows, half = op->hidden->rows / 2;
    td_real *a = op->logits, *b = op->logits + rows * words;
    block_logits(op, op->hidden->data + first * op->hidden->columns, rows, a);
    block_logits(op, op->hidden->data + (half + first) * op->hidden->columns, rows, b);
    for (size_t row = 0; row < rows; row++) {
        log_softmax(op->kernels, a + row * words, scratch, words);
        log_softmax(op->kernels, b + row * words, scratch, words);
        op->loss += pair_loss(&op->options, a + row * words, b + row * words, words, (size_t)op->targets[first + row], &op->nll);
    }
    block_backward(op, first, rows, a);
    block_backward(op, half + first, rows, b);
}

static bool arguments_fit(td_graph *graph, const td_tensor *hidden, const td_tensor *weight, const td_tensor *bias,
                          const int32_t *targets, bool pairs)
{
    if (hidden->columns != weight->columns || hidden->stride != hidden->columns || weight->stride != weight->columns ||
        (bias && bias->columns != weight->rows))
        td_graph_fail(graph, TD_ERROR_INTERNAL, "cross_entropy: hidden of %zu, weight [%zu, %zu], bias of %zu", hidden->columns,
                      weight->rows, weight->columns, bias ? bias->columns : 0);
    if (pairs && hidden->rows % 2)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "cross_entropy: %zu rows are not two halves", hidden->rows);
    for (size_t i = 0; i < hidden->rows; i++)
        if (targets[i] < 0 || (size_t)targets[i] >= weight->rows)
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "target id %d is outside 0 to %zu", targets[i], weight->rows - 1);
    return td_graph_ok(graph);
}

td_tensor *td_projected_cross_entropy(td_graph *graph, td_tensor *hidden, td_tensor *weight, td_tensor *bias,
                                      const int32_t *targets, const td_cross_entropy_options *options, double *ret_nll)
{
    if (!hidden || !weight || !arguments_fit(graph, hidden, weight, bias, targets, options->r_drop > 0))
        return NULL;
    loss_operation op = {.kernels = graph->kernels, .hidden = hidden, .weight = weight, .bias = bias, .targets = targets,
                         .options = *options, .dhidden = td_gradient(graph, hidden), .dweight = td_gradient(graph, weight),
                         .dbias = td_gradient(graph, bias)};
    td_tensor *loss = td_tensor_new(graph, 1, 1, false);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    op.logits = td_graph_allocate(graph, (BLOCK_ROWS + 1) * weight->rows, sizeof *op.logits);
    if (!loss || !op.logits)
        return NULL;
    if (options->r_drop > 0) {
        for (size_t first = 0, half = hidden->rows / 2; first < half; first += BLOCK_ROWS / 2)
            block_pair_loss(&op, first, half - first < BLOCK_ROWS / 2 ? half - first : BLOCK_ROWS / 2,
                            op.logits + BLOCK_ROWS * weight->rows);
    } else {
        for (size_t first = 0; first < hidden->rows; first += BLOCK_ROWS)
            block_loss(&op, first, hidden->rows - first < BLOCK_ROWS ? hidden->rows - first : BLOCK_ROWS);
    }
    td_arena_release_to(graph->arena, mark);
    loss->data[0] = (td_real)op.loss;
    if (ret_nll)
        *ret_nll = op.nll;
    return loss;
}
