/* The memory of gradients: what backward is done with serves again, and what is read afterwards stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "ops/ops.h"
#include "tensor/graph.h"

enum { ROWS = 64, COLUMNS = 32, OPERATIONS = 100 };

/* y = x + x, then y + x again and again: the gradient of x counts how often it was added. */
static void gradients_of_a_long_chain_share_memory(void **state)
{
    (void)state;
    td_arena arena;
    td_graph graph;
    td_error error = {TD_OK, ""};
    td_arena_init(&arena);
    td_graph_begin(&graph, &arena, true);
    td_tensor *x = td_tensor_zeroed(&graph, ROWS, COLUMNS, true), *y = x;
    for (int i = 0; i < OPERATIONS; i++)
        y = td_add(&graph, y, x);
    assert_non_null(y);
    size_t forward = arena.total, one = ROWS * COLUMNS * sizeof(td_real);
    assert_int_equal(td_backward(&graph, y, 1, &error), TD_OK);
    assert_in_range(arena.total - forward, one, 5 * one);
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        assert_true(x->gradient[i] == OPERATIONS + 1);
    td_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_of_a_long_chain_share_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
