/* Reads whole files: all that is done line by line with them needs every line. */
#include "lines.h"
#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/utf8.h>
#include <unistd.h>
#include <zlib.h>

enum { CHUNK = 1 << 16 };

static const char *shown(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

static int complain_zlib(const cli_command *command, const char *path, gzFile file)
{
    int code = 0;
    const char *reason = gzerror(file, &code);
    if (code == Z_ERRNO)
        reason = strerror(errno);
    if (code == Z_BUF_ERROR)
        reason = "the compressed file is cut short";
    cli_complain(command, CLI_FAILED, "%s: %s", shown(path), reason);
    gzclose_r(file);
    return CLI_FAILED;
}

/* The file's bytes and a final 0. */
static int read_all(const cli_command *command, const char *path, char **ret_text, size_t *ret_length)
{
    errno = 0;
    gzFile file = strcmp(path, "-") == 0 ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path, "rb");
    if (!file)
        return cli_complain(command, CLI_FAILED, "%s: %s", shown(path), errno ? strerror(errno) : "out of memory");
    char *text = NULL;
    size_t length = 0, capacity = 0;
    for (;;) {
        if (capacity - length < CHUNK + 1) {
            capacity = 2 * capacity + CHUNK + 1;
            char *larger = realloc(text, capacity);
            if (!larger) {
                free(text);
                gzclose_r(file);
                return cli_complain(command, CLI_FAILED, "%s: out of memory", shown(path));
            }
            text = larger;
        }
        int got = gzread(file, text + length, CHUNK);
        int code = 0;
        if (got <= 0)
            gzerror(file, &code);
        if (got < 0 || (got == 0 && code != Z_OK && code != Z_STREAM_END)) {
            free(text);
            return complain_zlib(command, path, file);
        }
        if (got == 0)
            break;
        length += (size_t)got;
    }
    gzclose_r(file);
    text[length] = 0;
    *ret_text = text;
    *ret_length = length;
    return -1;
}

/* ICU's macro narrows integers inside. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
static UChar32 next_code(const char *line, size_t *at, size_t length)
{
    UChar32 code;
    U8_NEXT(line, *at, length, code);
    return code;
}
#pragma GCC diagnostic pop

static int check_line(const cli_command *command, const char *path, const char *line, size_t length, size_t number)
{
    if (memchr(line, 0, length))
        return cli_complain(command, CLI_FAILED, "%s:%zu: a zero byte; text is wanted", shown(path), number);
    for (size_t at = 0; at < length;) {
        size_t start = at;
        if (next_code(line, &at, length) < 0)
            return cli_complain(command, CLI_FAILED, "%s:%zu: line is not UTF-8 (byte %zu)", shown(path), number, start + 1);
    }
    return -1;
}

static int split(const cli_command *command, const char *path, cli_lines *lines, size_t length)
{
    size_t count = 0;
    for (size_t at = 0; at < length; at++)
        count += lines->text[at] == '\n' || at + 1 == length;
    lines->items = calloc(count + 1, sizeof *lines->items);
    if (!lines->items)
        return cli_complain(command, CLI_FAILED, "%s: out of memory", shown(path));
    for (char *line = lines->text, *end = line + length; line < end;) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        char *next = stop ? stop + 1 : end;
        stop = stop ? stop : end;
        if (stop > line && stop < end && stop[-1] == '\r')
            stop--;
        int code = check_line(command, path, line, (size_t)(stop - line), lines->count + 1);
        if (code >= 0)
            return code;
        *stop = 0;
        lines->items[lines->count++] = line;
        line = next;
    }
    return -1;
}

int cli_lines_read(const cli_command *command, const char *path, cli_lines *ret_lines)
{
    cli_lines lines = {NULL, NULL, 0};
    size_t length = 0;
    int code = read_all(command, path, &lines.text, &length);
    if (code < 0)
        code = split(command, path, &lines, length);
    if (code < 0)
        *ret_lines = lines;
    else
        cli_lines_release(&lines);
    return code;
}

void cli_lines_release(cli_lines *lines)
{
    free(lines->text);
    free(lines->items);
    *lines = (cli_lines){NULL, NULL, 0};
}
