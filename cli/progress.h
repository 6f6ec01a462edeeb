/* The moving line on standard error while inputs are answered: how far, and how fast. */
#ifndef TANDEM_PROGRESS_H
#define TANDEM_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cli_progress {
    bool shown, pending; /* pending: the line is on the screen */
    const char *inputs;  /* "lines", "files" */
    uint64_t total;      /* of what `done` counts; 0: unknown */
    uint64_t done;
    size_t answered, tokens;
    double started, painted; /* seconds */
} cli_progress;

/* choice: 0 shows it when standard error is a terminal and standard output is not (else answers show how far it is), 1
 * always, 2 never. */
void cli_progress_begin(cli_progress *progress, int choice, const char *inputs, uint64_t total);
/* One more input is answered, with so many tokens; `done` of the total are behind it. */
void cli_progress_step(cli_progress *progress, uint64_t done, size_t tokens);
/* Takes the line off the screen: call before anything else goes to standard error. */
void cli_progress_clear(cli_progress *progress);
/* Leaves the last state of the line standing. */
void cli_progress_end(cli_progress *progress);

/* Bytes of all files; 0 when one is not a regular file ("-": standard input, which may be one). */
uint64_t cli_bytes_of_files(char **files, int count);

#endif
