/* Lines that are JSON objects: --keys names the member that holds the text. */
#ifndef TANDEM_KEYED_LINE_H
#define TANDEM_KEYED_LINE_H

#include "line_stream.h"

/* Puts the text under key `which` (0: the first) of the comma-separated `keys` in the place of the object, or sets the
 * line's problem. */
void keyed_line_take(stream_line *line, const char *keys, int which);

#endif
