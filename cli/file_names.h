/* The files that caption and transcribe are given: on the command line or in a list, handed on some at a time. */
#ifndef TANDEM_FILE_NAMES_H
#define TANDEM_FILE_NAMES_H

#include "generate_options.h"
#include "progress.h"

#include <signal.h>

typedef struct files_job files_job;

/* One run over all files of a command line or list. */
struct files_job {
    const cli_command *command;
    const generate_values *values;
    td_model *model;
    td_status (*call)(files_job *job, const char *const *names, size_t count, td_error *error); /* answers some of them */
    td_generate_options options;
    td_batch_options batch;
    const volatile sig_atomic_t *stop;
    const char *const *names; /* at hand: answer `index` is of names[index - batch.first_index] */
    bool single;              /* one file: its text alone is printed */
    bool failed;
    cli_progress progress;
};

/* A job with all that the values say; `call` is the caller's. */
files_job files_job_of(const cli_command *command, const generate_values *values, td_model *model, int count);
/* Calls `job->call` until all names (those of values->list, if given) are through; an exit code. */
int files_run(files_job *job, char **names, int count);
/* A file that could not be answered: says so, with its name, on standard error. */
void files_complain(files_job *job, const char *name, const char *message);
/* -1, or an exit code after a message. */
int files_check(const cli_command *command, const generate_values *values, int positional);
/* One result a file, by td_generate_batch; an exit code. */
int files_answer(const cli_command *command, const generate_values *values, td_model *model, char **names, int count);

#endif
