/* Command line options: a verb describes its options in one table, and parsing, help and the man page are made from it.
 */
#ifndef TANDEM_OPTIONS_H
#define TANDEM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef enum cli_kind {
    CLI_FLAG,     /* bool: present or not; no argument */
    CLI_INTEGER,  /* int64_t within minimum .. maximum */
    CLI_REAL,     /* double within minimum .. maximum */
    CLI_TEXT,     /* const char * */
    CLI_OPTIONAL, /* const char *: "" without an argument, which only "=" can give */
    CLI_CHOICE,   /* int: position in `choices`, "a|b|c" */
    CLI_LIST      /* cli_list: the option may be repeated */
} cli_kind;

typedef struct cli_list {
    const char **items;
    size_t count;
} cli_list;

typedef struct cli_option {
    const char *name; /* without dashes; NULL ends the table */
    char letter;      /* 0: none */
    cli_kind kind;
    size_t offset;        /* of the member in the verb's struct of values */
    const char *argument; /* "N"; for a choice the choices themselves, "text|pieces|ids"; NULL for a flag */
    const char *help;
    double minimum, maximum; /* of integers and reals; both 0: any */
} cli_option;

typedef struct cli_command cli_command;

/* Fills `values` from argv[1..]. Positional arguments are moved to the front of argv + 1 and counted in
 * *ret_positional; "--" ends the options, "-" is positional. Returns -1 to go on, or an exit code: 0 after --help, 2
 * after a message about a mistake. */
int cli_parse(const cli_command *command, int argc, char **argv, void *values, int *ret_positional);
/* Releases what lists of `values` hold. */
void cli_release(const cli_option *options, void *values);
/* The page of one verb. */
void cli_command_help(const cli_command *command, FILE *stream);
/* The man page's section of one verb. */
void cli_command_man(const cli_command *command, FILE *stream);

/* The candidate nearest to `word` by edit distance, or NULL when none is near. `next` walks candidates until NULL. */
const char *cli_nearest(const char *word, const char *(*next)(const void *context, size_t index), const void *context);

/* "tandem VERB: message" on standard error; returns `code`. */
int cli_complain(const cli_command *command, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* False once writing to standard output failed; the reason is kept for cli_finish_output. */
bool cli_output_ok(void);
bool cli_flush_output(void);
/* Flushes standard output; returns `code`, or 1 after a message when writing failed. */
int cli_finish_output(const cli_command *command, int code);

#endif
