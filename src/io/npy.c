#include "io/npy.h"

#include "base/memory.h"
#include "base/reader.h"

#include <errno.h>
#include <stdlib.h>

/* What follows `'key':` in the header; NULL when absent. */
static const char *header_value(const char *header, const char *key)
{
    const char *at = strstr(header, key);
    if (!at)
        return NULL;
    at += strlen(key);
    return at + strspn(at, " :");
}

/* "(2, 3)", "(4,)", "()" */
static bool parse_shape(const char *at, td_npy *array)
{
    if (*at++ != '(')
        return false;
    array->count = 1;
    for (at += strspn(at, " "); *at != ')'; at += strspn(at, " ")) {
        char *end;
        if (*at < '0' || *at > '9' || array->rank == TD_NPY_RANK_MAX)
            return false;
        errno = 0;
        unsigned long long size = strtoull(at, &end, 10);
        if (errno || size > SIZE_MAX / 16 || td_multiply_overflows(array->count, (size_t)size, &array->count))
            return false;
        array->shape[array->rank++] = (size_t)size;
        at = end + strspn(end, " ");
        if (*at == ',')
            at++;
        else if (*at != ')')
            return false;
    }
    return true;
}

static bool parse_type(const char *at, td_npy *array)
{
    static const struct {
        const char *name;
        td_dtype dtype;
    } types[] = {{"f4'", TD_F32}, {"f2'", TD_F16}, {"f8'", TD_F64}, {"i1'", TD_I8},  {"i2'", TD_I16}, {"i4'", TD_I32},
                 {"i8'", TD_I64}, {"u1'", TD_U8},  {"u2'", TD_U16}, {"u4'", TD_U32}, {"u8'", TD_U64}, {"b1'", TD_BOOL}};
    if (at[0] != '\'' || !at[1] || !strchr("<>|=", at[1]))
        return false;
    array->big = at[1] == '>';
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strncmp(at + 2, types[i].name, 3) == 0) {
            array->dtype = types[i].dtype;
            return true;
        }
    }
    return false;
}

static td_status parse_header(const char *name, const char *header, td_npy *array, td_error *error)
{
    const char *type = header_value(header, "'descr'"), *order = header_value(header, "'fortran_order'"),
               *shape = header_value(header, "'shape'");
    if (!type || !order || !shape)
        return td_fail(error, TD_ERROR_FORMAT, "%s: the .npy header lacks 'descr', 'fortran_order' or 'shape'", name);
    if (!parse_type(type, array))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: 'descr': %.8s is not supported (integers, bool, float16, float32, float64)", name,
                       type);
    array->fortran = strncmp(order, "True", 4) == 0;
    if (!array->fortran && strncmp(order, "False", 5) != 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: 'fortran_order' must be True or False", name);
    if (!parse_shape(shape, array))
        return td_fail(error, TD_ERROR_FORMAT, "%s: 'shape': %.24s must be a tuple of at most %d sizes", name, shape, TD_NPY_RANK_MAX);
    return TD_OK;
}

td_status td_npy_parse(const char *name, const uint8_t *bytes, size_t there, size_t length, td_npy *ret_array, td_error *error)
{
    td_reader reader = td_reader_of(bytes, there);
    const uint8_t *magic = td_read_bytes(&reader, 6);
    uint8_t version = td_read_u8(&reader);
    td_read_u8(&reader);
    size_t header_length = version == 1 ? td_read_u16(&reader) : td_read_u32(&reader);
    const uint8_t *header = td_read_bytes(&reader, header_length);
    if (!magic || !header || memcmp(magic, TD_NPY_MAGIC, 6) != 0 || version < 1 || version > 3)
        return td_fail(error, TD_ERROR_FORMAT, "%s: truncated or not an .npy file", name);
    char *text = td_copy_bytes((const char *)header, header_length);
    if (!text)
        return td_fail_memory(error, header_length);
    td_npy array = {0};
    td_status status = parse_header(name, text, &array, error);
    td_release(text);
    TD_TRY(status);
    size_t total;
    if (td_multiply_overflows(array.count, td_dtype_size(array.dtype), &total) || total != length - reader.position)
        return td_fail(error, TD_ERROR_FORMAT, "%s: 'shape' speaks of %zu values of %zu bytes, the file has %zu bytes of them", name,
                       array.count, td_dtype_size(array.dtype), length - reader.position);
    array.values = bytes + reader.position;
    *ret_array = array;
    return TD_OK;
}
