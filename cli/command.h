/* A verb of the command line: one row of the table in main.c. */
#ifndef TANDEM_COMMAND_H
#define TANDEM_COMMAND_H

#include "options.h"

/* Exit codes. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli_command {
    const char *name;
    const char *arguments; /* after the verb, as the usage line shows them */
    const char *help;      /* one line, for the list of verbs */
    const char *details;   /* paragraphs for `tandem help VERB`, or "" */
    const cli_option *options;
    int (*run)(const cli_command *command, int argc, char **argv); /* argv[0] is the verb; returns an exit code */
};

/* One file each: cmd_<verb>.c */
int cmd_average(const cli_command *command, int argc, char **argv);
int cmd_convert(const cli_command *command, int argc, char **argv);
int cmd_evaluate(const cli_command *command, int argc, char **argv);
int cmd_files(const cli_command *command, int argc, char **argv);    /* caption */
int cmd_generate(const cli_command *command, int argc, char **argv); /* translate, summarize, generate */
int cmd_inspect(const cli_command *command, int argc, char **argv);
int cmd_plot(const cli_command *command, int argc, char **argv);
int cmd_score(const cli_command *command, int argc, char **argv);
int cmd_transcribe(const cli_command *command, int argc, char **argv);
int cmd_train(const cli_command *command, int argc, char **argv);
int cmd_vocabulary(const cli_command *command, int argc, char **argv);

extern const cli_option average_options[];
extern const cli_option convert_options[];
extern const cli_option evaluate_options[];
extern const cli_option files_options[];
extern const cli_option generate_options[];
extern const cli_option inspect_options[];
extern const cli_option plot_options[];
extern const cli_option score_options[];
extern const cli_option train_options[];
extern const cli_option transcribe_options[];
extern const cli_option vocabulary_options[];

#endif
