/* Python pickles, read as data: a small machine that knows the instructions of a saved state dictionary and builds dictionaries,
 * tuples, strings, numbers and descriptions of tensors. It calls nothing; a name that is not in its table is an error. */
#ifndef TD_IO_PICKLE_H
#define TD_IO_PICKLE_H

#include "base/arena.h"
#include "io/safetensors.h"

#include <stdbool.h>

/* A tensor as torch._utils._rebuild_tensor_v2 is told of it. */
typedef struct td_pickled_tensor {
    const char *name;
    td_dtype dtype;
    const char *storage;  /* the storage's key */
    size_t storage_count; /* elements of the storage */
    size_t offset;        /* of the first element, in elements */
    size_t rank, shape[TD_STORED_RANK_MAX], strides[TD_STORED_RANK_MAX];
} td_pickled_tensor;

/* The tensors of the dictionary that the pickle is, in its order; they belong to the arena. Elements are within the storage, and no more
 * than it has. `path` is for messages. */
td_status td_pickle_read(const char *path, const uint8_t *bytes, size_t length, td_arena *memory, td_pickled_tensor **ret_tensors,
                         size_t *ret_count, td_error *error);

#endif
