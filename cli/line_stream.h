/* Lines of files and standard input, one after the other: bounded memory, any line end, and where each line came from.
 */
#ifndef TANDEM_LINE_STREAM_H
#define TANDEM_LINE_STREAM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

enum { LINE_LIMIT = 1 << 20 }; /* bytes; what a longer line holds beyond is skipped */

typedef struct line_stream {
    const char *const *files; /* "-": standard input */
    size_t file_count, file;
    int descriptor; /* -1: the next file is not open yet */
    size_t number;  /* of the line last given, from 1, within its file */
    const volatile sig_atomic_t *stop;
    char *buffer;
    size_t used, start;
    bool end_of_file;
    size_t passed; /* bytes, of all files */
} line_stream;

typedef struct stream_line {
    char *text; /* 0-terminated, without line end; belongs to the taker (free) */
    size_t length;
    const char *file; /* as errors name it */
    size_t number;
    size_t end;          /* bytes of all files up to the line's end */
    const char *problem; /* why it cannot be used (too long, a zero byte), or NULL; text is then "" */
} stream_line;

typedef enum stream_read { STREAM_LINE, STREAM_END, STREAM_FAILED } stream_read;

/* No files: standard input. *stop != 0 ends reading as if the input ended. False when out of memory. */
bool line_stream_open(line_stream *lines, const char *const *files, size_t count, const volatile sig_atomic_t *stop);
/* A failure to open or read was reported on standard error; the next call goes on with the next file. */
stream_read line_stream_next(line_stream *lines, stream_line *ret_line);
/* True when the next line (or the end) is there without waiting. */
bool line_stream_ready(line_stream *lines);
void line_stream_close(line_stream *lines);

#endif
