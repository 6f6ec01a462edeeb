/* The last product and what a search asks of its rows. With packed weights a few panels at a time are multiplied and summed up, so
 * that a row of logits is written once and not read again but where its best are. */
#include "models/architecture.h"
#include "ops/ops.h"
#include "ops/packed_linear.h"

#include <math.h>

enum { CHUNK_BLOCKS = 8, CHUNK = CHUNK_BLOCKS * TD_LOGIT_BLOCK };

/* Takes the logits first .. last of every row into the running maxima and sums. The order of a row's sum depends on V alone. */
static void add_chunk(const td_kernels *kernels, td_logits *logits, size_t first, size_t last, td_real *scratch)
{
    for (size_t row = 0; row < logits->values->rows; row++) {
        const td_real *values = logits->values->data + row * logits->values->stride;
        td_real *maxima = logits->block_maxima + row * logits->blocks, most = -(td_real)INFINITY;
        for (size_t at = first; at < last; at += TD_LOGIT_BLOCK) {
            size_t count = last - at < TD_LOGIT_BLOCK ? last - at : TD_LOGIT_BLOCK;
            td_real largest = kernels->maximum(values + at, count);
            maxima[at / TD_LOGIT_BLOCK] = largest;
            most = largest > most ? largest : most;
        }
        td_real *maximum = &logits->maximum[row], *sum = &logits->log_sum[row];
        if (most > *maximum) {
            *sum *= (td_real)exp((double)(*maximum - most));
            *maximum = most;
        }
        *sum += kernels->exp_sum(scratch, values + first, *maximum, last - first);
    }
}

#ifdef TD_DOUBLE
static bool multiply_packed(const td_projection *projection, td_graph *graph, td_tensor *hidden, td_real *scratch, td_logits *logits)
{
    (void)projection, (void)graph, (void)hidden, (void)scratch, (void)logits;
    return false;
}
#else
static bool multiply_packed(const td_projection *projection, td_graph *graph, td_tensor *hidden, td_real *scratch, td_logits *logits)
{
    const td_packed *packed = projection->weight->packed;
    size_t panels = td_packed_panels(packed), vocabulary = packed->outputs;
    td_packed_input input = td_packed_input_of(graph, hidden, packed);
    for (size_t first = 0; td_graph_ok(graph) && first < panels; first += CHUNK_BLOCKS) {
        td_packed_job job = {.weights = packed,
                             .input = input,
                             .first = first,
                             .last = first + CHUNK_BLOCKS < panels ? first + CHUNK_BLOCKS : panels,
                             .bias = projection->bias ? projection->bias->data : NULL,
                             .y = logits->values->data + first * TD_PANEL,
                             .ldy = logits->values->stride};
        td_packed_product(graph, &job);
        size_t end = job.last * TD_PANEL;
        add_chunk(graph->kernels, logits, first * TD_PANEL, end < vocabulary ? end : vocabulary, scratch);
    }
    return td_graph_ok(graph);
}
#endif

static bool new_sums(td_graph *graph, td_logits *logits)
{
    size_t rows = logits->values->rows;
    logits->blocks = (logits->values->columns + TD_LOGIT_BLOCK - 1) / TD_LOGIT_BLOCK;
    logits->block_maxima = td_graph_allocate(graph, rows * logits->blocks, sizeof *logits->block_maxima);
    logits->maximum = td_graph_allocate(graph, rows, sizeof *logits->maximum);
    logits->log_sum = td_graph_allocate(graph, rows, sizeof *logits->log_sum);
    for (size_t row = 0; td_graph_ok(graph) && row < rows; row++) {
        logits->maximum[row] = -(td_real)INFINITY;
        logits->log_sum[row] = 0;
    }
    return td_graph_ok(graph);
}

bool td_project_summed(const td_network *network, td_graph *graph, td_tensor *hidden, td_real *scratch, td_logits *ret_logits)
{
    TD_PROFILE(graph->recorder, "sums of scores");
    td_projection projection = network->architecture->projection(network);
    bool packed = projection.weight->packed && hidden && hidden->columns == projection.weight->packed->inputs;
    td_logits logits = {0};
    if (packed && projection.scale != 0 && projection.scale != 1)
        hidden = td_scale(graph, hidden, projection.scale);
    if (packed && hidden)
        logits.values = td_tensor_new(graph, hidden->rows, projection.weight->rows, false);
    else
        logits.values = td_project(network, graph, hidden);
    if (!logits.values || !new_sums(graph, &logits))
        return false;
    size_t vocabulary = logits.values->columns;
    if (packed && !multiply_packed(&projection, graph, hidden, scratch, &logits))
        return false;
    for (size_t first = 0; !packed && first < vocabulary; first += CHUNK)
        add_chunk(graph->kernels, &logits, first, first + CHUNK < vocabulary ? first + CHUNK : vocabulary, scratch);
    for (size_t row = 0; row < logits.values->rows; row++)
        logits.log_sum[row] = (td_real)log((double)logits.log_sum[row]);
    *ret_logits = logits;
    return true;
}
