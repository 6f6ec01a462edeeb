/* The last product and what a search asks of its rows. With packed weights a few panels at a time are multiplied and summed up, so
 * that a row of logits is written once and not read again but where its best are. Threads take these chunks as they come; what each
 * found is added up in their order afterwards, so a row's sum depends on V alone. */
#include "models/architecture.h"
#include "ops/ops.h"
#include "ops/packed_linear.h"

#include <math.h>

enum { CHUNK_BLOCKS = 8, CHUNK = CHUNK_BLOCKS * TD_LOGIT_BLOCK };

typedef struct summed_chunks {
    td_graph *graph;
    const td_packed *packed; /* NULL: the logits are there */
    td_packed_job job;
    td_logits *logits;
    size_t count;
    td_real *maxima, *sums; /* [T, count]: of each chunk, the sum of exp(logit - maximum) */
} summed_chunks;

static void sum_chunk(const summed_chunks *chunks, size_t chunk)
{
    const td_kernels *kernels = chunks->graph->kernels;
    const td_logits *logits = chunks->logits;
    size_t first = chunk * CHUNK, last = first + CHUNK;
    last = last < logits->values->columns ? last : logits->values->columns;
    for (size_t row = 0; row < logits->values->rows; row++) {
        const td_real *values = logits->values->data + row * logits->values->stride;
        td_real *maxima = logits->block_maxima + row * logits->blocks, most = -(td_real)INFINITY;
        for (size_t at = first; at < last; at += TD_LOGIT_BLOCK) {
            size_t count = last - at < TD_LOGIT_BLOCK ? last - at : TD_LOGIT_BLOCK;
            td_real largest = kernels->maximum(values + at, count);
            maxima[at / TD_LOGIT_BLOCK] = largest;
            most = largest > most ? largest : most;
        }
        chunks->maxima[row * chunks->count + chunk] = most;
        chunks->sums[row * chunks->count + chunk] = most > -(td_real)INFINITY ? kernels->exp_total(values + first, most, last - first) : 0;
    }
}

static void take_chunk(void *context, size_t chunk, size_t thread)
{
    const summed_chunks *chunks = context;
#ifndef TD_DOUBLE
    if (chunks->packed) {
        td_packed_job job = chunks->job;
        job.first = chunk * CHUNK_BLOCKS;
        job.last = job.first + CHUNK_BLOCKS < job.last ? job.first + CHUNK_BLOCKS : job.last;
        job.y += job.first * TD_PANEL;
        td_packed_product(chunks->graph, thread == 0 ? chunks->graph->recorder : NULL, &job);
    }
#endif
    sum_chunk(chunks, chunk);
    (void)thread;
}

static void add_chunks(const summed_chunks *chunks)
{
    const td_kernels *kernels = chunks->graph->kernels;
    td_logits *logits = chunks->logits;
    for (size_t row = 0; row < logits->values->rows; row++) {
        td_real *maxima = chunks->maxima + row * chunks->count, sum = 0;
        td_real maximum = kernels->maximum(maxima, chunks->count);
        kernels->exp_sum(maxima, maxima, maximum, chunks->count);
        for (size_t chunk = 0; chunk < chunks->count; chunk++)
            sum += maxima[chunk] * chunks->sums[row * chunks->count + chunk];
        logits->maximum[row] = maximum;
        logits->log_sum[row] = (td_real)log((double)sum);
    }
}

static bool new_sums(summed_chunks *chunks, td_logits *logits)
{
    td_graph *graph = chunks->graph;
    size_t rows = logits->values->rows;
    chunks->logits = logits;
    chunks->count = (logits->values->columns + CHUNK - 1) / CHUNK;
    chunks->maxima = td_graph_allocate(graph, rows * chunks->count, sizeof *chunks->maxima);
    chunks->sums = td_graph_allocate(graph, rows * chunks->count, sizeof *chunks->sums);
    logits->blocks = (logits->values->columns + TD_LOGIT_BLOCK - 1) / TD_LOGIT_BLOCK;
    logits->block_maxima = td_graph_allocate(graph, rows * logits->blocks, sizeof *logits->block_maxima);
    logits->maximum = td_graph_allocate(graph, rows, sizeof *logits->maximum);
    logits->log_sum = td_graph_allocate(graph, rows, sizeof *logits->log_sum);
    return td_graph_ok(graph);
}

/* The threads share the chunks where the product is large enough for that; without packed weights it was made before. */
static void take_chunks(summed_chunks *chunks)
{
    td_graph *graph = chunks->graph;
    size_t rows = chunks->logits->values->rows, panels = chunks->packed ? td_packed_panels(chunks->packed) : 0;
    bool shared = chunks->packed && td_packed_parts(graph, chunks->packed, rows, panels) > 1;
    td_graph_run_if(graph, shared, chunks->count, take_chunk, chunks);
}

bool td_project_summed(const td_network *network, td_graph *graph, td_tensor *hidden, td_logits *ret_logits)
{
    TD_PROFILE(graph->recorder, "sums of scores");
    td_projection projection = network->architecture->projection(network);
    const td_packed *packed = projection.weight->packed;
    summed_chunks chunks = {.graph = graph, .packed = packed && hidden && hidden->columns == packed->inputs ? packed : NULL};
    td_logits logits = {0};
    if (chunks.packed && projection.scale != 0 && projection.scale != 1)
        hidden = td_scale(graph, hidden, projection.scale);
    if (!chunks.packed)
        logits.values = td_project(network, graph, hidden);
    else if (hidden)
        logits.values = td_tensor_new(graph, hidden->rows, projection.weight->rows, false);
    if (!logits.values || !new_sums(&chunks, &logits))
        return false;
#ifndef TD_DOUBLE
    if (chunks.packed)
        chunks.job = (td_packed_job){.weights = packed,
                                     .input = td_packed_input_of(graph, hidden, packed),
                                     .last = td_packed_panels(packed),
                                     .bias = projection.bias ? projection.bias->data : NULL,
                                     .y = logits.values->data,
                                     .ldy = logits.values->stride};
#endif
    if (!td_graph_ok(graph))
        return false;
    take_chunks(&chunks);
    add_chunks(&chunks);
    *ret_logits = logits;
    return true;
}
