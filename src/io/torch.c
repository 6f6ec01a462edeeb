/* PyTorch's files (torch.save since 1.6): a zip archive that holds a pickle with the names and shapes, and the tensors' bytes in entries
 * of their own. */
#include "io/pickle.h"
#include "io/strided.h"
#include "io/weights.h"
#include "io/zip.h"

#include <stdio.h>
#include <string.h>

enum { PICKLE_LIMIT = 1 << 28 };
/* Memory for names, and for tensors that are not stored row by row: a small file must not ask for much. */
enum { MEMORY_LEAST = 1 << 24, MEMORY_PER_BYTE = 16 };

typedef struct torch_archive {
    td_shard *part;
    td_zip zip;
    char folder[256]; /* in front of every entry's name, with its slash */
    bool big;
} torch_archive;

static const td_zip_entry *find_entry(const torch_archive *archive, const char *name)
{
    char path[sizeof archive->folder + 300];
    snprintf(path, sizeof path, "%s%s", archive->folder, name);
    return td_zip_find(&archive->zip, path);
}

static td_status find_pickle(torch_archive *archive, const td_zip_entry **ret_entry, td_error *error)
{
    static const char name[] = "data.pkl";
    for (size_t i = 0; i < archive->zip.count; i++) {
        const td_zip_entry *entry = &archive->zip.entries[i];
        size_t length = strlen(entry->name), folder = length - (sizeof name - 1);
        if (length < sizeof name || folder >= sizeof archive->folder || strcmp(entry->name + folder, name) != 0 ||
            entry->name[folder - 1] != '/')
            continue;
        memcpy(archive->folder, entry->name, folder);
        archive->folder[folder] = 0;
        *ret_entry = entry;
        return TD_OK;
    }
    return td_fail(error, TD_ERROR_FORMAT, "%s: the archive holds no data.pkl; not a file of torch.save?", archive->part->path);
}

/* Files say so where they are not in the usual order; older ones never are. */
static td_status read_byte_order(torch_archive *archive, td_error *error)
{
    const td_zip_entry *entry = find_entry(archive, "byteorder");
    const uint8_t *bytes;
    if (!entry)
        return TD_OK;
    TD_TRY(td_zip_bytes(archive->part->path, entry, &archive->part->memory, &bytes, error));
    archive->big = entry->size == 3 && memcmp(bytes, "big", 3) == 0;
    if (!archive->big && (entry->size != 6 || memcmp(bytes, "little", 6) != 0))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"byteorder\" must be little or big", archive->part->path);
    return TD_OK;
}

static td_status place_tensor(torch_archive *archive, const td_pickled_tensor *pickled, td_stored_tensor *tensor, td_error *error)
{
    char name[300];
    td_shard *part = archive->part;
    snprintf(name, sizeof name, "data/%s", pickled->storage);
    const td_zip_entry *entry = find_entry(archive, name);
    size_t size = td_dtype_size(pickled->dtype), needed;
    if (!entry)
        return td_fail(error, TD_ERROR_FORMAT, "%s: tensor \"%s\": the archive lacks %s", part->path, pickled->name, name);
    if (td_multiply_overflows(pickled->storage_count, size, &needed) || needed > entry->size)
        return td_fail(error, TD_ERROR_FORMAT, "%s: tensor \"%s\": %zu elements of %s expected in %s, which has %zu bytes", part->path,
                       pickled->name, pickled->storage_count, td_dtype_name(pickled->dtype), name, entry->size);
    if (entry->deflated)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: tensor \"%s\": %s is packed; torch.save stores tensors as they are", part->path,
                       pickled->name, name);
    const uint8_t *bytes = entry->data;
    *tensor =
        (td_stored_tensor){.name = pickled->name, .dtype = pickled->dtype, .rank = pickled->rank, .data = bytes + pickled->offset * size};
    memcpy(tensor->shape, pickled->shape, sizeof tensor->shape);
    tensor->bytes = size;
    for (size_t i = 0; i < tensor->rank; i++)
        tensor->bytes *= tensor->shape[i];
    bool swapped = archive->big && size > 1;
    if (!swapped && td_strides_are_plain(tensor, pickled->strides))
        return TD_OK;
    td_deferred how = {.path = part->path, .first = tensor->data, .big = swapped};
    memcpy(how.strides, pickled->strides, sizeof how.strides);
    return td_stored_defer(tensor, &how, &part->memory, error);
}

td_status td_torch_read_shard(td_safetensors *file, td_shard *part, td_error *error)
{
    torch_archive archive = {.part = part};
    if (part->map.size < 4 || memcmp(part->map.data, "PK\3\4", 4) != 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED,
                       "%s: not a zip archive; files of PyTorch before 1.6 must be loaded and saved again with a newer one "
                       "(torch.save(torch.load(...)))",
                       part->path);
    TD_TRY(td_zip_read(part->path, &part->map, &part->memory, &archive.zip, error));
    const td_zip_entry *entry = NULL;
    part->memory.limit = MEMORY_LEAST + part->map.size * MEMORY_PER_BYTE;
    TD_TRY(find_pickle(&archive, &entry, error));
    TD_TRY(read_byte_order(&archive, error));
    if (entry->size > PICKLE_LIMIT)
        return td_fail(error, TD_ERROR_LIMIT, "%s: data.pkl of %zu bytes; at most %d are read", part->path, entry->size, PICKLE_LIMIT);
    const uint8_t *bytes;
    TD_TRY(td_zip_bytes(part->path, entry, &part->memory, &bytes, error));
    td_pickled_tensor *pickled;
    size_t count;
    TD_TRY(td_pickle_read(part->path, bytes, entry->size, &part->memory, &pickled, &count, error));
    for (size_t i = 0; i < count; i++) {
        td_stored_tensor tensor;
        TD_TRY(place_tensor(&archive, &pickled[i], &tensor, error));
        TD_TRY(td_weights_add(file, &tensor, error));
    }
    return TD_OK;
}
