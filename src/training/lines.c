#include "training/lines.h"

#include "base/utf8.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

struct td_lines {
    gzFile file;
    char *path;
    td_buffer line;
    size_t number;
    char block[1 << 16];
    size_t block_used, block_length;
};

td_status td_lines_open(const char *path, td_lines **ret_lines, td_error *error)
{
    td_lines *lines = td_allocate_array(1, sizeof *lines);
    char *copy = td_copy_string(path);
    if (!lines || !copy) {
        td_release(lines);
        td_release(copy);
        return td_fail_memory(error, sizeof *lines);
    }
    lines->path = copy;
    errno = 0;
    lines->file = gzopen(path, "rb");
    if (!lines->file) {
        td_status status = td_fail(error, TD_ERROR_IO, "%s: cannot open: %s", path, errno ? strerror(errno) : "out of memory");
        td_lines_close(lines);
        return status;
    }
    *ret_lines = lines;
    return TD_OK;
}

void td_lines_close(td_lines *lines)
{
    if (!lines)
        return;
    if (lines->file)
        gzclose(lines->file);
    td_buffer_free(&lines->line);
    td_release(lines->path);
    td_release(lines);
}

const char *td_lines_path(const td_lines *lines)
{
    return lines->path;
}

size_t td_lines_number(const td_lines *lines)
{
    return lines->number;
}

static td_status fill_block(td_lines *lines, td_error *error)
{
    int length = gzread(lines->file, lines->block, sizeof lines->block);
    int code = Z_OK;
    const char *message = gzerror(lines->file, &code);
    if (length < 0 || (length == 0 && code != Z_OK && code != Z_STREAM_END))
        return td_fail(error, TD_ERROR_IO, "%s:%zu: cannot read: %s", lines->path, lines->number + 1,
                       code == Z_ERRNO ? strerror(errno) : message);
    lines->block_used = 0;
    lines->block_length = (size_t)length;
    return TD_OK;
}

static td_status check_line(td_lines *lines, td_error *error)
{
    if (lines->line.length && lines->line.data[lines->line.length - 1] == '\r')
        lines->line.data[--lines->line.length] = 0;
    size_t valid = td_utf8_valid_prefix(td_buffer_text(&lines->line), lines->line.length);
    if (valid != lines->line.length)
        return td_fail(error, TD_ERROR_FORMAT, "%s:%zu: line is not UTF-8 (byte %zu)", lines->path, lines->number, valid + 1);
    return TD_OK;
}

td_status td_lines_next(td_lines *lines, const char **ret_text, size_t *ret_length, td_error *error)
{
    bool any = false, ended = false;
    td_buffer_clear(&lines->line);
    while (!ended) {
        if (lines->block_used == lines->block_length) {
            TD_TRY(fill_block(lines, error));
            if (lines->block_length == 0)
                break;
        }
        const char *start = lines->block + lines->block_used, *end = memchr(start, '\n', lines->block_length - lines->block_used);
        size_t length = end ? (size_t)(end - start) : lines->block_length - lines->block_used;
        if (lines->line.length + length > TD_LINE_LIMIT)
            return td_fail(error, TD_ERROR_LIMIT, "%s:%zu: line is longer than %zu bytes", lines->path, lines->number + 1, TD_LINE_LIMIT);
        td_buffer_append(&lines->line, start, length);
        lines->block_used += length + (end != NULL);
        ended = end != NULL;
        any = true;
    }
    *ret_text = NULL;
    *ret_length = 0;
    if (!any)
        return TD_OK;
    lines->number++;
    if (!td_buffer_ok(&lines->line))
        return td_fail_memory(error, lines->line.length);
    TD_TRY(check_line(lines, error));
    *ret_text = td_buffer_text(&lines->line);
    *ret_length = lines->line.length;
    return TD_OK;
}
