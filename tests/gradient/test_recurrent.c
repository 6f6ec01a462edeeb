/* Recurrent operations in double precision: every gradient against central differences, for all cells, flags and ragged lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "ops/recurrent.h"

enum { MAX_INPUTS = 16, INPUT = 3, HIDDEN = 4 };

/* A case: inputs of given shapes, and a function of them whose outputs are weighed by fixed numbers into one. */
typedef struct check {
    td_arena arena;
    td_graph graph;
    td_parameter inputs[MAX_INPUTS];
    double values[MAX_INPUTS][512], gradients[MAX_INPUTS * 512];
    size_t count;
    td_tensor *(*forward)(struct check *check, td_tensor **outputs); /* fills up to 3 outputs */
    td_recurrent_options options;
    td_recurrent_attention_options attention;
    bool bias, states, additive, coverage;
    const int32_t *offsets;
    size_t sequences;
} check;

static double wave(size_t i)
{
    return sin(1.7 * (double)i + 0.3) * 0.8 + 0.1 * cos(5.1 * (double)i);
}

static size_t add_input(check *it, size_t rows, size_t columns)
{
    size_t index = it->count++;
    assert_true(index < MAX_INPUTS && rows * columns <= 512);
    for (size_t i = 0; i < rows * columns; i++)
        it->values[index][i] = wave(i + 37 * index);
    it->inputs[index] = (td_parameter){.name = "input", .rows = rows, .columns = columns, .data = it->values[index], .offset = index * 512};
    return index;
}

static td_tensor *input(check *it, size_t index)
{
    return td_graph_parameter(&it->graph, &it->inputs[index]);
}

/* Returns the weighed sum of all outputs; with `backward` also fills the gradients. */
static double evaluate(check *it, bool backward)
{
    td_tensor *outputs[3] = {NULL, NULL, NULL};
    td_arena_reset(&it->arena);
    td_graph_begin(&it->graph, &it->arena, true);
    memset(it->gradients, 0, sizeof it->gradients);
    it->graph.gradients = it->gradients;
    it->forward(it, outputs);
    assert_string_equal(it->graph.error.message, "");
    double sum = 0;
    for (size_t o = 0; o < 3; o++) {
        td_real *gradient = backward ? td_gradient(&it->graph, outputs[o]) : NULL;
        for (size_t i = 0; outputs[o] && i < outputs[o]->rows * outputs[o]->columns; i++) {
            double weight = wave(i + 1000 * o + 11);
            sum += weight * outputs[o]->data[i];
            if (gradient)
                gradient[i] += weight;
        }
    }
    if (backward)
        assert_int_equal(td_backward(&it->graph, NULL, 0, NULL), TD_OK);
    return sum;
}

static void run(check *it)
{
    static double analytic[MAX_INPUTS * 512];
    td_arena_init(&it->arena);
    evaluate(it, true);
    memcpy(analytic, it->gradients, sizeof analytic);
    double largest = 0;
    for (size_t k = 0; k < it->count; k++) {
        for (size_t i = 0; i < it->inputs[k].rows * it->inputs[k].columns; i++) {
            double kept = it->values[k][i], step = 1e-6;
            it->values[k][i] = kept + step;
            double above = evaluate(it, false);
            it->values[k][i] = kept - step;
            double below = evaluate(it, false);
            it->values[k][i] = kept;
            double numeric = (above - below) / (2 * step), exact = analytic[k * 512 + i];
            largest = fmax(largest, fabs(exact));
            if (fabs(numeric - exact) > 1e-7 * fmax(1, fabs(exact)))
                fail_msg("input %zu element %zu: %.10g by backward, %.10g by differences", k, i, exact, numeric);
        }
    }
    assert_true(largest > 1e-3);
    td_arena_free(&it->arena);
}

static td_ragged ragged_of(const check *it)
{
    return (td_ragged){it->sequences, it->offsets};
}

static td_tensor *layer(check *it, td_tensor **outputs)
{
    td_recurrent_weights weights = {input(it, 1), input(it, 2), it->bias ? input(it, 3) : NULL, it->bias ? input(it, 4) : NULL};
    size_t at = it->bias ? 5 : 3;
    bool lstm = it->options.kind == TD_CELL_LSTM;
    td_tensor *h0 = it->states ? input(it, at) : NULL, *c0 = it->states && lstm ? input(it, at + 1) : NULL;
    return outputs[0] = td_recurrent(&it->graph, input(it, 0), ragged_of(it), &it->options, &weights, h0, c0, &outputs[1], &outputs[2]);
}

static const int32_t lengths_mixed[] = {0, 2, 7, 7, 8, 13}, lengths_one[] = {0, 3}, lengths_equal[] = {0, 2, 4, 6};
static const struct {
    const int32_t *offsets;
    size_t count;
} batches[] = {{lengths_mixed, 5}, {lengths_one, 1}, {lengths_equal, 3}};

static void whole_layers(void **state)
{
    (void)state;
    static check it;
    for (int kind = TD_CELL_RNN_TANH; kind <= TD_CELL_GRU; kind++)
        for (size_t b = 0; b < 3; b++)
            for (int flags = 0; flags < 8; flags++) {
                memset(&it, 0, sizeof it);
                it.forward = layer;
                it.options = (td_recurrent_options){(td_cell_kind)kind, HIDDEN, flags & 1};
                it.bias = flags & 2;
                it.states = flags & 4;
                it.offsets = batches[b].offsets;
                it.sequences = batches[b].count;
                size_t width = td_cell_gates((td_cell_kind)kind) * HIDDEN;
                add_input(&it, td_ragged_total(ragged_of(&it)), INPUT);
                add_input(&it, width, INPUT);
                add_input(&it, width, HIDDEN);
                for (int i = 0; it.bias && i < 2; i++)
                    add_input(&it, 1, width);
                for (int i = 0; it.states && i < (kind == TD_CELL_LSTM ? 2 : 1); i++)
                    add_input(&it, it.sequences, HIDDEN);
                run(&it);
            }
}

/* Three steps by hand over a shrinking number of rows, with views, step products and stacking. */
static td_tensor *steps(check *it, td_tensor **outputs)
{
    td_graph *graph = &it->graph;
    bool lstm = it->options.kind == TD_CELL_LSTM;
    td_step_linear *of_input = td_step_linear_begin(graph, td_tensor_columns(graph, input(it, 1), 1, INPUT), input(it, 3), 6);
    td_step_linear *of_state = td_step_linear_begin(graph, input(it, 2), input(it, 4), 6);
    td_tensor *x = input(it, 0), *h = input(it, 5), *c = lstm ? input(it, 6) : NULL, *all[3];
    for (size_t t = 0, first = 0; t < 3; t++) {
        size_t rows = 3 - t;
        h = td_tensor_rows(graph, h, 0, rows);
        c = td_tensor_rows(graph, c, 0, rows);
        td_tensor *sums = td_step_linear_apply(graph, of_input, td_tensor_rows(graph, x, first, rows),
                                               t ? td_tensor_rows(graph, input(it, 7), 0, rows) : NULL);
        h = td_recurrent_step(graph, it->options.kind, sums, td_step_linear_apply(graph, of_state, h, NULL), h, c, &c);
        all[t] = h;
        first += rows;
    }
    outputs[1] = c;
    return outputs[0] = td_stack_rows(graph, all, 3);
}

static void single_steps(void **state)
{
    (void)state;
    static check it;
    for (int kind = TD_CELL_RNN_TANH; kind <= TD_CELL_GRU; kind++) {
        memset(&it, 0, sizeof it);
        it.forward = steps;
        it.options.kind = (td_cell_kind)kind;
        size_t width = td_cell_gates((td_cell_kind)kind) * HIDDEN;
        add_input(&it, 6, INPUT);
        add_input(&it, width, INPUT + 2);
        add_input(&it, width, HIDDEN);
        add_input(&it, 1, width);
        add_input(&it, 1, width);
        add_input(&it, 3, HIDDEN);
        add_input(&it, 3, HIDDEN);
        add_input(&it, 3, width);
        run(&it);
    }
}

/* Four queries over memories of 3, 2 and 0 rows, two of them sharing one; the weights are an output too. */
static td_tensor *attend(check *it, td_tensor **outputs)
{
    td_graph *graph = &it->graph;
    td_tensor *keys = input(it, 1), *values = input(it, 2);
    static td_memory_segment segments[4];
    static const size_t first[] = {2, 0, 2, 1}, length[] = {3, 2, 3, 0};
    for (size_t i = 0; i < 4; i++)
        segments[i] = (td_memory_segment){keys->data + first[i] * keys->stride, values->data + first[i] * values->stride, length[i]};
    td_recurrent_attention_options options = {it->additive, keys->stride, values->stride, values->columns, 4};
    outputs[0] = td_recurrent_attention(graph, input(it, 0), segments, &options, keys, values, it->additive ? input(it, 3) : NULL,
                                        it->coverage ? input(it, 4) : NULL, it->coverage ? input(it, 5) : NULL, &outputs[1]);
    return outputs[0];
}

static void attention(void **state)
{
    (void)state;
    static check it;
    for (int kind = 0; kind < 3; kind++) {
        memset(&it, 0, sizeof it);
        it.forward = attend;
        it.additive = kind > 0;
        it.coverage = kind > 1;
        add_input(&it, 4, HIDDEN);
        add_input(&it, 5, HIDDEN);
        add_input(&it, 5, INPUT);
        add_input(&it, 1, HIDDEN);
        add_input(&it, 4, 4);
        add_input(&it, 1, HIDDEN);
        run(&it);
    }
}

/* What is in the batch besides a sequence, and in which order, changes nothing for it. */
static void batches_do_not_matter(void **state)
{
    (void)state;
    static check it;
    memset(&it, 0, sizeof it);
    it.options = (td_recurrent_options){TD_CELL_GRU, HIDDEN, true};
    it.offsets = lengths_mixed;
    it.sequences = 5;
    add_input(&it, 13, INPUT);
    add_input(&it, 3 * HIDDEN, INPUT);
    add_input(&it, 3 * HIDDEN, HIDDEN);
    td_arena_init(&it.arena);
    td_graph_begin(&it.graph, &it.arena, false);
    td_recurrent_weights weights = {input(&it, 1), input(&it, 2), NULL, NULL};
    td_tensor *h = NULL, *alone_h = NULL;
    td_tensor *y = td_recurrent(&it.graph, input(&it, 0), ragged_of(&it), &it.options, &weights, NULL, NULL, &h, NULL);
    for (size_t i = 0; i < 5; i++) {
        size_t first = (size_t)lengths_mixed[i], length = td_ragged_length(ragged_of(&it), i);
        int32_t offsets[] = {0, (int32_t)length};
        td_tensor *alone = td_recurrent(&it.graph, td_tensor_rows(&it.graph, input(&it, 0), first, length), (td_ragged){1, offsets},
                                        &it.options, &weights, NULL, NULL, &alone_h, NULL);
        assert_non_null(alone);
        assert_memory_equal(alone->data, y->data + first * HIDDEN, length * HIDDEN * sizeof(td_real));
        assert_memory_equal(alone_h->data, h->data + i * HIDDEN, HIDDEN * sizeof(td_real));
    }
    td_arena_free(&it.arena);
}

static void wrong_shapes_are_errors(void **state)
{
    (void)state;
    static check it;
    memset(&it, 0, sizeof it);
    it.options = (td_recurrent_options){TD_CELL_LSTM, HIDDEN, false};
    it.offsets = lengths_one;
    it.sequences = 1;
    add_input(&it, 3, INPUT);
    add_input(&it, 3 * HIDDEN, INPUT); /* should be 4 * HIDDEN */
    add_input(&it, 4 * HIDDEN, HIDDEN);
    td_arena_init(&it.arena);
    td_graph_begin(&it.graph, &it.arena, false);
    td_recurrent_weights weights = {input(&it, 1), input(&it, 2), NULL, NULL};
    assert_null(td_recurrent(&it.graph, input(&it, 0), ragged_of(&it), &it.options, &weights, NULL, NULL, NULL, NULL));
    assert_int_equal(it.graph.error.status, TD_ERROR_ARGUMENT);
    td_arena_free(&it.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_layers),
        cmocka_unit_test(single_steps),
        cmocka_unit_test(attention),
        cmocka_unit_test(batches_do_not_matter),
        cmocka_unit_test(wrong_shapes_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
