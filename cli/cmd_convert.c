/* tandem convert: a model with its weights in another precision. */
#include "command.h"

#include <tandem/tools.h>

struct convert_values {
    int precision;
};

static const char *const precisions[] = {"float32", "float16", "bfloat16", "int8"};

const cli_option convert_options[] = {
    {.name = "precision", .kind = CLI_CHOICE, .offset = offsetof(struct convert_values, precision), .argument = "float32|float16|bfloat16|int8",
     .help = "how the weights are stored (default: float32)"},
    {.name = NULL},
};

int cmd_convert(const cli_command *command, int argc, char **argv)
{
    struct convert_values values = {0};
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code >= 0)
        return code;
    if (positional != 2)
        return cli_complain(command, CLI_USAGE, "IN and OUT directories are wanted");
    td_error error;
    if (td_convert_model(argv[1], precisions[values.precision], argv[2], &error) != TD_OK)
        return cli_complain(command, CLI_FAILED, "%s", error.message);
    return CLI_DONE;
}
