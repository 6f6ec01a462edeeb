/* A hypothesis under its reference, each unit under the one it stands for. */
#ifndef TANDEM_ERROR_ALIGNMENT_H
#define TANDEM_ERROR_ALIGNMENT_H

#include "command.h"

#include <tandem/metrics.h>

/* Prints segment `number` (from 1) and its errors; nothing when it has none. CLI_DONE or an exit code after a message. */
int error_alignment_print(const cli_command *command, const char *metric, size_t number, const td_error_rate_options *options,
                          const char *hypothesis, const char *reference);

#endif
