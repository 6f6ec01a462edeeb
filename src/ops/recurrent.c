/* A recurrent layer over a ragged batch: one product for all inputs, one per step over the sequences still running; backward
 * leaves the gradients of all gates in place of the gates and forms those of each weight with one product at the end. */
#include "ops/recurrent.h"

#include "kernels/gates.h"
#include "ops/packed_linear.h"
#include "ops/product.h"

#include <string.h>

typedef struct layer_pass {
    td_recurrent_options options;
    td_recurrent_weights weights;
    td_packing packing;
    const td_gate_kernels *kernels;
    td_operand w_hh;  /* in the form of the steps' products, forward or backward */
    size_t width;     /* G * H */
    td_real *x;       /* [T, I], packed like all that follow */
    td_real *gates;   /* [T, G * H] */
    td_real *hidden;  /* GRU: the sums over the state [T, 3 * H] */
    td_real *h, *c;   /* [T, H] */
    td_real *h0, *c0; /* [count, H] in order of rank */
    td_tensor *input, *output, *start_h, *start_c, *final_h, *final_c;
} layer_pass;

static td_real *allocate_rows(td_graph *graph, size_t rows, size_t columns)
{
    size_t count;
    if (td_multiply_overflows(rows, columns, &count)) {
        td_graph_fail(graph, TD_ERROR_LIMIT, "a recurrent layer of %zu x %zu is too large", rows, columns);
        return NULL;
    }
    return td_graph_allocate(graph, count, sizeof(td_real));
}

/* to[i] = from[index[i]] */
static void gather(td_real *to, const td_real *from, size_t stride, const int32_t *index, size_t count, size_t columns)
{
    for (size_t i = 0; i < count; i++)
        memcpy(to + i * columns, from + (size_t)index[i] * stride, columns * sizeof *to);
}

/* to[index[i]] += from[i] */
static void scatter_add(const td_kernels *kernels, td_real *to, size_t stride, const td_real *from, const int32_t *index, size_t count,
                        size_t columns)
{
    for (size_t i = 0; i < count; i++)
        kernels->add(to + (size_t)index[i] * stride, from + i * columns, columns);
}

/* A bias (plus a second one) of a row. */
static td_real *sum_bias(td_graph *graph, size_t width, const td_tensor *first, const td_tensor *second)
{
    td_real *sum = allocate_rows(graph, 1, width);
    if (!sum)
        return NULL;
    memset(sum, 0, width * sizeof *sum);
    if (first)
        graph->kernels->add(sum, first->data, width);
    if (second)
        graph->kernels->add(sum, second->data, width);
    return sum;
}

/* Every row starts as the bias, so that products add to it. */
static void fill_bias(td_real *rows, size_t count, size_t width, const td_real *bias)
{
    for (size_t i = 0; bias && i < count; i++)
        memcpy(rows + i * width, bias, width * sizeof *rows);
}

static td_real *packed_state(td_graph *graph, const td_packing *packing, const td_tensor *start, size_t hidden)
{
    td_real *state = allocate_rows(graph, packing->count, hidden);
    if (state && start)
        gather(state, start->data, start->stride, packing->order, packing->count, hidden);
    else if (state)
        memset(state, 0, packing->count * hidden * sizeof *state);
    return state;
}

/* out [m, n] (+)= rows [m, k] op(w_hh), where w_hh is converted once for all steps. */
static void step_product(td_graph *graph, const layer_pass *pass, bool transpose, size_t m, size_t n, size_t k, const td_real *rows,
                         bool accumulate, td_real *out)
{
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_operand left = td_operand_of(graph, rows, m, k, k);
    td_product_operands(graph, false, transpose, m, n, k, left, pass->w_hh, accumulate, out, n);
    td_arena_release_to(graph->arena, mark);
}

static const td_packed *packed_of(const td_tensor *weight)
{
    return weight->parameter ? weight->parameter->packed : NULL;
}

/* The same with packed weights, which write their sums and do not add: a GRU's with their bias, as they stand beside the input's. */
static void packed_step_product(td_graph *graph, const layer_pass *pass, size_t rows, const td_real *states, td_real *sums)
{
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    const td_tensor *bias = pass->hidden ? pass->weights.b_hh : NULL;
    td_tensor *x = td_tensor_of(graph, (td_real *)(uintptr_t)states, rows, pass->options.hidden);
    td_real *to = pass->hidden ? sums : allocate_rows(graph, rows, pass->width);
    if (x && to)
        td_packed_linear_into(graph, x, packed_of(pass->weights.w_hh), bias ? bias->data : NULL, to, pass->width);
    if (td_graph_ok(graph) && to != sums)
        graph->kernels->add(sums, to, rows * pass->width);
    td_arena_release_to(graph->arena, mark);
}

static void forward_step(td_graph *graph, layer_pass *pass, size_t t)
{
    size_t hidden = pass->options.hidden, width = pass->width, n = td_packing_active(&pass->packing, t);
    size_t first = (size_t)pass->packing.starts[t], before = t ? (size_t)pass->packing.starts[t - 1] : 0;
    const td_real *h_previous = t ? pass->h + before * hidden : pass->h0;
    const td_real *c_previous = !pass->c ? NULL : t ? pass->c + before * hidden : pass->c0;
    td_real *gates = pass->gates + first * width, *h = pass->h + first * hidden;
    td_real *sums = pass->hidden ? pass->hidden + first * width : gates;
    if ((t || pass->start_h) && packed_of(pass->weights.w_hh))
        packed_step_product(graph, pass, n, h_previous, sums);
    else if (t || pass->start_h)
        step_product(graph, pass, true, n, width, hidden, h_previous, true, sums);
    for (size_t r = 0; r < n; r++) {
        size_t at = r * hidden;
        if (pass->options.kind == TD_CELL_LSTM)
            pass->kernels->lstm(gates + r * width, c_previous + at, pass->c + first * hidden + at, h + at, hidden);
        else if (pass->options.kind == TD_CELL_GRU)
            pass->kernels->gru(gates + r * width, sums + r * width, h_previous + at, h + at, hidden);
        else
            pass->kernels->rnn(h + at, gates + r * width, pass->options.kind == TD_CELL_RNN_RELU, hidden);
    }
}

/* The state after each sequence's last step; the starting one where there was no step. */
static void final_states(const layer_pass *pass, td_ragged ragged, const td_real *states, const td_real *starts, td_tensor *final)
{
    size_t hidden = pass->options.hidden;
    for (size_t r = 0; final && r < pass->packing.count; r++) {
        size_t sequence = (size_t)pass->packing.order[r], length = td_ragged_length(ragged, sequence);
        const td_real *from = length ? states + ((size_t)pass->packing.starts[length - 1] + r) * hidden : starts + r * hidden;
        memcpy(final->data + sequence * final->stride, from, hidden * sizeof *from);
    }
}

/* dh and dc are running gradients [count, H] by rank: a sequence's rank is first touched at its last step. */
static void backward_step(td_graph *graph, layer_pass *pass, size_t t, td_real *dh, td_real *dc)
{
    size_t hidden = pass->options.hidden, width = pass->width, n = td_packing_active(&pass->packing, t);
    size_t first = (size_t)pass->packing.starts[t], before = t ? (size_t)pass->packing.starts[t - 1] : 0;
    const td_real *h_previous = t ? pass->h + before * hidden : pass->h0;
    const td_real *c_previous = !pass->c ? NULL : t ? pass->c + before * hidden : pass->c0;
    const td_real *dy = pass->output->gradient;
    td_real *gates = pass->gates + first * width, *sums = pass->hidden ? pass->hidden + first * width : gates;
    bool gru = pass->options.kind == TD_CELL_GRU;
    for (size_t r = 0; r < n; r++) {
        size_t at = r * hidden;
        if (dy)
            graph->kernels->add(dh + at, dy + (size_t)pass->packing.rows[first + r] * pass->output->stride, hidden);
        if (pass->options.kind == TD_CELL_LSTM)
            pass->kernels->lstm_backward(gates + r * width, c_previous + at, pass->c + first * hidden + at, dh + at, dc + at, hidden);
        else if (gru)
            pass->kernels->gru_backward(gates + r * width, sums + r * width, h_previous + at, dh + at, hidden);
        else
            pass->kernels->rnn_backward(gates + r * width, pass->h + first * hidden + at, dh + at, pass->options.kind == TD_CELL_RNN_RELU,
                                        hidden);
    }
    if (t || td_needs_gradient(pass->start_h))
        step_product(graph, pass, false, n, hidden, width, sums, gru, dh);
}

static void bias_gradient(td_graph *graph, td_tensor *bias, const td_real *sums, size_t rows, size_t width)
{
    td_real *dbias = td_gradient(graph, bias);
    for (size_t i = 0; dbias && i < rows; i++)
        graph->kernels->add(dbias, sums + i * width, width);
}

/* dw_hh = sum over steps of dsums^T h_previous, as one product over gathered states. */
static void state_weight_gradient(td_graph *graph, layer_pass *pass, const td_real *sums)
{
    size_t hidden = pass->options.hidden, total = pass->packing.total;
    td_real *dw = td_gradient(graph, pass->weights.w_hh);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_real *previous = dw ? allocate_rows(graph, total, hidden) : NULL;
    if (!previous)
        return;
    for (size_t t = 0; t < pass->packing.steps; t++) {
        const td_real *from = t ? pass->h + (size_t)pass->packing.starts[t - 1] * hidden : pass->h0;
        memcpy(previous + (size_t)pass->packing.starts[t] * hidden, from, td_packing_active(&pass->packing, t) * hidden * sizeof *from);
    }
    td_product(graph, true, false, pass->width, hidden, total, sums, pass->width, previous, hidden, true, dw, pass->weights.w_hh->stride);
    td_arena_release_to(graph->arena, mark);
}

static void input_gradients(td_graph *graph, layer_pass *pass)
{
    size_t inputs = pass->input->columns, total = pass->packing.total, width = pass->width;
    td_real *dw = td_gradient(graph, pass->weights.w_ih), *dx = td_gradient(graph, pass->input);
    if (dw)
        td_product(graph, true, false, width, inputs, total, pass->gates, width, pass->x, inputs, true, dw, pass->weights.w_ih->stride);
    if (!dx)
        return;
    td_product(graph, false, false, total, inputs, width, pass->gates, width, pass->weights.w_ih->data, pass->weights.w_ih->stride, false,
               pass->x, inputs); /* the packed input is not needed any more */
    scatter_add(graph->kernels, dx, pass->input->stride, pass->x, pass->packing.rows, total, inputs);
}

static void start_gradient(td_graph *graph, const td_packing *packing, td_tensor *start, const td_real *running)
{
    td_real *gradient = td_gradient(graph, start);
    if (gradient)
        scatter_add(graph->kernels, gradient, start->stride, running, packing->order, packing->count, start->columns);
}

static td_real *running_gradient(td_graph *graph, const td_packing *packing, const td_tensor *final, size_t hidden)
{
    td_real *running = allocate_rows(graph, packing->count, hidden);
    if (running && final && final->gradient)
        gather(running, final->gradient, final->stride, packing->order, packing->count, hidden);
    else if (running)
        memset(running, 0, packing->count * hidden * sizeof *running);
    return running;
}

static void backward(td_graph *graph, void *operation)
{
    layer_pass *pass = operation;
    size_t hidden = pass->options.hidden;
    if (!pass->output->gradient && !(pass->final_h && pass->final_h->gradient) && !(pass->final_c && pass->final_c->gradient))
        return;
    td_real *dh = running_gradient(graph, &pass->packing, pass->final_h, hidden);
    td_real *dc = running_gradient(graph, &pass->packing, pass->final_c, hidden);
    if (!dh || !dc)
        return;
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    pass->w_hh = td_right_operand(graph, false, pass->weights.w_hh->data, pass->width, hidden, pass->weights.w_hh->stride);
    for (size_t t = pass->packing.steps; t-- > 0;)
        backward_step(graph, pass, t, dh, dc);
    td_arena_release_to(graph->arena, mark);
    const td_real *sums = pass->hidden ? pass->hidden : pass->gates;
    if (pass->packing.total) {
        state_weight_gradient(graph, pass, sums);
        bias_gradient(graph, pass->weights.b_ih, pass->gates, pass->packing.total, pass->width);
        bias_gradient(graph, pass->weights.b_hh, sums, pass->packing.total, pass->width);
        input_gradients(graph, pass);
    }
    start_gradient(graph, &pass->packing, pass->start_h, dh);
    if (pass->c)
        start_gradient(graph, &pass->packing, pass->start_c, dc);
}

static bool has_shape(const td_tensor *tensor, size_t rows, size_t columns)
{
    return tensor->rows == rows && tensor->columns == columns;
}

static bool check(td_graph *graph, const td_tensor *x, td_ragged ragged, const td_recurrent_options *options,
                  const td_recurrent_weights *weights, const td_tensor *h0, const td_tensor *c0)
{
    size_t hidden = options->hidden, width = td_cell_gates(options->kind) * hidden;
    if (!td_graph_ok(graph) || !x || !weights->w_ih || !weights->w_hh)
        return false;
    if (!packed_of(weights->w_ih) != !packed_of(weights->w_hh) || (packed_of(weights->w_hh) && graph->recording)) {
        td_graph_fail(graph, TD_ERROR_INTERNAL, "a recurrent layer's weights are packed both, and only where nothing is trained");
        return false;
    }
    bool fits = x->rows == td_ragged_total(ragged) && has_shape(weights->w_ih, width, x->columns) &&
                has_shape(weights->w_hh, width, hidden) && (!weights->b_ih || has_shape(weights->b_ih, 1, width)) &&
                (!weights->b_hh || has_shape(weights->b_hh, 1, width)) && (!h0 || has_shape(h0, ragged.count, hidden)) &&
                (!c0 || has_shape(c0, ragged.count, hidden));
    if (!fits)
        td_graph_fail(graph, TD_ERROR_ARGUMENT,
                      "recurrent layer of %zu units over %zu rows of %zu: a weight or starting state has another shape", hidden, x->rows,
                      x->columns);
    return fits;
}

static bool allocate_pass(td_graph *graph, layer_pass *pass, bool trains)
{
    const td_packing *packing = &pass->packing;
    size_t total = packing->total, hidden = pass->options.hidden;
    pass->x = allocate_rows(graph, total, pass->input->columns);
    pass->gates = allocate_rows(graph, total, pass->width);
    pass->h = allocate_rows(graph, total, hidden);
    pass->h0 = packed_state(graph, packing, pass->start_h, hidden);
    if (pass->options.kind == TD_CELL_GRU)
        pass->hidden = allocate_rows(graph, total, pass->width);
    if (pass->options.kind == TD_CELL_LSTM) {
        pass->c = allocate_rows(graph, total, hidden);
        pass->c0 = packed_state(graph, packing, pass->start_c, hidden);
    }
    pass->output = td_tensor_new(graph, total, hidden, trains);
    pass->final_h = td_tensor_new(graph, packing->count, hidden, trains);
    if (pass->c)
        pass->final_c = td_tensor_new(graph, packing->count, hidden, trains);
    return td_graph_ok(graph);
}

/* The inputs' share of the gates at all steps, both biases in it where they are simply added. */
static void input_sums(td_graph *graph, layer_pass *pass)
{
    const td_recurrent_weights *weights = &pass->weights;
    size_t total = pass->packing.total, inputs = pass->input->columns;
    const td_real *bias = sum_bias(graph, pass->width, weights->b_ih, pass->hidden ? NULL : weights->b_hh);
    if (!bias || !total)
        return;
    if (packed_of(weights->w_ih)) {
        td_tensor *x = td_tensor_of(graph, pass->x, total, inputs);
        if (x)
            td_packed_linear_into(graph, x, packed_of(weights->w_ih), bias, pass->gates, pass->width);
        return;
    }
    td_product_biased(graph, total, pass->width, inputs, pass->x, inputs, weights->w_ih->data, weights->w_ih->stride, bias, pass->gates,
                      pass->width);
}

static void forward(td_graph *graph, layer_pass *pass, td_ragged ragged)
{
    const td_packing *packing = &pass->packing;
    const td_tensor *w_hh = pass->weights.w_hh;
    size_t total = packing->total, hidden = pass->options.hidden;
    gather(pass->x, pass->input->data, pass->input->stride, packing->rows, total, pass->input->columns);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    if (pass->hidden)
        fill_bias(pass->hidden, total, pass->width, sum_bias(graph, pass->width, pass->weights.b_hh, NULL));
    input_sums(graph, pass);
    if (!packed_of(w_hh))
        pass->w_hh = td_right_operand(graph, true, w_hh->data, hidden, pass->width, w_hh->stride);
    for (size_t t = 0; t < packing->steps; t++)
        forward_step(graph, pass, t);
    td_arena_release_to(graph->arena, mark);
    for (size_t i = 0; i < total; i++)
        memcpy(pass->output->data + (size_t)packing->rows[i] * hidden, pass->h + i * hidden, hidden * sizeof(td_real));
    final_states(pass, ragged, pass->h, pass->h0, pass->final_h);
    final_states(pass, ragged, pass->c, pass->c0, pass->final_c);
}

td_tensor *td_recurrent(td_graph *graph, td_tensor *x, td_ragged ragged, const td_recurrent_options *options,
                        const td_recurrent_weights *weights, td_tensor *h0, td_tensor *c0, td_tensor **ret_h, td_tensor **ret_c)
{
    TD_PROFILE(graph->recorder, "recurrent layer");
    if (!check(graph, x, ragged, options, weights, h0, c0))
        return NULL;
    layer_pass *pass = td_graph_allocate(graph, 1, sizeof *pass);
    if (!pass)
        return NULL;
    *pass = (layer_pass){.options = *options, .weights = *weights, .input = x, .start_h = h0, .start_c = c0};
    pass->width = td_cell_gates(options->kind) * options->hidden;
    pass->kernels = td_gate_kernels_for(graph->kernels->isa);
    bool trains = td_needs_gradient(x) || td_needs_gradient(weights->w_ih) || td_needs_gradient(weights->w_hh) ||
                  td_needs_gradient(weights->b_ih) || td_needs_gradient(weights->b_hh) || td_needs_gradient(h0) || td_needs_gradient(c0);
    if (!td_pack(graph, ragged, options->reverse, &pass->packing) || !allocate_pass(graph, pass, trains))
        return NULL;
    forward(graph, pass, ragged);
    if (trains)
        td_record(graph, backward, pass);
    if (ret_h)
        *ret_h = pass->final_h;
    if (ret_c)
        *ret_c = pass->final_c;
    return pass->output;
}
