/* NumPy's .npy: a header that is a Python dictionary's text, then an array. */
#ifndef TD_IO_NPY_H
#define TD_IO_NPY_H

#include "base/error.h"
#include "tensor/dtype.h"

#include <stdbool.h>

#define TD_NPY_MAGIC "\x93NUMPY"
enum { TD_NPY_RANK_MAX = 8, TD_NPY_HEAD = 1 << 17 };

typedef struct td_npy {
    td_dtype dtype;
    bool big;     /* most significant byte first */
    bool fortran; /* the first index runs fastest */
    size_t rank, shape[TD_NPY_RANK_MAX], count;
    const uint8_t *values; /* count of them, in `bytes` */
} td_npy;

/* `name` is what messages call the file, of `length` bytes; `bytes` holds the first `there` of them, TD_NPY_HEAD or all. */
td_status td_npy_parse(const char *name, const uint8_t *bytes, size_t there, size_t length, td_npy *ret_array, td_error *error);

#endif
