/* Resizing and cropping, byte for byte as Pillow and transformers' image processors do it. */
#ifndef TD_VISION_RESIZE_H
#define TD_VISION_RESIZE_H

#include "picture.h"

/* Pillow's numbers, which preprocessor_config.json uses. */
typedef enum td_resample { TD_NEAREST, TD_LANCZOS, TD_BILINEAR, TD_BICUBIC, TD_BOX, TD_HAMMING, TD_RESAMPLE_COUNT } td_resample;

/* When shrinking, the filter is as much wider as the picture gets smaller (antialiasing). `name` is for messages. */
td_status td_resize(const td_picture *from, size_t height, size_t width, td_resample resample, const char *name, td_picture *ret_picture,
                    td_error *error);
/* The middle of the picture, with black around it where it is smaller. */
td_status td_center_crop(const td_picture *from, size_t height, size_t width, const char *name, td_picture *ret_picture, td_error *error);
/* The picture in the middle of a black one; where the rest is odd, a row more lies below and a column more on the
 * right. A picture that does not fit is an error. */
td_status td_pad(const td_picture *from, size_t height, size_t width, const char *name, td_picture *ret_picture, td_error *error);

#endif
