/* The recurrent decoder. Where a step needs nothing of the step before but the cell's own state, layers run over whole targets;
 * where context or attentional state is fed back, a loop over positions runs over the rows that still have one. */
#include "models/recurrent.h"

#include "ops/ops.h"

#include <string.h>

typedef struct decoder_pass {
    const td_network *network;
    const td_rnn_network *model;
    td_graph *graph;
    td_decoder_state *state;
    td_ragged targets;
    const int32_t *ids;
    size_t total;
    td_tensor *kept;         /* [total, longest] attention of all rows, where the state is asked for it */
    td_tensor *gate;         /* [total, 1] of a network that copies */
    const td_real **weights; /* [total] where each target row's attention lies; NULL when nobody asks */
} decoder_pass;

static td_tensor *parameter(decoder_pass *pass, const td_parameter *weight)
{
    return weight ? td_graph_parameter(pass->graph, weight) : NULL;
}

static td_tensor *attend(decoder_pass *pass, td_tensor *query, const td_memory_segment *segments, td_tensor *coverage,
                         td_tensor **ret_weights)
{
    const td_rnn_network *model = pass->model;
    td_decoder_state *state = pass->state;
    bool additive = model->attention == TD_RNN_ADDITIVE || model->attention == TD_RNN_CONCAT;
    size_t key_width = additive ? model->attention_width : model->decoder.hidden;
    td_recurrent_attention_options options = {additive, state->keys ? state->keys->stride : key_width,
                                              state->memory_values ? state->memory_values->stride : model->memory, model->memory,
                                              state->longest};
    return td_recurrent_attention(pass->graph, query, segments, &options, state->keys, state->memory_values, parameter(pass, model->v),
                                  coverage, coverage ? parameter(pass, model->coverage_weight) : NULL, ret_weights);
}

/* What of attention is linear in the query: nothing for dot and general, whose keys carry it. */
static td_step_linear *query_projection(decoder_pass *pass, size_t rows)
{
    const td_rnn_network *model = pass->model;
    if (model->attention == TD_RNN_ADDITIVE)
        return td_step_linear_begin(pass->graph, parameter(pass, model->query.weight), NULL, rows);
    if (model->attention == TD_RNN_CONCAT)
        return td_step_linear_begin(pass->graph, td_tensor_columns(pass->graph, parameter(pass, model->concat), 0, model->decoder.hidden),
                                    NULL, rows);
    return NULL;
}

/* Part i of the state: h of each layer, c of each layer, what is fed. */
static size_t state_parts(const td_rnn_network *model)
{
    return model->decoder.layers * td_rnn_states(model);
}

static td_tensor *state_part(decoder_pass *pass, td_tensor *values, size_t i)
{
    return td_tensor_columns(pass->graph, values, i * pass->model->decoder.hidden, pass->model->decoder.hidden);
}

static td_tensor *state_fed(decoder_pass *pass, td_tensor *values)
{
    size_t width = pass->model->state - state_parts(pass->model) * pass->model->decoder.hidden;
    return width ? td_tensor_columns(pass->graph, values, pass->model->state - width, width) : NULL;
}

/* ---- whole targets ---- */

static td_tensor *feed_context(decoder_pass *pass, td_tensor *x, td_tensor *fed)
{
    int32_t *index = td_graph_allocate(pass->graph, pass->total, sizeof *index);
    if (!index)
        return NULL;
    for (size_t row = 0; row < pass->targets.count; row++)
        for (int32_t i = pass->targets.offsets[row]; i < pass->targets.offsets[row + 1]; i++)
            index[i] = (int32_t)row;
    td_tensor *parts[2] = {x, td_gather_rows(pass->graph, fed, index, pass->total)};
    return td_concatenate(pass->graph, parts, 2);
}

/* y [T, H], every position a query -> tanh(W [h; context]) (Luong 2015, equation 5) */
static td_tensor *attend_whole(decoder_pass *pass, td_tensor *y)
{
    td_graph *graph = pass->graph;
    td_memory_segment *segments = td_graph_allocate(graph, pass->total, sizeof *segments);
    if (!segments || !y)
        return NULL;
    for (size_t row = 0; row < pass->targets.count; row++)
        for (int32_t i = pass->targets.offsets[row]; i < pass->targets.offsets[row + 1]; i++)
            segments[i] = td_rnn_state_row(pass->state)[row].segment;
    td_step_linear *projection = query_projection(pass, pass->total);
    td_tensor *query = projection ? td_step_linear_apply(graph, projection, y, NULL) : y, *weights = NULL;
    td_tensor *parts[2] = {y, attend(pass, query, segments, NULL, &weights)};
    pass->kept = weights;
    for (size_t i = 0; pass->weights && weights && i < pass->total; i++)
        pass->weights[i] = weights->data + i * weights->stride;
    td_tensor *inputs = td_concatenate(graph, parts, 2), *readout = td_rnn_apply(graph, pass->model->readout, inputs);
    if (pass->model->gate.weight)
        pass->gate = td_rnn_apply(graph, pass->model->gate, inputs);
    return td_activate(graph, readout, TD_TANH, pass->network->rates.dropout);
}

static td_tensor *decode_whole(decoder_pass *pass)
{
    const td_rnn_network *model = pass->model;
    td_graph *graph = pass->graph;
    size_t layers = model->decoder.layers, parts = state_parts(model);
    td_tensor *values = td_rnn_state_values(pass->state, graph), *fed = state_fed(pass, values);
    td_tensor **start = td_graph_allocate(graph, 2 * layers, sizeof *start), **end = td_graph_allocate(graph, 2 * layers + 1, sizeof *end);
    if (!start || !end)
        return NULL;
    for (size_t i = 0; i < parts; i++)
        start[i] = state_part(pass, values, i);
    td_tensor *x = td_rnn_embed(pass->network, graph, model->target_embedding, pass->ids, pass->total);
    if (model->context_feeding)
        x = feed_context(pass, x, fed);
    td_real dropout = pass->network->rates.dropout;
    td_tensor *y = td_recurrent_stack_apply(graph, &model->decoder, x, pass->targets, dropout, start,
                                            parts > layers ? start + layers : NULL, end, end + layers);
    if (!y)
        return NULL;
    if (fed)
        end[parts++] = fed;
    td_rnn_state_store(pass->state, graph, td_concatenate(graph, end, parts), NULL);
    return model->attention == TD_RNN_NONE ? td_dropout(graph, y, dropout) : attend_whole(pass, y);
}

/* ---- position by position ---- */

typedef struct step_loop {
    td_packing packing;
    td_memory_segment *segments;      /* by rank */
    td_tensor *embedded, *sums;       /* packed: embeddings, and the first layer's sums over them */
    td_step_linear *feed;             /* the first layer's weights for what is fed */
    td_step_linear **input, **hidden; /* per layer; input[0]: the first layer's whole weights where they are packed, in place of sums */
    td_step_linear *query, *readout_state, *readout_context;
    size_t parts;
    td_tensor **part; /* present h of each layer, c of each layer */
    td_tensor *fed, *coverage;
    td_tensor **tops, **contexts, **outputs, **weights; /* per step */
    td_tensor **ended;                                  /* [steps, parts + 2]: states of the rows whose last position a step was */
} step_loop;

static bool allocate_loop(decoder_pass *pass, step_loop *loop)
{
    td_graph *graph = pass->graph;
    size_t layers = pass->model->decoder.layers, steps = loop->packing.steps;
    loop->parts = state_parts(pass->model);
    loop->segments = td_graph_allocate(graph, loop->packing.count, sizeof *loop->segments);
    loop->input = td_graph_allocate(graph, layers, sizeof *loop->input);
    loop->hidden = td_graph_allocate(graph, layers, sizeof *loop->hidden);
    loop->part = td_graph_allocate(graph, loop->parts, sizeof *loop->part);
    loop->tops = td_graph_allocate(graph, steps, sizeof *loop->tops);
    loop->contexts = td_graph_allocate(graph, steps, sizeof *loop->contexts);
    loop->outputs = td_graph_allocate(graph, steps, sizeof *loop->outputs);
    loop->weights = td_graph_allocate(graph, steps, sizeof *loop->weights);
    loop->ended = td_graph_allocate(graph, steps * (loop->parts + 2), sizeof *loop->ended);
    if (loop->input)
        loop->input[0] = NULL;
    return td_graph_ok(graph);
}

/* The embeddings' share of the first layer is one product for all positions; packed weights are not cut, and go step by step. */
static void begin_inputs(decoder_pass *pass, step_loop *loop)
{
    td_graph *graph = pass->graph;
    const td_rnn_network *model = pass->model;
    int32_t *ids = td_graph_allocate(graph, pass->total, sizeof *ids);
    if (!ids)
        return;
    for (size_t i = 0; i < pass->total; i++)
        ids[i] = pass->ids[loop->packing.rows[i]];
    loop->embedded = td_rnn_embed(pass->network, graph, model->target_embedding, ids, pass->total);
    td_recurrent_weights weights = td_recurrent_layer_weights(graph, &model->decoder.layer[0]);
    if (model->feed && model->decoder.layer[0].w_ih->packed) {
        loop->input[0] = td_step_linear_begin(graph, weights.w_ih, weights.b_ih, pass->total);
        return;
    }
    td_tensor *of_words = model->feed ? td_tensor_columns(graph, weights.w_ih, 0, model->embedding) : weights.w_ih;
    loop->sums = td_step_linear_apply(graph, td_step_linear_begin(graph, of_words, weights.b_ih, pass->total), loop->embedded, NULL);
    if (model->feed)
        loop->feed = td_step_linear_begin(graph, td_tensor_columns(graph, weights.w_ih, model->embedding, model->feed), NULL, pass->total);
}

static void begin_weights(decoder_pass *pass, step_loop *loop)
{
    td_graph *graph = pass->graph;
    const td_rnn_network *model = pass->model;
    size_t total = pass->total, hidden = model->decoder.hidden;
    for (size_t i = 0; i < model->decoder.layers; i++) {
        td_recurrent_weights weights = td_recurrent_layer_weights(graph, &model->decoder.layer[i]);
        loop->hidden[i] = td_step_linear_begin(graph, weights.w_hh, weights.b_hh, total);
        if (i)
            loop->input[i] = td_step_linear_begin(graph, weights.w_ih, weights.b_ih, total);
    }
    loop->query = query_projection(pass, total);
    if (model->attention == TD_RNN_ADDITIVE || model->readout.weight->packed)
        return; /* the first: its readout is one product over all positions */
    td_tensor *readout = parameter(pass, model->readout.weight);
    loop->readout_state =
        td_step_linear_begin(graph, td_tensor_columns(graph, readout, 0, hidden), parameter(pass, model->readout.bias), total);
    loop->readout_context = td_step_linear_begin(graph, td_tensor_columns(graph, readout, hidden, model->memory), NULL, total);
}

/* Rows of the state in order of rank. */
static void begin_state(decoder_pass *pass, step_loop *loop)
{
    td_graph *graph = pass->graph;
    td_tensor *values = td_gather_rows(graph, td_rnn_state_values(pass->state, graph), loop->packing.order, loop->packing.count);
    td_tensor *coverage = td_rnn_state_coverage(pass->state, graph);
    for (size_t i = 0; i < loop->parts; i++)
        loop->part[i] = state_part(pass, values, i);
    loop->fed = state_fed(pass, values);
    loop->coverage = coverage ? td_gather_rows(graph, coverage, loop->packing.order, loop->packing.count) : NULL;
    for (size_t r = 0; r < loop->packing.count; r++)
        loop->segments[r] = td_rnn_state_row(pass->state)[loop->packing.order[r]].segment;
}

static td_tensor *step_attention(decoder_pass *pass, step_loop *loop, size_t t, td_tensor *top)
{
    td_tensor *weights = NULL, *query = loop->query ? td_step_linear_apply(pass->graph, loop->query, top, NULL) : top;
    td_tensor *context = attend(pass, query, loop->segments, loop->coverage, &weights);
    if (!weights)
        return NULL;
    if (loop->coverage)
        loop->coverage = td_add(pass->graph, loop->coverage, weights);
    loop->weights[t] = weights;
    const int32_t *rows = loop->packing.rows + loop->packing.starts[t];
    for (size_t r = 0; pass->weights && r < weights->rows; r++)
        pass->weights[rows[r]] = weights->data + r * weights->stride;
    return loop->contexts[t] = context;
}

/* Through all layers; part holds the new states after. */
static td_tensor *step_cells(decoder_pass *pass, step_loop *loop, td_tensor *sums)
{
    const td_recurrent_stack *decoder = &pass->model->decoder;
    td_tensor *x = NULL;
    for (size_t i = 0; i < decoder->layers; i++) {
        td_tensor **h = &loop->part[i], **c = decoder->kind == TD_CELL_LSTM ? &loop->part[decoder->layers + i] : NULL;
        if (i)
            sums = td_step_linear_apply(pass->graph, loop->input[i], td_dropout(pass->graph, x, pass->network->rates.dropout), NULL);
        td_tensor *hidden_sums = td_step_linear_apply(pass->graph, loop->hidden[i], *h, NULL);
        x = *h = td_recurrent_step(pass->graph, decoder->kind, sums, hidden_sums, *h, c ? *c : NULL, c);
    }
    return x;
}

static void keep_ended(decoder_pass *pass, step_loop *loop, size_t t)
{
    size_t next = t + 1 < loop->packing.steps ? td_packing_active(&loop->packing, t + 1) : 0;
    size_t count = td_packing_active(&loop->packing, t) - next;
    td_tensor **ended = loop->ended + t * (loop->parts + 2);
    for (size_t i = 0; i < loop->parts + 2; i++) {
        td_tensor *part = i < loop->parts ? loop->part[i] : i == loop->parts ? loop->fed : loop->coverage;
        ended[i] = count ? td_tensor_rows(pass->graph, part, next, count) : NULL;
    }
}

static td_tensor *first_rows(decoder_pass *pass, td_tensor *x, size_t rows)
{
    return !x || x->rows == rows ? x : td_tensor_rows(pass->graph, x, 0, rows);
}

/* Of the first layer over what it reads: the present words and what is fed beside them. */
static td_tensor *step_sums(decoder_pass *pass, step_loop *loop, size_t t, size_t rows, td_tensor *fed)
{
    td_graph *graph = pass->graph;
    size_t first = (size_t)loop->packing.starts[t];
    if (loop->input[0]) {
        td_tensor *parts[2] = {td_tensor_rows(graph, loop->embedded, first, rows), fed};
        return td_step_linear_apply(graph, loop->input[0], td_concatenate(graph, parts, 2), NULL);
    }
    td_tensor *sums = td_tensor_rows(graph, loop->sums, first, rows);
    return loop->feed ? td_step_linear_apply(graph, loop->feed, fed, sums) : sums;
}

/* tanh(W [h; context]) (Luong 2015, equation 5) */
static td_tensor *step_readout(decoder_pass *pass, step_loop *loop, td_tensor *top, td_tensor *context)
{
    td_graph *graph = pass->graph;
    td_tensor *sum, *parts[2] = {top, context};
    if (loop->readout_state) {
        sum = td_step_linear_apply(graph, loop->readout_state, top, NULL);
        sum = td_step_linear_apply(graph, loop->readout_context, context, sum);
    } else {
        sum = td_rnn_apply(graph, pass->model->readout, td_concatenate(graph, parts, 2));
    }
    return td_activate(graph, sum, TD_TANH, pass->network->rates.dropout);
}

static void run_step(decoder_pass *pass, step_loop *loop, size_t t)
{
    size_t rows = td_packing_active(&loop->packing, t), layers = pass->model->decoder.layers;
    bool additive = pass->model->attention == TD_RNN_ADDITIVE;
    for (size_t i = 0; i < loop->parts; i++)
        loop->part[i] = first_rows(pass, loop->part[i], rows);
    loop->fed = first_rows(pass, loop->fed, rows);
    loop->coverage = first_rows(pass, loop->coverage, rows);
    td_tensor *fed = additive ? step_attention(pass, loop, t, loop->part[layers - 1]) : loop->fed;
    td_tensor *top = step_cells(pass, loop, step_sums(pass, loop, t, rows, fed));
    loop->tops[t] = top;
    if (!additive) {
        loop->outputs[t] = step_readout(pass, loop, top, step_attention(pass, loop, t, top));
        loop->fed = loop->fed ? loop->outputs[t] : NULL;
    }
    keep_ended(pass, loop, t);
}

/* Part i of all rows, back in the order of the state: later steps hold earlier ranks. */
static td_tensor *end_part(decoder_pass *pass, step_loop *loop, size_t i)
{
    td_graph *graph = pass->graph;
    td_tensor **pieces = td_graph_allocate(graph, loop->packing.steps, sizeof *pieces);
    int32_t *ranks = td_graph_allocate(graph, loop->packing.count, sizeof *ranks);
    if (!pieces || !ranks)
        return NULL;
    size_t count = 0;
    for (size_t t = loop->packing.steps; t-- > 0;)
        if (loop->ended[t * (loop->parts + 2) + i])
            pieces[count++] = loop->ended[t * (loop->parts + 2) + i];
    for (size_t r = 0; r < loop->packing.count; r++)
        ranks[loop->packing.order[r]] = (int32_t)r;
    return td_gather_rows(graph, td_stack_rows(graph, pieces, count), ranks, loop->packing.count);
}

static void end_state(decoder_pass *pass, step_loop *loop)
{
    size_t parts = loop->parts + (loop->fed ? 1 : 0);
    td_tensor **part = td_graph_allocate(pass->graph, parts, sizeof *part);
    for (size_t i = 0; part && i < parts; i++)
        part[i] = end_part(pass, loop, i);
    td_tensor *coverage = part && loop->coverage ? end_part(pass, loop, loop->parts + 1) : NULL;
    td_tensor *values = part ? td_concatenate(pass->graph, part, parts) : NULL;
    td_rnn_state_store(pass->state, pass->graph, values, coverage);
}

/* The hidden rows of all steps, in packed order. Additive: tanh(W [state; context; embedding]) (Bahdanau 2015, A.2.2). */
static td_tensor *end_outputs(decoder_pass *pass, step_loop *loop)
{
    td_graph *graph = pass->graph;
    size_t steps = loop->packing.steps;
    bool additive = pass->model->attention == TD_RNN_ADDITIVE;
    if (!additive && !pass->model->gate.weight)
        return td_stack_rows(graph, loop->outputs, steps);
    td_tensor *parts[3] = {td_stack_rows(graph, loop->tops, steps), td_stack_rows(graph, loop->contexts, steps), loop->embedded};
    td_tensor *inputs = td_concatenate(graph, parts, additive ? 3 : 2);
    if (pass->model->gate.weight)
        pass->gate = td_gather_rows(graph, td_rnn_apply(graph, pass->model->gate, inputs), loop->packing.places, pass->total);
    if (!additive)
        return td_stack_rows(graph, loop->outputs, steps);
    td_tensor *readout = td_rnn_apply(graph, pass->model->readout, inputs);
    return td_activate(graph, readout, TD_TANH, pass->network->rates.dropout);
}

/* For copying, or for a loss of the attention. */
static bool keeps_weights(const decoder_pass *pass)
{
    return pass->network->copies || (pass->graph->recording && (pass->model->coverage || pass->network->keeps_attention));
}

static td_tensor *decode_steps(decoder_pass *pass)
{
    step_loop loop = {0};
    if (!td_pack(pass->graph, pass->targets, false, &loop.packing) || !allocate_loop(pass, &loop))
        return NULL;
    begin_inputs(pass, &loop);
    begin_weights(pass, &loop);
    begin_state(pass, &loop);
    for (size_t t = 0; t < loop.packing.steps && td_graph_ok(pass->graph); t++)
        run_step(pass, &loop, t);
    if (!td_graph_ok(pass->graph))
        return NULL;
    end_state(pass, &loop);
    if (keeps_weights(pass))
        pass->kept =
            td_gather_rows(pass->graph, td_stack_rows(pass->graph, loop.weights, loop.packing.steps), loop.packing.places, pass->total);
    return td_gather_rows(pass->graph, end_outputs(pass, &loop), loop.packing.places, pass->total);
}

/* ---- both ---- */

/* Rows of weights, each of its memory's length, end to end. */
static const td_real *join_weights(decoder_pass *pass)
{
    size_t count = 0;
    for (size_t row = 0; row < pass->targets.count; row++)
        count += td_ragged_length(pass->targets, row) * td_rnn_state_row(pass->state)[row].segment.length;
    td_real *joined = td_graph_allocate(pass->graph, count, sizeof *joined), *to = joined;
    for (size_t row = 0; joined && row < pass->targets.count; row++) {
        size_t length = td_rnn_state_row(pass->state)[row].segment.length;
        for (int32_t i = pass->targets.offsets[row]; i < pass->targets.offsets[row + 1]; i++, to += length)
            memcpy(to, pass->weights[i], length * sizeof *to);
    }
    return joined;
}

static bool check_targets(td_graph *graph, const td_decoder_state *state, const td_batch *targets)
{
    if (td_graph_ok(graph) && (!targets->ids || targets->ragged.count != state->rows))
        td_graph_fail(graph, TD_ERROR_ARGUMENT, "targets of %zu rows for a decoder state of %zu", targets->ragged.count, state->rows);
    for (size_t i = 0; td_graph_ok(graph) && i < targets->ragged.count; i++)
        if (!td_ragged_length(targets->ragged, i))
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "target row %zu has no position", i);
    return td_graph_ok(graph);
}

td_status td_rnn_decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                        td_tensor **ret_hidden, const td_real **ret_attention)
{
    const td_rnn_network *model = network->family;
    if (!check_targets(graph, state, targets))
        return graph->error.status;
    decoder_pass pass = {.network = network, .model = model, .graph = graph, .state = state, .targets = targets->ragged};
    pass.total = td_ragged_total(targets->ragged);
    pass.ids = td_known_ids(network, graph, targets->ids, pass.total);
    bool weights = ret_attention && model->attention != TD_RNN_NONE;
    if (weights)
        pass.weights = td_graph_allocate(graph, pass.total, sizeof *pass.weights);
    bool feeds = model->attention == TD_RNN_ADDITIVE || model->input_feeding || model->coverage;
    td_tensor *hidden = feeds && pass.total ? decode_steps(&pass) : decode_whole(&pass);
    if (hidden && model->reduce.weight)
        hidden = td_rnn_apply(graph, model->reduce, hidden);
    const td_real *joined = weights && td_graph_ok(graph) ? join_weights(&pass) : NULL;
    if (!td_graph_ok(graph))
        return graph->error.status;
    state->copying = (td_copying){keeps_weights(&pass) ? pass.kept : NULL, pass.gate};
    *ret_hidden = hidden;
    if (ret_attention)
        *ret_attention = joined;
    return TD_OK;
}
