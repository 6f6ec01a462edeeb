#include "training/ctc_share.h"

#include "ops/ctc.h"

#include <string.h>

/* The targets without their ends. */
static bool cut_ends(td_graph *graph, const int32_t *targets, td_ragged ragged, int32_t **ret_labels, td_ragged *ret_ragged)
{
    int32_t *labels = td_graph_allocate(graph, td_ragged_total(ragged), sizeof *labels);
    int32_t *offsets = td_graph_allocate(graph, ragged.count + 1, sizeof *offsets);
    if (!labels || !offsets)
        return false;
    offsets[0] = 0;
    for (size_t i = 0; i < ragged.count; i++) {
        size_t count = td_ragged_length(ragged, i);
        count -= count > 0;
        memcpy(labels + offsets[i], targets + ragged.offsets[i], count * sizeof *labels);
        offsets[i + 1] = offsets[i] + (int32_t)count;
    }
    *ret_labels = labels;
    *ret_ragged = (td_ragged){ragged.count, offsets};
    return true;
}

td_tensor *td_ctc_share(const td_network *network, td_graph *graph, const td_memory *memory, const int32_t *targets, td_ragged ragged,
                        double gradient_scale, double *ret_losses)
{
    int32_t *labels;
    td_ragged label_ragged;
    if (!cut_ends(graph, targets, ragged, &labels, &label_ragged))
        return NULL;
    td_tensor *logits = td_project_ctc(network, graph, memory->states);
    td_ctc_options options = {network->pad_id, (td_real)gradient_scale};
    return td_ctc_loss(graph, logits, memory->ragged, labels, label_ragged, &options, ret_losses);
}
