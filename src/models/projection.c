/* The last product and what a search asks of its rows. With packed weights a few panels at a time are multiplied and summed up, so
 * that a row of logits is written once and not read again but where its best are; where these are all that is wanted, they are kept
 * and a chunk makes room for the next. Threads take chunks as they come; what each found is added up in their order afterwards, so a
 * row's sum depends on V alone. */
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
    size_t rows, columns, count;
    td_real *maxima, *sums; /* [T, count]: of each chunk, the sum of exp(logit - maximum) */
    td_real *passing;       /* [threads, T, CHUNK] where logits do not stay, or NULL */
} summed_chunks;

/* Blocks of one row's chunk, from `first` on: their maxima are kept, or the best of them whole. Returns the largest. */
static td_real look_through(const summed_chunks *chunks, const td_real *values, size_t first, size_t length, size_t row, size_t thread)
{
    const td_kernels *kernels = chunks->graph->kernels;
    td_logits *logits = chunks->logits;
    td_real most = -(td_real)INFINITY;
    for (size_t at = 0; at < length; at += TD_LOGIT_BLOCK) {
        size_t count = length - at < TD_LOGIT_BLOCK ? length - at : TD_LOGIT_BLOCK, block = (first + at) / TD_LOGIT_BLOCK;
        td_real largest = kernels->maximum(values + at, count);
        if (chunks->passing)
            td_best_blocks_offer(&logits->best, thread * chunks->rows + row, (int32_t)block, largest, values + at, count);
        else
            logits->block_maxima[row * logits->blocks + block] = largest;
        most = largest > most ? largest : most;
    }
    return most;
}

static void sum_chunk(const summed_chunks *chunks, size_t chunk, size_t thread)
{
    const td_kernels *kernels = chunks->graph->kernels;
    const td_tensor *all = chunks->logits->values;
    size_t first = chunk * CHUNK, left = chunks->columns - first, length = left < CHUNK ? left : CHUNK;
    for (size_t row = 0; row < chunks->rows; row++) {
        const td_real *values =
            chunks->passing ? chunks->passing + (thread * chunks->rows + row) * CHUNK : all->data + row * all->stride + first;
        td_real most = look_through(chunks, values, first, length, row, thread);
        chunks->maxima[row * chunks->count + chunk] = most;
        chunks->sums[row * chunks->count + chunk] = most > -(td_real)INFINITY ? kernels->exp_total(values, most, length) : 0;
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
        job.y = chunks->passing ? chunks->passing + thread * chunks->rows * CHUNK : job.y + job.first * TD_PANEL;
        td_packed_product(chunks->graph, thread == 0 ? chunks->graph->recorder : NULL, &job);
    }
#endif
    sum_chunk(chunks, chunk, thread);
}

static void add_chunks(const summed_chunks *chunks)
{
    const td_kernels *kernels = chunks->graph->kernels;
    td_logits *logits = chunks->logits;
    for (size_t row = 0; row < chunks->rows; row++) {
        td_real *maxima = chunks->maxima + row * chunks->count, sum = 0;
        td_real maximum = kernels->maximum(maxima, chunks->count);
        kernels->exp_sum(maxima, maxima, maximum, chunks->count);
        for (size_t chunk = 0; chunk < chunks->count; chunk++)
            sum += maxima[chunk] * chunks->sums[row * chunks->count + chunk];
        logits->maximum[row] = maximum;
        logits->log_sum[row] = (td_real)log((double)sum);
    }
}

/* Of what each thread kept, the best. */
static void join_threads(const summed_chunks *chunks, size_t threads)
{
    for (size_t thread = 1; chunks->passing && thread < threads; thread++)
        for (size_t row = 0; row < chunks->rows; row++)
            td_best_blocks_join(&chunks->logits->best, row, thread * chunks->rows + row, chunks->columns);
}

/* The threads share the chunks where the product is large enough for that; without packed weights it was made before. */
static size_t threads_of(const summed_chunks *chunks)
{
    const td_packed *packed = chunks->packed;
    bool shared = packed && td_packed_parts(chunks->graph, packed, chunks->rows, td_packed_panels(packed)) > 1;
    return shared ? td_graph_threads(chunks->graph) : 1;
}

static bool new_sums(summed_chunks *chunks, size_t most, size_t threads)
{
    td_graph *graph = chunks->graph;
    td_logits *logits = chunks->logits;
    chunks->count = (chunks->columns + CHUNK - 1) / CHUNK;
    chunks->maxima = td_graph_allocate(graph, chunks->rows * chunks->count, sizeof *chunks->maxima);
    chunks->sums = td_graph_allocate(graph, chunks->rows * chunks->count, sizeof *chunks->sums);
    logits->blocks = (chunks->columns + TD_LOGIT_BLOCK - 1) / TD_LOGIT_BLOCK;
    logits->maximum = td_graph_allocate(graph, chunks->rows, sizeof *logits->maximum);
    logits->log_sum = td_graph_allocate(graph, chunks->rows, sizeof *logits->log_sum);
    if (logits->values) {
        logits->block_maxima = td_graph_allocate(graph, chunks->rows * logits->blocks, sizeof *logits->block_maxima);
        return td_graph_ok(graph);
    }
    chunks->passing = td_graph_allocate(graph, threads * chunks->rows * CHUNK, sizeof *chunks->passing);
    return td_graph_ok(graph) && td_best_blocks_new(graph, threads * chunks->rows, most, &logits->best);
}

bool td_project_summed(const td_network *network, td_graph *graph, td_tensor *hidden, size_t most, td_logits *ret_logits)
{
    TD_PROFILE(graph->recorder, "sums of scores");
    td_projection projection = network->architecture->projection(network);
    const td_packed *packed = projection.weight->packed;
    if (!hidden)
        return false;
    td_logits logits = {0};
    summed_chunks chunks = {.graph = graph, .packed = packed && hidden->columns == packed->inputs ? packed : NULL, .logits = &logits};
    if (chunks.packed && projection.scale != 0 && projection.scale != 1)
        hidden = td_scale(graph, hidden, projection.scale);
    if (!chunks.packed)
        logits.values = td_project(network, graph, hidden);
    else if (hidden && most == 0)
        logits.values = td_tensor_new(graph, hidden->rows, projection.weight->rows, false);
    if (!td_graph_ok(graph))
        return false;
    chunks.rows = hidden->rows;
    chunks.columns = logits.values ? logits.values->columns : projection.weight->rows;
    size_t threads = threads_of(&chunks);
    if (!new_sums(&chunks, most, threads))
        return false;
#ifndef TD_DOUBLE
    if (chunks.packed)
        chunks.job = (td_packed_job){.weights = packed,
                                     .input = td_packed_input_of(graph, hidden, packed),
                                     .last = td_packed_panels(packed),
                                     .bias = projection.bias ? projection.bias->data : NULL,
                                     .y = logits.values ? logits.values->data : NULL,
                                     .ldy = logits.values ? logits.values->stride : CHUNK};
#endif
    if (!td_graph_ok(graph))
        return false;
    td_graph_run_if(graph, threads > 1, chunks.count, take_chunk, &chunks);
    add_chunks(&chunks);
    join_threads(&chunks, threads);
    *ret_logits = logits;
    return true;
}
