#include "ops/packed_linear.h"

#ifdef TD_DOUBLE

td_packed_input td_packed_input_of(td_graph *graph, const td_tensor *x, const td_packed *packed)
{
    (void)graph, (void)x, (void)packed;
    return (td_packed_input){0};
}

td_tensor *td_packed_linear(td_graph *graph, td_tensor *x, const td_packed *const *weights, const td_real *const *biases,
                            size_t count, td_activation activation)
{
    (void)x, (void)weights, (void)biases, (void)count, (void)activation;
    return td_graph_fail(graph, TD_ERROR_INTERNAL, "weights are packed in single precision only");
}

#else

/* Rows of bfloat16 are padded with zeros: what follows them might be no number, which zero weights would not hide. */
static void round_rows(const td_graph *graph, const td_tensor *x, size_t depth, uint16_t *rounded)
{
    for (size_t row = 0; row < x->rows; row++) {
        graph->kernels->to_bfloat16(rounded + row * depth, x->data + row * x->stride, x->columns);
        for (size_t i = x->columns; i < depth; i++)
            rounded[row * depth + i] = 0;
    }
}

void td_packed_product(td_graph *graph, const td_packed_job *job)
{
    static const char *const precisions[TD_PRECISIONS] = {"float32", "bfloat16", "int8"};
    const td_packed *weights = job->weights;
    size_t end = job->last * TD_PANEL < weights->outputs ? job->last * TD_PANEL : weights->outputs;
    TD_PROFILE_PRODUCT(graph->recorder, precisions[weights->precision], job->input.rows, end - job->first * TD_PANEL, weights->inputs, 0);
    graph->packed_kernels->product[weights->precision](job);
}

td_packed_input td_packed_input_of(td_graph *graph, const td_tensor *x, const td_packed *packed)
{
    TD_PROFILE(graph->recorder, "quantise");
    size_t count, depth = packed->depth;
    if (packed->precision == TD_FLOAT32)
        return (td_packed_input){.rows = x->rows, .stride = x->stride, .values = x->data};
    if (td_multiply_overflows(x->rows, depth, &count)) {
        td_graph_fail(graph, TD_ERROR_LIMIT, "input of %zu x %zu is too large", x->rows, depth);
        return (td_packed_input){0};
    }
    if (packed->precision == TD_BFLOAT16) {
        uint16_t *rounded = td_graph_allocate(graph, count, sizeof *rounded);
        if (!rounded)
            return (td_packed_input){0};
        round_rows(graph, x, depth, rounded);
        return (td_packed_input){.rows = x->rows, .stride = depth, .rounded = rounded};
    }
    uint8_t *shifted = td_graph_allocate(graph, count, sizeof *shifted);
    float *scales = td_graph_allocate(graph, x->rows, sizeof *scales);
    if (!shifted || !scales)
        return (td_packed_input){0};
    graph->packed_kernels->quantise(x->data, x->stride, x->rows, x->columns, depth, shifted, scales);
    return (td_packed_input){.rows = x->rows, .stride = depth, .shifted = shifted, .scales = scales};
}

td_tensor *td_packed_linear(td_graph *graph, td_tensor *x, const td_packed *const *weights, const td_real *const *biases,
                            size_t count, td_activation activation)
{
    size_t outputs = 0;
    for (size_t i = 0; i < count; i++) {
        if (weights[i]->inputs != x->columns || weights[i]->precision != weights[0]->precision)
            return td_graph_fail(graph, TD_ERROR_INTERNAL, "linear: input [%zu, %zu], packed weight [%zu, %zu]", x->rows, x->columns,
                                 weights[i]->outputs, weights[i]->inputs);
        outputs += weights[i]->outputs;
    }
    if (graph->recording)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "packed weights cannot be trained");
    td_tensor *y = td_tensor_new(graph, x->rows, outputs, false);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_packed_input input = y ? td_packed_input_of(graph, x, weights[0]) : (td_packed_input){0};
    td_real *place = y ? y->data : NULL;
    for (size_t i = 0; td_graph_ok(graph) && i < count; i++) {
        td_packed_job job = {.weights = weights[i],
                             .input = input,
                             .last = td_packed_panels(weights[i]),
                             .bias = biases ? biases[i] : NULL,
                             .activate = activation == TD_IDENTITY ? NULL : graph->kernels->activate,
                             .activation = activation,
                             .y = place,
                             .ldy = outputs};
        td_packed_product(graph, &job);
        place += weights[i]->outputs;
    }
    td_arena_release_to(graph->arena, mark);
    return td_graph_ok(graph) ? y : NULL;
}

#endif
