/* Arenas, buffers, random permutations, UTF-8: the ground everything stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/buffer.h"
#include "base/random.h"
#include "base/utf8.h"

static void permutation_is_a_bijection(void **state)
{
    (void)state;
    for (uint64_t count = 1; count < 300; count += 7) {
        unsigned char seen[300] = {0};
        for (uint64_t i = 0; i < count; i++)
            seen[td_random_permute(42, count, i)]++;
        for (uint64_t i = 0; i < count; i++)
            assert_int_equal(seen[i], 1);
    }
}

static void arena_stops_allocating_after_the_first_step(void **state)
{
    (void)state;
    td_arena arena;
    td_arena_init(&arena);
    uint64_t before = 0;
    for (int step = 0; step < 4; step++) {
        if (step == 2)
            before = td_allocation_count();
        for (int i = 0; i < 100; i++)
            assert_non_null(td_arena_allocate(&arena, 10000));
        td_arena_reset(&arena);
    }
    assert_int_equal(td_allocation_count(), before);
    td_arena_free(&arena);
    for (int layer = 0; layer < 8; layer++) { /* a first step, given back layer by layer, holds one layer's at a time */
        td_arena_mark mark = td_arena_get_mark(&arena);
        assert_non_null(td_arena_allocate(&arena, 300000));
        assert_non_null(td_arena_allocate(&arena, 300000));
        td_arena_release_to(&arena, mark);
    }
    assert_in_range(arena.peak, 600000, 610000);
    td_arena_reset(&arena);
    uint64_t count = td_allocation_count();
    assert_non_null(td_arena_allocate(&arena, 600000));
    assert_int_equal(td_allocation_count(), count);
    td_arena_reset(&arena);
    arena.limit = 1000;
    assert_null(td_arena_allocate(&arena, 2000));
    assert_true(arena.refused);
    td_arena_reset(&arena);
    assert_false(arena.refused);
    td_arena_free(&arena);
    arena.limit = 100000; /* blocks do not grow past it */
    for (int i = 0; i < 100; i++)
        assert_non_null(td_arena_allocate(&arena, 960));
    assert_false(arena.refused);
    for (int i = 0; i < 50; i++)
        td_arena_allocate(&arena, 960);
    assert_true(arena.refused);
    assert_in_range(arena.total, 96000, 100000);
    td_arena_free(&arena);
    td_arena_expect(&arena, 200000);
    uint64_t prepared = td_allocation_count();
    for (int i = 0; i < 20; i++)
        assert_non_null(td_arena_allocate(&arena, 10000));
    assert_int_equal(td_allocation_count(), prepared);
    td_arena_free(&arena);
}

static void utf8_round_trips_and_refuses_malformed(void **state)
{
    (void)state;
    for (uint32_t code = 1; code < 0x110000; code += 13) {
        if (code >= 0xd800 && code < 0xe000)
            continue;
        char bytes[4];
        uint32_t back = 0;
        size_t length = td_utf8_encode(code, bytes);
        assert_int_equal(td_utf8_decode(bytes, length, &back), length);
        assert_int_equal(back, code);
    }
    assert_int_equal(td_utf8_valid_prefix("ab\xc0\x80", 4), 2);       /* overlong */
    assert_int_equal(td_utf8_valid_prefix("\xed\xa0\x80", 3), 0);     /* surrogate */
    assert_int_equal(td_utf8_valid_prefix("a\xe2\x82", 3), 1);        /* cut short */
    assert_int_equal(td_utf8_valid_prefix("\xf4\x90\x80\x80", 4), 0); /* past U+10FFFF */
}

static void buffer_grows(void **state)
{
    (void)state;
    td_buffer buffer = TD_BUFFER_INIT;
    for (int i = 0; i < 1000; i++)
        td_buffer_format(&buffer, "%d,", i);
    assert_true(td_buffer_ok(&buffer));
    assert_int_equal(buffer.length, strlen(buffer.data));
    td_buffer_free(&buffer);
}

static void array_grows_seldom_and_fails_whole(void **state)
{
    (void)state;
    uint64_t before = td_allocation_count();
    int32_t *items = NULL;
    size_t capacity = 0;
    for (int32_t i = 0; i < 10000; i++) {
        assert_int_equal(td_reserve_array(&items, &capacity, (size_t)i + 1, sizeof *items, NULL), TD_OK);
        assert_true(capacity > (size_t)i);
        items[i] = i;
    }
    assert_in_range(td_allocation_count() - before, 1, 9);
    td_error error;
    int32_t *kept = items;
    size_t was = capacity;
    assert_int_equal(td_reserve_array(&items, &capacity, SIZE_MAX / 2, sizeof *items, &error), TD_ERROR_MEMORY);
    assert_ptr_equal(items, kept);
    assert_int_equal(capacity, was);
    for (int32_t i = 0; i < 10000; i++)
        assert_int_equal(items[i], i);
    td_release(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permutation_is_a_bijection),
        cmocka_unit_test(arena_stops_allocating_after_the_first_step),
        cmocka_unit_test(utf8_round_trips_and_refuses_malformed),
        cmocka_unit_test(buffer_grows),
        cmocka_unit_test(array_grows_seldom_and_fails_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
