/* Pictures that mean harm, configurations that cannot be honoured, allocations that fail: each is an error, nothing leaks, memory stays
 * bounded; and the drawing of attention. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "frontend/frontend.h"
#include "io/json.h"
#include "platform/file.h"
#include "vision/overlay.h"
#include "vision/picture.h"

#define FOLDER TD_TEST_DATA "/golden/pictures/"

/* One of each way through the decoders. */
static const char *const files[] = {"baseline.jpg",      "progressive.jpg",
                                    "restarts.jpg",      "grey.jpg",
                                    "ycck.jpg",          "exif-6.jpg",
                                    "palette-alpha.png", "grey-1.png",
                                    "grey-16.png",       "grey-4-interlaced.png",
                                    "turned.png",        "rgba-16-interlaced.png",
                                    "one-pixel.png",     "lossy.webp",
                                    "lossless.webp",     "lossy-alpha.webp",
                                    "turned.webp",       NULL};

static td_buffer load(const char *name)
{
    char path[512];
    td_buffer bytes = TD_BUFFER_INIT;
    snprintf(path, sizeof path, FOLDER "%s", name);
    assert_int_equal(td_file_read(path, 0, &bytes, NULL), TD_OK);
    return bytes;
}

/* From memory that ends where the picture does, so that a sanitizer sees a read beyond. */
static td_status decode(const void *bytes, size_t length, td_error *error)
{
    td_picture picture = {0};
    void *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    td_status status = td_picture_decode(copy, length, "the-file", &picture, error);
    assert_true(status == TD_OK ? picture.pixels != NULL : picture.pixels == NULL);
    if (status != TD_OK && error)
        assert_non_null(strstr(error->message, "the-file"));
    td_picture_free(&picture);
    free(copy);
    return status;
}

static void test_every_prefix(void **state)
{
    (void)state;
    for (const char *const *name = files; *name; name++) {
        td_buffer bytes = load(*name);
        td_error error;
        assert_int_equal(decode(bytes.data, bytes.length, &error), TD_OK);
        for (size_t length = 0; length < bytes.length; length++)
            if (decode(bytes.data, length, &error) == TD_OK)
                fail_msg("%s: %zu of %zu bytes pass for a picture", *name, length, bytes.length);
        td_buffer_free(&bytes);
    }
}

/* Damage may pass unseen (a wrong colour is still a colour), but nothing else happens than a picture or an error. */
static void test_flipped_bits(void **state)
{
    (void)state;
    for (const char *const *name = files; *name; name++) {
        td_buffer bytes = load(*name);
        size_t refused = 0;
        for (size_t at = 0; at < bytes.length; at++)
            for (unsigned mask = 1; mask < 256; mask = mask * 4 + 3) {
                bytes.data[at] = (char)(bytes.data[at] ^ (char)mask);
                td_error error;
                refused += decode(bytes.data, bytes.length, &error) != TD_OK;
                bytes.data[at] = (char)(bytes.data[at] ^ (char)mask);
            }
        assert_true(refused > 0);
        td_buffer_free(&bytes);
    }
}

static void test_garbage(void **state)
{
    (void)state;
    td_error error;
    assert_int_equal(decode("", 0, &error), TD_ERROR_FORMAT);
    assert_int_equal(decode("GIF89a-and-more", 15, &error), TD_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "JPEG, PNG, WebP; its first bytes are 47 49 46 38"));
    const char *const magics[] = {"\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "RIFF\x80\x01\0\0WEBPVP8 ", "RIFF\x80\x01\0\0WEBPVP8L",
                                  "RIFF\x80\x01\0\0WEBPVP8X"};
    const size_t lengths[] = {3, 8, 16, 16, 16};
    char noise[400];
    uint32_t number = 1;
    for (size_t round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (char)((number = number * 1664525u + 1013904223u) >> 24);
        memcpy(noise, magics[round % 5], lengths[round % 5]);
        assert_int_not_equal(decode(noise, sizeof noise, &error), TD_OK);
    }
}

static size_t largest_allocation;

static void *allocate(void *context, size_t bytes)
{
    (void)context;
    largest_allocation = bytes > largest_allocation ? bytes : largest_allocation;
    return malloc(bytes);
}

static void *resize(void *context, void *block, size_t bytes)
{
    (void)context;
    largest_allocation = bytes > largest_allocation ? bytes : largest_allocation;
    return realloc(block, bytes);
}

static void release(void *context, void *block)
{
    (void)context;
    free(block);
}

static void expect_refused(const td_buffer *bytes, td_status expected, const char *reason)
{
    const td_allocator counting = {allocate, resize, release, NULL};
    td_error error;
    largest_allocation = 0;
    td_set_allocator(&counting);
    td_status status = decode(bytes->data, bytes->length, &error);
    td_set_allocator(NULL);
    if (status != expected || !strstr(error.message, reason))
        fail_msg("status %d, not %d; \"%s\" should say \"%s\"", (int)status, (int)expected, error.message, reason);
    assert_true(largest_allocation < (1 << 20));
}

static void put_big_endian(char *at, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (char)(value >> 8 * (bytes - 1 - i));
}

static char *find(const td_buffer *bytes, const char *text, size_t length)
{
    for (size_t i = 0; i + length <= bytes->length; i++)
        if (memcmp(bytes->data + i, text, length) == 0)
            return bytes->data + i;
    fail_msg("the picture lacks a header");
    return NULL;
}

/* Headers that promise more than is taken, and more than the few bytes behind them can hold. */
static void test_giants(void **state)
{
    (void)state;
    td_buffer png = load("rgb.png"), jpeg = load("baseline.jpg"), progressive = load("progressive.jpg"), webp = load("lossless.webp");
    for (size_t k = 0; k < 2; k++) {
        uint32_t side = k ? 11000 : 60000;
        td_status expected = k ? TD_ERROR_FORMAT : TD_ERROR_LIMIT;
        put_big_endian(png.data + 16, side, 4);
        put_big_endian(png.data + 20, side, 4);
        put_big_endian(png.data + 29, (uint32_t)crc32(0, (const Bytef *)png.data + 12, 17), 4);
        expect_refused(&png, expected, k ? "cannot hold a PNG picture" : "at most 134217728");
        const struct {
            td_buffer *bytes;
            const char *marker;
        } jpegs[] = {{&jpeg, "\xff\xc0"}, {&progressive, "\xff\xc2"}};
        for (size_t i = 0; i < 2; i++) {
            char *frame = find(jpegs[i].bytes, jpegs[i].marker, 2);
            put_big_endian(frame + 5, side, 2);
            put_big_endian(frame + 7, side, 2);
            expect_refused(jpegs[i].bytes, expected, k ? "cannot hold a JPEG picture" : "at most 134217728");
        }
    }
    /* 16383 x 16383: fourteen bits each, less one, behind the signature byte. */
    memcpy(webp.data + 21, "\xfe\xbf\xff\x0f", 4);
    expect_refused(&webp, TD_ERROR_LIMIT, "at most 134217728");
    td_buffer_free(&png);
    td_buffer_free(&jpeg);
    td_buffer_free(&progressive);
    td_buffer_free(&webp);
}

static td_status configure(const char *text, td_frontend *ret_frontend, td_error *error)
{
    json_t *config;
    assert_int_equal(td_json_parse(text, strlen(text), "p.json", &config, error), TD_OK);
    td_status status = td_frontend_configure(config, "p.json", TD_IMAGE, ret_frontend, error);
    json_decref(config);
    return status;
}

static void test_settings(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *reason;
    } cases[] = {
        {"\"size\": 0", "\"size\""},
        {"\"size\": \"224\"", "\"size\""},
        {"\"size\": 1e9", "\"size\""},
        {"\"size\": {\"height\": 4}", "\"size\""},
        {"\"size\": {\"height\": 4, \"width\": 2.5}", "width"},
        {"\"size\": [1, 2, 3]", "\"size\""},
        {"\"crop_size\": {\"shortest_edge\": 4}, \"do_center_crop\": true", "\"crop_size\""},
        {"\"do_center_crop\": true", "\"crop_size\""},
        {"\"resample\": 6", "\"resample\": 6 is not supported"},
        {"\"resample\": \"cubic\"", "\"resample\""},
        {"\"image_mean\": [0.5, 0.5]", "\"image_mean\""},
        {"\"image_mean\": [0.5, 0.5, null]", "\"image_mean\""},
        {"\"image_std\": [0.5, 0, 0.5]", "\"image_std\""},
        {"\"crop_pct\": 0", "\"crop_pct\""},
        {"\"do_resize\": 1", "\"do_resize\""},
        {"\"do_pad\": true", "\"do_pad\""},
        {"\"rescale_offset\": true", "\"rescale_offset\""},
    };
    td_frontend frontend;
    td_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"image_processor_type\": \"ViTImageProcessor\", %s}", cases[i].setting);
        if (configure(text, &frontend, &error) == TD_OK)
            fail_msg("%s is taken", cases[i].setting);
        assert_non_null(strstr(error.message, "p.json"));
        if (!strstr(error.message, cases[i].reason))
            fail_msg("%s: \"%s\" lacks %s", cases[i].setting, error.message, cases[i].reason);
    }
    assert_int_equal(configure("{\"image_processor_type\": \"OtherImageProcessor\"}", &frontend, &error), TD_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "ViTImageProcessorFast"));
    assert_int_equal(configure("{\"feature_extractor_type\": \"CLIPFeatureExtractor\", \"size\": 224}", &frontend, &error), TD_OK);
    td_frontend_close(&frontend);
}

/* A picture of one row cannot be brought to a shortest edge of 224 without growing beyond all bounds. */
static void test_thin_picture(void **state)
{
    (void)state;
    td_frontend frontend;
    td_features features;
    td_error error;
    enum { WIDTH = 1000000 };
    uint8_t *pixels = calloc(WIDTH, 1);
    assert_non_null(pixels);
    assert_int_equal(configure("{\"image_processor_type\": \"CLIPImageProcessor\"}", &frontend, &error), TD_OK);
    const td_raw_picture raw = {pixels, 1, WIDTH, 1};
    assert_int_equal(frontend.kind->take_picture(frontend.state, &raw, &features, &error), TD_ERROR_LIMIT);
    td_frontend_close(&frontend);
    free(pixels);
}

static size_t allocations_left;

static void *allocate_some(void *context, size_t bytes)
{
    (void)context;
    return allocations_left && allocations_left-- ? malloc(bytes) : NULL;
}

static void *resize_some(void *context, void *block, size_t bytes)
{
    (void)context;
    return allocations_left && allocations_left-- ? realloc(block, bytes) : NULL;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    const td_allocator scarce = {allocate_some, resize_some, release, NULL};
    const char *const names[] = {"exif-6.jpg", "grey-16-interlaced.png", "turned.webp"};
    td_frontend frontend;
    td_error error;
    assert_int_equal(
        configure("{\"image_processor_type\": \"MobileNetV2ImageProcessor\", \"size\": 30, \"crop_size\": 24}", &frontend, &error), TD_OK);
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        td_status status = TD_ERROR_MEMORY;
        size_t failures = 0;
        snprintf(path, sizeof path, FOLDER "%s", names[i]);
        for (size_t count = 0; status != TD_OK && count < 1000; count++) {
            td_features features = {0};
            allocations_left = count;
            td_set_allocator(&scarce);
            status = frontend.kind->read(frontend.state, path, NULL, 0, &features, &error);
            td_set_allocator(NULL);
            if (status != TD_OK)
                assert_null(features.data);
            failures += status != TD_OK;
            td_features_free(&features);
        }
        assert_int_equal(status, TD_OK);
        assert_true(failures >= 5);
    }
    td_frontend_close(&frontend);
}

static size_t occurrences(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

static void test_overlay(void **state)
{
    (void)state;
    char directory[] = "/tmp/test-vision-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/out.svg", directory);
    const char *const words[] = {"a", "<dog & \"cat\">", "caf\xc3\xa9 \xff"};
    float weights[3 * 6] = {0.5f, 0.25f, 0.25f, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
    td_error error;
    assert_int_equal(td_overlay_write(path, FOLDER "exif-6.jpg", words, weights, 3, 2, 3, NULL, NULL, &error), TD_OK);
    td_buffer svg = TD_BUFFER_INIT;
    assert_int_equal(td_file_read(path, 0, &svg, &error), TD_OK);
    const char *text = td_buffer_text(&svg);
    assert_int_equal(occurrences(text, "<use "), 4);
    assert_int_equal(occurrences(text, "data:image/jpeg;base64,/9j/"), 1);
    assert_int_equal(occurrences(text, "opacity=\"0.000\""), 2); /* the brightest cell of two words */
    assert_int_equal(occurrences(text, "opacity=\"0.425\""), 2); /* half of that */
    assert_int_equal(occurrences(text, "opacity=\"0.850\""), 3 + 5 + 6);
    assert_int_equal(occurrences(text, "&lt;dog &amp; &quot;cat&quot;&gt;"), 1);
    assert_int_equal(occurrences(text, "caf\xc3\xa9 \xef\xbf\xbd"), 1);
    assert_int_equal(occurrences(text, "/2Q==\"/>") + occurrences(text, "/9k=\"/>") + occurrences(text, "/Z\"/>"),
                     1); /* ff d9: to the end */
    td_buffer_free(&svg);
    weights[4] = -1;
    assert_int_equal(td_overlay_write(path, FOLDER "exif-6.jpg", words, weights, 3, 2, 3, NULL, NULL, &error), TD_ERROR_NUMERIC);
    assert_int_equal(td_overlay_write(path, FOLDER "values.bin", words, weights + 6, 2, 2, 3, NULL, NULL, &error), TD_ERROR_UNSUPPORTED);
    assert_int_equal(td_overlay_write(path, FOLDER "absent.png", words, weights + 6, 2, 2, 3, NULL, NULL, &error), TD_ERROR_IO);
    assert_int_equal(td_directory_remove(directory, NULL), TD_OK);
}

static td_picture_part seen_turned(const void *state, size_t height, size_t width)
{
    (void)state, (void)height, (void)width;
    return (td_picture_part){0, 0, 1, 1, true};
}

/* Cells of a picture that was turned clockwise lie over it as it was: the first row of the cells is its first column, from below. */
static void test_turned_overlay(void **state)
{
    (void)state;
    static const float weights[6] = {0.6f, 0.5f, 0.4f, 0.3f, 0.2f, 0.1f};
    static const float upright[6] = {0.4f, 0.1f, 0.5f, 0.2f, 0.6f, 0.3f}; /* 3 rows of 2 */
    const td_frontend_kind kind = {.seen = seen_turned};
    const char *const words[] = {"a"};
    char path[] = "/tmp/test-vision-XXXXXX";
    td_error error;
    td_buffer svg = TD_BUFFER_INIT;
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    assert_int_equal(td_overlay_write(path, FOLDER "exif-6.jpg", words, weights, 1, 2, 3, &kind, NULL, &error), TD_OK);
    assert_int_equal(td_file_read(path, 0, &svg, &error), TD_OK);
    const char *at = td_buffer_text(&svg);
    for (size_t i = 0; i < 6; i++) {
        at = strstr(at, "\" opacity=\"0.");
        assert_non_null(at);
        at += strlen("\" opacity=\"");
        assert_true(fabs(strtod(at, NULL) - 0.85 * (1 - (double)upright[i] / 0.6)) < 1e-3);
    }
    td_buffer_free(&svg);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_giants),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_thin_picture),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_turned_overlay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
