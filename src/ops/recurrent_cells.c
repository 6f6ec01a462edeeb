/* One step of a recurrent cell over many rows: the nonlinear part alone, the products being td_step_linear's. */
#include "kernels/gates.h"
#include "ops/recurrent.h"

#include <string.h>

typedef struct cell_step {
    td_cell_kind kind;
    const td_gate_kernels *kernels;
    td_real *gates, *hidden; /* [N, G * H]: values after forward, gradients of the sums after backward; hidden for GRU */
    td_tensor *input_sums, *hidden_sums, *h, *c, *next_h, *next_c;
} cell_step;

static void add_rows(td_graph *graph, td_tensor *to, const td_real *from, size_t stride)
{
    td_real *gradient = td_gradient(graph, to);
    for (size_t i = 0; gradient && i < to->rows; i++)
        graph->kernels->add(gradient + i * to->stride, from + i * stride, to->columns);
}

static void backward_rows(const cell_step *step, td_real *dh, td_real *dc)
{
    size_t width = step->input_sums->columns, hidden = step->h->columns;
    for (size_t i = 0; i < step->h->rows; i++) {
        td_real *gates = step->gates + i * width;
        if (step->kind == TD_CELL_LSTM)
            step->kernels->lstm_backward(gates, step->c->data + i * step->c->stride, step->next_c->data + i * hidden, dh + i * hidden,
                                         dc + i * hidden, hidden);
        else if (step->kind == TD_CELL_GRU)
            step->kernels->gru_backward(gates, step->hidden + i * width, step->h->data + i * step->h->stride, dh + i * hidden, hidden);
        else
            step->kernels->rnn_backward(gates, step->next_h->data + i * hidden, dh + i * hidden, step->kind == TD_CELL_RNN_RELU, hidden);
    }
}

/* A fresh copy of the gradient of `tensor`, zeros when there is none: the kernels write over it. */
static td_real *incoming(td_graph *graph, const td_tensor *tensor)
{
    size_t count = tensor->rows * tensor->columns;
    td_real *copy = td_graph_allocate(graph, count, sizeof *copy);
    if (copy && tensor->gradient)
        memcpy(copy, tensor->gradient, count * sizeof *copy);
    else if (copy)
        memset(copy, 0, count * sizeof *copy);
    return copy;
}

static void cell_backward(td_graph *graph, void *operation)
{
    cell_step *step = operation;
    if (!step->next_h->gradient && !(step->next_c && step->next_c->gradient))
        return;
    size_t width = step->input_sums->columns, hidden = step->h->columns;
    td_real *dh = incoming(graph, step->next_h);
    td_real *dc = step->next_c ? incoming(graph, step->next_c) : NULL;
    if (!td_graph_ok(graph))
        return;
    backward_rows(step, dh, dc);
    add_rows(graph, step->input_sums, step->gates, width);
    add_rows(graph, step->hidden_sums, step->kind == TD_CELL_GRU ? step->hidden : step->gates, width);
    if (step->kind == TD_CELL_GRU)
        add_rows(graph, step->h, dh, hidden);
    if (step->c)
        add_rows(graph, step->c, dc, hidden);
}

static void forward_rows(td_graph *graph, const cell_step *step)
{
    size_t width = step->input_sums->columns, hidden = step->h->columns;
    for (size_t i = 0; i < step->h->rows; i++) {
        td_real *gates = step->gates + i * width;
        const td_real *sums = step->hidden_sums->data + i * step->hidden_sums->stride;
        memcpy(gates, step->input_sums->data + i * step->input_sums->stride, width * sizeof *gates);
        if (step->kind == TD_CELL_GRU) {
            memcpy(step->hidden + i * width, sums, width * sizeof *sums);
            step->kernels->gru(gates, sums, step->h->data + i * step->h->stride, step->next_h->data + i * hidden, hidden);
            continue;
        }
        graph->kernels->add(gates, sums, width);
        if (step->kind == TD_CELL_LSTM)
            step->kernels->lstm(gates, step->c->data + i * step->c->stride, step->next_c->data + i * hidden,
                                step->next_h->data + i * hidden, hidden);
        else
            step->kernels->rnn(step->next_h->data + i * hidden, gates, step->kind == TD_CELL_RNN_RELU, hidden);
    }
}

td_tensor *td_recurrent_step(td_graph *graph, td_cell_kind kind, td_tensor *input_sums, td_tensor *hidden_sums, td_tensor *h, td_tensor *c,
                             td_tensor **ret_c)
{
    TD_PROFILE(graph->recorder, "recurrent cell");
    if (!td_graph_ok(graph) || !input_sums || !hidden_sums || !h || (kind == TD_CELL_LSTM && !c))
        return NULL;
    size_t width = td_cell_gates(kind) * h->columns;
    if (input_sums->columns != width || hidden_sums->columns != width || input_sums->rows != h->rows || hidden_sums->rows != h->rows)
        return td_graph_fail(graph, TD_ERROR_ARGUMENT, "a recurrent step of %zu units needs sums of %zu, not %zu", h->columns, width,
                             input_sums->columns);
    bool trains = td_needs_gradient(input_sums) || td_needs_gradient(hidden_sums) || td_needs_gradient(h) || td_needs_gradient(c);
    cell_step *step = td_graph_allocate(graph, 1, sizeof *step);
    if (!step)
        return NULL;
    *step = (cell_step){.kind = kind,
                        .kernels = td_gate_kernels_for(graph->kernels->isa),
                        .input_sums = input_sums,
                        .hidden_sums = hidden_sums,
                        .h = h,
                        .c = kind == TD_CELL_LSTM ? c : NULL};
    step->gates = td_graph_allocate(graph, h->rows * width, sizeof(td_real));
    step->hidden = kind == TD_CELL_GRU ? td_graph_allocate(graph, h->rows * width, sizeof(td_real)) : NULL;
    step->next_h = td_tensor_new(graph, h->rows, h->columns, trains);
    step->next_c = kind == TD_CELL_LSTM ? td_tensor_new(graph, h->rows, h->columns, trains) : NULL;
    if (!td_graph_ok(graph))
        return NULL;
    forward_rows(graph, step);
    if (trains)
        td_record(graph, cell_backward, step);
    if (ret_c)
        *ret_c = step->next_c;
    return step->next_h;
}
