/* Teacher forcing: how likely the network finds given targets. */
#include "decoding/search.h"

#include <string.h>

static td_status check_request(const td_search *search, const td_score_request *request, size_t index, td_error *error)
{
    if (request->source.length == 0 || request->source.length > INT32_MAX)
        return td_fail(error, TD_ERROR_ARGUMENT, "source %zu is empty or too long; it needs 1 to 2^31 - 1 elements", index);
    td_copy_source copied = td_search_copied(&request->source);
    size_t ids = search->network->vocabulary + td_extended_count(search->network, &copied);
    for (size_t i = 0; i < request->target_count; i++)
        if (request->target[i] < 0 || (size_t)request->target[i] >= ids)
            return td_fail(error, TD_ERROR_ARGUMENT, "target %zu: %d is no id of this model; ids are 0 to %zu", index,
                           (int)request->target[i], ids - 1);
    return TD_OK;
}

static td_id_list prefix_of(const td_search *search, const td_score_request *request)
{
    if (request->source.prefix)
        return (td_id_list){(int32_t *)request->source.prefix, request->source.prefix_count};
    return search->rules.generation->prefix;
}

/* What the decoder reads for a request: start token, prefix, target without its last token. */
static td_status join_targets(td_search *search, const td_score_request *requests, size_t count, td_batch *ret_targets, td_error *error)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = prefix_of(search, &requests[i]).count + requests[i].target_count;
        if (search->network->max_positions > 0 && length > search->network->max_positions)
            return td_fail(error, TD_ERROR_LIMIT, "a target takes %zu positions; this model has %zu", length,
                           search->network->max_positions);
        if (td_add_overflows(total, length, &total) || total > INT32_MAX)
            return td_fail(error, TD_ERROR_LIMIT, "targets scored together are too long");
    }
    int32_t *offsets = td_arena_allocate_array(&search->arena, count + 1, sizeof *offsets);
    int32_t *ids = td_arena_allocate_array(&search->arena, total, sizeof *ids);
    if (!offsets || !ids)
        return td_fail_memory(error, total * sizeof *ids);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        td_id_list prefix = prefix_of(search, &requests[i]);
        offsets[i] = (int32_t)at;
        ids[at++] = search->rules.start;
        for (size_t p = 0; p < prefix.count; p++)
            ids[at++] = prefix.ids[p];
        for (size_t t = 0; t + 1 < requests[i].target_count; t++)
            ids[at++] = requests[i].target[t];
    }
    offsets[count] = (int32_t)at;
    *ret_targets = (td_batch){.ragged = {count, offsets}, .ids = ids};
    return TD_OK;
}

/* Log-probabilities of one request's tokens; hidden rows index[0..) read them. */
static td_status score_target(td_search *search, td_tensor *hidden, size_t first, const td_score_request *request, td_error *error)
{
    td_copy_source sources[TD_PROJECTED_ROWS];
    for (size_t i = 0; i < TD_PROJECTED_ROWS; i++)
        sources[i] = td_search_copied(&request->source);
    search->rules.vocabulary = search->network->vocabulary + td_extended_count(search->network, &sources[0]);
    TD_TRY(td_search_widen(search, search->rules.vocabulary, error));
    for (size_t start = 0; start < request->target_count; start += TD_PROJECTED_ROWS) {
        size_t left = request->target_count - start, count = left < TD_PROJECTED_ROWS ? left : TD_PROJECTED_ROWS;
        int32_t index[TD_PROJECTED_ROWS];
        for (size_t i = 0; i < count; i++)
            index[i] = (int32_t)(first + start + i);
        td_arena_mark mark = td_arena_get_mark(&search->arena);
        td_logits logits;
        if (!td_search_scores(search, hidden, index, count, sources, 0, &logits))
            return td_search_failure(search, TD_OK, "output layer", error);
        for (size_t i = 0; i < count; i++) {
            td_score_row row;
            TD_TRY(td_search_row(search, &logits, i, &row, error));
            request->logprobs[start + i] = row.values[request->target[start + i]] - row.maximum - row.log_sum;
        }
        td_arena_release_to(&search->arena, mark);
    }
    return TD_OK;
}

/* All requests of a group; those without target tokens are not among them. */
static td_status score_group(td_search *search, const td_score_request *requests, size_t count, td_error *error)
{
    const td_architecture *architecture = search->network->architecture;
    TD_TRY(architecture->reorder(search->state, NULL, 0, error));
    td_search_step(search);
    const td_source **sources = td_arena_allocate_array(&search->arena, count, sizeof *sources);
    if (!sources)
        return td_fail_memory(error, count * sizeof *sources);
    for (size_t i = 0; i < count; i++)
        sources[i] = &requests[i].source;
    td_memory memory;
    TD_TRY(td_search_admit(search, sources, count, &memory, error));
    td_search_step(search);
    td_batch targets;
    TD_TRY(join_targets(search, requests, count, &targets, error));
    td_tensor *hidden = NULL;
    td_status status = architecture->decode(search->network, &search->graph, search->state, &targets, &hidden, NULL);
    if (status != TD_OK || !hidden || !td_graph_ok(&search->graph))
        return td_search_failure(search, status, "decoder", error);
    for (size_t i = 0; i < count; i++) {
        size_t first = (size_t)targets.ragged.offsets[i] + prefix_of(search, &requests[i]).count;
        TD_TRY(score_target(search, hidden, first, &requests[i], error));
    }
    return architecture->reorder(search->state, NULL, 0, error);
}

td_status td_score(td_search *search, const td_generation *generation, const td_score_request *requests, size_t count, td_error *error)
{
    td_generation usual = td_generation_default();
    TD_TRY(td_rules_init(&search->rules, generation ? generation : &usual, search->network, error));
    for (size_t i = 0; i < count; i++)
        TD_TRY(check_request(search, &requests[i], i, error));
    for (size_t start = 0, end; start < count; start = end) {
        if (requests[start].target_count == 0) {
            end = start + 1;
            continue;
        }
        size_t tokens = 0;
        for (end = start; end < count && requests[end].target_count > 0; end++) {
            tokens += requests[end].source.length + requests[end].target_count;
            if (end > start && tokens > search->options.batch_tokens)
                break;
        }
        TD_TRY(score_group(search, requests + start, end - start, error));
    }
    return TD_OK;
}
