/* The files that caption and transcribe are given: on the command line or in a list, handed on some at a time. */
#ifndef TANDEM_FILE_NAMES_H
#define TANDEM_FILE_NAMES_H

#include "generate_options.h"

#include <signal.h>

typedef struct file_names {
    const cli_command *command;
    const char *list; /* a file that holds the names, a line each; NULL: they are in `names` */
    char **names;
    int count;
    const volatile sig_atomic_t *stop;
} file_names;

/* Calls `answer` until all names are through or it gives an exit code, which is returned; else -1. *failed is set when the list could not
 * be read to its end. */
int file_names_each(const file_names *names, int (*answer)(void *context, const char *const *names, size_t count), void *context, bool *failed);

/* -1, or an exit code after a message. */
int files_check(const cli_command *command, const generate_values *values, int positional);
/* One result a file, by td_generate_batch; an exit code. */
int files_answer(const cli_command *command, const generate_values *values, td_model *model, char **names, int count);

#endif
