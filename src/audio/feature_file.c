#include "audio/feature_file.h"

#include "base/reader.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NPY_MAGIC "\x93NUMPY"

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t little_endian(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static bool ends_in(const char *name, const char *ending)
{
    size_t length = strlen(name), tail = strlen(ending);
    return length >= tail && strcasecmp(name + length - tail, ending) == 0;
}

/* The count in front says how many values follow, in one byte order or the other. */
static bool counts_match(const uint8_t *head, size_t size, bool *ret_big)
{
    *ret_big = 4 + 4 * (uint64_t)big_endian(head) == size;
    return *ret_big || 4 + 4 * (uint64_t)little_endian(head) == size;
}

td_feature_format td_feature_format_of(const char *name, const uint8_t *head, size_t head_length, size_t size)
{
    bool big;
    if (ends_in(name, ".mfc"))
        return TD_MFC;
    if (ends_in(name, ".npy") || (head_length >= 6 && memcmp(head, NPY_MAGIC, 6) == 0))
        return TD_NPY;
    return head_length >= 4 && size > 4 && counts_match(head, size, &big) ? TD_MFC : TD_NOT_FEATURES;
}

/* Where the values lie and how they are stored. */
typedef struct value_layout {
    const uint8_t *values;
    size_t rows, width;
    bool big, is_double;
} value_layout;

static td_status lay_out_mfc(const char *name, const uint8_t *bytes, size_t length, size_t width, value_layout *ret_layout, td_error *error)
{
    value_layout layout = {.width = width};
    if (length < 4 || !counts_match(bytes, length, &layout.big))
        return td_fail(error, TD_ERROR_FORMAT, "%s: truncated or not an .mfc file: %zu bytes, where the count in front asks for %llu", name, length,
                       length < 4 ? 4ull : 4 + 4 * (unsigned long long)big_endian(bytes));
    size_t count = (length - 4) / 4;
    if (count % width != 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: %zu values are no whole number of frames of %zu", name, count, width);
    layout.values = bytes + 4;
    layout.rows = count / width;
    *ret_layout = layout;
    return TD_OK;
}

/* What follows `'key':` in the header, which is a Python dictionary's text; NULL when absent. */
static const char *header_value(const char *header, const char *key)
{
    const char *at = strstr(header, key);
    if (!at)
        return NULL;
    at += strlen(key);
    return at + strspn(at, " :");
}

static bool parse_shape(const char *at, value_layout *layout)
{
    char *end;
    if (*at++ != '(')
        return false;
    size_t *sizes[2] = {&layout->rows, &layout->width};
    for (int i = 0; i < 2; i++) {
        at += strspn(at, " ");
        if (*at < '0' || *at > '9')
            return false;
        errno = 0;
        unsigned long long size = strtoull(at, &end, 10);
        if (errno || size > SIZE_MAX / 16)
            return false;
        *sizes[i] = (size_t)size;
        at = end + strspn(end, " ");
        if (*at++ != (i == 0 ? ',' : ')'))
            return false;
    }
    return true;
}

static td_status parse_npy_header(const char *name, const char *header, value_layout *ret_layout, td_error *error)
{
    static const struct {
        const char *text;
        bool big, is_double;
    } types[] = {{"'<f4'", false, false}, {"'<f8'", false, true}, {"'>f4'", true, false}, {"'>f8'", true, true}};
    const char *type = header_value(header, "'descr'"), *order = header_value(header, "'fortran_order'"), *shape = header_value(header, "'shape'");
    if (!type || !order || !shape)
        return td_fail(error, TD_ERROR_FORMAT, "%s: the .npy header lacks 'descr', 'fortran_order' or 'shape'", name);
    value_layout layout = {0};
    size_t i = 0;
    while (i < sizeof types / sizeof *types && strncmp(type, types[i].text, 5) != 0)
        i++;
    if (i == sizeof types / sizeof *types)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: 'descr': %.8s is not supported (float32, float64)", name, type);
    if (strncmp(order, "False", 5) != 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: 'fortran_order' must be False", name);
    if (!parse_shape(shape, &layout))
        return td_fail(error, TD_ERROR_FORMAT, "%s: 'shape': %.24s must be (frames, width)", name, shape);
    layout.big = types[i].big;
    layout.is_double = types[i].is_double;
    *ret_layout = layout;
    return TD_OK;
}

static td_status lay_out_npy(const char *name, const uint8_t *bytes, size_t length, size_t width, value_layout *ret_layout, td_error *error)
{
    td_reader reader = td_reader_of(bytes, length);
    const uint8_t *magic = td_read_bytes(&reader, 6);
    uint8_t version = td_read_u8(&reader);
    td_read_u8(&reader);
    size_t header_length = version == 1 ? td_read_u16(&reader) : td_read_u32(&reader);
    const uint8_t *header = td_read_bytes(&reader, header_length);
    if (!magic || !header || memcmp(magic, NPY_MAGIC, 6) != 0 || version < 1 || version > 3)
        return td_fail(error, TD_ERROR_FORMAT, "%s: truncated or not an .npy file", name);
    char *text = td_copy_bytes((const char *)header, header_length);
    if (!text)
        return td_fail_memory(error, header_length);
    value_layout layout;
    td_status status = parse_npy_header(name, text, &layout, error);
    td_release(text);
    TD_TRY(status);
    if (layout.width != width)
        return td_fail(error, TD_ERROR_FORMAT, "%s: frames of %zu values; the model takes %zu", name, layout.width, width);
    size_t total;
    if (td_multiply_overflows(layout.rows, width * (layout.is_double ? 8 : 4), &total) || total != td_reader_left(&reader))
        return td_fail(error, TD_ERROR_FORMAT, "%s: 'shape' speaks of %zu frames of %zu values, the file has %zu bytes of them", name, layout.rows,
                       width, td_reader_left(&reader));
    layout.values = bytes + reader.position;
    *ret_layout = layout;
    return TD_OK;
}

static float value_at(const value_layout *layout, size_t index)
{
    const uint8_t *at = layout->values + index * (layout->is_double ? 8 : 4);
    if (layout->is_double) {
        uint64_t first = layout->big ? big_endian(at) : little_endian(at), second = layout->big ? big_endian(at + 4) : little_endian(at + 4);
        uint64_t bits = layout->big ? first << 32 | second : second << 32 | first;
        double value;
        memcpy(&value, &bits, sizeof value);
        return (float)value;
    }
    uint32_t bits = layout->big ? big_endian(at) : little_endian(at);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

td_status td_feature_file_parse(td_feature_format format, const char *name, const uint8_t *bytes, size_t length, size_t width,
                                td_features *ret_features, td_error *error)
{
    value_layout layout;
    TD_TRY((format == TD_MFC ? lay_out_mfc : lay_out_npy)(name, bytes, length, width, &layout, error));
    if (layout.rows == 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: it holds no frames", name);
    td_features features = {td_allocate_array(layout.rows, width * sizeof(float)), layout.rows, width};
    if (!features.data)
        return td_fail_memory(error, layout.rows * width * sizeof(float));
    for (size_t i = 0; i < layout.rows * width; i++) {
        features.data[i] = value_at(&layout, i);
        if (!isfinite(features.data[i])) {
            td_status status = td_fail(error, TD_ERROR_NUMERIC, "%s: frame %zu, column %zu: not a finite number", name, i / width, i % width);
            td_features_free(&features);
            return status;
        }
    }
    *ret_features = features;
    return TD_OK;
}
