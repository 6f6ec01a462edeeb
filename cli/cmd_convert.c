/* tandem convert: a model in Tandem's layout, its weights in the precision that is wanted. */
#include "command.h"
#include "unfinished.h"

#include <tandem/tools.h>

#include <unistd.h>

struct convert_values {
    int from, precision;
};

static const char *const precisions[] = {"float32", "float16", "bfloat16", "int8"};

/* What of each form --from names lies in its directories; the first row is "auto". */
static const struct {
    const char *what, *files[3];
} forms[] = {
    {"", {NULL}},
    {"a CTranslate2 model", {"model.bin"}},
    {"a NumPy archive", {"model.npz"}},
    {"PyTorch's weights", {"pytorch_model.bin", "pytorch_model.bin.index.json"}},
    {"safetensors", {"model.safetensors", "model.safetensors.index.json"}},
};

const cli_option convert_options[] = {
    {.name = "from",
     .kind = CLI_CHOICE,
     .offset = offsetof(struct convert_values, from),
     .argument = "auto|ct2|npz|pytorch|safetensors",
     .help = "what IN holds: an error if it holds something else (default: auto, whatever it holds)"},
    {.name = "precision",
     .kind = CLI_CHOICE,
     .offset = offsetof(struct convert_values, precision),
     .argument = "float32|float16|bfloat16|int8",
     .help = "how the weights are stored (default: float32)"},
    {.name = NULL},
};

static bool holds(const char *directory, const char *file)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", directory, file);
    return length > 0 && (size_t)length < sizeof path && access(path, F_OK) == 0;
}

static bool is_of_form(const char *directory, int form)
{
    for (const char *const *file = forms[form].files; *file; file++)
        if (holds(directory, *file))
            return true;
    return form == 0;
}

int cmd_convert(const cli_command *command, int argc, char **argv)
{
    struct convert_values values = {0};
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code >= 0)
        return code;
    if (positional != 2)
        return cli_complain(command, CLI_USAGE, "IN and OUT directories are wanted");
    if (!is_of_form(argv[1], values.from))
        return cli_complain(command, CLI_FAILED, "%s: holds no %s, which is where %s is", argv[1], forms[values.from].files[0],
                            forms[values.from].what);
    td_error error;
    cli_leave_nothing_unfinished(command, argv[2]);
    if (td_convert_model(argv[1], precisions[values.precision], argv[2], &error) != TD_OK)
        return cli_complain(command, CLI_FAILED, "%s", error.message);
    return CLI_DONE;
}
