/* WebP, lossy and lossless, through libwebp. */
#include "decoder.h"
#include "orientation.h"

#include "base/reader.h"

#include <string.h>

#include <webp/decode.h>

enum { RIFF_HEADER = 12, CHUNK_HEADER = 8 };

/* The size in the first chunk header must be what is there: a cut file may still decode when only its end is gone. */
static td_status check_whole(const uint8_t *bytes, size_t length, const char *name, td_error *error)
{
    td_reader reader = td_reader_of(bytes, length);
    td_read_bytes(&reader, 4);
    uint64_t promised = (uint64_t)td_read_u32(&reader) + CHUNK_HEADER;
    if (promised > length)
        return td_fail(error, TD_ERROR_FORMAT, "%s: the WebP file ends too early, after %zu of %llu bytes", name, length,
                       (unsigned long long)promised);
    return TD_OK;
}

static unsigned find_orientation(const uint8_t *bytes, size_t length)
{
    td_reader reader = td_reader_of(bytes, length);
    td_read_bytes(&reader, RIFF_HEADER);
    while (td_reader_left(&reader) >= CHUNK_HEADER) {
        const uint8_t *tag = td_read_bytes(&reader, 4);
        size_t size = td_read_u32(&reader);
        const uint8_t *content = td_read_bytes(&reader, size);
        if (!content)
            break;
        if (memcmp(tag, "EXIF", 4) == 0)
            return td_orientation_find(content, size);
        td_read_bytes(&reader, size % 2); /* chunks start at even places */
    }
    return 1;
}

static const char *reason(VP8StatusCode code)
{
    static const char *const reasons[] = {
        [VP8_STATUS_OUT_OF_MEMORY] = "out of memory",   [VP8_STATUS_INVALID_PARAM] = "damaged header",
        [VP8_STATUS_BITSTREAM_ERROR] = "damaged data",  [VP8_STATUS_UNSUPPORTED_FEATURE] = "a feature that libwebp does not know",
        [VP8_STATUS_SUSPENDED] = "ends too early",      [VP8_STATUS_USER_ABORT] = "stopped",
        [VP8_STATUS_NOT_ENOUGH_DATA] = "ends too early"};
    size_t index = (size_t)code;
    return index < sizeof reasons / sizeof *reasons && reasons[index] ? reasons[index] : "unknown error";
}

static td_status fail_code(VP8StatusCode code, const char *name, td_error *error)
{
    td_status status = code == VP8_STATUS_OUT_OF_MEMORY ? TD_ERROR_MEMORY : TD_ERROR_FORMAT;
    return td_fail(error, status, "%s: not a sound WebP file: %s", name, reason(code));
}

static td_status decode(const uint8_t *bytes, size_t length, const char *name, td_picture *ret_picture, unsigned *ret_orientation,
                        td_error *error)
{
    TD_TRY(check_whole(bytes, length, name, error));
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return td_fail(error, TD_ERROR_INTERNAL, "%s: libwebp is of another version than its header", name);
    VP8StatusCode code = WebPGetFeatures(bytes, length, &config.input);
    if (code != VP8_STATUS_OK)
        return fail_code(code, name, error);
    if (config.input.has_animation)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: an animated WebP file; only single pictures are supported", name);
    td_picture picture;
    TD_TRY(td_picture_allocate((size_t)config.input.height, (size_t)config.input.width, name, &picture, error));
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA = (WebPRGBABuffer){picture.pixels, (int)(picture.width * 3), picture.height * picture.width * 3};
    code = WebPDecode(bytes, length, &config);
    WebPFreeDecBuffer(&config.output);
    if (code != VP8_STATUS_OK) {
        td_picture_free(&picture);
        return fail_code(code, name, error);
    }
    *ret_picture = picture;
    *ret_orientation = find_orientation(bytes, length);
    return TD_OK;
}

const td_picture_decoder td_picture_webp = {
    .media_type = "image/webp", .name = "WebP", .magic = "WEBPVP8", .magic_length = 7, .magic_offset = 8, .decode = decode};
