/* What an output attended to, as a picture: a row for each token written, a column for each token read. */
#ifndef TANDEM_ATTENTION_SVG_H
#define TANDEM_ATTENTION_SVG_H

#include "command.h"

#include <tandem/tandem.h>

/* Draws output 0 of input 0; -1 or an exit code after a message. */
int attention_svg_write(const cli_command *command, const td_result *result, const char *path);

#endif
