/* Arrays that grow as items are added. */
#ifndef TD_BASE_ARRAY_H
#define TD_BASE_ARRAY_H

#include "base/memory.h"

/* Makes room for `wanted` items of `size` bytes in what the pointer at `block` points to, and for twice as many as before where there is
 * too little, so that adding one at a time costs little. Without memory it fails (error may be NULL), and the array is as it was. */
td_status td_reserve_array(void *block, size_t *capacity, size_t wanted, size_t size, td_error *error) __attribute__((warn_unused_result));

#endif
