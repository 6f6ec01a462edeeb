/* Lines of a plain or gzip file, one at a time, checked: UTF-8, length, and where they stand. */
#ifndef TD_TRAINING_LINES_H
#define TD_TRAINING_LINES_H

#include "base/buffer.h"

#define TD_LINE_LIMIT ((size_t)16 << 20) /* bytes; a longer line is an error */

typedef struct td_lines td_lines;

td_status td_lines_open(const char *path, td_lines **ret_lines, td_error *error);
void td_lines_close(td_lines *lines);
/* The next line without its end (LF or CRLF); NULL at the end of the file. Valid until the next call. */
td_status td_lines_next(td_lines *lines, const char **ret_text, size_t *ret_length, td_error *error);
const char *td_lines_path(const td_lines *lines);
size_t td_lines_number(const td_lines *lines); /* of the line last given, from 1 */

#endif
