/* tandem average: the mean of checkpoints' weights as a model of its own. */
#include "command.h"
#include "unfinished.h"

#include <tandem/tools.h>

struct average_values {
    const char *output;
};

const cli_option average_options[] = {
    {"output", 'o', CLI_TEXT, offsetof(struct average_values, output), "DIR", "where to write the model", 0, 0},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

int cmd_average(const cli_command *command, int argc, char **argv)
{
    struct average_values values = {NULL};
    td_error error;
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code >= 0)
        return code;
    if (positional < 1 || !values.output)
        return cli_complain(command, CLI_USAGE, "directories to average and an --output DIR are wanted");
    cli_leave_nothing_unfinished(command, values.output);
    if (td_average_models((const char *const *)argv + 1, (size_t)positional, values.output, &error) != TD_OK)
        return cli_complain(command, CLI_FAILED, "%s", error.message);
    return CLI_DONE;
}
