#include "ops/packed_linear.h"

#ifdef TD_DOUBLE

td_packed_input td_packed_input_of(td_graph *graph, const td_tensor *x, const td_packed *packed)
{
    (void)graph, (void)x, (void)packed;
    return (td_packed_input){0};
}

void td_packed_linear_into(td_graph *graph, const td_tensor *x, const td_packed *weights, const td_real *bias, td_real *y, size_t ldy)
{
    (void)x, (void)weights, (void)bias, (void)y, (void)ldy;
    td_graph_fail(graph, TD_ERROR_INTERNAL, "weights are packed in single precision only");
}

td_tensor *td_packed_linear(td_graph *graph, td_tensor *x, const td_packed *const *weights, const td_real *const *biases, size_t count,
                            td_activation activation)
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

/* An output's sum is one thread's, so that the cut changes no bit. */
typedef struct shared_products {
    const td_packed_job *jobs;
    size_t count, panels, parts;
    void (*product)(const td_packed_job *job);
} shared_products;

static void multiply_part(void *context, size_t part, size_t thread)
{
    (void)thread;
    const shared_products *shared = context;
    size_t first = shared->panels * part / shared->parts, last = shared->panels * (part + 1) / shared->parts;
    for (size_t i = 0, before = 0; i < shared->count; i++) { /* before: panels of earlier jobs */
        td_packed_job job = shared->jobs[i];
        size_t own = job.last - job.first, from = first > before ? first - before : 0, to = last > before ? last - before : 0;
        to = to < own ? to : own;
        before += own;
        if (from >= to)
            continue;
        job.y += from * TD_PANEL;
        job.last = job.first + to;
        job.first += from;
        shared->product(&job);
    }
}

size_t td_packed_parts(const td_graph *graph, const td_packed *weights, size_t rows, size_t panels)
{
    enum { LEAST_BYTES = 96 * 1024, ROWS_FOR_FREE = 4 }; /* so many rows take no longer than reading the weights does */
    size_t bytes = td_packed_bytes(weights) / td_packed_panels(weights) * panels;
    size_t work = rows > ROWS_FOR_FREE ? bytes / ROWS_FOR_FREE * rows : bytes;
    size_t threads = td_graph_threads(graph);
    return work < LEAST_BYTES ? 1 : threads < panels ? threads : panels;
}

static const char *const precisions[TD_PRECISIONS] = {"float32", "bfloat16", "int8"};

void td_packed_product(const td_graph *graph, td_recorder *recorder, const td_packed_job *job)
{
    const td_packed *weights = job->weights;
    size_t end = job->last * TD_PANEL < weights->outputs ? job->last * TD_PANEL : weights->outputs;
    TD_PROFILE_PRODUCT(recorder, precisions[weights->precision], job->input.rows, end - job->first * TD_PANEL, weights->inputs, 0);
    graph->packed_kernels->product[weights->precision](job);
}

void td_packed_products(td_graph *graph, const td_packed_job *jobs, size_t count)
{
    const td_packed *weights = jobs[0].weights;
    shared_products shared = {.jobs = jobs, .count = count, .product = graph->packed_kernels->product[weights->precision]};
    size_t outputs = 0;
    for (size_t i = 0; i < count; i++) {
        shared.panels += jobs[i].last - jobs[i].first;
        outputs += jobs[i].weights->outputs;
    }
    TD_PROFILE_PRODUCT(graph->recorder, precisions[weights->precision], jobs[0].input.rows, outputs, weights->inputs, 0);
    shared.parts = td_packed_parts(graph, weights, jobs[0].input.rows, shared.panels);
    td_graph_run(graph, shared.parts, multiply_part, &shared);
}

typedef struct quantise_parts {
    const td_packed_kernels *kernels;
    const td_tensor *x;
    size_t depth, parts;
    uint8_t *shifted;
    float *scales;
} quantise_parts;

static void quantise_part(void *context, size_t part, size_t thread)
{
    (void)thread;
    const quantise_parts *parts = context;
    const td_tensor *x = parts->x;
    size_t first = x->rows * part / parts->parts, end = x->rows * (part + 1) / parts->parts;
    parts->kernels->quantise(x->data + first * x->stride, x->stride, end - first, x->columns, parts->depth,
                             parts->shifted + first * parts->depth, parts->scales + first);
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
    quantise_parts parts = {graph->packed_kernels, x, depth, td_graph_parts(graph, x->rows * x->columns), shifted, scales};
    td_graph_run(graph, parts.parts, quantise_part, &parts);
    return (td_packed_input){.rows = x->rows, .stride = depth, .shifted = shifted, .scales = scales};
}

void td_packed_linear_into(td_graph *graph, const td_tensor *x, const td_packed *weights, const td_real *bias, td_real *y, size_t ldy)
{
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_packed_job job = {.weights = weights, .last = td_packed_panels(weights), .bias = bias, .y = y, .ldy = ldy};
    job.input = td_packed_input_of(graph, x, weights);
    if (td_graph_ok(graph))
        td_packed_products(graph, &job, 1);
    td_arena_release_to(graph->arena, mark);
}

td_tensor *td_packed_linear(td_graph *graph, td_tensor *x, const td_packed *const *weights, const td_real *const *biases, size_t count,
                            td_activation activation)
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
    td_packed_job *jobs = td_graph_allocate(graph, count, sizeof *jobs);
    for (size_t i = 0; td_graph_ok(graph) && i < count; i++) {
        jobs[i] = (td_packed_job){.weights = weights[i],
                                  .input = input,
                                  .last = td_packed_panels(weights[i]),
                                  .bias = biases ? biases[i] : NULL,
                                  .activate = activation == TD_IDENTITY ? NULL : graph->kernels->activate,
                                  .activation = activation,
                                  .y = place,
                                  .ldy = outputs};
        place += weights[i]->outputs;
    }
    if (td_graph_ok(graph))
        td_packed_products(graph, jobs, count);
    td_arena_release_to(graph->arena, mark);
    return td_graph_ok(graph) ? y : NULL;
}

#endif
