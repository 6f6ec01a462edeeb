/* What a picture format gives: one struct a format, rows of the table in picture.c. */
#ifndef TD_VISION_DECODER_H
#define TD_VISION_DECODER_H

#include "picture.h"

typedef struct td_picture_decoder {
    const char *media_type, *name;
    const char *magic; /* compared from `magic_offset` on */
    size_t magic_length, magic_offset;
    /* The pixels as stored, and the EXIF orientation, 1 to 8 (1: as stored). */
    td_status (*decode)(const uint8_t *bytes, size_t length, const char *name, td_picture *ret_picture, unsigned *ret_orientation,
                        td_error *error);
} td_picture_decoder;

extern const td_picture_decoder td_picture_jpeg, td_picture_png, td_picture_webp;

#endif
