/* The step-level interface: encode once, then one position at a time for any number of hypotheses. */
#include "api/session.h"

#include "base/utf8.h"
#include "kernels/gemm.h"
#include "models/copying.h"

#include <string.h>

static td_status check_ids(const td_session *session, const int32_t *ids, size_t count, td_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= session->model->network.vocabulary)
            return td_fail(error, TD_ERROR_ARGUMENT, "id %d is outside the vocabulary (0 to %zu)", (int)ids[i],
                           session->model->network.vocabulary - 1);
    return TD_OK;
}

/* An emptied state. */
static td_status fresh_state(td_session *session, td_error *error)
{
    const td_architecture *architecture = session->model->network.architecture;
    if (session->state)
        return architecture->reorder(session->state, NULL, 0, error);
    return architecture->state_new(&session->model->network, &session->state, error);
}

static td_status repeat_row(td_session *session, size_t rows, td_error *error)
{
    int32_t *parents = td_allocate_array(rows, sizeof *parents); /* all 0 */
    if (!parents)
        return td_fail_memory(error, rows * sizeof *parents);
    td_status status = session->model->network.architecture->reorder(session->state, parents, rows, error);
    td_release(parents);
    return status;
}

/* Moves a graph's failure to the caller's error. The state may have gone half a step then: no row of it is left. */
static td_status graph_status(td_session *session, const td_graph *graph, td_status status, td_error *error)
{
    if (graph->error.status != TD_OK || status != TD_OK)
        session->model->network.architecture->reorder(session->state, NULL, 0, NULL);
    if (graph->error.status != TD_OK)
        return td_fail(error, graph->error.status, "%s", graph->error.message);
    return status == TD_OK ? TD_OK : td_fail(error, status, "%s", td_status_text(status));
}

td_status td_encode_ids(td_session *session, const int32_t *ids, size_t count, size_t rows, td_error *error)
{
    if (!session || !ids || count == 0 || rows == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_encode_ids: there must be at least one id and one row");
    const td_network *network = &session->model->network;
    if (network->max_positions && count > network->max_positions)
        return td_fail(error, TD_ERROR_LIMIT, "source has %zu tokens; the model takes %zu", count, network->max_positions);
    TD_TRY(check_ids(session, ids, count, error));
    TD_TRY(fresh_state(session, error));
    td_graph graph;
    td_gemm_thread_setup();
    td_search_begin_graph(session->search, &session->arena, &graph);
    int32_t offsets[2] = {0, (int32_t)count};
    td_batch source = {.ragged = {1, offsets}, .ids = ids};
    td_memory memory = {0};
    td_status status = network->architecture->encode(network, &graph, &source, &memory);
    if (status == TD_OK && td_graph_ok(&graph))
        status = network->architecture->begin(network, &graph, &memory, session->state);
    TD_TRY(graph_status(session, &graph, status, error));
    td_ids_clear(&session->source);
    for (size_t i = 0; i < count; i++)
        td_ids_append(&session->source, ids[i]);
    if (!td_ids_ok(&session->source))
        return td_fail_memory(error, count * sizeof *ids);
    return rows > 1 ? repeat_row(session, rows, error) : TD_OK;
}

/* Of every row: logits, or of a copying model log-probabilities. */
static td_tensor *next_scores(const td_session *session, td_graph *graph, td_tensor *hidden, size_t rows)
{
    const td_network *network = &session->model->network;
    td_copying copying = td_network_copying(network, session->state);
    int32_t *index = td_graph_allocate(graph, rows, sizeof *index);
    td_copy_source *sources = td_graph_allocate(graph, rows, sizeof *sources);
    for (size_t i = 0; index && sources && i < rows; i++) {
        index[i] = (int32_t)i;
        sources[i] = (td_copy_source){session->source.data, session->source.length};
    }
    return index && sources ? td_next_scores(network, graph, hidden, &copying, index, rows, sources, 0) : NULL;
}

td_status td_decode_step(td_session *session, const int32_t *ids, const float **ret_logits, td_error *error)
{
    if (!session || !ids || !ret_logits || !session->state)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_decode_step: call td_encode_ids first; ids and ret_logits must not be NULL");
    const td_network *network = &session->model->network;
    size_t rows = network->architecture->state_rows(session->state);
    if (rows == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_decode_step: no row is left");
    TD_TRY(check_ids(session, ids, rows, error));
    td_graph graph;
    td_gemm_thread_setup();
    td_search_begin_graph(session->search, &session->arena, &graph);
    int32_t *offsets = td_graph_allocate(&graph, rows + 1, sizeof *offsets);
    for (size_t i = 0; offsets && i <= rows; i++)
        offsets[i] = (int32_t)i;
    td_tensor *hidden = NULL, *logits = NULL;
    td_status status = TD_OK;
    if (offsets) {
        td_batch targets = {.ragged = {rows, offsets}, .ids = ids};
        status = network->architecture->decode(network, &graph, session->state, &targets, &hidden, NULL);
        if (status == TD_OK)
            logits = next_scores(session, &graph, hidden, rows);
    }
    TD_TRY(graph_status(session, &graph, status, error));
    *ret_logits = (const float *)logits->data;
    return TD_OK;
}

td_status td_decode_select(td_session *session, const int32_t *parents, size_t rows, td_error *error)
{
    if (!session || !session->state || (rows && !parents))
        return td_fail(error, TD_ERROR_ARGUMENT, "td_decode_select: call td_encode_ids first; parents must not be NULL");
    const td_architecture *architecture = session->model->network.architecture;
    size_t now = architecture->state_rows(session->state);
    for (size_t i = 0; i < rows; i++)
        if (parents[i] < 0 || (size_t)parents[i] >= now)
            return td_fail(error, TD_ERROR_ARGUMENT, "td_decode_select: parent %d of row %zu is none of %zu rows", (int)parents[i], i, now);
    return architecture->reorder(session->state, parents, rows, error);
}

int32_t td_model_decoder_start(const td_model *model)
{
    int32_t chosen = model->generation.decoder_start_token_id;
    return chosen >= 0 ? chosen : model->network.decoder_start_id;
}

int32_t td_model_end(const td_model *model)
{
    return model->generation.eos_token_id.count ? model->generation.eos_token_id.ids[0] : model->network.eos_id;
}

td_status td_model_tokenize(const td_model *model, const char *text, int32_t *ids, size_t capacity, size_t *ret_count, td_error *error)
{
    if (!model || !text || !ret_count || (capacity && !ids))
        return td_fail(error, TD_ERROR_ARGUMENT, "td_model_tokenize: model, text, ids and ret_count must not be NULL");
    if (!model->tokenizer)
        return td_fail(error, model->tokenizer_error.status, "%s", model->tokenizer_error.message);
    size_t length = strlen(text), valid = td_utf8_valid_prefix(text, length);
    if (valid < length)
        return td_fail(error, TD_ERROR_FORMAT, "text is not UTF-8 (byte %zu)", valid + 1);
    td_ids found = TD_IDS_INIT;
    td_status status = td_tokenizer_encode(model->tokenizer, TD_SOURCE, text, length, &found, error);
    if (status == TD_OK) {
        size_t count = found.length < capacity ? found.length : capacity;
        if (count)
            memcpy(ids, found.data, count * sizeof *ids);
        *ret_count = found.length;
    }
    td_ids_free(&found);
    return status;
}

td_status td_model_detokenize(const td_model *model, const int32_t *ids, size_t count, char *text, size_t capacity, size_t *ret_length,
                              td_error *error)
{
    if (!model || (count && !ids) || !ret_length || (capacity && !text))
        return td_fail(error, TD_ERROR_ARGUMENT, "td_model_detokenize: model, ids, text and ret_length must not be NULL");
    if (!model->tokenizer)
        return td_fail(error, model->tokenizer_error.status, "%s", model->tokenizer_error.message);
    td_buffer spelt = TD_BUFFER_INIT;
    td_status status = td_model_spell(model, NULL, ids, count, &spelt, error);
    if (status == TD_OK && !td_buffer_ok(&spelt))
        status = td_fail_memory(error, spelt.length);
    if (status == TD_OK && capacity) {
        size_t kept = spelt.length < capacity ? spelt.length : capacity - 1;
        memcpy(text, td_buffer_text(&spelt), kept);
        text[kept] = 0;
    }
    if (status == TD_OK)
        *ret_length = spelt.length;
    td_buffer_free(&spelt);
    return status;
}
