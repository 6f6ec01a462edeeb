#include "processor.h"

#include "orientation.h"
#include "processor_config.h"

#include <string.h>

static td_status open_processor(const json_t *config, const char *file, void **ret_state, td_error *error)
{
    td_processor_config *it = td_allocate(sizeof *it);
    if (!it)
        return td_fail_memory(error, sizeof *it);
    td_status status = td_processor_config_read(config, file, it, error);
    if (status == TD_OK)
        *ret_state = it;
    else
        td_release(it);
    return status;
}

static void close_processor(void *state)
{
    td_release(state);
}

static size_t count_channels(const void *state)
{
    (void)state;
    return 3;
}

/* The three values that each of 256 grey levels can become. Rounded to float after each step, as transformers does. */
static void fill_levels(const td_processor_config *it, float levels[3][256])
{
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < 256; i++) {
            float value = it->do_rescale ? (float)((double)i * it->rescale_factor) : (float)i;
            levels[c][i] = it->do_normalize ? (value - (float)it->mean[c]) / (float)it->deviation[c] : value;
        }
}

static td_status to_features(const td_processor_config *it, const td_picture *picture, td_features *ret_features, td_error *error)
{
    float levels[3][256];
    size_t rows = picture->height * picture->width;
    float *data = td_allocate(rows * 3 * sizeof *data); /* the picture's own limit keeps this from overflowing */
    if (!data)
        return td_fail_memory(error, rows * 3 * sizeof *data);
    fill_levels(it, levels);
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < 3; c++)
            data[3 * i + c] = levels[c][picture->pixels[3 * i + c]];
    *ret_features = (td_features){.data = data, .rows = rows, .width = 3};
    return TD_OK;
}

/* Each step gives a new picture in place of the old one. */
static td_status replace(td_picture *picture, td_picture made, td_status status)
{
    if (status == TD_OK) {
        td_picture_free(picture);
        *picture = made;
    }
    return status;
}

static td_status crop(td_picture *picture, size_t height, size_t width, const char *name, td_error *error)
{
    td_picture made = {0};
    td_status status = td_center_crop(picture, height, width, name, &made, error);
    return replace(picture, made, status);
}

static td_status resize(const td_processor_config *it, td_picture *picture, const char *name, td_error *error)
{
    size_t height, width, edge = it->size.shortest_edge;
    td_picture made = {0};
    td_processor_target(it, picture->height, picture->width, &height, &width);
    td_status status = td_resize(picture, height, width, it->resample, name, &made, error);
    TD_TRY(replace(picture, made, status));
    return it->crops_by_ratio ? crop(picture, edge, edge, name, error) : TD_OK;
}

/* A page that lies across is turned clockwise. */
static bool turns(const td_processor_config *it, size_t height, size_t width)
{
    return it->align_long_axis && (it->size.width < it->size.height ? width > height : it->size.width > it->size.height && width < height);
}

static td_status align(const td_processor_config *it, td_picture *picture, const char *name, td_error *error)
{
    enum { CLOCKWISE = 6 };
    return turns(it, picture->height, picture->width) ? td_orientation_apply(CLOCKWISE, picture, name, error) : TD_OK;
}

static td_status shrink(const td_processor_config *it, td_picture *picture, const char *name, td_error *error)
{
    size_t height, width;
    td_picture made = {0};
    td_processor_thumbnail(it, picture->height, picture->width, &height, &width);
    if (height == picture->height && width == picture->width)
        return TD_OK;
    td_resample resample = it->resample == TD_NEAREST ? TD_BICUBIC : it->resample; /* 0 counts as not given in transformers */
    td_status status = td_resize(picture, height, width, resample, name, &made, error);
    return replace(picture, made, status);
}

static td_status pad(const td_processor_config *it, td_picture *picture, const char *name, td_error *error)
{
    td_picture made = {0};
    td_status status = td_pad(picture, it->size.height, it->size.width, name, &made, error);
    return replace(picture, made, status);
}

static td_status process(const td_processor_config *it, td_picture *picture, const char *name, td_features *ret_features, td_error *error)
{
    TD_TRY(align(it, picture, name, error));
    if (it->do_resize)
        TD_TRY(resize(it, picture, name, error));
    if (it->thumbnail)
        TD_TRY(shrink(it, picture, name, error));
    if (it->pad)
        TD_TRY(pad(it, picture, name, error));
    if (it->do_center_crop)
        TD_TRY(crop(picture, it->crop_size.height, it->crop_size.width, name, error));
    return to_features(it, picture, ret_features, error);
}

static td_status read_picture(const void *state, const char *path, const void *bytes, size_t length, td_features *ret_features,
                              td_error *error)
{
    td_picture picture = {0};
    td_status status = bytes ? td_picture_decode(bytes, length, path, &picture, error) : td_picture_read(path, &picture, error);
    if (status == TD_OK)
        status = process(state, &picture, path, ret_features, error);
    td_picture_free(&picture);
    return status;
}

static td_status take_picture(const void *state, const td_raw_picture *raw, td_features *ret_features, td_error *error)
{
    if (raw->channels != 1 && raw->channels != 3 && raw->channels != 4)
        return td_fail(error, TD_ERROR_ARGUMENT, "picture: %zu channels (1 grey, 3 RGB or 4 RGBA)", raw->channels);
    td_picture picture = {0};
    TD_TRY(td_picture_allocate(raw->height, raw->width, "picture", &picture, error));
    for (size_t i = 0; i < raw->height * raw->width; i++)
        for (size_t c = 0; c < 3; c++)
            picture.pixels[3 * i + c] = raw->pixels[i * raw->channels + (raw->channels == 1 ? 0 : c)];
    td_status status = process(state, &picture, "picture", ret_features, error);
    td_picture_free(&picture);
    return status;
}

static td_picture_part seen_upright(const td_processor_config *it, size_t height, size_t width)
{
    size_t resized_height = height, resized_width = width;
    if (it->do_resize)
        td_processor_target(it, height, width, &resized_height, &resized_width);
    if (it->thumbnail)
        td_processor_thumbnail(it, resized_height, resized_width, &resized_height, &resized_width);
    double tall = (double)resized_height, wide = (double)resized_width, high = tall, across = wide;
    if (it->do_resize && it->crops_by_ratio)
        high = across = (double)it->size.shortest_edge;
    if (it->pad) {
        high = (double)it->size.height;
        across = (double)it->size.width;
    }
    if (it->do_center_crop) {
        high = (double)it->crop_size.height;
        across = (double)it->crop_size.width;
    }
    if (tall < 1 || wide < 1)
        return (td_picture_part){0, 0, 1, 1, false};
    return (td_picture_part){(wide - across) / 2 / wide, (tall - high) / 2 / tall, across / wide, high / tall, false};
}

/* What is on the turned picture's left was below. */
static td_picture_part seen(const void *state, size_t height, size_t width)
{
    if (!turns(state, height, width))
        return seen_upright(state, height, width);
    td_picture_part part = seen_upright(state, width, height);
    return (td_picture_part){part.top, 1 - part.left - part.width, part.height, part.width, true};
}

const td_frontend_kind td_frontend_picture = {
    .modality = TD_IMAGE,
    .open = open_processor,
    .close = close_processor,
    .width = count_channels,
    .read = read_picture,
    .take_picture = take_picture,
    .seen = seen,
};
