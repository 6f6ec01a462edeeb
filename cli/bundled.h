/* Where the models that come with the program are. */
#ifndef TANDEM_BUNDLED_H
#define TANDEM_BUNDLED_H

#include "command.h"

/* The directory of the verb's model: -1 and a string for bundled_release, or an exit code after a message that says
 * where it was looked for. */
int bundled_model(const cli_command *command, char **ret_directory);
void bundled_release(char *directory);

#endif
