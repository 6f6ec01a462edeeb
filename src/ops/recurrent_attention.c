/* Attention of recurrent decoders: each query row over its own memory, which other rows may share. */
#include "kernels/gates.h"
#include "ops/recurrent.h"

#include <string.h>

typedef struct attention_pass {
    td_recurrent_attention_options options;
    const td_gate_kernels *kernels;
    const td_memory_segment *segments;
    td_tensor *query, *keys, *values, *v, *coverage, *coverage_weight, *context, *weights;
} attention_pass;

static td_real score(const td_graph *graph, const attention_pass *pass, const td_real *query, const td_real *key, td_real coverage)
{
    const td_tensor *extra = pass->coverage_weight;
    if (!pass->options.additive)
        return graph->kernels->dot(query, key, pass->query->columns);
    return pass->kernels->additive_score(query, key, pass->v->data, extra ? extra->data : NULL, coverage, pass->query->columns);
}

static void attend_row(td_graph *graph, const attention_pass *pass, size_t row)
{
    const td_memory_segment *segment = pass->segments + row;
    const td_real *query = pass->query->data + row * pass->query->stride;
    td_real *weights = pass->weights->data + row * pass->weights->stride;
    td_real *context = pass->context->data + row * pass->context->stride;
    memset(context, 0, pass->context->columns * sizeof *context);
    memset(weights + segment->length, 0, (pass->options.longest - segment->length) * sizeof *weights);
    if (!segment->length)
        return;
    const td_real *coverage = pass->coverage ? pass->coverage->data + row * pass->coverage->stride : NULL;
    for (size_t i = 0; i < segment->length; i++)
        weights[i] = score(graph, pass, query, segment->keys + i * pass->options.key_stride, coverage ? coverage[i] : 0);
    graph->kernels->softmax(weights, segment->length);
    for (size_t i = 0; i < segment->length; i++)
        graph->kernels->add_scaled(context, segment->values + i * pass->options.value_stride, weights[i], pass->context->columns);
}

/* Gradients of one row's scores: w * (dw - sum of w dw), dw from the context and from whoever used the weights. */
static void score_gradients(td_graph *graph, const attention_pass *pass, size_t row, td_real *dscores)
{
    const td_memory_segment *segment = pass->segments + row;
    const td_real *weights = pass->weights->data + row * pass->weights->stride;
    const td_real *dcontext = pass->context->gradient ? pass->context->gradient + row * pass->context->stride : NULL;
    const td_real *dweights = pass->weights->gradient ? pass->weights->gradient + row * pass->weights->stride : NULL;
    td_real sum = 0;
    for (size_t i = 0; i < segment->length; i++) {
        dscores[i] = dweights ? dweights[i] : 0;
        if (dcontext)
            dscores[i] += graph->kernels->dot(dcontext, segment->values + i * pass->options.value_stride, pass->context->columns);
        sum += dscores[i] * weights[i];
    }
    for (size_t i = 0; i < segment->length; i++)
        dscores[i] = weights[i] * (dscores[i] - sum);
}

typedef struct attention_gradients {
    td_real *query, *keys, *values, *v, *coverage, *coverage_weight;
    td_real *unused; /* where additive gradients go that nobody wants */
} attention_gradients;

static void additive_row(const attention_pass *pass, const attention_gradients *to, size_t row, const td_real *dscores)
{
    const td_memory_segment *segment = pass->segments + row;
    const td_real *query = pass->query->data + row * pass->query->stride;
    const td_real *coverage = pass->coverage ? pass->coverage->data + row * pass->coverage->stride : NULL;
    const td_real *extra = pass->coverage_weight ? pass->coverage_weight->data : NULL;
    for (size_t i = 0; i < segment->length; i++) {
        const td_real *key = segment->keys + i * pass->options.key_stride;
        td_real *dkey = to->keys ? to->keys + (key - pass->keys->data) : to->unused;
        td_real *dquery = to->query ? to->query + row * pass->query->stride : to->unused;
        td_real dcoverage = pass->kernels->additive_score_backward(
            query, key, pass->v->data, extra, coverage ? coverage[i] : 0, dscores[i], dquery, dkey, to->v ? to->v : to->unused,
            to->coverage_weight ? to->coverage_weight : to->unused, pass->query->columns);
        if (to->coverage)
            to->coverage[row * pass->coverage->stride + i] += dcoverage;
    }
}

static void product_row(td_graph *graph, const attention_pass *pass, const attention_gradients *to, size_t row, const td_real *dscores)
{
    const td_memory_segment *segment = pass->segments + row;
    const td_real *query = pass->query->data + row * pass->query->stride;
    for (size_t i = 0; i < segment->length; i++) {
        const td_real *key = segment->keys + i * pass->options.key_stride;
        if (to->query)
            graph->kernels->add_scaled(to->query + row * pass->query->stride, key, dscores[i], pass->query->columns);
        if (to->keys)
            graph->kernels->add_scaled(to->keys + (key - pass->keys->data), query, dscores[i], pass->query->columns);
    }
}

static void value_row(td_graph *graph, const attention_pass *pass, td_real *dvalues, size_t row)
{
    const td_memory_segment *segment = pass->segments + row;
    const td_real *weights = pass->weights->data + row * pass->weights->stride;
    for (size_t i = 0; i < segment->length; i++) {
        const td_real *value = segment->values + i * pass->options.value_stride;
        graph->kernels->add_scaled(dvalues + (value - pass->values->data), pass->context->gradient + row * pass->context->stride,
                                   weights[i], pass->context->columns);
    }
}

static void attention_backward(td_graph *graph, void *operation)
{
    attention_pass *pass = operation;
    if (!pass->context->gradient && !pass->weights->gradient)
        return;
    attention_gradients to = {td_gradient(graph, pass->query),
                              td_gradient(graph, pass->keys),
                              td_gradient(graph, pass->values),
                              td_gradient(graph, pass->v),
                              td_gradient(graph, pass->coverage),
                              td_gradient(graph, pass->coverage_weight),
                              td_graph_allocate(graph, pass->query->columns, sizeof(td_real))};
    td_real *dscores = td_graph_allocate(graph, pass->options.longest, sizeof *dscores);
    if (!td_graph_ok(graph))
        return;
    memset(to.unused, 0, pass->query->columns * sizeof *to.unused);
    for (size_t row = 0; row < pass->query->rows; row++) {
        score_gradients(graph, pass, row, dscores);
        if (pass->options.additive)
            additive_row(pass, &to, row, dscores);
        else
            product_row(graph, pass, &to, row, dscores);
        if (to.values && pass->context->gradient)
            value_row(graph, pass, to.values, row);
    }
}

td_tensor *td_recurrent_attention(td_graph *graph, td_tensor *query, const td_memory_segment *segments,
                                  const td_recurrent_attention_options *options, td_tensor *keys, td_tensor *values, td_tensor *v,
                                  td_tensor *coverage, td_tensor *coverage_weight, td_tensor **ret_weights)
{
    TD_PROFILE(graph->recorder, "attention");
    if (!td_graph_ok(graph) || !query || (options->additive && !v))
        return NULL;
    if ((v && v->columns != query->columns) || (coverage && coverage->columns < options->longest) || !coverage != !coverage_weight)
        return td_graph_fail(graph, TD_ERROR_ARGUMENT, "attention of width %zu over %zu rows: v or the coverage has another shape",
                             query->columns, options->longest);
    bool trains = td_needs_gradient(query) || td_needs_gradient(keys) || td_needs_gradient(values) || td_needs_gradient(v) ||
                  td_needs_gradient(coverage) || td_needs_gradient(coverage_weight);
    attention_pass *pass = td_graph_allocate(graph, 1, sizeof *pass);
    td_tensor *context = td_tensor_new(graph, query->rows, options->value_width, trains);
    td_tensor *weights = td_tensor_new(graph, query->rows, options->longest, trains);
    if (!pass || !context || !weights)
        return NULL;
    *pass = (attention_pass){
        *options, td_gate_kernels_for(graph->kernels->isa), segments, query, keys, values, v, coverage, coverage_weight, context, weights};
    for (size_t row = 0; row < query->rows; row++)
        attend_row(graph, pass, row);
    if (trains)
        td_record(graph, attention_backward, pass);
    if (ret_weights)
        *ret_weights = weights;
    return context;
}
