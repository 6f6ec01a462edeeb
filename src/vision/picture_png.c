/* PNG through libpng: every colour type, depth and interlacing, brought to the values that Pillow gives. */
#include "decoder.h"
#include "orientation.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

typedef struct png_job {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    const uint8_t *bytes;
    size_t length, position;
    const char *name;
    bool deep_grey;   /* 16-bit grey, which needs its own way to 8 bits */
    uint8_t *samples; /* [height, row_bytes] of a picture of 16-bit grey */
    td_picture picture;
    unsigned orientation;
    td_status status;
    td_error *error;
} png_job;

static _Noreturn void escape(png_job *job, td_status status)
{
    job->status = status;
    longjmp(job->escape, 1);
}

static _Noreturn void on_error(png_structp png, png_const_charp message)
{
    png_job *job = png_get_error_ptr(png);
    escape(job, td_fail(job->error, TD_ERROR_FORMAT, "%s: not a sound PNG file: %s", job->name, message));
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static png_voidp on_allocate(png_structp png, png_alloc_size_t bytes)
{
    (void)png;
    return td_allocate(bytes);
}

static void on_release(png_structp png, png_voidp block)
{
    (void)png;
    td_release(block);
}

static void on_read(png_structp png, png_bytep to, size_t count)
{
    png_job *job = png_get_io_ptr(png);
    if (count > job->length - job->position)
        escape(job, td_fail(job->error, TD_ERROR_FORMAT, "%s: the PNG file ends too early, after %zu bytes", job->name, job->length));
    memcpy(to, job->bytes + job->position, count);
    job->position += count;
}

/* Deflate packs at most 1032 to 1: what promises more holds less than it says. */
static void check_size(png_job *job, size_t height, size_t width)
{
    size_t packed;
    td_status status = td_picture_check_size(height, width, job->name, job->error);
    if (status != TD_OK)
        escape(job, status);
    if (td_multiply_overflows(png_get_rowbytes(job->png, job->info), height, &packed) || packed / 1040 > job->length)
        escape(job, td_fail(job->error, TD_ERROR_FORMAT, "%s: %zu bytes cannot hold a PNG picture of %zu x %zu pixels", job->name,
                            job->length, width, height));
    status = td_picture_allocate(height, width, job->name, &job->picture, job->error);
    if (status != TD_OK)
        escape(job, status);
}

static void set_transforms(png_job *job)
{
    png_byte colour = png_get_color_type(job->png, job->info), depth = png_get_bit_depth(job->png, job->info);
    job->deep_grey = colour == PNG_COLOR_TYPE_GRAY && depth == 16;
    if (colour == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(job->png);
    if (colour == PNG_COLOR_TYPE_GRAY && depth < 8)
        png_set_expand_gray_1_2_4_to_8(job->png);
    if (depth == 16 && !job->deep_grey)
        png_set_strip_16(job->png); /* the high byte */
    png_set_strip_alpha(job->png);
    if (!job->deep_grey && !(colour & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(job->png);
    png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
}

/* Reads all passes over rows of `stride` bytes each from `base`. */
static void read_passes(png_job *job, int passes, uint8_t *base, size_t stride)
{
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < job->picture.height; y++)
            png_read_row(job->png, base + y * stride, NULL);
}

/* Pillow cuts 16-bit grey off at 255 rather than scaling it (its own 16-bit files are measurements, not pictures). */
static void read_deep_grey(png_job *job, int passes)
{
    size_t pixels = job->picture.height * job->picture.width;
    job->samples = td_allocate(pixels * 2);
    if (!job->samples)
        escape(job, td_fail_memory(job->error, pixels * 2));
    read_passes(job, passes, job->samples, job->picture.width * 2);
    for (size_t i = 0; i < pixels; i++)
        memset(job->picture.pixels + 3 * i, job->samples[2 * i] ? 255 : job->samples[2 * i + 1], 3);
}

static void find_orientation(png_job *job)
{
    png_uint_32 length;
    png_bytep exif;
    if (png_get_eXIf_1(job->png, job->info, &length, &exif) == PNG_INFO_eXIf)
        job->orientation = td_orientation_find(exif, length);
}

static void run(png_job *job)
{
    job->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, job, on_error, on_warning, NULL, on_allocate, on_release);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    if (!job->info)
        escape(job, td_fail_memory(job->error, sizeof *job));
    png_set_read_fn(job->png, job, on_read);
    png_read_info(job->png, job->info);
    check_size(job, png_get_image_height(job->png, job->info), png_get_image_width(job->png, job->info));
    int passes = png_get_interlace_type(job->png, job->info) == PNG_INTERLACE_ADAM7 ? PNG_INTERLACE_ADAM7_PASSES : 1;
    set_transforms(job);
    size_t expected = job->picture.width * (job->deep_grey ? 2 : 3);
    if (png_get_rowbytes(job->png, job->info) != expected)
        escape(job, td_fail(job->error, TD_ERROR_INTERNAL, "%s: a PNG row of unexpected size", job->name));
    if (job->deep_grey)
        read_deep_grey(job, passes);
    else
        read_passes(job, passes, job->picture.pixels, expected);
    png_read_end(job->png, job->info);
    find_orientation(job);
}

/* A function of its own: locals of the one that calls setjmp would be lost after the jump. */
static void attempt(png_job *job)
{
    if (setjmp(job->escape) == 0)
        run(job);
}

static td_status decode(const uint8_t *bytes, size_t length, const char *name, td_picture *ret_picture, unsigned *ret_orientation,
                        td_error *error)
{
    png_job job = {.bytes = bytes, .length = length, .name = name, .orientation = 1, .error = error};
    attempt(&job);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    td_release(job.samples);
    if (job.status != TD_OK) {
        td_picture_free(&job.picture);
        return job.status;
    }
    *ret_picture = job.picture;
    *ret_orientation = job.orientation;
    return TD_OK;
}

const td_picture_decoder td_picture_png = {
    .media_type = "image/png", .name = "PNG", .magic = "\x89PNG\r\n\x1a\n", .magic_length = 8, .decode = decode};
