#include "api/windows.h"

#include "api/alignment.h"
#include "api/result.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

void td_window_close(td_window *window)
{
    td_whisper_sound_close(window->sound);
    window->sound = NULL;
    window->wanted = false;
    td_features_free(&window->memory);
    td_release(window->times);
    window->times = NULL;
    td_ids *lists[] = {&window->prompt, &window->fed, &window->written, &window->before, &window->all};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        td_ids_free(lists[i]);
}

static td_status graph_failure(const td_graph *graph, td_status status, td_error *error)
{
    if (graph->error.status != TD_OK)
        return td_fail(error, graph->error.status, "%s", graph->error.message);
    return td_fail(error, status == TD_OK ? TD_ERROR_INTERNAL : status, "%s", td_status_text(status));
}

/* Keeps rows of the arena. */
static td_status keep_rows(const td_tensor *rows, td_features *ret_features, td_error *error)
{
    float *data = td_allocate_array(rows->rows, rows->columns * sizeof *data);
    if (!data)
        return td_fail_memory(error, rows->rows * rows->columns * sizeof *data);
    for (size_t row = 0; row < rows->rows; row++)
        memcpy(data + row * rows->columns, rows->data + row * rows->stride, rows->columns * sizeof *data);
    *ret_features = (td_features){data, rows->rows, rows->columns};
    return TD_OK;
}

td_status td_window_read(const td_model *model, td_search *search, td_arena *arena, const td_features *features, td_features *ret_memory,
                         td_error *error)
{
    td_graph graph;
    td_memory memory = {0};
    int32_t offsets[2] = {0, (int32_t)features->rows};
    td_batch source = {.ragged = {1, offsets}, .features = features->data, .width = features->width};
    td_search_begin_graph(search, arena, &graph);
    td_status status = model->network.architecture->encode(&model->network, &graph, &source, &memory);
    if (status != TD_OK || !td_graph_ok(&graph) || !memory.states)
        return graph_failure(&graph, status, error);
    return keep_rows(memory.states, ret_memory, error);
}

td_status td_window_encode(const td_model *model, td_search *search, td_arena *arena, td_window *window, td_error *error)
{
    if (window->memory.rows && window->encoded == window->seek)
        return TD_OK;
    td_features features = {0};
    td_features_free(&window->memory);
    TD_TRY(td_whisper_sound_window(window->sound, window->seek, &features, error));
    td_status status = td_window_read(model, search, arena, &features, &window->memory, error);
    td_features_free(&features);
    if (status == TD_OK)
        window->encoded = window->seek;
    return status;
}

/* Has the decoder read `ids` over a window's memory; `watched` may be NULL. */
static td_status read_ids(const td_network *network, td_graph *graph, const td_features *rows, const int32_t *ids, size_t count,
                          td_watched_heads *watched, td_tensor **ret_hidden, td_error *error)
{
    const td_architecture *architecture = network->architecture;
    td_decoder_state *state = NULL;
    int32_t source_offsets[2] = {0, (int32_t)rows->rows}, target_offsets[2] = {0, (int32_t)count};
    td_memory memory = {.ragged = {1, source_offsets}, .states = td_tensor_of(graph, rows->data, rows->rows, rows->width)};
    td_batch target = {.ragged = {1, target_offsets}, .ids = ids};
    TD_TRY(architecture->state_new(network, &state, error));
    if (watched)
        architecture->watch(state, watched);
    td_status status = architecture->begin(network, graph, &memory, state);
    if (status == TD_OK && td_graph_ok(graph))
        status = architecture->decode(network, graph, state, &target, ret_hidden, NULL);
    architecture->state_free(state);
    return status == TD_OK && td_graph_ok(graph) ? TD_OK : graph_failure(graph, status, error);
}

td_status td_window_probe(const td_model *model, td_search *search, td_arena *arena, const td_features *memory, const int32_t *ids,
                          size_t count, const float **ret_logits, td_error *error)
{
    td_graph graph;
    td_tensor *hidden = NULL;
    td_search_begin_graph(search, arena, &graph);
    TD_TRY(read_ids(&model->network, &graph, memory, ids, count, NULL, &hidden, error));
    td_tensor *logits = td_project(&model->network, &graph, hidden);
    if (!logits)
        return graph_failure(&graph, TD_OK, error);
    *ret_logits = (const float *)logits->data + (count - 1) * logits->stride;
    return TD_OK;
}

/* times of the tokens that were read; the last token was written, but not read: it has the time of the one before. */
static td_status place_tokens(const td_watched_heads *watched, td_window *window, const td_alignment_heads *heads, size_t frames,
                              double precision, td_error *error)
{
    size_t prompt = window->fed.length, read = window->written.length - 1;
    size_t *begins = td_allocate_array(read, sizeof *begins);
    if (!begins)
        return td_fail_memory(error, read * sizeof *begins);
    td_alignment_weights weights = {.weights = watched->weights + prompt * window->memory.rows,
                                    .heads = watched->count,
                                    .head_stride = (prompt + read) * window->memory.rows,
                                    .tokens = read,
                                    .stride = window->memory.rows,
                                    .frames = frames,
                                    .median = heads->median};
    td_status status = td_align(&weights, begins, error);
    for (size_t i = 0; status == TD_OK && i <= read; i++)
        window->times[i] = (double)begins[i < read ? i : read - 1] * precision;
    td_release(begins);
    return status;
}

td_status td_window_align(const td_model *model, td_search *search, td_arena *arena, td_window *window, const td_alignment_heads *heads,
                          size_t frames, double precision, td_error *error)
{
    size_t prompt = window->fed.length, written = window->written.length, read = prompt + written - 1;
    td_release(window->times);
    window->times = td_allocate_array(written, sizeof *window->times); /* zeroed: of a single token nothing is known */
    if (!window->times)
        return td_fail_memory(error, written * sizeof *window->times);
    if (written < 2)
        return TD_OK;
    td_graph graph;
    td_tensor *hidden = NULL;
    td_search_begin_graph(search, arena, &graph);
    int32_t *ids = td_graph_allocate(&graph, read, sizeof *ids);
    td_watched_heads watched = {heads->layer.length, heads->layer.data, heads->head.data, NULL};
    watched.weights = td_graph_allocate(&graph, watched.count * read, window->memory.rows * sizeof *watched.weights);
    if (!ids || !watched.weights)
        return graph_failure(&graph, TD_OK, error);
    memcpy(ids, window->fed.data, prompt * sizeof *ids);
    memcpy(ids + prompt, window->written.data, (written - 1) * sizeof *ids);
    TD_TRY(read_ids(&model->network, &graph, &window->memory, ids, read, &watched, &hidden, error));
    frames = frames < window->memory.rows ? frames : window->memory.rows;
    return place_tokens(&watched, window, heads, frames ? frames : 1, precision, error);
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

td_status td_window_spell(const td_model *model, const int32_t *ids, size_t count, int32_t first_timestamp, td_buffer *text,
                          td_error *error)
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
