/* The lines of a text file, plain or gzip, or of standard input ("-"). */
#ifndef TANDEM_LINES_H
#define TANDEM_LINES_H

#include "options.h"

typedef struct cli_lines {
    char *text;         /* the file, line ends turned into 0 */
    const char **items; /* lines without "\n" or "\r\n" */
    size_t count;
} cli_lines;

/* Returns -1, or an exit code after a message: unreadable, cut short, not UTF-8 or with a zero byte (names file and
 * line). */
int cli_lines_read(const cli_command *command, const char *path, cli_lines *ret_lines);
void cli_lines_release(cli_lines *lines);

#endif
