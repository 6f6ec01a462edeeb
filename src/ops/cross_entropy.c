/* Output product, softmax and cross-entropy in blocks of rows: the block's logits stay in cache, become their own gradient in place,
 * and are multiplied back at once, so that nothing of size [T, V] ever exists. */
#include "ops/ops.h"
#include "ops/product.h"

#include <math.h>
#include <string.h>

/* Rows of a block: more of them share a pass over the weight and over its gradient, fewer keep their logits in a nearer cache. */
enum { LEAST_ROWS = 128, MOST_ROWS = 512, MOST_LOGITS = 3 << 20, WHOLE = 64 /* numbers that rows of logits are multiples of */ };

typedef struct loss_operation {
    td_graph *graph;
    td_tensor *hidden, *weight, *bias;
    td_operand hidden_operand, weight_operand, laid_operand; /* the last for the logits */
    const int32_t *targets;
    td_cross_entropy_options options;
    size_t block, stride; /* rows; numbers between their logits, whole panels */
    td_real *logits;      /* [block, stride], which become gradients, and with `rounds` bfloat16 in the first half of each row */
    bool rounds;
    td_real *scratch; /* [2, V] */
    td_real *dhidden, *dweight, *dbias, *dcopy_weights, *dgate;
    double loss, nll;
} loss_operation;

/* Rows first .. of an operand. */
static td_operand operand_rows(td_operand operand, size_t first)
{
    operand.data += first * operand.stride;
    if (operand.rounded)
        operand.rounded += first * operand.stride;
    return operand;
}

static void block_logits(const loss_operation *op, size_t first, size_t rows, td_real *logits)
{
    size_t words = op->weight->rows, width = op->weight->columns;
    for (size_t row = 0; op->bias && row < rows; row++)
        memcpy(logits + row * op->stride, op->bias->data, words * sizeof *logits);
    td_product_operands(op->graph, false, true, rows, words, width, operand_rows(op->hidden_operand, first), op->laid_operand,
                        op->bias != NULL, logits, op->stride);
}

/* Rows first .. of all, whose gradients are the block's rows at .. */
static void block_backward(const loss_operation *op, size_t first, size_t rows, size_t at)
{
    size_t words = op->weight->rows, width = op->weight->columns;
    const td_real *dlogits = op->logits + at * op->stride;
    td_operand gradient = {.data = dlogits, .stride = op->stride};
    if (op->rounds) {
        gradient.rounded = (const uint16_t *)dlogits;
        gradient.whole = true;
        gradient.stride = op->stride * (sizeof *dlogits / sizeof *gradient.rounded);
    }
    if (op->dhidden)
        td_product_operands(op->graph, false, false, rows, width, words, gradient, op->weight_operand, true, op->dhidden + first * width,
                            width);
    if (op->dweight)
        td_product_operands(op->graph, true, false, words, width, rows, gradient, operand_rows(op->hidden_operand, first), true,
                            op->dweight, width);
}

/* Rounds a row in its own place, and a zero follows it. */
static void round_row(const td_kernels *kernels, td_real *row, size_t n)
{
    enum { PART = 512 };
    uint16_t part[PART + 1];
    for (size_t i = 0; i < n; i += PART) {
        size_t count = n - i < PART ? n - i : PART;
        kernels->to_bfloat16(part, row + i, count);
        if (i + count == n)
            part[count++] = 0; /* pairs are multiplied */
        memcpy((char *)row + i * sizeof *part, part, count * sizeof *part);
    }
}

/* Row `row` of the block holds gradients now and is still in the cache. */
static void row_done(const loss_operation *op, size_t row)
{
    size_t words = op->weight->rows;
    td_real *dlogits = op->logits + row * op->stride;
    if (op->dbias)
        op->graph->kernels->add(op->dbias, dlogits, words);
    if (op->rounds)
        round_row(op->graph->kernels, dlogits, words);
}

/* log(exp(a) + exp(b)) */
static double log_add(double a, double b)
{
    double most = a > b ? a : b, least = a > b ? b : a;
    return isinf(most) ? most : most + log1p(exp(least - most));
}

/* log(sigmoid(x)) */
static double log_sigmoid(double x)
{
    return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
}

/* log of the attention on source positions that hold `target`. One that is there has a chance, even where float32 has none left. */
static double log_copied(const td_copy_source *source, const td_real *weights, int32_t target)
{
    double sum = 0;
    bool found = false;
    for (size_t i = 0; i < source->length; i++)
        if (source->ids[i] == target) {
            sum += (double)weights[i];
            found = true;
        }
    return found ? log(sum > 1e-30 ? sum : 1e-30) : -INFINITY;
}

static double row_weight(const loss_operation *op, size_t row)
{
    return op->options.weights ? (double)op->options.weights[row] : 1;
}

/* A row whose target may be copied: P = g p(y) + (1 - g) c(y). With r = g p(y) / P, the generated share, the gradients of log P are
 * r ([i = y] - p_i) for logit i, r - g for the gate, and (1 - g) / P for the weight of every source position that holds y. */
static void copy_row(loss_operation *op, size_t row, td_real *logits)
{
    const td_copy_loss *copy = op->options.copy;
    const td_copy_source *source = &copy->sources[row];
    size_t n = op->weight->rows;
    int32_t target = op->targets[row];
    double s = (double)op->options.label_smoothing, own = row_weight(op, row), scale = own * (double)op->options.gradient_scale, sum = 0;
    bool known = (size_t)target < n;
    const td_real *weights = copy->weights->data + row * copy->weights->stride;
    double gate = (double)copy->gate->data[row * copy->gate->stride], log_generate = log_sigmoid(gate), log_copy = log_sigmoid(-gate);
    td_real shift = op->graph->kernels->maximum(logits, n), total = op->graph->kernels->exp_sum(op->scratch, logits, shift, n);
    double log_total = (double)shift + log((double)total);
    double generated = known ? log_generate + (double)logits[target] - log_total : -INFINITY;
    double log_p = log_add(generated, log_copy + log_copied(source, weights, target)), share = exp(generated - log_p);
    for (size_t i = 0; s > 0 && i < n; i++)
        sum += (double)logits[i];
    op->nll -= log_p;
    op->loss += own * (s * (log_total - sum / (double)n) - (1 - s) * log_p);
    td_real factor = (td_real)(scale * ((1 - s) * share + s) / (double)total), even = (td_real)(scale * s / (double)n);
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        logits[i] = op->scratch[i] * factor - even;
    if (known)
        logits[target] -= (td_real)(scale * (1 - s) * share);
    if (op->dgate)
        op->dgate[row * copy->gate->stride] -= (td_real)(scale * (1 - s) * (share - exp(log_generate)));
    double steep = log_copy - log_p < 60 ? exp(log_copy - log_p) : exp(60); /* float32 holds no more than exp(88) */
    for (size_t i = 0; op->dcopy_weights && i < source->length; i++)
        if (source->ids[i] == target)
            op->dcopy_weights[row * copy->weights->stride + i] -= (td_real)(scale * (1 - s) * steep);
}

static void block_copy_loss(loss_operation *op, size_t first, size_t rows)
{
    block_logits(op, first, rows, op->logits);
    for (size_t row = 0; row < rows; row++) {
        copy_row(op, first + row, op->logits + row * op->stride);
        row_done(op, row);
    }
    block_backward(op, first, rows, 0);
}

static void block_loss(loss_operation *op, size_t first, size_t rows)
{
    size_t words = op->weight->rows;
    block_logits(op, first, rows, op->logits);
    for (size_t row = 0; row < rows; row++) {
        td_real nll, own = (td_real)row_weight(op, first + row);
        op->loss +=
            (double)own * (double)op->graph->kernels->cross_entropy(op->logits + row * op->stride, words, (size_t)op->targets[first + row],
                                                                    op->options.label_smoothing, own * op->options.gradient_scale, &nll);
        op->nll += (double)nll;
        row_done(op, row);
    }
    block_backward(op, first, rows, 0);
}

/* log-softmax in place; p receives the probabilities. Returns the sum of the log-probabilities. */
static td_real log_softmax(const td_kernels *kernels, td_real *x, td_real *p, size_t n)
{
    td_real shift = kernels->maximum(x, n), total = kernels->exp_sum(p, x, shift, n), sum = 0;
    td_real log_sum = shift + (td_real)log((double)total), inverse = 1 / total;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        x[i] -= log_sum;
        p[i] *= inverse;
        sum += x[i];
    }
    return sum;
}

/* One pair of rows of logits of one position. Adds r (KL(p|q) + KL(q|p)) / 2 and both rows' cross-entropy to the loss and replaces the
 * rows by their gradients. With log-probabilities a, b of p, q and d = a - b: dKL(p|q)/dlogit_i of a = p_i (d_i - KL(p|q)),
 * dKL(q|p)/dlogit_i of a = p_i - q_i. */
static void pair_loss(loss_operation *op, td_real *a, td_real *b, size_t target)
{
    size_t n = op->weight->rows;
    td_real *p = op->scratch, *q = op->scratch + n, forward = 0, backward = 0;
    double mean_a = (double)log_softmax(op->graph->kernels, a, p, n) / (double)n;
    double mean_b = (double)log_softmax(op->graph->kernels, b, q, n) / (double)n;
    double target_a = (double)a[target], target_b = (double)b[target];
    td_real s = op->options.label_smoothing, half = op->options.r_drop / 2, scale = op->options.gradient_scale;
#pragma omp simd reduction(+ : forward, backward)
    for (size_t i = 0; i < n; i++) {
        td_real d = a[i] - b[i];
        forward += p[i] * d;
        backward -= q[i] * d;
    }
    td_real uniform = s / (td_real)n;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        td_real d = a[i] - b[i];
        a[i] = scale * (p[i] - uniform + half * (p[i] * (d - forward) + p[i] - q[i]));
        b[i] = scale * (q[i] - uniform + half * (q[i] * (-d - backward) + q[i] - p[i]));
    }
    a[target] -= scale * (1 - s);
    b[target] -= scale * (1 - s);
    op->nll -= target_a + target_b;
    op->loss -= (1 - (double)s) * (target_a + target_b) + (double)s * (mean_a + mean_b);
    op->loss += (double)half * (double)(forward + backward);
}

static void block_pair_loss(loss_operation *op, size_t first, size_t rows)
{
    size_t half = op->hidden->rows / 2;
    td_real *a = op->logits, *b = op->logits + rows * op->stride;
    block_logits(op, first, rows, a);
    block_logits(op, half + first, rows, b);
    for (size_t row = 0; row < rows; row++) {
        pair_loss(op, a + row * op->stride, b + row * op->stride, (size_t)op->targets[first + row]);
        row_done(op, row);
        row_done(op, rows + row);
    }
    block_backward(op, first, rows, 0);
    block_backward(op, half + first, rows, rows);
}

static bool is_copied(const td_copy_loss *copy, size_t row, int32_t target)
{
    for (size_t i = 0; copy && i < copy->sources[row].length; i++)
        if (copy->sources[row].ids[i] == target)
            return true;
    return false;
}

static void check_copying(td_graph *graph, const td_tensor *hidden, const td_copy_loss *copy, bool pairs)
{
    bool fit = !pairs && copy->weights && copy->gate && copy->weights->rows == hidden->rows && copy->gate->rows == hidden->rows;
    for (size_t i = 0; fit && i < hidden->rows; i++)
        fit = copy->sources[i].length <= copy->weights->columns;
    if (!fit)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "cross_entropy: weights and gate for copying do not fit %zu rows", hidden->rows);
}

static bool arguments_fit(td_graph *graph, const td_tensor *hidden, const td_tensor *weight, const td_tensor *bias, const int32_t *targets,
                          const td_cross_entropy_options *options)
{
    bool pairs = options->r_drop > 0;
    if (hidden->columns != weight->columns || hidden->stride != hidden->columns || weight->stride != weight->columns ||
        (bias && bias->columns != weight->rows))
        td_graph_fail(graph, TD_ERROR_INTERNAL, "cross_entropy: hidden of %zu, weight [%zu, %zu], bias of %zu", hidden->columns,
                      weight->rows, weight->columns, bias ? bias->columns : 0);
    if (pairs && options->weights)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "cross_entropy: rows that are weighed are no pairs");
    if (pairs && hidden->rows % 2)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "cross_entropy: %zu rows are not two halves", hidden->rows);
    if (options->copy)
        check_copying(graph, hidden, options->copy, pairs);
    for (size_t i = 0; td_graph_ok(graph) && i < hidden->rows; i++)
        if (targets[i] < 0 || ((size_t)targets[i] >= weight->rows && !is_copied(options->copy, i, targets[i])))
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "target id %d is outside 0 to %zu", targets[i], weight->rows - 1);
    return td_graph_ok(graph);
}

/* As many as the width, because it says what a pass over the weight costs; all blocks alike; even, for pairs. */
static size_t block_rows(size_t rows, size_t stride, size_t width)
{
    size_t most = MOST_LOGITS / stride < MOST_ROWS ? MOST_LOGITS / stride : MOST_ROWS;
    most = width < most ? width : most;
    most = most < LEAST_ROWS ? LEAST_ROWS : most;
    size_t blocks = (rows + most - 1) / most;
    return blocks ? ((rows + blocks - 1) / blocks + 1) / 2 * 2 : 2;
}

td_tensor *td_projected_cross_entropy(td_graph *graph, td_tensor *hidden, td_tensor *weight, td_tensor *bias, const int32_t *targets,
                                      const td_cross_entropy_options *options, double *ret_nll)
{
    TD_PROFILE(graph->recorder, "softmax and cross-entropy");
    if (!hidden || !weight || !arguments_fit(graph, hidden, weight, bias, targets, options))
        return NULL;
    loss_operation op = {.graph = graph,
                         .hidden = hidden,
                         .weight = weight,
                         .bias = bias,
                         .targets = targets,
                         .options = *options,
                         .dhidden = td_gradient(graph, hidden),
                         .dweight = td_gradient(graph, weight),
                         .dbias = td_gradient(graph, bias)};
    if (options->copy) {
        op.dcopy_weights = td_gradient(graph, options->copy->weights);
        op.dgate = td_gradient(graph, options->copy->gate);
    }
    td_tensor *loss = td_tensor_new(graph, 1, 1, false);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    op.hidden_operand = td_operand_of(graph, hidden->data, hidden->rows, hidden->columns, hidden->stride);
    op.weight_operand = td_operand_of(graph, weight->data, weight->rows, weight->columns, weight->stride);
    op.laid_operand = td_laid_operand(graph, op.weight_operand, weight->columns);
    op.stride = (weight->rows + WHOLE - 1) / WHOLE * WHOLE;
    op.block = block_rows(hidden->rows, op.stride, hidden->columns);
    op.rounds = graph->products && (op.dhidden || op.dweight);
    op.logits = td_graph_allocate(graph, op.block * op.stride, sizeof *op.logits);
    op.scratch = td_graph_allocate(graph, 2 * weight->rows, sizeof *op.scratch);
    if (!loss || !td_graph_ok(graph))
        return NULL;
    bool pairs = options->r_drop > 0;
    size_t count = pairs ? hidden->rows / 2 : hidden->rows, block = pairs ? op.block / 2 : op.block;
    for (size_t first = 0; first < count; first += block)
        (pairs ? block_pair_loss : options->copy ? block_copy_loss : block_loss)(&op, first, count - first < block ? count - first : block);
    td_arena_release_to(graph->arena, mark);
    loss->data[0] = (td_real)op.loss;
    if (ret_nll)
        *ret_nll = op.nll;
    return loss;
}
