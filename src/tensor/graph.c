#include "tensor/graph.h"

#include "kernels/packed.h"
#include "platform/thread.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void td_graph_begin(td_graph *graph, td_arena *arena, bool recording)
{
    *graph = (td_graph){.arena = arena, .kernels = td_kernels_get(), .packed_kernels = td_packed_kernels_get(), .recording = recording};
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
    tensor->requires_gradient = graph->recording && !parameter->constant && graph->gradients;
    if (tensor->requires_gradient || (parameter->statistic && graph->gradients && graph->share > 0))
        tensor->gradient = graph->gradients + parameter->offset;
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

struct td_gradient_block {
    struct td_gradient_block *next;
    td_real *data;
    size_t count, born;
};

/* The first idle block that fits and is not much too large, or a new one. */
static td_real *take_block(td_graph *graph, size_t count, size_t born)
{
    struct td_gradient_block **link = &graph->idle, *block;
    while (*link && ((*link)->count < count || (*link)->count / 2 > count))
        link = &(*link)->next;
    block = *link;
    if (block) {
        *link = block->next;
    } else {
        td_real *data = td_graph_allocate(graph, count, sizeof *data);
        block = data ? td_graph_allocate(graph, 1, sizeof *block) : NULL;
        if (!block)
            return NULL;
        *block = (struct td_gradient_block){.data = data, .count = count};
    }
    block->born = born;
    block->next = graph->live;
    graph->live = block;
    return block->data;
}

/* Backward has passed node `index`: gradients of tensors made since it was noted are done with. */
static void retire_blocks(td_graph *graph, size_t index)
{
    for (struct td_gradient_block **link = &graph->live; *link;) {
        struct td_gradient_block *block = *link;
        if (block->born < index) {
            link = &block->next;
            continue;
        }
        *link = block->next;
        block->next = graph->idle;
        graph->idle = block;
    }
}

td_real *td_gradient(td_graph *graph, td_tensor *tensor)
{
    if (!td_needs_gradient(tensor))
        return NULL;
    if (tensor->gradient)
        return tensor->gradient;
    if (tensor->base) {
        td_real *gradient = td_gradient(graph, tensor->base);
        return tensor->gradient = gradient ? gradient + tensor->first_column : NULL;
    }
    td_real *gradient = take_block(graph, tensor->rows * tensor->columns, tensor->born);
    if (gradient)
        memset(gradient, 0, tensor->rows * tensor->columns * sizeof *gradient);
    return tensor->gradient = gradient;
}

void td_record(td_graph *graph, void (*backward)(td_graph *, void *), void *operation)
{
    if (!graph->recording)
        return;
    td_node *node = td_graph_allocate(graph, 1, sizeof *node);
    if (!node)
        return;
    *node = (td_node){graph->tape, graph->nodes++, backward, operation, td_recorder_current(graph->recorder)};
    graph->tape = node;
}

td_status td_backward(td_graph *graph, td_tensor *output, td_real seed, td_error *error)
{
    td_real *gradient = output ? td_gradient(graph, output) : NULL;
    for (size_t i = 0; gradient && i < output->rows * output->columns; i++)
        gradient[i] = seed;
    for (td_node *node = graph->tape; node && td_graph_ok(graph); node = node->previous) {
        TD_PROFILE(graph->recorder, node->name ? node->name : "other");
        td_profiled_scope_.backward = true;
        node->backward(graph, node->operation);
        if (node->index > 0) /* what the first operation began with may be read afterwards */
            retire_blocks(graph, node->index);
    }
    graph->tape = NULL;
    if (!td_graph_ok(graph) && error)
        *error = graph->error;
    return graph->error.status;
}
