#include "resize.h"

#include <math.h>
#include <string.h>

/* Weights are integers in units of 2^-22: 8 bits for the sample and 2 for weights beyond 1 are left of 32. */
enum { PRECISION_BITS = 32 - 8 - 2, CHANNELS = 3 };

static const double PI = 3.14159265358979323846;

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1 : 0;
}

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double hamming(double x)
{
    x = fabs(x) * PI;
    if (x == 0)
        return 1;
    return x >= PI ? 0 : sin(x) / x * (0.54 + 0.46 * cos(x));
}

/* Keys 1981 with a = -1/2 */
static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(x * PI) / (x * PI);
}

static double lanczos(double x)
{
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const struct {
    double (*weight)(double x);
    double support; /* half the filter's width, in samples of the smaller picture */
} filters[TD_RESAMPLE_COUNT] = {[TD_LANCZOS] = {lanczos, 3},
                                [TD_BILINEAR] = {bilinear, 1},
                                [TD_BICUBIC] = {bicubic, 2},
                                [TD_BOX] = {box, 0.5},
                                [TD_HAMMING] = {hamming, 1}};

/* For each place of the new row the places of the old one that it is made from, and their weights. */
typedef struct taps {
    size_t *first, *count; /* [new length] */
    int32_t *weights;      /* [new length, stride] */
    double *exact;         /* [stride], scratch */
    size_t stride;
} taps;

static void taps_free(taps *it)
{
    td_release(it->first);
    td_release(it->count);
    td_release(it->weights);
    td_release(it->exact);
}

static void fill_taps(taps *it, size_t from, size_t to, td_resample resample)
{
    double scale = (double)from / (double)to, filter_scale = scale < 1 ? 1 : scale;
    double support = filters[resample].support * filter_scale, inverse = 1 / filter_scale;
    for (size_t i = 0; i < to; i++) {
        double center = ((double)i + 0.5) * scale, sum = 0;
        double low = center - support + 0.5, high = center + support + 0.5;
        size_t first = low < 0 ? 0 : (size_t)low, end = high > (double)from ? from : (size_t)high;
        it->first[i] = first;
        it->count[i] = end - first;
        for (size_t k = 0; k < it->count[i]; k++)
            sum += it->exact[k] = filters[resample].weight(((double)(k + first) - center + 0.5) * inverse);
        for (size_t k = 0; k < it->count[i]; k++) {
            double weight = (sum != 0 ? it->exact[k] / sum : it->exact[k]) * (1 << PRECISION_BITS);
            it->weights[i * it->stride + k] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
    }
}

static td_status make_taps(size_t from, size_t to, td_resample resample, taps *ret_taps, td_error *error)
{
    double scale = (double)from / (double)to;
    taps it = {.stride = (size_t)ceil(filters[resample].support * (scale < 1 ? 1 : scale)) * 2 + 1};
    size_t weights;
    if (td_multiply_overflows(to, it.stride, &weights))
        return td_fail_memory(error, SIZE_MAX);
    it.first = td_allocate_array(to, sizeof *it.first);
    it.count = td_allocate_array(to, sizeof *it.count);
    it.weights = td_allocate_array(weights, sizeof *it.weights);
    it.exact = td_allocate_array(it.stride, sizeof *it.exact);
    if (!it.first || !it.count || !it.weights || !it.exact) {
        taps_free(&it);
        return td_fail_memory(error, weights * sizeof *it.weights);
    }
    fill_taps(&it, from, to, resample);
    *ret_taps = it;
    return TD_OK;
}

static uint8_t to_byte(int32_t sum)
{
    int32_t value = sum >> PRECISION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void resize_row(const uint8_t *from, const taps *it, size_t width, uint8_t *to)
{
    for (size_t x = 0; x < width; x++) {
        const uint8_t *pixel = from + it->first[x] * CHANNELS;
        const int32_t *weights = it->weights + x * it->stride;
        int32_t red = 1 << (PRECISION_BITS - 1), green = red, blue = red;
        for (size_t k = 0; k < it->count[x]; k++) {
            red += pixel[CHANNELS * k] * weights[k];
            green += pixel[CHANNELS * k + 1] * weights[k];
            blue += pixel[CHANNELS * k + 2] * weights[k];
        }
        to[CHANNELS * x] = to_byte(red);
        to[CHANNELS * x + 1] = to_byte(green);
        to[CHANNELS * x + 2] = to_byte(blue);
    }
}

/* A block of columns at a time, so that the sums stay in registers and the rows are read along. */
static void mix_rows(const uint8_t *from, size_t row_bytes, const int32_t *weights, size_t count, uint8_t *to)
{
    enum { BLOCK = 32 };
    for (size_t at = 0; at < row_bytes; at += BLOCK) {
        size_t width = row_bytes - at < BLOCK ? row_bytes - at : BLOCK;
        int32_t sums[BLOCK];
        for (size_t i = 0; i < BLOCK; i++)
            sums[i] = 1 << (PRECISION_BITS - 1);
        for (size_t k = 0; k < count; k++)
            for (size_t i = 0; i < width; i++)
                sums[i] += from[k * row_bytes + at + i] * weights[k];
        for (size_t i = 0; i < width; i++)
            to[at + i] = to_byte(sums[i]);
    }
}

static td_status resize_columns(const td_picture *from, size_t width, td_resample resample, const char *name, td_picture *ret_picture,
                                td_error *error)
{
    taps it;
    TD_TRY(make_taps(from->width, width, resample, &it, error));
    td_status status = td_picture_allocate(from->height, width, name, ret_picture, error);
    for (size_t y = 0; status == TD_OK && y < from->height; y++)
        resize_row(from->pixels + y * from->width * CHANNELS, &it, width, ret_picture->pixels + y * width * CHANNELS);
    taps_free(&it);
    return status;
}

static td_status resize_rows(const td_picture *from, size_t height, td_resample resample, const char *name, td_picture *ret_picture,
                             td_error *error)
{
    taps it;
    size_t row_bytes = from->width * CHANNELS;
    TD_TRY(make_taps(from->height, height, resample, &it, error));
    td_status status = td_picture_allocate(height, from->width, name, ret_picture, error);
    for (size_t y = 0; status == TD_OK && y < height; y++)
        mix_rows(from->pixels + it.first[y] * row_bytes, row_bytes, it.weights + y * it.stride, it.count[y],
                 ret_picture->pixels + y * row_bytes);
    taps_free(&it);
    return status;
}

/* The old place of each new one; positions are summed up step by step, as Pillow does, roundings included. */
static td_status nearest_places(size_t from, size_t to, size_t **ret_places, td_error *error)
{
    size_t *places = td_allocate_array(to, sizeof *places);
    if (!places)
        return td_fail_memory(error, to * sizeof *places);
    double step = (double)from / (double)to, position = step * 0.5;
    for (size_t i = 0; i < to; i++, position += step)
        places[i] = position < (double)from ? (size_t)position : from - 1;
    *ret_places = places;
    return TD_OK;
}

static td_status resize_nearest(const td_picture *from, size_t height, size_t width, const char *name, td_picture *ret_picture,
                                td_error *error)
{
    size_t *rows = NULL, *columns = NULL;
    td_picture picture = {0};
    td_status status = nearest_places(from->height, height, &rows, error);
    if (status == TD_OK)
        status = nearest_places(from->width, width, &columns, error);
    if (status == TD_OK)
        status = td_picture_allocate(height, width, name, &picture, error);
    for (size_t y = 0; status == TD_OK && y < height; y++)
        for (size_t x = 0; x < width; x++)
            memcpy(picture.pixels + (y * width + x) * CHANNELS, from->pixels + (rows[y] * from->width + columns[x]) * CHANNELS, CHANNELS);
    td_release(rows);
    td_release(columns);
    if (status == TD_OK)
        *ret_picture = picture;
    return status;
}

td_status td_resize(const td_picture *from, size_t height, size_t width, td_resample resample, const char *name, td_picture *ret_picture,
                    td_error *error)
{
    size_t pixels;
    if (height == 0 || width == 0 || td_multiply_overflows(height, width, &pixels) || pixels > TD_PICTURE_MAX_PIXELS)
        return td_fail(error, TD_ERROR_LIMIT, "%s: %zu x %zu pixels cannot be resized to %zu x %zu; the result may have 1 to %zu pixels",
                       name, from->width, from->height, width, height, TD_PICTURE_MAX_PIXELS);
    if (resample == TD_NEAREST || (height == from->height && width == from->width))
        return resize_nearest(from, height, width, name, ret_picture, error);
    if (height == from->height)
        return resize_columns(from, width, resample, name, ret_picture, error);
    if (width == from->width)
        return resize_rows(from, height, resample, name, ret_picture, error);
    td_picture half = {0};
    TD_TRY(resize_columns(from, width, resample, name, &half, error));
    td_status status = resize_rows(&half, height, resample, name, ret_picture, error);
    td_picture_free(&half);
    return status;
}

/* Floor of (length - crop) / 2: how far the crop starts inside, or (negative) outside. */
static ptrdiff_t crop_start(size_t length, size_t crop)
{
    return length >= crop ? (ptrdiff_t)((length - crop) / 2) : -(ptrdiff_t)((crop - length + 1) / 2);
}

/* A picture of height x width whose first row and column are `top` and `left` of the old one, black where that has
 * none. */
static td_status cut(const td_picture *from, ptrdiff_t top, ptrdiff_t left, size_t height, size_t width, const char *name,
                     td_picture *ret_picture, td_error *error)
{
    td_picture picture;
    TD_TRY(td_picture_allocate(height, width, name, &picture, error));
    memset(picture.pixels, 0, height * width * CHANNELS);
    size_t skip = left < 0 ? (size_t)-left : 0, start = left < 0 ? 0 : (size_t)left;
    size_t columns = from->width - start < width - skip ? from->width - start : width - skip;
    for (size_t y = 0; y < height; y++) {
        ptrdiff_t row = top + (ptrdiff_t)y;
        if (row >= 0 && (size_t)row < from->height)
            memcpy(picture.pixels + (y * width + skip) * CHANNELS, from->pixels + ((size_t)row * from->width + start) * CHANNELS,
                   columns * CHANNELS);
    }
    *ret_picture = picture;
    return TD_OK;
}

td_status td_center_crop(const td_picture *from, size_t height, size_t width, const char *name, td_picture *ret_picture, td_error *error)
{
    return cut(from, crop_start(from->height, height), crop_start(from->width, width), height, width, name, ret_picture, error);
}

td_status td_pad(const td_picture *from, size_t height, size_t width, const char *name, td_picture *ret_picture, td_error *error)
{
    if (from->height > height || from->width > width)
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: %zu x %zu pixels do not fit into %zu x %zu", name, from->width, from->height, width,
                       height);
    return cut(from, -(ptrdiff_t)((height - from->height) / 2), -(ptrdiff_t)((width - from->width) / 2), height, width, name, ret_picture,
               error);
}
