/* tandem train: a recipe in, a model directory out. */
#include "command.h"
#include "interrupt.h"
#include "profile.h"

#include <tandem/training.h>

#include <unistd.h>

struct train_values {
    cli_list overrides;
    bool restart;
    int progress;
    const char *profile;
};

const cli_option train_options[] = {
    {.name = "set",
     .kind = CLI_LIST,
     .offset = offsetof(struct train_values, overrides),
     .argument = "KEY=VALUE",
     .help = "override a key of the recipe, e.g. training.learning_rate=0.002 (repeatable)"},
    {.name = "restart",
     .kind = CLI_FLAG,
     .offset = offsetof(struct train_values, restart),
     .help = "begin again instead of going on from the last checkpoint"},
    {.name = "progress",
     .kind = CLI_CHOICE,
     .offset = offsetof(struct train_values, progress),
     .argument = "auto|on|off",
     .help = "the moving progress line (default: auto, on a terminal)"},
    {.name = "profile",
     .kind = CLI_OPTIONAL,
     .offset = offsetof(struct train_values, profile),
     .argument = "FILE.json",
     .help = PROFILE_HELP},
    {.name = NULL},
};

struct train_display {
    bool moving;  /* transient lines are shown */
    bool pending; /* one is on the screen */
};

static void show(void *context, const char *line, bool transient)
{
    struct train_display *display = context;
    if (transient && !display->moving)
        return;
    fprintf(stderr, "%s%s%s", display->pending ? "\r\033[K" : "", line, transient ? "" : "\n");
    fflush(stderr);
    display->pending = transient;
}

int cmd_train(const cli_command *command, int argc, char **argv)
{
    struct train_values values = {{NULL, 0}, false, 0, NULL};
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code >= 0)
        return code;
    if (positional != 1) {
        cli_release(train_options, &values);
        return cli_complain(command, CLI_USAGE, "one RECIPE.yaml is wanted");
    }
    struct train_display display = {values.progress == 1 || (values.progress == 0 && isatty(STDERR_FILENO)), false};
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = values.overrides.items;
    options.override_count = values.overrides.count;
    options.restart = values.restart;
    options.report = show;
    options.context = &display;
    options.stop = cli_catch_interrupt();
    code = cli_profile_begin(command, values.profile, &options.profile);
    if (code >= 0) {
        cli_release(train_options, &values);
        return code;
    }
    td_error error;
    td_status status = td_train(argv[1], &options, &error);
    if (display.pending)
        fputs("\n", stderr);
    if (status != TD_OK)
        code = cli_complain(command, CLI_FAILED, "%s", error.message);
    else
        code = CLI_DONE;
    code = cli_profile_end(command, values.profile, options.profile, code);
    cli_release(train_options, &values);
    return code;
}
