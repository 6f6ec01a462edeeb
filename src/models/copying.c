#include "models/copying.h"

#include "io/json.h"

#include <math.h>
#include <string.h>

td_status td_copying_configure(const json_t *config, const char *file, size_t source_words, td_network *network, td_error *error)
{
    const json_t *own = json_object_get(config, "tandem");
    int64_t unknown;
    if (!json_is_object(own))
        return TD_OK;
    TD_TRY(td_json_get_bool(own, file, "copy", false, &network->copies, error));
    if (!network->copies)
        return TD_OK;
    TD_TRY(td_json_get_integer(own, file, "unk_token_id", -1, &unknown, error));
    if (unknown < 0 || (uint64_t)unknown >= network->vocabulary)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"tandem\": \"unk_token_id\" must be a token id, 0 to %zu, when \"copy\" is true", file,
                       network->vocabulary - 1);
    if (network->architecture->source != TD_TEXT)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"tandem\": \"copy\" needs a source of words", file);
    if (source_words != network->vocabulary)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"tandem\": \"copy\" needs one vocabulary for both sides, not %zu and %zu words",
                       file, source_words, network->vocabulary);
    network->unknown_id = (int32_t)unknown;
    return TD_OK;
}

const int32_t *td_known_ids(const td_network *network, td_graph *graph, const int32_t *ids, size_t count)
{
    bool all = true;
    for (size_t i = 0; network->copies && ids && i < count; i++)
        all = all && (ids[i] < 0 || (size_t)ids[i] < network->vocabulary);
    if (all)
        return ids;
    int32_t *known = td_graph_allocate(graph, count, sizeof *known);
    for (size_t i = 0; known && i < count; i++)
        known[i] = ids[i] >= 0 && (size_t)ids[i] >= network->vocabulary ? network->unknown_id : ids[i];
    return known;
}

size_t td_extended_count(const td_network *network, const td_copy_source *source)
{
    size_t count = 0;
    for (size_t i = 0; network->copies && source->ids && i < source->length; i++)
        if (source->ids[i] >= 0 && (size_t)source->ids[i] >= network->vocabulary + count)
            count = (size_t)source->ids[i] + 1 - network->vocabulary;
    return count;
}

void td_forget_absent(const int32_t *source, size_t source_count, int32_t *target, size_t count, int32_t first, int32_t unknown)
{
    for (size_t i = 0; i < count; i++) {
        bool present = target[i] < first;
        for (size_t j = 0; !present && j < source_count; j++)
            present = source[j] == target[i];
        if (!present)
            target[i] = unknown;
    }
}

td_copying td_network_copying(const td_network *network, const td_decoder_state *state)
{
    return network->architecture->copying ? network->architecture->copying(state) : (td_copying){0};
}

static td_real log_sigmoid(td_real x)
{
    return (td_real)(x < 0 ? (double)x - log1p(exp((double)x)) : -log1p(exp(-(double)x)));
}

static void add_copied(td_real *score, double log_copied)
{
    double a = (double)*score, most = a > log_copied ? a : log_copied, least = a > log_copied ? log_copied : a;
    *score = (td_real)(most + log1p(exp(least - most)));
}

/* One row: logits become the logarithm of g softmax + (1 - g) attention. */
static void mix(const td_graph *graph, td_real *row, size_t words, size_t extended, td_real gate, const td_real *weights,
                const td_copy_source *source, td_real *scratch)
{
    td_real shift = graph->kernels->maximum(row, words), total = graph->kernels->exp_sum(scratch, row, shift, words);
    td_real change = log_sigmoid(gate) - shift - (td_real)log((double)total), log_copy = log_sigmoid(-gate);
    for (size_t i = 0; i < words; i++)
        row[i] += change;
    for (size_t i = words; i < words + extended; i++)
        row[i] = (td_real)-INFINITY;
    for (size_t i = 0; i < source->length; i++)
        if (weights[i] > 0 && source->ids[i] >= 0 && (size_t)source->ids[i] < words + extended)
            add_copied(row + source->ids[i], (double)log_copy + log((double)weights[i]));
}

/* Hidden rows index[0 .. count), end to end. */
static td_tensor *chosen_rows(td_graph *graph, td_tensor *hidden, const int32_t *index, size_t count)
{
    bool together = hidden->stride == hidden->columns;
    for (size_t i = 1; i < count; i++)
        together = together && index[i] == index[0] + (int32_t)i;
    td_real *rows = hidden->data + (size_t)index[0] * hidden->stride;
    if (!together) {
        rows = td_graph_allocate(graph, count * hidden->columns, sizeof *rows);
        for (size_t i = 0; rows && i < count; i++)
            memcpy(rows + i * hidden->columns, hidden->data + (size_t)index[i] * hidden->stride, hidden->columns * sizeof *rows);
    }
    return rows ? td_tensor_of(graph, rows, count, hidden->columns) : NULL;
}

td_tensor *td_next_scores(const td_network *network, td_graph *graph, td_tensor *hidden, const td_copying *copying, const int32_t *index,
                          size_t count, const td_copy_source *sources, size_t extended)
{
    td_tensor *rows = chosen_rows(graph, hidden, index, count), *logits = rows ? td_project(network, graph, rows) : NULL;
    if (!logits || !network->copies)
        return logits;
    size_t words = network->vocabulary;
    td_tensor *scores = extended ? td_tensor_new(graph, count, words + extended, false) : logits;
    td_real *scratch = td_graph_allocate(graph, words, sizeof *scratch);
    if (!scores || !scratch || !copying->weights || !copying->gate)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "the decoder left nothing to copy by");
    for (size_t i = 0; i < count; i++) {
        size_t from = (size_t)index[i];
        td_real *row = scores->data + i * scores->stride;
        if (extended)
            memcpy(row, logits->data + i * logits->stride, words * sizeof *row);
        mix(graph, row, words, extended, copying->gate->data[from * copying->gate->stride],
            copying->weights->data + from * copying->weights->stride, &sources[i], scratch);
    }
    return scores;
}
