/* Named tensors of one file or several, whatever the format: opening a directory, and reading what is found. */
#include "io/weights.h"

#include "base/array.h"
#include "io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a directory may hold, best first: the first row whose file is there is read. */
static const struct {
    const char *single, *index;
    td_shard_reader read;
} formats[] = {
    {"model.safetensors", "model.safetensors.index.json", td_safetensors_read_shard},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", td_torch_read_shard},
    {"model.npz", NULL, td_npz_read_shard},
    {"model.bin", NULL, td_ct2_read_shard},
};
enum { FORMAT_COUNT = sizeof formats / sizeof *formats };

td_status td_weights_fail(td_error *error, const char *path, const char *name, const char *reason)
{
    return td_fail(error, TD_ERROR_FORMAT, "%s: tensor \"%s\": %s", path, name, reason);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const td_stored_tensor *)a)->name, ((const td_stored_tensor *)b)->name);
}

td_status td_weights_add(td_safetensors *file, const td_stored_tensor *tensor, td_error *error)
{
    TD_TRY(td_reserve_array(&file->tensors, &file->capacity, file->count + 1, sizeof *file->tensors, error));
    file->tensors[file->count++] = *tensor;
    return TD_OK;
}

static td_safetensors *new_file(size_t shards)
{
    td_safetensors *file = td_allocate_array(1, sizeof *file);
    if (!file)
        return NULL;
    file->shards = td_allocate_array(shards, sizeof *file->shards);
    file->shard_count = shards;
    if (!file->shards) {
        td_release(file);
        return NULL;
    }
    for (size_t i = 0; i < shards; i++)
        td_arena_init(&file->shards[i].memory);
    return file;
}

void td_safetensors_close(td_safetensors *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->shard_count; i++) {
        td_file_unmap(&file->shards[i].map);
        json_decref(file->shards[i].header);
        td_arena_free(&file->shards[i].memory);
        td_release(file->shards[i].path);
    }
    td_release(file->shards);
    td_release(file->tensors);
    td_release(file);
}

/* Sorts by name once all shards are read; a name in two shards is an error. */
static td_status finish(td_safetensors *file, const char *path, td_error *error)
{
    if (file->count)
        qsort(file->tensors, file->count, sizeof *file->tensors, compare_names);
    for (size_t i = 1; i < file->count; i++)
        if (strcmp(file->tensors[i - 1].name, file->tensors[i].name) == 0)
            return td_weights_fail(error, path, file->tensors[i].name, "is stored twice");
    return TD_OK;
}

static td_status read_shard(td_safetensors *file, td_shard *part, const char *path, td_shard_reader read, td_error *error)
{
    part->path = td_copy_string(path);
    if (!part->path)
        return td_fail_memory(error, strlen(path));
    TD_TRY(td_file_map(path, &part->map, error));
    return read(file, part, error);
}

td_status td_weights_open(const char *path, td_shard_reader read, td_safetensors **ret_file, td_error *error)
{
    td_safetensors *file = new_file(1);
    if (!file)
        return td_fail_memory(error, sizeof *file);
    td_status status = read_shard(file, &file->shards[0], path, read, error);
    if (status == TD_OK)
        status = finish(file, path, error);
    if (status != TD_OK) {
        td_safetensors_close(file);
        return status;
    }
    *ret_file = file;
    return TD_OK;
}

td_status td_safetensors_open(const char *path, td_safetensors **ret_file, td_error *error)
{
    return td_weights_open(path, td_safetensors_read_shard, ret_file, error);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Gathers the distinct file names of an index; the strings belong to `map`. */
static td_status list_shards(const json_t *map, const char *path, const char ***ret_names, size_t *ret_count, td_error *error)
{
    size_t count = 0, distinct = 0;
    const char **names = td_allocate_array(json_object_size(map) + 1, sizeof *names);
    if (!names)
        return td_fail_memory(error, json_object_size(map) * sizeof *names);
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (!name || !*name || strchr(name, '/')) { /* a path could lead out of the model's directory */
            td_release(names);
            return td_weights_fail(error, path, tensor, "must name a file beside the index");
        }
        names[count++] = name;
    }
    qsort(names, count, sizeof *names, compare_strings);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(names[i], names[distinct - 1]) != 0)
            names[distinct++] = names[i];
    *ret_names = names;
    *ret_count = distinct;
    return TD_OK;
}

static td_status read_shards(td_safetensors *file, const char *directory, const char *const *names, td_shard_reader read, td_error *error)
{
    for (size_t i = 0; i < file->shard_count; i++) {
        char *path = td_path_join(directory, names[i]);
        td_status status = path ? read_shard(file, &file->shards[i], path, read, error) : td_fail_memory(error, strlen(directory));
        td_release(path);
        TD_TRY(status);
    }
    return TD_OK;
}

static td_status check_index(const td_safetensors *file, const json_t *map, const char *path, td_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, name, value)
    {
        if (!td_safetensors_find(file, name))
            return td_weights_fail(error, path, name, "is in none of the files listed");
    }
    return TD_OK;
}

static td_status open_index(const char *directory, const char *path, td_shard_reader read, td_safetensors **ret_file, td_error *error)
{
    json_t *root;
    TD_TRY(td_json_load_file(path, &root, error));
    const json_t *map = json_object_get(root, "weight_map");
    const char **names = NULL;
    size_t count = 0;
    td_safetensors *file = NULL;
    td_status status = json_object_size(map)
                           ? list_shards(map, path, &names, &count, error)
                           : td_fail(error, TD_ERROR_FORMAT, "%s: \"weight_map\" must be an object that names the files", path);
    if (status == TD_OK && !(file = new_file(count)))
        status = td_fail_memory(error, count * sizeof(td_shard));
    if (status == TD_OK)
        status = read_shards(file, directory, names, read, error);
    if (status == TD_OK)
        status = finish(file, path, error);
    if (status == TD_OK)
        status = check_index(file, map, path, error);
    td_release(names);
    json_decref(root);
    if (status != TD_OK) {
        td_safetensors_close(file);
        return status;
    }
    *ret_file = file;
    return TD_OK;
}

/* Opens directory/single or, where that is missing, directory/index; *ret_found is false when neither is there. */
static td_status open_format(const char *directory, size_t format, bool *ret_found, td_safetensors **ret_file, td_error *error)
{
    char *single = td_path_join(directory, formats[format].single);
    char *index = formats[format].index ? td_path_join(directory, formats[format].index) : NULL;
    td_status status = TD_OK;
    *ret_found = true;
    if (!single || (formats[format].index && !index))
        status = td_fail_memory(error, strlen(directory));
    else if (td_file_exists(single))
        status = td_weights_open(single, formats[format].read, ret_file, error);
    else if (index && td_file_exists(index))
        status = open_index(directory, index, formats[format].read, ret_file, error);
    else
        *ret_found = false;
    td_release(single);
    td_release(index);
    return status;
}

td_status td_safetensors_open_directory(const char *directory, td_safetensors **ret_file, td_error *error)
{
    bool found = false;
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        td_status status = open_format(directory, i, &found, ret_file, error);
        if (found || status != TD_OK)
            return status;
    }
    return td_fail(error, TD_ERROR_IO,
                   "%s: no weights: model.safetensors, pytorch_model.bin (or the index of either), model.npz or model.bin", directory);
}

const td_stored_tensor *td_safetensors_find(const td_safetensors *file, const char *name)
{
    td_stored_tensor key = {.name = name};
    return file->count ? bsearch(&key, file->tensors, file->count, sizeof key, compare_names) : NULL;
}

size_t td_safetensors_count(const td_safetensors *file)
{
    return file->count;
}

const td_stored_tensor *td_safetensors_at(const td_safetensors *file, size_t index)
{
    return index < file->count ? &file->tensors[index] : NULL;
}

const char *td_safetensors_metadata(const td_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->shards[0].header, "__metadata__"), key));
}

/* Systems map some pages around each that is read: those before are dropped with it, or every piece would leave some behind. */
enum { AROUND = 1 << 16 };

td_status td_safetensors_scales(const td_safetensors *file, const td_stored_tensor *matrix, const td_stored_tensor **ret_scales,
                                td_error *error)
{
    char name[512];
    snprintf(name, sizeof name, "%s_scale", matrix->name);
    const td_stored_tensor *scales = td_safetensors_find(file, name);
    if (!td_stored_is_whole(matrix) || matrix->rank != 2 || !scales || scales->rank != 1 || scales->shape[0] != matrix->shape[0])
        return td_fail(error, TD_ERROR_FORMAT, "tensor \"%s\" holds whole numbers: it must be a matrix, and \"%s\" a scale for each row",
                       matrix->name, name);
    *ret_scales = scales;
    return TD_OK;
}

void td_safetensors_forget(const td_safetensors *file, const void *data, size_t bytes)
{
    const uint8_t *first = data;
    for (size_t i = 0; i < file->shard_count; i++) {
        const td_mapped_file *map = &file->shards[i].map;
        uintptr_t start = (uintptr_t)map->data, at = (uintptr_t)first;
        if (!map->data || at < start || at - start > map->size || bytes > map->size - (at - start))
            continue;
        size_t before = at - start < AROUND ? at - start : AROUND;
        td_file_forget(first - before, bytes + before);
    }
}

size_t td_stored_count(const td_stored_tensor *tensor)
{
    return tensor->bytes / td_dtype_size(tensor->dtype);
}

static td_status check_readable(const td_stored_tensor *tensor, size_t count, td_error *error)
{
    if (td_stored_count(tensor) != count)
        return td_fail(error, TD_ERROR_FORMAT, "tensor \"%s\": %zu elements stored, %zu expected", tensor->name, td_stored_count(tensor),
                       count);
    if (tensor->dtype != TD_F32 && tensor->dtype != TD_F16 && tensor->dtype != TD_BF16 && tensor->dtype != TD_F64)
        return td_fail(error, TD_ERROR_FORMAT, "tensor \"%s\": %s values where floating point is expected (F32, F16, BF16, F64)",
                       tensor->name, td_dtype_name(tensor->dtype));
    return TD_OK;
}

static inline double read_element(const uint8_t *at, td_dtype dtype)
{
    uint16_t half;
    float single;
    double value;
    switch (dtype) {
    case TD_F16:
        memcpy(&half, at, sizeof half);
        return (double)td_float16_to_float(half);
    case TD_BF16:
        memcpy(&half, at, sizeof half);
        return (double)td_bfloat16_to_float(half);
    case TD_F32:
        memcpy(&single, at, sizeof single);
        return (double)single;
    default:
        memcpy(&value, at, sizeof value);
        return value;
    }
}

td_status td_safetensors_read_float(const td_stored_tensor *tensor, float *out, size_t count, td_error *error)
{
    td_stored_tensor held;
    TD_TRY(check_readable(tensor, count, error));
    TD_TRY(td_stored_hold(tensor, &held, error));
    const uint8_t *data = held.data;
    size_t size = td_dtype_size(tensor->dtype);
    if (tensor->dtype == TD_F32 && count)
        memcpy(out, data, tensor->bytes);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (float)read_element(data + i * size, tensor->dtype);
    td_stored_let_go(&held);
    return TD_OK;
}

td_status td_safetensors_read_double(const td_stored_tensor *tensor, double *out, size_t count, td_error *error)
{
    td_stored_tensor held;
    TD_TRY(check_readable(tensor, count, error));
    TD_TRY(td_stored_hold(tensor, &held, error));
    const uint8_t *data = held.data;
    size_t size = td_dtype_size(tensor->dtype);
    for (size_t i = 0; i < count; i++)
        out[i] = read_element(data + i * size, tensor->dtype);
    td_stored_let_go(&held);
    return TD_OK;
}
