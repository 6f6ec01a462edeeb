#include "orientation.h"

#include <string.h>

enum { ORIENTATION_TAG = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_BYTES = 12 };

/* TIFF data in the byte order that its first two bytes name; reads past the end give 0. */
typedef struct tiff {
    const uint8_t *data;
    size_t length;
    bool big_endian;
} tiff;

static uint32_t read_number(const tiff *file, size_t at, unsigned bytes)
{
    if (at > file->length || file->length - at < bytes)
        return 0;
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | file->data[at + (file->big_endian ? i : bytes - 1 - i)];
    return value;
}

unsigned td_orientation_find(const uint8_t *exif, size_t length)
{
    if (length >= 6 && memcmp(exif, "Exif\0\0", 6) == 0) {
        exif += 6;
        length -= 6;
    }
    if (length < 8 || (memcmp(exif, "II*\0", 4) != 0 && memcmp(exif, "MM\0*", 4) != 0))
        return 1;
    tiff file = {exif, length, exif[0] == 'M'};
    size_t directory = read_number(&file, 4, 4);
    size_t count = read_number(&file, directory, 2);
    for (size_t i = 0; i < count; i++) {
        size_t entry = directory + 2 + i * ENTRY_BYTES;
        if (read_number(&file, entry, 2) != ORIENTATION_TAG)
            continue;
        uint32_t type = read_number(&file, entry + 2, 2);
        uint32_t value = type == TYPE_SHORT || type == TYPE_LONG ? read_number(&file, entry + 8, type == TYPE_SHORT ? 2 : 4) : 1;
        return value >= 1 && value <= 8 ? (unsigned)value : 1;
    }
    return 1;
}

td_status td_orientation_apply(unsigned orientation, td_picture *picture, const char *name, td_error *error)
{
    /* Where the stored rows and columns run, by EXIF 2.3, 4.6.4. A transposed picture is mirrored after the transposition. */
    static const struct {
        bool transpose, mirror, flip;
    } table[9] = {[2] = {0, 1, 0}, [3] = {0, 1, 1}, [4] = {0, 0, 1}, [5] = {1, 0, 0}, [6] = {1, 1, 0}, [7] = {1, 1, 1}, [8] = {1, 0, 1}};
    if (orientation <= 1 || orientation > 8)
        return TD_OK;
    bool transpose = table[orientation].transpose;
    size_t height = transpose ? picture->width : picture->height, width = transpose ? picture->height : picture->width;
    td_picture turned;
    TD_TRY(td_picture_allocate(height, width, name, &turned, error));
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            size_t row = table[orientation].flip ? height - 1 - y : y, column = table[orientation].mirror ? width - 1 - x : x;
            size_t from = transpose ? column * picture->width + row : row * picture->width + column;
            memcpy(turned.pixels + (y * width + x) * 3, picture->pixels + from * 3, 3);
        }
    td_picture_free(picture);
    *picture = turned;
    return TD_OK;
}
