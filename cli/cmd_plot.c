/* tandem plot: the curves of a training run as a picture. */
#include "command.h"

#include <tandem/training.h>

struct plot_values {
    const char *output;
};

const cli_option plot_options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_TEXT,
     .offset = offsetof(struct plot_values, output),
     .argument = "FILE.svg",
     .help = "where to write the picture (default: RUN/log.svg)"},
    {.name = NULL},
};

int cmd_plot(const cli_command *command, int argc, char **argv)
{
    struct plot_values values = {NULL};
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code >= 0)
        return code;
    if (positional != 1)
        return cli_complain(command, CLI_USAGE, "one RUN is wanted, the output directory of `tandem train`");
    td_error error;
    if (td_plot_run(argv[1], values.output, &error) != TD_OK)
        return cli_complain(command, CLI_FAILED, "%s", error.message);
    return CLI_DONE;
}
