/* Pictures as rows of RGB bytes: decoded from JPEG, PNG and WebP to the very values that Pillow's convert("RGB") gives.
 *
 * The format is told by the content, never by the name. EXIF orientation is applied (as PIL.ImageOps.exif_transpose does), alpha is
 * dropped. */
#ifndef TD_VISION_PICTURE_H
#define TD_VISION_PICTURE_H

#include "base/error.h"
#include "base/memory.h"

/* Checked against the header, before memory for pixels is taken: 400 MB of RGB at most. */
#define TD_PICTURE_MAX_PIXELS ((size_t)1 << 27)
#define TD_PICTURE_MAX_BYTES ((size_t)1 << 28) /* of a file */

typedef struct td_picture {
    uint8_t *pixels; /* [height, width, 3]; owned */
    size_t height, width;
} td_picture;

/* Decodes a file's content; `name` stands for the path in errors. Anything but a whole, sound picture is an error. */
td_status td_picture_decode(const void *bytes, size_t length, const char *name, td_picture *ret_picture, td_error *error);
td_status td_picture_read(const char *path, td_picture *ret_picture, td_error *error);
/* What the content is by its first bytes, such as "image/png"; NULL when it is nothing known here. */
const char *td_picture_media_type(const void *bytes, size_t length);
/* Fails when there would be no pixels, or more than TD_PICTURE_MAX_PIXELS. */
td_status td_picture_check_size(size_t height, size_t width, const char *name, td_error *error);
/* Uninitialised pixels of a size that passes this check. */
td_status td_picture_allocate(size_t height, size_t width, const char *name, td_picture *ret_picture, td_error *error);
void td_picture_free(td_picture *picture);

#endif
