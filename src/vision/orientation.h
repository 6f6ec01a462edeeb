/* EXIF orientation: how a camera was held, as a number from 1 (upright) to 8. */
#ifndef TD_VISION_ORIENTATION_H
#define TD_VISION_ORIENTATION_H

#include "picture.h"

/* Finds tag 0x0112 in the first directory of EXIF data ("Exif\0\0" in front or not). 1 when absent or malformed. */
unsigned td_orientation_find(const uint8_t *exif, size_t length);
/* Turns and mirrors the picture upright, in place of the old pixels. */
td_status td_orientation_apply(unsigned orientation, td_picture *picture, const char *name, td_error *error);

#endif
