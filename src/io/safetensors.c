#include "io/safetensors.h"

#include "base/reader.h"
#include "io/json.h"
#include "io/weights.h"

#include <stdlib.h>
#include <string.h>

/* The reference implementation refuses longer headers too. */
#define HEADER_LIMIT 100000000u

static int compare_data(const void *a, const void *b)
{
    const td_stored_tensor *first = a, *second = b;
    if (first->data != second->data)
        return (uintptr_t)first->data < (uintptr_t)second->data ? -1 : 1;
    return (first->bytes > second->bytes) - (first->bytes < second->bytes);
}

static bool parse_dtype(const char *text, td_dtype *ret_dtype)
{
    for (int i = 0; text && i < TD_DTYPE_COUNT; i++) {
        if (strcmp(text, td_dtype_name((td_dtype)i)) == 0) {
            *ret_dtype = (td_dtype)i;
            return true;
        }
    }
    return false;
}

/* Reads shape; *ret_bytes is the size that shape and dtype ask for. */
static const char *parse_shape(const json_t *shape, td_stored_tensor *tensor, size_t *ret_bytes)
{
    if (!json_is_array(shape))
        return "\"shape\" must be an array";
    tensor->rank = json_array_size(shape);
    if (tensor->rank > TD_STORED_RANK_MAX)
        return "more than 8 dimensions";
    size_t bytes = td_dtype_size(tensor->dtype);
    for (size_t i = 0; i < tensor->rank; i++) {
        const json_t *size = json_array_get(shape, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return "\"shape\" must hold integers of at least 0";
        tensor->shape[i] = (size_t)json_integer_value(size);
        if (td_multiply_overflows(bytes, tensor->shape[i], &bytes))
            return "size overflows";
    }
    *ret_bytes = bytes;
    return NULL;
}

/* Returns what is wrong with the entry, or NULL. `data` is the part of the file after the header. */
static const char *parse_tensor(const json_t *entry, const uint8_t *data, size_t size, td_stored_tensor *tensor)
{
    if (!json_is_object(entry))
        return "must be an object";
    if (!parse_dtype(json_string_value(json_object_get(entry, "dtype")), &tensor->dtype))
        return "\"dtype\" is missing or not supported (F32, F16, BF16, F64, I8-I64, U8-U64, BOOL)";
    size_t bytes;
    const char *problem = parse_shape(json_object_get(entry, "shape"), tensor, &bytes);
    if (problem)
        return problem;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return "\"data_offsets\" must be two integers";
    int64_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from)
        return "\"data_offsets\" must rise from 0";
    if ((uint64_t)to > size)
        return "data ends after the file does (file cut short?)";
    if ((uint64_t)(to - from) != bytes)
        return "\"data_offsets\" do not fit \"shape\" and \"dtype\"";
    tensor->data = data + from;
    tensor->bytes = bytes;
    return NULL;
}

/* Tensors must not share bytes and must not leave any unused: a gap could hide data. `first` is the shard's first tensor. */
static td_status check_layout(td_safetensors *file, size_t first, const char *path, const uint8_t *data, size_t size, td_error *error)
{
    td_stored_tensor *tensors = file->tensors + first;
    size_t count = file->count - first;
    if (count)
        qsort(tensors, count, sizeof *tensors, compare_data);
    const uint8_t *end = data;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *begin = tensors[i].data;
        if (begin < end)
            return td_weights_fail(error, path, tensors[i].name, "overlaps another tensor");
        if (begin > end)
            return td_weights_fail(error, path, tensors[i].name, "bytes before it belong to no tensor");
        end = begin + tensors[i].bytes;
    }
    if (end != data + size)
        return td_fail(error, TD_ERROR_FORMAT, "%s: %zu bytes after the last tensor belong to none", path, (size_t)(data + size - end));
    return TD_OK;
}

td_status td_safetensors_read_shard(td_safetensors *file, td_shard *part, td_error *error)
{
    const char *path = part->path;
    td_reader reader = td_reader_of(part->map.data, part->map.size);
    uint64_t length = td_read_u64(&reader);
    if (reader.failed)
        return td_fail(error, TD_ERROR_FORMAT, "%s: %zu bytes are too few for a safetensors file", path, part->map.size);
    if (length > HEADER_LIMIT)
        return td_fail(error, TD_ERROR_FORMAT,
                       "%s: header of %llu bytes is larger than the format allows (100000000); not a safetensors file?", path,
                       (unsigned long long)length);
    const char *text = (const char *)td_read_bytes(&reader, (size_t)length);
    if (!text)
        return td_fail(error, TD_ERROR_FORMAT, "%s: header of %llu bytes ends after the file does (file cut short?)", path,
                       (unsigned long long)length);
    TD_TRY(td_json_parse(text, (size_t)length, path, &part->header, error));
    if (!json_is_object(part->header))
        return td_fail(error, TD_ERROR_FORMAT, "%s: header must be a JSON object", path);
    const uint8_t *data = part->map.data + reader.position;
    size_t first = file->count;
    const char *name;
    json_t *entry;
    json_object_foreach(part->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        td_stored_tensor tensor = {.name = name};
        const char *problem = parse_tensor(entry, data, td_reader_left(&reader), &tensor);
        if (problem)
            return td_weights_fail(error, path, name, problem);
        TD_TRY(td_weights_add(file, &tensor, error));
    }
    return check_layout(file, first, path, data, td_reader_left(&reader), error);
}

static json_t *metadata_object(const char *const *pairs, size_t count)
{
    json_t *metadata = json_object();
    bool failed = !metadata || json_object_set_new(metadata, "format", json_string("pt")) != 0;
    for (size_t i = 0; !failed && i < count; i++)
        failed = json_object_set_new(metadata, pairs[2 * i], json_string(pairs[2 * i + 1])) != 0;
    if (failed) {
        json_decref(metadata);
        return NULL;
    }
    return metadata;
}

static json_t *tensor_entry(const td_stored_tensor *tensor, size_t begin)
{
    json_t *shape = json_array();
    bool failed = !shape;
    for (size_t i = 0; !failed && i < tensor->rank; i++)
        failed = json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i])) != 0;
    if (failed) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", td_dtype_name(tensor->dtype), "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + tensor->bytes));
}

static td_status check_writable(const td_stored_tensor *tensor, const char *path, td_error *error)
{
    if (tensor->rank > TD_STORED_RANK_MAX || (unsigned)tensor->dtype >= TD_DTYPE_COUNT)
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: tensor \"%s\": rank or type out of range", path, tensor->name);
    size_t bytes = td_dtype_size(tensor->dtype);
    for (size_t i = 0; i < tensor->rank; i++)
        if (td_multiply_overflows(bytes, tensor->shape[i], &bytes))
            return td_fail(error, TD_ERROR_ARGUMENT, "%s: tensor \"%s\": size overflows", path, tensor->name);
    if (bytes != tensor->bytes)
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: tensor \"%s\": %zu bytes given, its shape needs %zu", path, tensor->name,
                       tensor->bytes, bytes);
    return TD_OK;
}

/* The header text, padded with spaces so that the data begins at a multiple of 8. Release with free. */
static td_status make_header(const char *path, const td_stored_tensor *tensors, size_t count, const char *const *pairs, size_t pair_count,
                             char **ret_text, size_t *ret_length, td_error *error)
{
    json_t *header = json_object();
    td_status status =
        header && json_object_set_new(header, "__metadata__", metadata_object(pairs, pair_count)) == 0 ? TD_OK : td_fail_memory(error, 0);
    size_t offset = 0;
    for (size_t i = 0; status == TD_OK && i < count; i++) {
        status = check_writable(&tensors[i], path, error);
        if (status == TD_OK && json_object_get(header, tensors[i].name))
            status = td_fail(error, TD_ERROR_ARGUMENT, "%s: tensor \"%s\" is given twice", path, tensors[i].name);
        if (status == TD_OK && json_object_set_new(header, tensors[i].name, tensor_entry(&tensors[i], offset)) != 0)
            status = td_fail(error, TD_ERROR_MEMORY, "%s: tensor \"%s\": name is not UTF-8 or memory is out", path, tensors[i].name);
        if (status == TD_OK && td_add_overflows(offset, tensors[i].bytes, &offset))
            status = td_fail(error, TD_ERROR_ARGUMENT, "%s: total size overflows", path);
    }
    char *text = status == TD_OK ? json_dumps(header, JSON_COMPACT) : NULL;
    if (status == TD_OK && !text)
        status = td_fail_memory(error, 0);
    json_decref(header);
    if (status != TD_OK)
        return status;
    *ret_text = text;
    *ret_length = strlen(text);
    return TD_OK;
}

static bool write_all(FILE *stream, const char *header, size_t length, const td_stored_tensor *tensors, size_t count)
{
    size_t padded = (length + 7) / 8 * 8;
    uint8_t prefix[8];
    for (unsigned i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    bool good = fwrite(prefix, 1, 8, stream) == 8 && fwrite(header, 1, length, stream) == length &&
                fwrite("       ", 1, padded - length, stream) == padded - length;
    for (size_t i = 0; good && i < count; i++)
        good = tensors[i].bytes == 0 || fwrite(tensors[i].data, 1, tensors[i].bytes, stream) == tensors[i].bytes;
    return good;
}

td_status td_safetensors_write(const char *path, const td_stored_tensor *tensors, size_t count, const char *const *metadata_pairs,
                               size_t pairs, td_error *error)
{
    char *header;
    size_t length;
    TD_TRY(make_header(path, tensors, count, metadata_pairs, pairs, &header, &length, error));
    td_output_file file;
    td_status status = td_output_open(path, &file, error);
    if (status == TD_OK) {
        write_all(file.stream, header, length, tensors, count); /* commit reports what failed */
        status = td_output_commit(&file, error);
    }
    free(header);
    return status;
}
