#include "io/strided.h"

#include <string.h>

bool td_strides_are_plain(const td_stored_tensor *tensor, const size_t *strides)
{
    size_t expected = 1;
    for (size_t i = tensor->rank; i-- > 0; expected *= tensor->shape[i])
        if (tensor->shape[i] != 1 && strides[i] != expected)
            return tensor->bytes == 0;
    return true;
}

static void copy_element(uint8_t *to, const uint8_t *from, size_t size, bool big)
{
    for (size_t i = 0; i < size; i++)
        to[i] = from[big ? size - 1 - i : i];
}

static void copy_strided(const td_stored_tensor *tensor, const td_deferred *how, const uint8_t *from, uint8_t *to)
{
    size_t size = td_dtype_size(tensor->dtype), index[TD_STORED_RANK_MAX] = {0};
    for (size_t at = 0; at < tensor->bytes; at += size) {
        size_t offset = 0;
        for (size_t i = 0; i < tensor->rank; i++)
            offset += index[i] * how->strides[i];
        copy_element(to + at, from + offset * size, size, how->big);
        for (size_t i = tensor->rank; i-- > 0;) {
            if (++index[i] < tensor->shape[i])
                break;
            index[i] = 0;
        }
    }
}

td_status td_stored_defer(td_stored_tensor *tensor, const td_deferred *how, td_arena *memory, td_error *error)
{
    td_deferred *kept = td_arena_allocate(memory, sizeof *kept);
    if (!kept || (memory->limit && tensor->bytes > memory->limit))
        return td_fail_memory(error, tensor->bytes);
    *kept = *how;
    tensor->deferred = kept;
    tensor->data = NULL;
    return TD_OK;
}

td_status td_stored_hold(const td_stored_tensor *tensor, td_stored_tensor *ret_held, td_error *error)
{
    const td_deferred *how = tensor->deferred;
    td_stored_tensor held = *tensor;
    uint8_t *unpacked = NULL, *copy = NULL;
    held.deferred = NULL;
    held.owned = NULL; /* what is held already belongs to who holds it */
    if (!how) {
        *ret_held = held;
        return TD_OK;
    }
    if (how->packed) {
        unpacked = td_allocate(how->packed->size + 1);
        td_status status = unpacked ? td_zip_unpack(how->path, how->packed, unpacked, error) : td_fail_memory(error, how->packed->size);
        if (status != TD_OK) {
            td_release(unpacked);
            return status;
        }
    }
    held.data = unpacked ? unpacked + how->offset : how->first;
    held.owned = unpacked;
    if (how->big || !td_strides_are_plain(tensor, how->strides)) {
        copy = td_allocate(tensor->bytes + 1);
        if (copy)
            copy_strided(tensor, how, held.data, copy);
        td_release(unpacked);
        if (!copy)
            return td_fail_memory(error, tensor->bytes);
        held.data = held.owned = copy;
    }
    *ret_held = held;
    return TD_OK;
}

void td_stored_let_go(td_stored_tensor *held)
{
    td_release(held->owned);
    held->owned = NULL;
}
