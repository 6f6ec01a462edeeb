/* The gradient of CTC in double precision against central differences, and the loss against a sum over all alignments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "ops/ctc.h"

enum { WORDS = 3, BLANK = 1, SEQUENCES = 5 };
static const int32_t frames[] = {0, 5, 9, 11, 14, 16}, labels[] = {0, 2, 5, 5, 7, 9}, ids[] = {0, 2, 2, 2, 0, 0, 0, 2, 2};
enum { ELEMENTS = 16 * WORDS, SKIPPED = 4 }; /* the last: 2 2 in two frames */

/* The sum of the losses, times a scale in the gradients. */
static double evaluate(double *values, double *gradients, double *losses)
{
    td_parameter parameter = {.name = "logits", .rows = 16, .columns = WORDS, .data = values};
    td_arena arena;
    td_graph graph;
    td_arena_init(&arena);
    td_graph_begin(&graph, &arena, true);
    memset(gradients, 0, ELEMENTS * sizeof *gradients);
    graph.gradients = gradients;
    td_ctc_options options = {BLANK, 0.25};
    td_tensor *loss = td_ctc_loss(&graph, td_graph_parameter(&graph, &parameter), (td_ragged){SEQUENCES, frames}, ids,
                                  (td_ragged){SEQUENCES, labels}, &options, losses);
    assert_string_equal(graph.error.message, "");
    double sum = loss->data[0];
    assert_int_equal(td_backward(&graph, NULL, 0, NULL), TD_OK);
    td_arena_free(&arena);
    return sum;
}

static void fill(double *values)
{
    for (size_t i = 0; i < ELEMENTS; i++)
        values[i] = 1.5 * sin(1.7 * (double)i + 0.3);
}

static void gradients_are_differences(void **state)
{
    (void)state;
    static double values[ELEMENTS], exact[ELEMENTS], ignored[ELEMENTS], losses[SEQUENCES];
    fill(values);
    evaluate(values, exact, losses);
    for (size_t i = 0; i < ELEMENTS; i++) {
        double kept = values[i], step = 1e-6;
        values[i] = kept + step;
        double above = evaluate(values, ignored, NULL);
        values[i] = kept - step;
        double below = evaluate(values, ignored, NULL);
        values[i] = kept;
        double numeric = 0.25 * (above - below) / (2 * step);
        if (fabs(numeric - exact[i]) > 1e-8)
            fail_msg("element %zu: %.10g by backward, %.10g by differences", i, exact[i], numeric);
        bool skipped = i / WORDS >= (size_t)frames[SKIPPED];
        assert_true(skipped ? exact[i] == 0 : exact[i] != 0);
    }
    assert_true(losses[SKIPPED] == INFINITY);
}

/* Whether one label a frame, repeats joined and blanks taken out, spells the target. */
static bool spells(size_t path, size_t length, const int32_t *target, size_t count)
{
    size_t at = 0;
    int32_t previous = -1;
    for (size_t t = 0; t < length; t++, path /= WORDS) {
        int32_t now = (int32_t)(path % WORDS);
        if (now != BLANK && now != previous && (at == count || target[at++] != now))
            return false;
        previous = now;
    }
    return at == count;
}

static void loss_is_the_sum_over_alignments(void **state)
{
    (void)state;
    static double values[ELEMENTS], ignored[ELEMENTS], losses[SEQUENCES];
    fill(values);
    evaluate(values, ignored, losses);
    for (size_t s = 0; s < SEQUENCES; s++) {
        size_t length = (size_t)(frames[s + 1] - frames[s]), paths = (size_t)(pow(WORDS, (double)length) + 0.5);
        double total = 0;
        for (size_t path = 0; path < paths; path++) {
            double probability = 1;
            size_t left = path;
            for (size_t t = 0; t < length; t++, left /= WORDS) {
                const double *row = values + ((size_t)frames[s] + t) * WORDS;
                probability *= exp(row[left % WORDS]) / (exp(row[0]) + exp(row[1]) + exp(row[2]));
            }
            if (spells(path, length, ids + labels[s], (size_t)(labels[s + 1] - labels[s])))
                total += probability;
        }
        if (s == SKIPPED)
            assert_true(total == 0);
        else if (!(fabs(-log(total) - losses[s]) <= 1e-10))
            fail_msg("sequence %zu: %.12g, over all alignments %.12g", s, losses[s], -log(total));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(loss_is_the_sum_over_alignments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
