/* The safetensors format (huggingface/safetensors): named tensors in one mapped file, or in shards that an index lists. */
#ifndef TD_IO_SAFETENSORS_H
#define TD_IO_SAFETENSORS_H

#include "base/error.h"
#include "tensor/dtype.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { TD_STORED_RANK_MAX = 8 };

/* One tensor as stored: row-major, little endian. Belongs to the td_safetensors it came from. */
typedef struct td_stored_tensor {
    const char *name;
    td_dtype dtype;
    size_t rank;
    size_t shape[TD_STORED_RANK_MAX];
    const void *data; /* may be unaligned: use td_safetensors_read_float or memcpy */
    size_t bytes;
    const struct td_deferred *deferred; /* the file holds it packed or in another order: data are NULL until it is held; or NULL */
    void *owned;                        /* by a tensor that is held */
} td_stored_tensor;

typedef struct td_safetensors td_safetensors;

/* Maps one file. Every size and offset is checked before anything is used; errors name file and tensor. */
td_status td_safetensors_open(const char *path, td_safetensors **ret_file, td_error *error);
/* Opens directory/model.safetensors, or the shards that directory/model.safetensors.index.json lists. */
td_status td_safetensors_open_directory(const char *directory, td_safetensors **ret_file, td_error *error);
void td_safetensors_close(td_safetensors *file); /* NULL is fine */

/* NULL when there is no tensor of that name. */
const td_stored_tensor *td_safetensors_find(const td_safetensors *file, const char *name);
/* Tensors in order of their names. */
size_t td_safetensors_count(const td_safetensors *file);
const td_stored_tensor *td_safetensors_at(const td_safetensors *file, size_t index);
/* A "__metadata__" value (of the first shard), or NULL. */
const char *td_safetensors_metadata(const td_safetensors *file, const char *key);

/* So much of a tensor was read and is not expected to be read again: the file's pages need not stay in memory. They come back when read.
 * No effect on what could not stay where it is in the file. */
void td_safetensors_forget(const td_safetensors *file, const void *data, size_t bytes);

size_t td_stored_count(const td_stored_tensor *tensor); /* elements */
/* The tensor with its data in memory, row-major and little endian: where they lie in the file, or else made here and owned until
 * td_stored_let_go, so that no more than one such tensor need be in memory. */
td_status td_stored_hold(const td_stored_tensor *tensor, td_stored_tensor *ret_held, td_error *error);
void td_stored_let_go(td_stored_tensor *held);
/* Converts F32, F16, BF16 or F64 to `out`; `count` must be the tensor's element count. */
td_status td_safetensors_read_float(const td_stored_tensor *tensor, float *out, size_t count, td_error *error);
td_status td_safetensors_read_double(const td_stored_tensor *tensor, double *out, size_t count, td_error *error);

/* A matrix of int8 or int16 stands for its elements times the number of their row in the tensor NAME_scale beside it. */
static inline bool td_stored_is_whole(const td_stored_tensor *tensor)
{
    return tensor->dtype == TD_I8 || tensor->dtype == TD_I16;
}
static inline int td_stored_whole_at(const td_stored_tensor *tensor, size_t index)
{
    int16_t wide;
    if (tensor->dtype == TD_I8)
        return ((const int8_t *)tensor->data)[index];
    memcpy(&wide, (const char *)tensor->data + index * sizeof wide, sizeof wide);
    return wide;
}
/* The scales of such a matrix; where it is none, or its scales do not fit, an error that says what is wanted. */
td_status td_safetensors_scales(const td_safetensors *file, const td_stored_tensor *matrix, const td_stored_tensor **ret_scales,
                                td_error *error);

/* Writes tensors in the order given, so equal input makes equal bytes. `metadata_pairs` holds key, value, key, value, ... (`pairs`
 * of them); "format": "pt" is added when absent, without which Python's loader refuses the file. */
td_status td_safetensors_write(const char *path, const td_stored_tensor *tensors, size_t count, const char *const *metadata_pairs,
                               size_t pairs, td_error *error);

#endif
