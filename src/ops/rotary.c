/* Rotary positions (Su 2021): pairs of neighbouring columns of a head turn by an angle that grows with the position, so that the product of
 * a query and a key depends on their distance. */
#include "ops/ops.h"

#include <math.h>
#include <string.h>

typedef struct rotary_operation {
    td_tensor *x, *y;
    td_rotary_options options;
} rotary_operation;

td_real *td_rotary_angles(td_graph *graph, const int32_t *positions, size_t count, size_t dimensions, td_real base)
{
    size_t pairs = (dimensions + 1) / 2;
    td_real *angles = td_graph_allocate(graph, count * 2 * pairs, sizeof *angles);
    for (size_t pair = 0; angles && pair < pairs; pair++) {
        double frequency = pow((double)base, -2.0 * (double)pair / (double)dimensions);
        for (size_t i = 0; i < count; i++) {
            angles[(i * pairs + pair) * 2] = (td_real)cos((double)positions[i] * frequency);
            angles[(i * pairs + pair) * 2 + 1] = (td_real)sin((double)positions[i] * frequency);
        }
    }
    return angles;
}

/* One head: to += from, turned; direction -1 turns back. */
static void turn(const td_rotary_options *options, size_t row, td_real direction, const td_real *from, td_real *to)
{
    const td_real *angle = options->angles + row * 2 * options->pairs;
    for (size_t pair = 0; pair < options->pairs; pair++, angle += 2) {
        td_real first = from[2 * pair], second = from[2 * pair + 1], sine = direction * angle[1];
        to[2 * pair] += first * angle[0] - second * sine;
        to[2 * pair + 1] += second * angle[0] + first * sine;
    }
    for (size_t i = 2 * options->pairs; i < options->head_width; i++)
        to[i] += from[i];
}

/* All heads of all rows; a head among those left alone is added as it is. */
static void turn_all(const td_kernels *kernels, const rotary_operation *op, td_real direction, const td_real *from, td_real *to)
{
    const td_rotary_options *options = &op->options;
    size_t width = options->head_width, heads = op->y->columns / width, left = options->first_left, end = left + options->left;
    for (size_t row = 0; row < op->y->rows; row++, from += op->y->columns, to += op->y->columns)
        for (size_t head = 0; head < heads; head++) {
            if (head >= left && head < end)
                kernels->add(to + head * width, from + head * width, width);
            else
                turn(options, row, direction, from + head * width, to + head * width);
        }
}

static void rotary_backward(td_graph *graph, void *operation)
{
    rotary_operation *op = operation;
    td_real *dx = td_gradient(graph, op->x);
    if (dx && op->y->gradient)
        turn_all(graph->kernels, op, -1, op->y->gradient, dx);
}

td_tensor *td_rotary(td_graph *graph, td_tensor *x, const td_rotary_options *options)
{
    TD_PROFILE(graph->recorder, "rotary");
    if (!x || !options->angles)
        return NULL;
    if (x->stride != x->columns || x->columns % options->head_width || 2 * options->pairs > options->head_width)
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "rotary: %zu columns, heads of %zu, %zu pairs", x->columns, options->head_width,
                             options->pairs);
    td_tensor *y = td_tensor_zeroed(graph, x->rows, x->columns, td_needs_gradient(x));
    if (!y)
        return NULL;
    rotary_operation op = {x, y, *options}, *kept;
    turn_all(graph->kernels, &op, 1, x->data, y->data);
    if (y->requires_gradient && (kept = td_graph_allocate(graph, 1, sizeof *kept))) {
        *kept = op;
        td_record(graph, rotary_backward, kept);
    }
    return y;
}
