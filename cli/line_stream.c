#include "line_stream.h"
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_SIZE = LINE_LIMIT + (1 << 16) };

static const char *const standard_input[] = {"-"};

bool line_stream_open(line_stream *lines, const char *const *files, size_t count, const volatile sig_atomic_t *stop)
{
    *lines = (line_stream){.files = count ? files : standard_input,
                           .file_count = count ? count : 1,
                           .descriptor = -1,
                           .stop = stop,
                           .buffer = malloc(BUFFER_SIZE)};
    return lines->buffer != NULL;
}

static const char *file_name(const line_stream *lines)
{
    const char *name = lines->files[lines->file];
    return strcmp(name, "-") == 0 ? "stdin" : name;
}

static void leave_file(line_stream *lines)
{
    if (lines->descriptor > STDIN_FILENO)
        close(lines->descriptor);
    lines->descriptor = -1;
    lines->file++;
}

static bool enter_file(line_stream *lines)
{
    const char *name = lines->files[lines->file];
    lines->used = lines->start = lines->number = 0;
    lines->end_of_file = false;
    lines->descriptor = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (lines->descriptor >= 0)
        return true;
    cli_complain(NULL, 1, "%s: %s", name, strerror(errno));
    lines->file++;
    return false;
}

/* Reads once into the free end of the buffer. */
static bool fill(line_stream *lines)
{
    if (lines->start) {
        memmove(lines->buffer, lines->buffer + lines->start, lines->used - lines->start);
        lines->used -= lines->start;
        lines->start = 0;
    }
    ssize_t got = read(lines->descriptor, lines->buffer + lines->used, BUFFER_SIZE - lines->used);
    if (got < 0) {
        if (errno == EINTR)
            return true;
        cli_complain(NULL, 1, "%s: %s", file_name(lines), strerror(errno));
        return false;
    }
    lines->used += (size_t)got;
    lines->end_of_file = got == 0;
    return true;
}

static stream_read give_line(line_stream *lines, size_t length, const char *problem, stream_line *ret_line)
{
    const char *text = lines->buffer + lines->start;
    if (lines->number == 0 && length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* byte order mark */
        text += 3;
        length -= 3;
    }
    if (length && text[length - 1] == '\r')
        length--;
    if (!problem && memchr(text, 0, length))
        problem = "line holds a zero byte";
    if (problem)
        length = 0;
    char *copy = malloc(length + 1);
    if (!copy) {
        cli_complain(NULL, 1, "out of memory");
        return STREAM_FAILED;
    }
    memcpy(copy, text, length);
    copy[length] = 0;
    *ret_line = (stream_line){copy, length, file_name(lines), ++lines->number, lines->passed, problem};
    return STREAM_LINE;
}

/* Drops what is left of a line that fills the whole buffer. */
static bool skip_line(line_stream *lines)
{
    for (;;) {
        char *end = memchr(lines->buffer + lines->start, '\n', lines->used - lines->start);
        lines->start = end ? (size_t)(end - lines->buffer) : lines->used;
        if (end || lines->end_of_file || *lines->stop)
            return true;
        if (!fill(lines))
            return false;
    }
}

static stream_read take_line(line_stream *lines, size_t length, stream_line *ret_line)
{
    const char *problem = length > LINE_LIMIT ? "line is longer than 1048576 bytes" : NULL;
    lines->passed += length + 1;
    stream_read outcome = give_line(lines, length, problem, ret_line);
    lines->start += length;
    return outcome;
}

stream_read line_stream_next(line_stream *lines, stream_line *ret_line)
{
    for (;;) {
        if (*lines->stop || lines->file == lines->file_count)
            return STREAM_END;
        if (lines->descriptor < 0 && !enter_file(lines))
            return STREAM_FAILED;
        size_t left = lines->used - lines->start;
        char *end = memchr(lines->buffer + lines->start, '\n', left);
        if (end || left == BUFFER_SIZE || (lines->end_of_file && left)) {
            stream_read outcome = take_line(lines, end ? (size_t)(end - lines->buffer) - lines->start : left, ret_line);
            if (!end && !lines->end_of_file && !skip_line(lines))
                leave_file(lines);
            else if (lines->start < lines->used)
                lines->start++; /* the line end */
            return outcome;
        }
        if (lines->end_of_file) {
            leave_file(lines);
        } else if (!fill(lines)) {
            leave_file(lines);
            return STREAM_FAILED;
        }
    }
}

bool line_stream_ready(line_stream *lines)
{
    if (lines->descriptor < 0 || lines->end_of_file || memchr(lines->buffer + lines->start, '\n', lines->used - lines->start))
        return true;
    struct pollfd wait = {.fd = lines->descriptor, .events = POLLIN};
    return poll(&wait, 1, 0) != 0;
}

void line_stream_close(line_stream *lines)
{
    if (lines->descriptor >= 0)
        leave_file(lines);
    free(lines->buffer);
    lines->buffer = NULL;
}
