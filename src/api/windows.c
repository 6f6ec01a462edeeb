#include "api/windows.h"

#include "api/result.h"

#include <math.h>
#include <zlib.h>

void td_window_close(td_window *window)
{
    td_whisper_sound_close(window->sound);
    window->sound = NULL;
    window->wanted = false;
    td_features_free(&window->features);
    td_ids *lists[] = {&window->prompt, &window->fed, &window->written, &window->before, &window->all};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        td_ids_free(lists[i]);
}

td_status td_window_probe(const td_model *model, td_arena *arena, const td_features *features, const int32_t *ids, size_t count,
                          const float **ret_logits, td_error *error)
{
    const td_network *network = &model->network;
    td_graph graph;
    td_memory memory = {0};
    td_tensor *hidden = NULL, *logits = NULL;
    td_decoder_state *state = NULL;
    int32_t source_offsets[2] = {0, (int32_t)features->rows}, target_offsets[2] = {0, (int32_t)count};
    td_batch source = {.ragged = {1, source_offsets}, .features = features->data, .width = features->width};
    td_batch target = {.ragged = {1, target_offsets}, .ids = ids};
    td_graph_begin(&graph, arena, false);
    TD_TRY(network->architecture->state_new(network, &state, error));
    td_status status = network->architecture->encode(network, &graph, &source, &memory);
    if (status == TD_OK && td_graph_ok(&graph))
        status = network->architecture->begin(network, &graph, &memory, state);
    if (status == TD_OK && td_graph_ok(&graph))
        status = network->architecture->decode(network, &graph, state, &target, &hidden, NULL);
    if (status == TD_OK && td_graph_ok(&graph))
        logits = td_project(network, &graph, hidden);
    network->architecture->state_free(state);
    if (graph.error.status != TD_OK)
        return td_fail(error, graph.error.status, "%s", graph.error.message);
    if (!logits)
        return td_fail(error, status == TD_OK ? TD_ERROR_INTERNAL : status, "%s", td_status_text(status));
    *ret_logits = (const float *)logits->data + (count - 1) * logits->stride;
    return TD_OK;
}

double td_window_probability(const float *logits, size_t count, int32_t id)
{
    double maximum = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++)
        maximum = fmax(maximum, (double)logits[i]);
    for (size_t i = 0; i < count; i++)
        sum += exp((double)logits[i] - maximum);
    return exp((double)logits[id] - maximum) / sum;
}

td_status td_window_compression(const td_ids *ids, size_t vocabulary, double *ret_ratio, td_error *error)
{
    size_t bytes = (size_t)(log2((double)vocabulary) / 8) + 1, length = ids->length * bytes; /* little endian, as few bytes as ids need */
    uLongf packed = compressBound((uLong)length);
    Bytef *block = td_allocate_array(length + packed, 1);
    if (!block)
        return td_fail_memory(error, length + packed);
    for (size_t i = 0; i < length; i++)
        block[i] = (Bytef)((uint32_t)ids->data[i / bytes] >> (8 * (i % bytes)));
    int code = compress(block + length, &packed, block, (uLong)length);
    td_release(block);
    if (code != Z_OK)
        return td_fail(error, TD_ERROR_INTERNAL, "zlib could not compress %zu bytes", length);
    *ret_ratio = (double)length / (double)packed;
    return TD_OK;
}

td_status td_window_spell(const td_model *model, const int32_t *ids, size_t count, int32_t first_timestamp, td_buffer *text, td_error *error)
{
    int32_t *words = td_allocate_array(count, sizeof *words);
    if (!words)
        return td_fail_memory(error, count * sizeof *words);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (ids[i] < first_timestamp)
            words[kept++] = ids[i];
    td_status status = td_model_spell(model, NULL, words, kept, text, error);
    td_release(words);
    return status;
}
