/* Ctrl-C where a verb writes its files in one call of the library: what is half written goes. */
#ifndef TANDEM_UNFINISHED_H
#define TANDEM_UNFINISHED_H

#include "command.h"

/* From now on SIGINT and SIGTERM remove this process's unfinished files in `directory`, which must stay valid, and end the program with
 * a message. Where no thread can be had for it, signals do what they do by default. */
void cli_leave_nothing_unfinished(const cli_command *command, const char *directory);

#endif
