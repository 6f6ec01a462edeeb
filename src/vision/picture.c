#include "picture.h"

#include "base/buffer.h"
#include "decoder.h"
#include "orientation.h"
#include "platform/file.h"

#include <string.h>

static const td_picture_decoder *const decoders[] = {&td_picture_jpeg, &td_picture_png, &td_picture_webp, NULL};

static const td_picture_decoder *find_decoder(const uint8_t *bytes, size_t length)
{
    for (const td_picture_decoder *const *row = decoders; *row; row++) {
        const td_picture_decoder *decoder = *row;
        if (length >= decoder->magic_offset + decoder->magic_length &&
            memcmp(bytes + decoder->magic_offset, decoder->magic, decoder->magic_length) == 0)
            return decoder;
    }
    return NULL;
}

static td_status fail_unknown(const uint8_t *bytes, size_t length, const char *name, td_error *error)
{
    if (length == 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: is empty", name);
    td_buffer text = TD_BUFFER_INIT;
    for (const td_picture_decoder *const *row = decoders; *row; row++)
        td_buffer_format(&text, "%s%s", text.length ? ", " : "", (*row)->name);
    td_buffer_text_append(&text, "; its first bytes are");
    for (size_t i = 0; i < length && i < 4; i++)
        td_buffer_format(&text, " %02x", bytes[i]);
    td_status status = td_fail(error, TD_ERROR_UNSUPPORTED, "%s: not a picture of a known format (%s)", name, td_buffer_text(&text));
    td_buffer_free(&text);
    return status;
}

td_status td_picture_check_size(size_t height, size_t width, const char *name, td_error *error)
{
    size_t pixels;
    if (height == 0 || width == 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: %zu x %zu pixels; a picture needs at least one", name, width, height);
    if (td_multiply_overflows(height, width, &pixels) || pixels > TD_PICTURE_MAX_PIXELS)
        return td_fail(error, TD_ERROR_LIMIT, "%s: %zu x %zu pixels; at most %zu in all are taken", name, width, height,
                       TD_PICTURE_MAX_PIXELS);
    return TD_OK;
}

td_status td_picture_allocate(size_t height, size_t width, const char *name, td_picture *ret_picture, td_error *error)
{
    TD_TRY(td_picture_check_size(height, width, name, error));
    uint8_t *memory = td_allocate(height * width * 3);
    if (!memory)
        return td_fail_memory(error, height * width * 3);
    *ret_picture = (td_picture){memory, height, width};
    return TD_OK;
}

void td_picture_free(td_picture *picture)
{
    td_release(picture->pixels);
    *picture = (td_picture){0};
}

const char *td_picture_media_type(const void *bytes, size_t length)
{
    const td_picture_decoder *decoder = find_decoder(bytes, length);
    return decoder ? decoder->media_type : NULL;
}

td_status td_picture_decode(const void *bytes, size_t length, const char *name, td_picture *ret_picture, td_error *error)
{
    const td_picture_decoder *decoder = find_decoder(bytes, length);
    if (!decoder)
        return fail_unknown(bytes, length, name, error);
    td_picture picture = {0};
    unsigned orientation = 1;
    TD_TRY(decoder->decode(bytes, length, name, &picture, &orientation, error));
    td_status status = td_orientation_apply(orientation, &picture, name, error);
    if (status == TD_OK)
        *ret_picture = picture;
    else
        td_picture_free(&picture);
    return status;
}

td_status td_picture_read(const char *path, td_picture *ret_picture, td_error *error)
{
    td_buffer bytes = TD_BUFFER_INIT;
    td_status status = td_file_read(path, TD_PICTURE_MAX_BYTES, &bytes, error);
    if (status == TD_OK)
        status = td_picture_decode(td_buffer_text(&bytes), bytes.length, path, ret_picture, error);
    td_buffer_free(&bytes);
    return status;
}
