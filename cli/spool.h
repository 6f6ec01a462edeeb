/* Standard input as a file, for what reads its text more than once. */
#ifndef TANDEM_SPOOL_H
#define TANDEM_SPOOL_H

#include "command.h"

typedef struct cli_spool {
    char directory[1024], path[1040]; /* empty: none */
} cli_spool;

/* Puts the path of a copy of standard input where a list says "-", of which there may be one in all. Returns -1, or an
 * exit code after a message. */
int cli_spool_lists(const cli_command *command, cli_list *const *lists, size_t count, cli_spool *ret_spool);
void cli_spool_remove(cli_spool *spool);

#endif
