#include "tensor/graph.h"

#include "kernels/packed.h"
#include "platform/thread.h"
#include "tensor/gradients.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void td_graph_begin(td_graph *graph, td_arena *arena, bool recording)
{
    *graph = (td_graph){.arena = arena, .kernels = td_kernels_get(), .packed_kernels = td_packed_kernels_get(), .recording = recording};
}

void td_graph_nest(const td_graph *graph, bool recording, td_graph *ret_piece)
{
    td_graph piece = *graph;
    piece.recording = recording;
    piece.nested = true;
    piece.going_back = false;
    piece.tape = NULL;
    piece.nodes = 0;
    piece.live = piece.idle = piece.spare = NULL;
    piece.fresh = td_arena_get_mark(graph->arena);
    *ret_piece = piece;
}

size_t td_graph_threads(const td_graph *graph)
{
    return graph->pool ? td_pool_threads(graph->pool) : 1;
}

void td_graph_run_if(td_graph *graph, bool shared, size_t count, void (*task)(void *context, size_t index, size_t thread), void *context)
{
    if (shared && graph->pool) {
        td_pool_run(graph->pool, count, task, context);
        return;
    }
    for (size_t i = 0; i < count; i++)
        task(context, i, 0);
}

void td_graph_run(td_graph *graph, size_t count, void (*task)(void *context, size_t index, size_t thread), void *context)
{
    td_graph_run_if(graph, true, count, task, context);
}

size_t td_graph_parts(const td_graph *graph, size_t numbers)
{
    enum { LEAST = 1 << 16 }; /* below that, handing over takes as long as the work */
    return numbers < LEAST ? 1 : td_graph_threads(graph);
}

td_tensor *td_graph_fail(td_graph *graph, td_status status, const char *format, ...)
{
    if (td_graph_ok(graph)) {
        va_list arguments;
        va_start(arguments, format);
        graph->error.status = status;
        vsnprintf(graph->error.message, sizeof graph->error.message, format, arguments);
        va_end(arguments);
    }
    return NULL;
}

void *td_graph_allocate(td_graph *graph, size_t count, size_t size)
{
    if (!td_graph_ok(graph))
        return NULL;
    void *memory = td_arena_allocate_array(graph->arena, count, size);
    if (!memory)
        td_graph_fail(graph, TD_ERROR_MEMORY, "out of memory (a step asked for %zu x %zu bytes more)", count, size);
    return memory;
}

static td_tensor *new_header(td_graph *graph, td_real *data, size_t rows, size_t columns)
{
    td_tensor *tensor = td_graph_allocate(graph, 1, sizeof *tensor);
    if (tensor)
        *tensor = (td_tensor){.data = data, .rows = rows, .columns = columns, .stride = columns, .born = graph->nodes};
    return tensor;
}

td_tensor *td_tensor_new(td_graph *graph, size_t rows, size_t columns, bool requires_gradient)
{
    size_t count;
    if (td_multiply_overflows(rows, columns, &count))
        return td_graph_fail(graph, TD_ERROR_LIMIT, "tensor of %zu x %zu is too large", rows, columns);
    td_real *data = td_graph_allocate(graph, count, sizeof *data);
    td_tensor *tensor = data ? new_header(graph, data, rows, columns) : NULL;
    if (tensor)
        tensor->requires_gradient = requires_gradient && graph->recording;
    return tensor;
}

td_tensor *td_tensor_zeroed(td_graph *graph, size_t rows, size_t columns, bool requires_gradient)
{
    td_tensor *tensor = td_tensor_new(graph, rows, columns, requires_gradient);
    if (tensor)
        memset(tensor->data, 0, rows * columns * sizeof(td_real));
    return tensor;
}

td_tensor *td_tensor_of(td_graph *graph, td_real *data, size_t rows, size_t columns)
{
    return new_header(graph, data, rows, columns);
}

td_tensor *td_graph_parameter(td_graph *graph, const td_parameter *parameter)
{
    td_tensor *tensor = new_header(graph, parameter->data, parameter->rows, parameter->columns);
    if (!tensor)
        return NULL;
    tensor->parameter = parameter;
    tensor->requires_gradient = graph->recording && !parameter->constant && (graph->gradients || graph->sums);
    bool statistic = parameter->statistic && graph->gradients && graph->share > 0;
    if (tensor->requires_gradient && graph->sums)
        td_weight_used(graph, parameter);
    else if (tensor->requires_gradient || statistic)
        tensor->gradient = graph->gradients + (parameter->offset - graph->gradients_begin);
    return tensor;
}

td_tensor *td_tensor_columns(td_graph *graph, td_tensor *tensor, size_t first, size_t columns)
{
    td_tensor *view = tensor ? new_header(graph, tensor->data + first, tensor->rows, columns) : NULL;
    if (!view)
        return NULL;
    view->stride = tensor->stride;
    view->requires_gradient = tensor->requires_gradient;
    view->base = tensor;
    view->first_column = first;
    return view;
}

void td_record(td_graph *graph, void (*backward)(td_graph *, void *), void *operation)
{
    if (!graph->recording)
        return;
    td_node *node = td_graph_allocate(graph, 1, sizeof *node);
    if (!node)
        return;
    td_arena_mark here = td_arena_get_mark(graph->arena);
    *node = (td_node){graph->tape, graph->nodes++, backward, operation, td_recorder_current(graph->recorder), graph->fresh, here};
    graph->tape = node;
    graph->fresh = here;
}

static void go_back(td_graph *graph, const td_node *node)
{
    TD_PROFILE(graph->recorder, node->name ? node->name : "other");
    td_profiled_scope_.backward = true;
    node->backward(graph, node->operation);
}

td_status td_backward(td_graph *graph, td_tensor *output, td_real seed, td_error *error)
{
    td_real *gradient = output ? td_gradient(graph, output) : NULL;
    for (size_t i = 0; gradient && i < output->rows * output->columns; i++)
        gradient[i] = seed;
    graph->going_back = true;
    if (graph->sums) /* weights that only the loss reads */
        td_gradients_retire(graph, graph->nodes);
    for (td_node *node = graph->tape, *previous; node && td_graph_ok(graph); node = previous) {
        previous = node->previous;
        go_back(graph, node);
        if (node->index == 0)
            continue; /* what the first operation began with may be read afterwards */
        td_gradients_retire(graph, node->index);
        if (graph->sums || graph->nested)
            td_gradients_reuse(graph, node->begin, node->end);
    }
    graph->tape = NULL;
    if (!td_graph_ok(graph) && error)
        *error = graph->error;
    return graph->error.status;
}
