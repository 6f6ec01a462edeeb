/* Lines that are JSON objects: --keys names the member that holds the text. */
#ifndef TANDEM_KEYED_LINE_H
#define TANDEM_KEYED_LINE_H

#include "line_stream.h"
#include "lines.h"

/* Puts the text under key `which` (0: the first) of the comma-separated `keys` in the place of the object, or sets the
 * line's problem. */
void keyed_line_take(stream_line *line, const char *keys, int which);

/* The same for all lines of a file, under the last of the keys. Complains about the first line without such a text; -1 or an exit code. */
int keyed_lines_take(const cli_command *command, const char *path, cli_lines *lines, const char *keys);

#endif
