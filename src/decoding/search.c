/* What every use of a network for decoding needs: a step's memory, encoding ragged groups of sources, logits in blocks
 * of rows. */
#include "decoding/search.h"

#include "kernels/gemm.h"
#include "platform/cpu.h"

#include <math.h>
#include <string.h>

#define DEFAULT_BATCH_TOKENS 2048

/* Threads beyond the processors would only be waited for. */
static td_status start_pool(td_search *search, td_error *error)
{
    size_t threads = search->options.threads, processors = (size_t)td_cpu_count();
    threads = threads < processors ? threads : processors;
    return threads > 1 ? td_pool_new(threads, td_gemm_thread_setup, &search->pool, error) : TD_OK;
}

td_status td_search_new(const td_network *network, const td_search_options *options, td_search **ret_search, td_error *error)
{
    td_search *search = td_allocate_array(1, sizeof *search);
    if (!search)
        return td_fail_memory(error, sizeof *search);
    search->network = network;
    if (options)
        search->options = *options;
    if (search->options.batch_tokens == 0)
        search->options.batch_tokens = DEFAULT_BATCH_TOKENS;
    td_arena_init(&search->arena);
    search->recorder = td_recorder_attach(network->profile);
    td_status status = start_pool(search, error);
    if (status == TD_OK)
        status = td_search_widen(search, network->vocabulary, error);
    if (status == TD_OK)
        status = network->architecture->state_new(network, &search->state, error);
    if (status != TD_OK) {
        td_search_free(search);
        return status;
    }
    *ret_search = search;
    return TD_OK;
}

/* Stamps are looked at where repetition is penalised, and nowhere else. */
static td_status widen_stamps(td_search *search, td_error *error)
{
    td_rules *rules = &search->rules;
    if (!rules->generation || rules->generation->repetition_penalty == 1 || rules->stamp_count >= search->widest)
        return TD_OK;
    if (!td_grow_array(&rules->stamps, search->widest, sizeof *rules->stamps))
        return td_fail_memory(error, search->widest * sizeof *rules->stamps);
    memset(rules->stamps + rules->stamp_count, 0, (search->widest - rules->stamp_count) * sizeof *rules->stamps);
    rules->stamp_count = search->widest;
    return TD_OK;
}

td_status td_search_widen(td_search *search, size_t width, td_error *error)
{
    if (width > search->widest) {
        if (!td_grow_array(&search->row, width, sizeof *search->row))
            return td_fail_memory(error, width * sizeof *search->row);
        search->widest = width;
    }
    return widen_stamps(search, error);
}

void td_search_free(td_search *search)
{
    if (!search)
        return;
    for (size_t i = 0; i < search->live_count; i++) {
        td_sentence_free(search->live[i]);
        td_release(search->live[i]);
    }
    for (size_t i = 0; i < search->spare_count; i++) {
        td_sentence_free(search->spare[i]);
        td_release(search->spare[i]);
    }
    if (search->state)
        search->network->architecture->state_free(search->state);
    td_arena_free(&search->arena);
    td_pool_free(search->pool);
    td_recorder_release(search->recorder);
    void *blocks[] = {search->live,
                      search->spare,
                      search->row,
                      search->rules.stamps,
                      search->candidates,
                      search->merged,
                      search->merged_parents,
                      search->merged_logprobs,
                      search->weights,
                      search->hypotheses,
                      search->result_ids,
                      search->result_logprobs,
                      search->result_attention,
                      search};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        td_release(blocks[i]);
}

void td_search_begin_graph(const td_search *search, td_arena *arena, td_graph *ret_graph)
{
    td_arena_reset(arena);
    td_graph_begin(ret_graph, arena, false);
    ret_graph->pool = search->pool;
    ret_graph->recorder = search->recorder;
}

td_recorder *td_search_recorder(const td_search *search)
{
    return search->recorder;
}

void td_search_step(td_search *search)
{
    td_search_begin_graph(search, &search->arena, &search->graph);
    search->graph.products = search->options.products;
}

td_status td_search_failure(td_search *search, td_status status, const char *what, td_error *error)
{
    if (search->graph.error.status != TD_OK)
        return td_fail(error, search->graph.error.status, "%s: %s", what, search->graph.error.message);
    return td_fail(error, status != TD_OK ? status : TD_ERROR_INTERNAL, "%s failed", what);
}

static td_status check_source(const td_search *search, const td_source *source, size_t width, td_error *error)
{
    bool text = search->network->architecture->source == TD_TEXT;
    if (text ? !source->ids : !source->features)
        return td_fail(error, TD_ERROR_ARGUMENT, "source: this model reads %s", text ? "ids" : "features");
    if (!text && source->width != width)
        return td_fail(error, TD_ERROR_ARGUMENT, "source: %zu features a row after %zu; one model has one width", source->width, width);
    return TD_OK;
}

/* Sources are encoded, or were already: all of a search alike. */
static td_status encode(td_search *search, const td_batch *batch, bool encoded, td_memory *ret_memory)
{
    if (!encoded)
        return search->network->architecture->encode(search->network, &search->graph, batch, ret_memory);
    td_real *rows = (td_real *)(uintptr_t)batch->features;
    *ret_memory =
        (td_memory){.ragged = batch->ragged, .states = td_tensor_of(&search->graph, rows, td_ragged_total(batch->ragged), batch->width)};
    return TD_OK;
}

/* Lays the sources end to end in the arena. */
static td_status join_sources(td_search *search, const td_source *const *sources, size_t count, td_batch *ret_batch, td_error *error)
{
    size_t total = 0, width = sources[0]->width;
    for (size_t i = 0; i < count; i++) {
        TD_TRY(check_source(search, sources[i], width, error));
        if (td_add_overflows(total, sources[i]->length, &total) || total > INT32_MAX)
            return td_fail(error, TD_ERROR_LIMIT, "sources decoded together are too long; use a smaller batch");
    }
    bool text = search->network->architecture->source == TD_TEXT;
    int32_t *offsets = td_arena_allocate_array(&search->arena, count + 1, sizeof *offsets);
    int32_t *ids = text ? td_arena_allocate_array(&search->arena, total, sizeof *ids) : NULL;
    td_real *features = text ? NULL : td_arena_allocate_array(&search->arena, total, width * sizeof *features);
    if (!offsets || !(ids || features))
        return td_fail_memory(error, total * (text ? sizeof *ids : width * sizeof *features));
    offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)offsets[i], length = sources[i]->length;
        if (text)
            memcpy(ids + at, sources[i]->ids, length * sizeof *ids);
        else
            memcpy(features + at * width, sources[i]->features, length * width * sizeof *features);
        offsets[i + 1] = (int32_t)(at + length);
    }
    *ret_batch = (td_batch){.ragged = {count, offsets}, .ids = ids, .features = features, .width = width};
    return TD_OK;
}

td_status td_search_admit(td_search *search, const td_source *const *sources, size_t count, td_memory *ret_memory, td_error *error)
{
    const td_architecture *architecture = search->network->architecture;
    td_batch batch;
    TD_TRY(join_sources(search, sources, count, &batch, error));
    td_memory memory = {0};
    td_status status = encode(search, &batch, sources[0]->encoded, &memory);
    if (status != TD_OK || !td_graph_ok(&search->graph))
        return td_search_failure(search, status, "encoder", error);
    status = architecture->begin(search->network, &search->graph, &memory, search->state);
    if (status != TD_OK || !td_graph_ok(&search->graph))
        return td_search_failure(search, status, "decoder", error);
    *ret_memory = memory;
    return TD_OK;
}

/* Rows index[0..count) of hidden, in place when they lie one after the other. */
static td_tensor *choose_rows(td_graph *graph, td_tensor *hidden, const int32_t *index, size_t count)
{
    bool together = hidden->stride == hidden->columns;
    for (size_t i = 1; i < count; i++)
        together = together && index[i] == index[0] + (int32_t)i;
    if (together)
        return td_tensor_of(graph, hidden->data + (size_t)index[0] * hidden->stride, count, hidden->columns);
    td_real *rows = td_graph_allocate(graph, count * hidden->columns, sizeof *rows);
    for (size_t i = 0; rows && i < count; i++)
        memcpy(rows + i * hidden->columns, hidden->data + (size_t)index[i] * hidden->stride, hidden->columns * sizeof *rows);
    return rows ? td_tensor_of(graph, rows, count, hidden->columns) : NULL;
}

bool td_search_scores(td_search *search, td_tensor *hidden, const int32_t *index, size_t count, const td_copy_source *sources, size_t most,
                      td_logits *ret_scores)
{
    if (!search->network->copies) {
        td_tensor *rows = choose_rows(&search->graph, hidden, index, count);
        return rows && td_project_summed(search->network, &search->graph, rows, most, ret_scores);
    }
    td_copying copying = td_network_copying(search->network, search->state);
    size_t extended = 0;
    for (size_t i = 0; i < count; i++) {
        size_t own = td_extended_count(search->network, &sources[i]);
        extended = own > extended ? own : extended;
    }
    td_tensor *values = td_next_scores(search->network, &search->graph, hidden, &copying, index, count, sources, extended);
    *ret_scores = (td_logits){.values = values};
    return values != NULL;
}

static td_status fail_numeric(td_error *error)
{
    return td_fail(error, TD_ERROR_NUMERIC, "the model's scores are not finite numbers; its weights may be damaged");
}

td_status td_search_row(td_search *search, td_logits *scores, size_t index, td_score_row *ret_row, td_error *error)
{
    td_score_row row = {.values = scores->values ? scores->values->data + index * scores->values->stride : search->row};
    if (!scores->maximum) {
        TD_TRY(td_search_normaliser(search, row.values, &row.maximum, &row.log_sum, error));
        *ret_row = row;
        return TD_OK;
    }
    row.maximum = scores->maximum[index];
    row.log_sum = scores->log_sum[index];
    if (!isfinite(row.maximum) || !isfinite(row.log_sum))
        return fail_numeric(error);
    if (scores->values) {
        row.block_maxima = scores->block_maxima + index * scores->blocks;
    } else {
        td_best_blocks_place(&scores->best, index, search->rules.vocabulary, row.values);
        row.blocks = scores->best.block + index * scores->best.most;
        row.block_count = (size_t)scores->best.count[index];
    }
    *ret_row = row;
    return TD_OK;
}

td_status td_search_normaliser(td_search *search, const td_real *row, td_real *ret_maximum, td_real *ret_log_sum, td_error *error)
{
    const td_kernels *kernels = search->graph.kernels;
    size_t n = search->rules.vocabulary;
    td_real maximum = kernels->maximum(row, n);
    td_real sum = kernels->exp_sum(search->row, row, maximum, n);
    if (!isfinite(maximum) || !isfinite(sum) || !(sum > 0))
        return fail_numeric(error);
    *ret_maximum = maximum;
    *ret_log_sum = (td_real)log((double)sum);
    return TD_OK;
}
