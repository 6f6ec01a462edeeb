/* The settings of a picture front end, as preprocessor_config.json and the defaults of its class give them. */
#ifndef TD_VISION_PROCESSOR_CONFIG_H
#define TD_VISION_PROCESSOR_CONFIG_H

#include "resize.h"

#include <jansson.h>

/* 0: not given. One of the pairs (shortest with or without longest), as transformers' SizeDict. */
typedef struct td_picture_size {
    size_t height, width, shortest_edge, longest_edge, max_height, max_width;
} td_picture_size;

typedef struct td_processor_config {
    bool do_resize, do_center_crop, do_rescale, do_normalize;
    bool crops_by_ratio; /* ConvNext: up to 384, resize to shortest_edge / crop_ratio and cut the middle */
    bool fits_page;      /* Donut: the shorter side of `size` is what do_resize brings a picture's to; before it, and after it: */
    bool align_long_axis, thumbnail, pad; /* turned as `size` lies; shrunk into `size`, put into the middle of it */
    td_resample resample;
    td_picture_size size, crop_size;
    double crop_ratio, rescale_factor, mean[3], deviation[3];
} td_processor_config;

/* Every value that is not supported is an error naming file and key. */
td_status td_processor_config_read(const json_t *config, const char *file, td_processor_config *ret_config, td_error *error);
/* The size that do_resize brings a picture to; 0 x 0 when a side would be rounded away. */
void td_processor_target(const td_processor_config *config, size_t height, size_t width, size_t *ret_height, size_t *ret_width);

/* Donut: the size that a picture is shrunk to, so that it lies within `size`; its own when it does already. */
void td_processor_thumbnail(const td_processor_config *config, size_t height, size_t width, size_t *ret_height, size_t *ret_width);

#endif
