#include "processor_config.h"

#include "io/json.h"

#include <math.h>
#include <string.h>

enum { MAX_SIDE = 1 << 14, WARP_FROM = 384 };

#define IMAGENET_STANDARD                                                                                                                  \
    {0.5, 0.5, 0.5},                                                                                                                       \
    {                                                                                                                                      \
        0.5, 0.5, 0.5                                                                                                                      \
    }
#define OPENAI_CLIP                                                                                                                        \
    {0.48145466, 0.4578275, 0.40821073},                                                                                                   \
    {                                                                                                                                      \
        0.26862954, 0.26130258, 0.27577711                                                                                                 \
    }

/* Defaults of transformers' classes, by the stem of their names. */
typedef struct class_row {
    const char *stem;
    bool int_is_square; /* "size": 224 means 224 x 224, not the shortest edge */
    bool do_center_crop, crops_by_ratio, fits_page;
    td_resample resample;
    td_picture_size size, crop_size;
    double mean[3], deviation[3];
} class_row;

static const class_row classes[] = {
    {"ViT", true, false, false, false, TD_BILINEAR, {.height = 224, .width = 224}, {0}, IMAGENET_STANDARD},
    {"DeiT", true, true, false, false, TD_BICUBIC, {.height = 256, .width = 256}, {.height = 224, .width = 224}, IMAGENET_STANDARD},
    {"MobileNetV2", false, true, false, false, TD_BILINEAR, {.shortest_edge = 256}, {.height = 224, .width = 224}, IMAGENET_STANDARD},
    {"ConvNext", false, false, true, false, TD_BICUBIC, {.shortest_edge = 384}, {0}, IMAGENET_STANDARD},
    {"Blip", true, false, false, false, TD_BICUBIC, {.height = 384, .width = 384}, {0}, OPENAI_CLIP},
    {"CLIP", false, true, false, false, TD_BICUBIC, {.shortest_edge = 224}, {.height = 224, .width = 224}, OPENAI_CLIP},
    {"Donut", true, false, false, true, TD_BILINEAR, {.height = 2560, .width = 1920}, {0}, IMAGENET_STANDARD},
    {.stem = NULL},
};

static td_status find_class(const json_t *config, const char *file, const class_row **ret_class, td_error *error)
{
    const char *key = td_json_has(config, "image_processor_type") ? "image_processor_type" : "feature_extractor_type", *name;
    TD_TRY(td_json_get_string(config, file, key, "", &name, error));
    for (const class_row *row = classes; row->stem; row++) {
        size_t length = strlen(row->stem);
        if (strncmp(name, row->stem, length) == 0 &&
            (strncmp(name + length, "ImageProcessor", 14) == 0 || strncmp(name + length, "FeatureExtractor", 16) == 0)) {
            *ret_class = row;
            return TD_OK;
        }
    }
    return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": \"%s\" is not a known picture front end", file, key, name);
}

static td_status read_side(const json_t *value, const char *file, const char *key, const char *part, size_t *ret_side, td_error *error)
{
    double side = json_is_number(value) ? json_number_value(value) : 0;
    if (!(side >= 1 && side <= MAX_SIDE && side == floor(side)))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\"%s%s must be a whole number from 1 to %d", file, key, *part ? ": " : "",
                       part, MAX_SIDE);
    *ret_side = (size_t)side;
    return TD_OK;
}

static td_status fail_size(const char *file, const char *key, td_error *error)
{
    return td_fail(error, TD_ERROR_UNSUPPORTED,
                   "%s: \"%s\" must be a number, [height, width] or an object with \"height\" and \"width\", \"shortest_edge\" (and "
                   "\"longest_edge\"), or \"max_height\" and \"max_width\"",
                   file, key);
}

static td_status read_size_object(const json_t *object, const char *file, const char *key, td_picture_size *ret_size, td_error *error)
{
    td_picture_size size = {0};
    const struct {
        const char *name;
        size_t *side;
    } parts[] = {{"height", &size.height},
                 {"width", &size.width},
                 {"shortest_edge", &size.shortest_edge},
                 {"longest_edge", &size.longest_edge},
                 {"max_height", &size.max_height},
                 {"max_width", &size.max_width}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (td_json_has(object, parts[i].name))
            TD_TRY(read_side(json_object_get(object, parts[i].name), file, key, parts[i].name, parts[i].side, error));
    if (!(size.height && size.width) && !size.shortest_edge && !(size.max_height && size.max_width))
        return fail_size(file, key, error);
    *ret_size = size;
    return TD_OK;
}

static td_status read_size(const json_t *config, const char *file, const char *key, bool int_is_square, td_picture_size *size,
                           td_error *error)
{
    const json_t *value = json_object_get(config, key);
    if (!td_json_has(config, key))
        return TD_OK;
    if (json_is_object(value))
        return read_size_object(value, file, key, size, error);
    td_picture_size given = {0};
    if (json_is_array(value)) {
        if (json_array_size(value) != 2)
            return fail_size(file, key, error);
        TD_TRY(read_side(json_array_get(value, 0), file, key, "height", &given.height, error));
        TD_TRY(read_side(json_array_get(value, 1), file, key, "width", &given.width, error));
    } else if (int_is_square) {
        TD_TRY(read_side(value, file, key, "", &given.height, error));
        given.width = given.height;
    } else {
        TD_TRY(read_side(value, file, key, "", &given.shortest_edge, error));
    }
    *size = given;
    return TD_OK;
}

/* One number for all channels, or one for each. */
static td_status read_channels(const json_t *config, const char *file, const char *key, double least, double *values, td_error *error)
{
    const json_t *value = json_object_get(config, key);
    if (!td_json_has(config, key))
        return TD_OK;
    if (!json_is_number(value) && json_array_size(value) != 3)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\" must be a number or an array of 3 numbers", file, key);
    double given[3];
    for (size_t c = 0; c < 3; c++) {
        const json_t *element = json_is_number(value) ? value : json_array_get(value, c);
        given[c] = json_is_number(element) ? json_number_value(element) : NAN;
        if (!(given[c] > least && given[c] < 1e30))
            return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\" must hold numbers%s", file, key, least == 0 ? " above 0" : "");
    }
    memcpy(values, given, sizeof given);
    return TD_OK;
}

static td_status read_resample(const json_t *config, const char *file, td_resample *resample, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, "resample", *resample, &value, error));
    if (value < 0 || value >= TD_RESAMPLE_COUNT)
        return td_fail(error, TD_ERROR_UNSUPPORTED,
                       "%s: \"resample\": %lld is not supported (0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming)", file,
                       (long long)value);
    *resample = (td_resample)value;
    return TD_OK;
}

/* Keys of other processors that change the pixels: only their neutral values are taken. */
static td_status refuse_others(const json_t *config, const char *file, bool fits_page, td_error *error)
{
    static const char *const keys[] = {"do_flip_channel_order", "offset", "do_offset",    "rescale_offset",    "use_square_size",
                                       "do_crop_margin",        "do_pad", "do_thumbnail", "do_align_long_axis"};
    size_t count = sizeof keys / sizeof *keys - (fits_page ? 3 : 0); /* Donut has the last three */
    for (size_t i = 0; i < count; i++) {
        bool value;
        TD_TRY(td_json_get_bool(config, file, keys[i], false, &value, error));
        if (value)
            return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": true is not supported (false)", file, keys[i]);
    }
    bool ignored;
    return td_json_get_bool(config, file, "do_convert_rgb", true, &ignored, error); /* pictures are RGB already */
}

static td_status check(const td_processor_config *it, const char *file, td_error *error)
{
    if (it->do_center_crop && !(it->crop_size.height && it->crop_size.width))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"crop_size\" must give height and width when \"do_center_crop\" is true", file);
    if (it->do_resize && it->crops_by_ratio && !it->size.shortest_edge)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"size\" must give \"shortest_edge\" for this class", file);
    if (!(it->crop_ratio > 0 && it->crop_ratio <= 1))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"crop_pct\" must be above 0 and at most 1", file);
    if (it->fits_page && !(it->size.height && it->size.width))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"size\" must give height and width for this class", file);
    if (!isfinite(it->rescale_factor))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"rescale_factor\" must be a finite number", file);
    return TD_OK;
}

/* Donut gives a pair of numbers as [width, height]. */
static td_status read_page(const json_t *config, const char *file, td_processor_config *it, td_error *error)
{
    if (!it->fits_page)
        return TD_OK;
    if (json_is_array(json_object_get(config, "size")))
        it->size = (td_picture_size){.height = it->size.width, .width = it->size.height};
    TD_TRY(td_json_get_bool(config, file, "do_align_long_axis", false, &it->align_long_axis, error));
    TD_TRY(td_json_get_bool(config, file, "do_thumbnail", true, &it->thumbnail, error));
    return td_json_get_bool(config, file, "do_pad", true, &it->pad, error);
}

td_status td_processor_config_read(const json_t *config, const char *file, td_processor_config *ret_config, td_error *error)
{
    const class_row *row = NULL;
    TD_TRY(find_class(config, file, &row, error));
    td_processor_config it = {.resample = row->resample,
                              .size = row->size,
                              .crop_size = row->crop_size,
                              .crops_by_ratio = row->crops_by_ratio,
                              .fits_page = row->fits_page};
    memcpy(it.mean, row->mean, sizeof it.mean);
    memcpy(it.deviation, row->deviation, sizeof it.deviation);
    bool int_is_square;
    TD_TRY(td_json_get_bool(config, file, "default_to_square", row->int_is_square, &int_is_square, error));
    TD_TRY(td_json_get_bool(config, file, "do_resize", true, &it.do_resize, error));
    TD_TRY(td_json_get_bool(config, file, "do_center_crop", row->do_center_crop, &it.do_center_crop, error));
    TD_TRY(td_json_get_bool(config, file, "do_rescale", true, &it.do_rescale, error));
    TD_TRY(td_json_get_bool(config, file, "do_normalize", true, &it.do_normalize, error));
    TD_TRY(td_json_get_real(config, file, "crop_pct", 224.0 / 256, &it.crop_ratio, error));
    TD_TRY(td_json_get_real(config, file, "rescale_factor", 1 / 255.0, &it.rescale_factor, error));
    TD_TRY(read_resample(config, file, &it.resample, error));
    TD_TRY(read_size(config, file, "size", int_is_square, &it.size, error));
    TD_TRY(read_size(config, file, "crop_size", true, &it.crop_size, error));
    TD_TRY(read_page(config, file, &it, error));
    TD_TRY(read_channels(config, file, "image_mean", -1e30, it.mean, error));
    TD_TRY(read_channels(config, file, "image_std", 0, it.deviation, error));
    TD_TRY(refuse_others(config, file, it.fits_page, error));
    TD_TRY(check(&it, file, error));
    *ret_config = it;
    return TD_OK;
}

/* The long side is cut down to a whole number, as everywhere in transformers. */
static size_t follow(size_t side, size_t of, size_t to)
{
    return (size_t)((double)(of * to) / (double)side);
}

static void fit_edges(const td_picture_size *size, size_t shorter, size_t longer, size_t *ret_shorter, size_t *ret_longer)
{
    size_t target = size->shortest_edge;
    if (size->longest_edge && (double)longer / (double)shorter * (double)target > (double)size->longest_edge) {
        double raw = (double)size->longest_edge * (double)shorter / (double)longer;
        target = (size_t)nearbyint(raw);
        *ret_shorter = target;
        *ret_longer = target == shorter ? longer : (size_t)(raw * (double)longer / (double)shorter);
        return;
    }
    *ret_shorter = target;
    *ret_longer = follow(shorter, longer, target);
}

void td_processor_target(const td_processor_config *config, size_t height, size_t width, size_t *ret_height, size_t *ret_width)
{
    td_picture_size size = config->size;
    if (config->fits_page)
        size = (td_picture_size){.shortest_edge = size.height < size.width ? size.height : size.width};
    if (config->crops_by_ratio) {
        if (size.shortest_edge >= WARP_FROM)
            size = (td_picture_size){.height = size.shortest_edge, .width = size.shortest_edge};
        else
            size = (td_picture_size){.shortest_edge = (size_t)((double)size.shortest_edge / config->crop_ratio)};
    }
    if (size.shortest_edge && width <= height) {
        fit_edges(&size, width, height, ret_width, ret_height);
    } else if (size.shortest_edge) {
        fit_edges(&size, height, width, ret_height, ret_width);
    } else if (size.max_height && size.max_width) {
        double high = (double)size.max_height / (double)height, wide = (double)size.max_width / (double)width,
               scale = high < wide ? high : wide;
        *ret_height = (size_t)((double)height * scale);
        *ret_width = (size_t)((double)width * scale);
    } else {
        *ret_height = size.height;
        *ret_width = size.width;
    }
}

void td_processor_thumbnail(const td_processor_config *config, size_t height, size_t width, size_t *ret_height, size_t *ret_width)
{
    size_t high = height < config->size.height ? height : config->size.height,
           wide = width < config->size.width ? width : config->size.width;
    bool within = high == height && wide == width;
    *ret_height = !within && width > height ? height * wide / width : high;
    *ret_width = !within && height > width ? width * high / height : wide;
}
