/* NumPy's .npz: a zip archive of .npy arrays, whose names without the ending are the tensors' names. */
#include "io/npy.h"
#include "io/strided.h"
#include "io/weights.h"
#include "io/zip.h"

#include <string.h>

static td_status read_array(td_shard *part, const td_zip_entry *entry, td_stored_tensor *tensor, td_error *error)
{
    const uint8_t *bytes;
    TD_TRY(td_zip_bytes(part->path, entry, &part->memory, &bytes, error));
    td_npy array;
    td_status status = td_npy_parse(entry->name, bytes, entry->size, &array, error);
    if (status != TD_OK)
        return td_error_prefix(error, "%s", part->path);
    tensor->dtype = array.dtype;
    tensor->rank = array.rank;
    memcpy(tensor->shape, array.shape, sizeof array.shape);
    tensor->data = array.values;
    tensor->bytes = array.count * td_dtype_size(array.dtype);
    size_t strides[TD_STORED_RANK_MAX], step = 1;
    for (size_t i = 0; i < array.rank; i++) {
        size_t k = array.fortran ? i : array.rank - 1 - i;
        strides[k] = step;
        step *= array.shape[k];
    }
    return array.big || !td_strides_are_plain(tensor, strides) ? td_strides_resolve(tensor, strides, array.big, &part->memory, error) : TD_OK;
}

td_status td_npz_read_shard(td_safetensors *file, td_shard *part, td_error *error)
{
    td_zip zip;
    TD_TRY(td_zip_read(part->path, part->map.data, part->map.size, &part->memory, &zip, error));
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
