/* NumPy's .npz: a zip archive of .npy arrays, whose names without the ending are the tensors' names. */
#include "io/npy.h"
#include "io/strided.h"
#include "io/weights.h"
#include "io/zip.h"

#include <string.h>

/* What the array is, and where its elements begin; of a packed one no more than that is unpacked. */
static td_status read_head(const td_shard *part, const td_zip_entry *entry, td_npy *ret_array, size_t *ret_offset, td_error *error)
{
    uint8_t *unpacked = entry->deflated ? td_allocate(TD_NPY_HEAD) : NULL;
    const uint8_t *bytes = entry->deflated ? unpacked : entry->data;
    if (entry->deflated && !unpacked)
        return td_fail_memory(error, TD_NPY_HEAD);
    size_t there = unpacked ? td_zip_unpack_head(entry, unpacked, TD_NPY_HEAD) : entry->size;
    td_status status =
        there || !entry->size ? TD_OK : td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\": its packed data are damaged", part->path, entry->name);
    if (status == TD_OK && (status = td_npy_parse(entry->name, bytes, there, entry->size, ret_array, error)) != TD_OK)
        status = td_error_prefix(error, "%s", part->path);
    if (status == TD_OK)
        *ret_offset = (size_t)((const uint8_t *)ret_array->values - bytes);
    td_release(unpacked);
    return status;
}

static td_status read_array(td_shard *part, const td_zip_entry *entry, td_stored_tensor *tensor, td_error *error)
{
    td_npy array;
    size_t offset = 0;
    TD_TRY(read_head(part, entry, &array, &offset, error));
    tensor->dtype = array.dtype;
    tensor->rank = array.rank;
    memcpy(tensor->shape, array.shape, sizeof array.shape);
    tensor->data = array.values;
    tensor->bytes = array.count * td_dtype_size(array.dtype);
    td_deferred how = {
        .path = part->path, .packed = entry->deflated ? entry : NULL, .first = array.values, .offset = offset, .big = array.big};
    size_t step = 1;
    for (size_t i = 0; i < array.rank; i++) {
        size_t k = array.fortran ? i : array.rank - 1 - i;
        how.strides[k] = step;
        step *= array.shape[k];
    }
    bool plain = !array.big && !entry->deflated && td_strides_are_plain(tensor, how.strides);
    return plain ? TD_OK : td_stored_defer(tensor, &how, &part->memory, error);
}

td_status td_npz_read_shard(td_safetensors *file, td_shard *part, td_error *error)
{
    td_zip zip;
    TD_TRY(td_zip_read(part->path, &part->map, &part->memory, &zip, error));
    for (size_t i = 0; i < zip.count; i++) {
        char *name = (char *)(uintptr_t)zip.entries[i].name;
        size_t length = strlen(name);
        if (length < 4 || strcmp(name + length - 4, ".npy") != 0)
            continue;
        td_stored_tensor tensor = {0};
        TD_TRY(read_array(part, &zip.entries[i], &tensor, error));
        name[length - 4] = 0;
        tensor.name = name;
        TD_TRY(td_weights_add(file, &tensor, error));
    }
    return TD_OK;
}
