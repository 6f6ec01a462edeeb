#include "audio/feature_file.h"

#include "io/npy.h"

#include <math.h>
#include <string.h>
#include <strings.h>

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
    if (ends_in(name, ".npy") || (head_length >= 6 && memcmp(head, TD_NPY_MAGIC, 6) == 0))
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
        return td_fail(error, TD_ERROR_FORMAT, "%s: truncated or not an .mfc file: %zu bytes, where the count in front asks for %llu", name,
                       length, length < 4 ? 4ull : 4 + 4 * (unsigned long long)big_endian(bytes));
    size_t count = (length - 4) / 4;
    if (count % width != 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: %zu values are no whole number of frames of %zu", name, count, width);
    layout.values = bytes + 4;
    layout.rows = count / width;
    *ret_layout = layout;
    return TD_OK;
}

static td_status lay_out_npy(const char *name, const uint8_t *bytes, size_t length, size_t width, value_layout *ret_layout, td_error *error)
{
    td_npy array;
    TD_TRY(td_npy_parse(name, bytes, length, length, &array, error));
    if (array.dtype != TD_F32 && array.dtype != TD_F64)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: 'descr': %s is not supported (float32, float64)", name,
                       td_dtype_name(array.dtype));
    if (array.fortran)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: 'fortran_order' must be False", name);
    if (array.rank != 2)
        return td_fail(error, TD_ERROR_FORMAT, "%s: 'shape' has %zu dimensions; it must be (frames, width)", name, array.rank);
    if (array.shape[1] != width)
        return td_fail(error, TD_ERROR_FORMAT, "%s: frames of %zu values; the model takes %zu", name, array.shape[1], width);
    *ret_layout = (value_layout){
        .values = array.values, .rows = array.shape[0], .width = width, .big = array.big, .is_double = array.dtype == TD_F64};
    return TD_OK;
}

static float value_at(const value_layout *layout, size_t index)
{
    const uint8_t *at = layout->values + index * (layout->is_double ? 8 : 4);
    if (layout->is_double) {
        uint64_t first = layout->big ? big_endian(at) : little_endian(at),
                 second = layout->big ? big_endian(at + 4) : little_endian(at + 4);
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
            td_status status =
                td_fail(error, TD_ERROR_NUMERIC, "%s: frame %zu, column %zu: not a finite number", name, i / width, i % width);
            td_features_free(&features);
            return status;
        }
    }
    *ret_features = features;
    return TD_OK;
}
