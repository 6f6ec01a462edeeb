/* JPEG through libjpeg with its defaults (accurate integer DCT, smooth upsampling): the same values as Pillow's. */
#include "decoder.h"
#include "orientation.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* A progressive file may ask for any number of passes over the picture for a few bytes each. */
enum { MAX_SCANS = 128 };

typedef struct jpeg_job {
    struct jpeg_decompress_struct info; /* first: libjpeg's callbacks get its address */
    struct jpeg_error_mgr manager;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    const char *name;
    size_t length;
    td_picture picture;
    unsigned orientation;
    td_status status;
    td_error *error;
} jpeg_job;

static _Noreturn void escape(jpeg_job *job, td_status status)
{
    job->status = status;
    longjmp(job->escape, 1);
}

static void on_error(j_common_ptr info)
{
    jpeg_job *job = (jpeg_job *)info;
    char message[JMSG_LENGTH_MAX];
    info->err->format_message(info, message);
    td_status status = info->err->msg_code == JERR_OUT_OF_MEMORY ? TD_ERROR_MEMORY : TD_ERROR_FORMAT;
    escape(job, td_fail(job->error, status, "%s: not a sound JPEG file: %s", job->name, message));
}

/* libjpeg goes on after damage and leaves grey areas; a picture with holes is none. Other warnings lose nothing. */
static void on_message(j_common_ptr info, int level)
{
    static const int fatal[] = {JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_ARITH_BAD_CODE, JWRN_MUST_RESYNC};
    jpeg_job *job = (jpeg_job *)info;
    if (level >= 0)
        return;
    if (info->err->msg_code == JWRN_JPEG_EOF)
        escape(job, td_fail(job->error, TD_ERROR_FORMAT, "%s: the JPEG file ends too early, after %zu bytes", job->name, job->length));
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        if (info->err->msg_code == fatal[i])
            on_error(info);
}

static void on_output(j_common_ptr info)
{
    (void)info;
}

static void on_progress(j_common_ptr info)
{
    jpeg_job *job = (jpeg_job *)info;
    if (job->info.input_scan_number > MAX_SCANS)
        escape(job, td_fail(job->error, TD_ERROR_LIMIT, "%s: a JPEG file of more than %d scans", job->name, MAX_SCANS));
}

static void find_orientation(jpeg_job *job)
{
    for (jpeg_saved_marker_ptr marker = job->info.marker_list; marker; marker = marker->next)
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length >= 6 && memcmp(marker->data, "Exif\0\0", 6) == 0) {
            job->orientation = td_orientation_find(marker->data, marker->data_length);
            return;
        }
}

/* A Huffman-coded picture spends at least a bit on each block of 64 samples, and its components together have at least a
 * quarter of the picture's: much less than that is a header that promises what the file cannot hold. */
static void check_size(jpeg_job *job)
{
    size_t width = job->info.image_width, height = job->info.image_height;
    td_status status = td_picture_check_size(height, width, job->name, job->error);
    if (status != TD_OK)
        escape(job, status);
    if (!job->info.arith_code && width * height / (64 * 8 * 4) > job->length)
        escape(job, td_fail(job->error, TD_ERROR_FORMAT, "%s: %zu bytes cannot hold a JPEG picture of %zu x %zu pixels", job->name,
                            job->length, width, height));
    status = td_picture_allocate(height, width, job->name, &job->picture, job->error);
    if (status != TD_OK)
        escape(job, status);
}

/* a * b / 255, rounded, as Pillow does it */
static unsigned scale_byte(unsigned a, unsigned b)
{
    unsigned product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

/* Pillow takes every file of four components as Adobe writes it: inverted. */
static void inverted_cmyk_to_rgb(const uint8_t *from, size_t width, uint8_t *to)
{
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < 3; c++) {
            unsigned black = from[4 * x + 3];
            to[3 * x + c] = (uint8_t)(black - scale_byte(255u - from[4 * x + c], black));
        }
}

static void read_rows(jpeg_job *job)
{
    struct jpeg_decompress_struct *info = &job->info;
    size_t width = job->picture.width;
    bool cmyk = info->out_color_space == JCS_CMYK;
    JSAMPARRAY inks = cmyk ? info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, (JDIMENSION)(width * 4), 1) : NULL;
    while (info->output_scanline < info->output_height) {
        uint8_t *to = job->picture.pixels + info->output_scanline * width * 3;
        JSAMPROW row = cmyk ? inks[0] : to;
        jpeg_read_scanlines(info, &row, 1);
        if (cmyk)
            inverted_cmyk_to_rgb(row, width, to);
    }
}

static void run(jpeg_job *job, const uint8_t *bytes)
{
    struct jpeg_decompress_struct *info = &job->info;
    jpeg_create_decompress(info);
    job->progress.progress_monitor = on_progress;
    info->progress = &job->progress;
    jpeg_mem_src(info, bytes, (unsigned long)job->length);
    jpeg_save_markers(info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(info, TRUE);
    if (info->num_components == 2 || info->num_components > 4)
        escape(job, td_fail(job->error, TD_ERROR_UNSUPPORTED, "%s: a JPEG file of %d components (1, 3 or 4 are supported)", job->name,
                            info->num_components));
    info->out_color_space = info->num_components == 4 ? JCS_CMYK : JCS_RGB;
    check_size(job);
    find_orientation(job);
    jpeg_start_decompress(info);
    read_rows(job);
    jpeg_finish_decompress(info);
}

/* A function of its own: locals of the one that calls setjmp would be lost after the jump. */
static void attempt(jpeg_job *job, const uint8_t *bytes)
{
    if (setjmp(job->escape) == 0)
        run(job, bytes);
}

static td_status decode(const uint8_t *bytes, size_t length, const char *name, td_picture *ret_picture, unsigned *ret_orientation,
                        td_error *error)
{
    jpeg_job job = {.name = name, .length = length, .orientation = 1, .error = error};
    job.info.err = jpeg_std_error(&job.manager);
    job.manager.error_exit = on_error;
    job.manager.emit_message = on_message;
    job.manager.output_message = on_output;
    attempt(&job, bytes);
    jpeg_destroy_decompress(&job.info);
    if (job.status != TD_OK) {
        td_picture_free(&job.picture);
        return job.status;
    }
    *ret_picture = job.picture;
    *ret_orientation = job.orientation;
    return TD_OK;
}

const td_picture_decoder td_picture_jpeg = {
    .media_type = "image/jpeg", .name = "JPEG", .magic = "\xff\xd8\xff", .magic_length = 3, .decode = decode};
