/* A file of weights from bytes in memory, for tests of damaged files. */
#ifndef TD_TESTS_SHARD_BYTES_H
#define TD_TESTS_SHARD_BYTES_H

#include "base/memory.h"
#include "io/weights.h"

#include <string.h>

/* From memory of just that size, so that a sanitizer sees what points outside. */
static inline td_status open_bytes(const char *bytes, size_t length, td_shard_reader read, td_error *error)
{
    uint8_t *copy = test_malloc(length + !length);
    memcpy(copy, bytes, length);
    td_shard part = {.path = "file", .map = {copy, length}};
    td_safetensors file = {.shards = &part, .shard_count = 1};
    td_arena_init(&part.memory);
    td_status status = read(&file, &part, error);
    volatile uint8_t last = 0;
    for (size_t i = 0; status == TD_OK && i < file.count; i++) {
        td_stored_tensor held = {0};
        status = td_stored_hold(&file.tensors[i], &held, error);
        for (size_t k = 0; status == TD_OK && k < held.bytes; k++)
            last = ((const uint8_t *)held.data)[k];
        td_stored_let_go(&held);
    }
    (void)last;
    td_release(file.tensors);
    td_arena_free(&part.memory);
    test_free(copy);
    return status;
}

#endif
