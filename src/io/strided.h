/* Arrays that a file holds in another order than row-major, or with the most significant byte first. */
#ifndef TD_IO_STRIDED_H
#define TD_IO_STRIDED_H

#include "base/arena.h"
#include "io/safetensors.h"

#include <stdbool.h>

/* True when `strides` (in elements) are those of row-major order. */
bool td_strides_are_plain(const td_stored_tensor *tensor, const size_t *strides);
/* tensor->data points at the first element: makes it point at a row-major copy in the arena. The caller has checked that every element
 * lies in the file. */
td_status td_strides_resolve(td_stored_tensor *tensor, const size_t *strides, bool big, td_arena *memory, td_error *error);

#endif
