#include "base/array.h"

enum { FIRST = 64 }; /* items of an array that had none */

td_status td_reserve_array(void *block, size_t *capacity, size_t wanted, size_t size, td_error *error)
{
    if (wanted <= *capacity)
        return TD_OK;
    size_t twice = *capacity ? 2 * *capacity : FIRST, larger = wanted > twice ? wanted : twice;
    if (!td_grow_array(block, larger, size))
        return td_fail_memory(error, larger * size);
    *capacity = larger;
    return TD_OK;
}
