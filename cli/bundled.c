#include "bundled.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *verb, *model;
} bundled_models[] = {
    {"translate", "multi30k"},
    {"score", "multi30k"},
    {"transcribe", "digits"},
};

enum { PATH_LIMIT = 4096, PLACES = 5 };

/* The directory of the running program, or "". */
static void program_directory(char *path)
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_LIMIT - 1);
    path[length > 0 ? length : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = 0;
}

/* Place number `index` to look in, with the model's name; false when this place does not apply. */
static bool candidate(int index, const char *program, const char *model, char *path, size_t size)
{
    const char *named = getenv("TANDEM_PRETRAINED");
    switch (index) {
    case 0:
        return named && *named && snprintf(path, size, "%s/%s", named, model) < (int)size;
    case 1:
        return *program && snprintf(path, size, "%s/../pretrained/%s", program, model) < (int)size;
    case 2:
        return *program && snprintf(path, size, "%s/../share/tandem/pretrained/%s", program, model) < (int)size;
    case 3:
        return snprintf(path, size, "%s/%s", TANDEM_SOURCE_PRETRAINED, model) < (int)size;
    default:
        return snprintf(path, size, "%s/%s", TANDEM_INSTALL_PRETRAINED, model) < (int)size;
    }
}

static bool holds_model(const char *directory)
{
    char path[PATH_LIMIT + 16];
    return snprintf(path, sizeof path, "%s/config.json", directory) < (int)sizeof path && access(path, R_OK) == 0;
}

int bundled_model(const cli_command *command, char **ret_directory)
{
    const char *model = NULL;
    char program[PATH_LIMIT], path[PATH_LIMIT];
    for (size_t i = 0; i < sizeof bundled_models / sizeof *bundled_models; i++)
        if (strcmp(bundled_models[i].verb, command->name) == 0)
            model = bundled_models[i].model;
    if (!model)
        return cli_complain(command, CLI_USAGE, "no model comes with this verb; name one with --model DIR");
    program_directory(program);
    for (int i = 0; i < PLACES; i++)
        if (candidate(i, program, model, path, sizeof path) && holds_model(path)) {
            *ret_directory = strdup(path);
            return *ret_directory ? -1 : cli_complain(command, CLI_FAILED, "out of memory");
        }
    cli_complain(command, CLI_FAILED, "the bundled model \"%s\" is not there; name one with --model DIR. Looked in:", model);
    for (int i = 0; i < PLACES; i++)
        if (candidate(i, program, model, path, sizeof path))
            fprintf(stderr, "  %s\n", path);
    return CLI_FAILED;
}

void bundled_release(char *directory)
{
    free(directory);
}
