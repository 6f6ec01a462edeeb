/* A recurrent decoder's state between calls: one row of numbers per hypothesis and a reference to its memory. While recording it
 * only refers to tensors of the step. */
#include "models/recurrent.h"

#include "ops/ops.h"

#include <string.h>

td_status td_rnn_state_new(const td_network *network, td_decoder_state **ret_state, td_error *error)
{
    td_decoder_state *state = td_allocate_array(1, sizeof *state);
    if (!state)
        return td_fail_memory(error, sizeof *state);
    state->model = network->family;
    *ret_state = state;
    return TD_OK;
}

void td_rnn_state_free(td_decoder_state *state)
{
    if (!state)
        return;
    for (size_t i = 0; i < state->memory_count; i++) {
        td_release(state->memories[i].keys);
        td_release(state->memories[i].values);
    }
    td_release(state->memories);
    td_release(state->row);
    td_release(state->spare_row);
    td_release(state->values);
    td_release(state->spare_values);
    td_release(state->coverage);
    td_release(state->spare_coverage);
    td_release(state);
}

/* Coverage rows are as wide as the longest memory; a longer one moves them apart. */
static bool reserve_coverage(td_decoder_state *state, size_t rows, size_t longest)
{
    size_t needed;
    if (!state->model->coverage)
        return true;
    if (td_multiply_overflows(rows, longest, &needed))
        return false;
    if (needed > state->coverage_capacity) {
        if (!td_grow_array(&state->coverage, needed, sizeof(td_real)) || !td_grow_array(&state->spare_coverage, needed, sizeof(td_real)))
            return false;
        state->coverage_capacity = needed;
    }
    for (size_t i = state->rows; longest != state->longest && i-- > 0;) {
        memmove(state->coverage + i * longest, state->coverage + i * state->longest, state->longest * sizeof(td_real));
        memset(state->coverage + i * longest + state->longest, 0, (longest - state->longest) * sizeof(td_real));
    }
    return true;
}

static bool reserve(td_decoder_state *state, size_t rows, size_t longest)
{
    size_t width = state->model->state * sizeof(td_real);
    if (rows > state->capacity) {
        size_t capacity = rows > 2 * state->capacity ? rows : 2 * state->capacity;
        if (!td_grow_array(&state->row, capacity, sizeof *state->row) || !td_grow_array(&state->spare_row, capacity, sizeof *state->row) ||
            !td_grow_array(&state->values, capacity, width) || !td_grow_array(&state->spare_values, capacity, width))
            return false;
        state->capacity = capacity;
    }
    return reserve_coverage(state, state->capacity, longest);
}

static void drop_rows(td_decoder_state *state)
{
    for (size_t i = 0; !state->recorded_row && i < state->rows; i++)
        if (state->row[i].memory != SIZE_MAX)
            state->memories[state->row[i].memory].references--;
    state->rows = 0;
    state->longest = 0;
    state->recorded = state->recorded_coverage = state->keys = state->memory_values = NULL;
    state->recorded_row = NULL;
}

/* A free memory, or one more; SIZE_MAX when memory is out. */
static size_t take_memory(td_decoder_state *state)
{
    for (size_t i = 0; i < state->memory_count; i++)
        if (!state->memories[i].references)
            return i;
    if (!td_grow_array(&state->memories, state->memory_count + 1, sizeof *state->memories))
        return SIZE_MAX;
    state->memories[state->memory_count] = (td_rnn_memory){0};
    return state->memory_count++;
}

static bool copy_tensor(td_real **to, size_t *capacity, const td_tensor *from)
{
    size_t count = from->rows * from->columns;
    if (count > *capacity) {
        if (!td_grow_array(to, count, sizeof **to))
            return false;
        *capacity = count;
    }
    for (size_t i = 0; i < from->rows; i++)
        memcpy(*to + i * from->columns, from->data + i * from->stride, from->columns * sizeof **to);
    return true;
}

/* Copies keys and values, so that they outlive the graph, and points segments into the copies. */
static bool keep_memory(td_decoder_state *state, td_ragged ragged, const td_tensor *keys, const td_tensor *values)
{
    size_t index = take_memory(state);
    if (index == SIZE_MAX)
        return false;
    td_rnn_memory *memory = &state->memories[index];
    if (!copy_tensor(&memory->values, &memory->values_capacity, values) ||
        (keys != values && !copy_tensor(&memory->keys, &memory->keys_capacity, keys)))
        return false;
    const td_real *kept_keys = keys == values ? memory->values : memory->keys;
    for (size_t i = 0; i < ragged.count; i++) {
        size_t first = (size_t)ragged.offsets[i];
        state->row[state->rows + i] =
            (td_rnn_row){{kept_keys + first * keys->columns, memory->values + first * values->columns, td_ragged_length(ragged, i)}, index};
    }
    memory->references = ragged.count;
    return true;
}

/* Rows without a memory of their own. */
static void fill_rows(td_rnn_row *row, td_ragged ragged, const td_tensor *keys, const td_tensor *values)
{
    for (size_t i = 0; i < ragged.count; i++) {
        size_t first = (size_t)ragged.offsets[i];
        row[i] = (td_rnn_row){{NULL, NULL, td_ragged_length(ragged, i)}, SIZE_MAX};
        if (values) {
            row[i].segment.keys = keys->data + first * keys->stride;
            row[i].segment.values = values->data + first * values->stride;
        }
    }
}

static size_t longest_of(td_ragged ragged, size_t longest)
{
    for (size_t i = 0; i < ragged.count; i++)
        longest = td_ragged_length(ragged, i) > longest ? td_ragged_length(ragged, i) : longest;
    return longest;
}

/* All in the step's arena, so that the state of a thread needs no memory when the thread meets its largest shard. */
static td_status record_rows(td_decoder_state *state, td_graph *graph, td_ragged memory, td_tensor *start, td_tensor *keys,
                             td_tensor *values)
{
    size_t longest = longest_of(memory, 0);
    td_rnn_row *row = td_graph_allocate(graph, memory.count, sizeof *row);
    td_tensor *coverage = row && state->model->coverage ? td_tensor_zeroed(graph, memory.count, longest, false) : NULL;
    if (!td_graph_ok(graph))
        return graph->error.status;
    fill_rows(row, memory, keys, values);
    state->recorded_row = row;
    state->rows = memory.count;
    state->longest = longest;
    state->keys = keys;
    state->memory_values = values;
    state->recorded = start;
    state->recorded_coverage = coverage;
    return TD_OK;
}

td_status td_rnn_state_append(td_decoder_state *state, td_graph *graph, td_ragged memory, td_tensor *start, td_tensor *keys,
                              td_tensor *values)
{
    if (!td_graph_ok(graph))
        return graph->error.status;
    if (graph->recording || state->recorded)
        drop_rows(state);
    if (graph->recording)
        return record_rows(state, graph, memory, start, keys, values);
    size_t longest = longest_of(memory, state->longest), first = state->rows;
    bool fits = reserve(state, state->rows + memory.count, longest);
    if (fits && values)
        fits = keep_memory(state, memory, keys, values);
    else if (fits)
        fill_rows(state->row + first, memory, NULL, NULL);
    if (!fits) {
        td_graph_fail(graph, TD_ERROR_MEMORY, "out of memory for the state of %zu more sequences", memory.count);
        return graph->error.status;
    }
    state->longest = longest;
    state->rows += memory.count;
    for (size_t i = 0; i < memory.count; i++)
        memcpy(state->values + (first + i) * start->columns, start->data + i * start->stride, start->columns * sizeof(td_real));
    if (state->model->coverage)
        memset(state->coverage + first * longest, 0, memory.count * longest * sizeof(td_real));
    return TD_OK;
}

td_rnn_row *td_rnn_state_row(td_decoder_state *state)
{
    return state->recorded_row ? state->recorded_row : state->row;
}

td_tensor *td_rnn_state_values(td_decoder_state *state, td_graph *graph)
{
    return state->recorded ? state->recorded : td_tensor_of(graph, state->values, state->rows, state->model->state);
}

td_tensor *td_rnn_state_coverage(td_decoder_state *state, td_graph *graph)
{
    if (!state->model->coverage)
        return NULL;
    return state->recorded ? state->recorded_coverage : td_tensor_of(graph, state->coverage, state->rows, state->longest);
}

void td_rnn_state_store(td_decoder_state *state, td_graph *graph, td_tensor *values, td_tensor *coverage)
{
    if (!td_graph_ok(graph))
        return;
    if (state->recorded) {
        state->recorded = values;
        state->recorded_coverage = coverage;
        return;
    }
    memcpy(state->values, values->data, values->rows * values->columns * sizeof(td_real));
    if (coverage)
        memcpy(state->coverage, coverage->data, coverage->rows * coverage->columns * sizeof(td_real));
}

td_status td_rnn_state_reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error)
{
    if (!rows) {
        drop_rows(state);
        return TD_OK;
    }
    if (state->recorded)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "rows of a decoder state cannot be reordered while recording");
    for (size_t i = 0; i < rows; i++)
        if (parents[i] < 0 || (size_t)parents[i] >= state->rows)
            return td_fail(error, TD_ERROR_ARGUMENT, "row %d of %zu decoder rows", parents[i], state->rows);
    if (!reserve(state, rows, state->longest))
        return td_fail_memory(error, rows * sizeof *state->row);
    size_t width = state->model->state;
    for (size_t i = 0; i < rows; i++) {
        size_t parent = (size_t)parents[i];
        state->spare_row[i] = state->row[parent];
        if (state->row[parent].memory != SIZE_MAX)
            state->memories[state->row[parent].memory].references++;
        memcpy(state->spare_values + i * width, state->values + parent * width, width * sizeof(td_real));
        if (state->model->coverage)
            memcpy(state->spare_coverage + i * state->longest, state->coverage + parent * state->longest, state->longest * sizeof(td_real));
    }
    td_rnn_row *row = state->row;
    td_real *values = state->values, *coverage = state->coverage;
    size_t longest = state->longest;
    drop_rows(state);
    state->row = state->spare_row, state->values = state->spare_values, state->coverage = state->spare_coverage;
    state->spare_row = row, state->spare_values = values, state->spare_coverage = coverage;
    state->rows = rows;
    state->longest = longest;
    return TD_OK;
}
