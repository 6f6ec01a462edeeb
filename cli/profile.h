/* --profile: a table of where the time went on standard error, and with a file's name a trace. */
#ifndef TANDEM_CLI_PROFILE_H
#define TANDEM_CLI_PROFILE_H

#include "command.h"

#include <tandem/profile.h>

#define PROFILE_HELP                                                                                                                       \
    "say on standard error how long each operation and each shape of product took; FILE.json gets a trace for "                            \
    "chrome://tracing or Perfetto"

/* wanted: the option's value, NULL without it (no profile then), "" without a file. -1, or an exit code. */
int cli_profile_begin(const cli_command *command, const char *wanted, td_profile **ret_profile);
/* Prints, writes and releases it. Returns `code`, or 1 when the trace cannot be written. */
int cli_profile_end(const cli_command *command, const char *wanted, td_profile *profile, int code);

#endif
