#include "layers/recurrent.h"

#include "ops/ops.h"

#include <math.h>

td_status td_recurrent_stack_declare(td_recurrent_stack *stack, td_parameters *parameters, const char *prefix, td_error *error)
{
    size_t directions = td_recurrent_directions(stack), width = td_cell_gates(stack->kind) * stack->hidden;
    stack->layer = td_allocate_array(stack->layers * directions, sizeof *stack->layer);
    if (!stack->layer)
        return td_fail_memory(error, stack->layers * directions * sizeof *stack->layer);
    double spread = 1 / sqrt((double)stack->hidden);
    for (size_t i = 0; i < stack->layers * directions; i++) {
        size_t at = i / directions, inputs = at ? td_recurrent_width(stack) * (at <= stack->pyramid ? 2 : 1) : stack->inputs;
        const char *suffix = i % directions ? "_reverse" : "";
        td_recurrent_layer *layer = &stack->layer[i];
        layer->w_ih = td_parameters_declare(parameters, width, inputs, TD_INIT_UNIFORM, spread, "%sweight_ih_l%zu%s", prefix, at, suffix);
        td_parameters_product(parameters);
        layer->w_hh =
            td_parameters_declare(parameters, width, stack->hidden, TD_INIT_UNIFORM, spread, "%sweight_hh_l%zu%s", prefix, at, suffix);
        td_parameters_product(parameters);
        if (stack->no_bias)
            continue;
        layer->b_ih = td_parameters_declare(parameters, width, 0, TD_INIT_UNIFORM, spread, "%sbias_ih_l%zu%s", prefix, at, suffix);
        layer->b_hh = td_parameters_declare(parameters, width, 0, TD_INIT_UNIFORM, spread, "%sbias_hh_l%zu%s", prefix, at, suffix);
    }
    return TD_OK;
}

void td_recurrent_stack_free(td_recurrent_stack *stack)
{
    td_release(stack->layer);
    stack->layer = NULL;
}

td_recurrent_weights td_recurrent_layer_weights(td_graph *graph, const td_recurrent_layer *layer)
{
    return (td_recurrent_weights){td_graph_parameter(graph, layer->w_ih), td_graph_parameter(graph, layer->w_hh),
                                  layer->b_ih ? td_graph_parameter(graph, layer->b_ih) : NULL,
                                  layer->b_hh ? td_graph_parameter(graph, layer->b_hh) : NULL};
}

td_tensor *td_recurrent_stack_apply(td_graph *graph, const td_recurrent_stack *stack, td_tensor *x, td_ragged ragged, td_real dropout,
                                    td_tensor *const *h0, td_tensor *const *c0, td_tensor **ret_h, td_tensor **ret_c)
{
    size_t directions = td_recurrent_directions(stack);
    for (size_t layer = 0; layer < stack->layers; layer++) {
        td_tensor *parts[2];
        if (layer)
            x = td_dropout(graph, x, dropout);
        for (size_t direction = 0; direction < directions; direction++) {
            size_t i = layer * directions + direction;
            td_recurrent_options options = {stack->kind, stack->hidden, stack->reverse != (direction == 1)};
            td_recurrent_weights weights = td_recurrent_layer_weights(graph, &stack->layer[i]);
            parts[direction] = td_recurrent(graph, x, ragged, &options, &weights, h0 ? h0[i] : NULL, c0 ? c0[i] : NULL,
                                            ret_h ? &ret_h[i] : NULL, ret_c ? &ret_c[i] : NULL);
            if (!parts[direction])
                return NULL;
        }
        x = directions == 2 ? td_concatenate(graph, parts, 2) : parts[0];
    }
    return x;
}

/* Rows 0 and 1, 2 and 3, ... of each sequence side by side. */
static td_tensor *join_pairs(td_graph *graph, td_tensor *x, td_ragged *ragged)
{
    size_t total = td_ragged_total(*ragged), count = 0;
    int32_t *offsets = td_graph_allocate(graph, ragged->count + 1, sizeof *offsets);
    int32_t *even = td_graph_allocate(graph, total, sizeof *even), *odd = td_graph_allocate(graph, total, sizeof *odd);
    if (!offsets || !even || !odd)
        return NULL;
    offsets[0] = 0;
    for (size_t i = 0; i < ragged->count; i++) {
        for (int32_t row = ragged->offsets[i]; row < ragged->offsets[i + 1]; row += 2) {
            even[count] = row;
            odd[count++] = row + 1 < ragged->offsets[i + 1] ? row + 1 : -1;
        }
        offsets[i + 1] = (int32_t)count;
    }
    *ragged = (td_ragged){ragged->count, offsets};
    td_tensor *parts[2] = {td_gather_rows(graph, x, even, count), td_gather_rows(graph, x, odd, count)};
    return td_concatenate(graph, parts, 2);
}

td_tensor *td_recurrent_pyramid_apply(td_graph *graph, const td_recurrent_stack *stack, td_tensor *x, td_ragged ragged, td_real dropout,
                                      td_tensor **ret_h, td_tensor **ret_c, td_ragged *ret_ragged)
{
    size_t directions = td_recurrent_directions(stack);
    td_recurrent_stack layer = *stack;
    layer.layers = 1;
    for (size_t i = 0; i < stack->layers; i++) {
        layer.layer = stack->layer + i * directions;
        if (i)
            x = td_dropout(graph, x, dropout);
        x = td_recurrent_stack_apply(graph, &layer, x, ragged, dropout, NULL, NULL, ret_h ? ret_h + i * directions : NULL,
                                     ret_c ? ret_c + i * directions : NULL);
        if (i < stack->pyramid && x)
            x = join_pairs(graph, x, &ragged);
    }
    *ret_ragged = ragged;
    return x;
}
