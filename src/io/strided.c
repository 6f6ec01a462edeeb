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

td_status td_strides_resolve(td_stored_tensor *tensor, const size_t *strides, bool big, td_arena *memory, td_error *error)
{
    size_t size = td_dtype_size(tensor->dtype), index[TD_STORED_RANK_MAX] = {0};
    uint8_t *copy = td_arena_allocate(memory, tensor->bytes + 1);
    if (!copy)
        return td_fail_memory(error, tensor->bytes);
    const uint8_t *from = tensor->data;
    for (size_t at = 0; at < tensor->bytes; at += size) {
        size_t offset = 0;
        for (size_t i = 0; i < tensor->rank; i++)
            offset += index[i] * strides[i];
        copy_element(copy + at, from + offset * size, size, big);
        for (size_t i = tensor->rank; i-- > 0;) {
            if (++index[i] < tensor->shape[i])
                break;
            index[i] = 0;
        }
    }
    tensor->data = copy;
    return TD_OK;
}
