#define _DEFAULT_SOURCE
#include "spool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool copy_input(FILE *copy)
{
    char block[1 << 16];
    size_t length;
    while ((length = fread(block, 1, sizeof block, stdin)) > 0)
        if (fwrite(block, 1, length, copy) != length)
            return false;
    return !ferror(stdin);
}

/* The file is called stdin, so that messages name what they are about. */
static bool make_copy(cli_spool *spool)
{
    const char *folder = getenv("TMPDIR");
    snprintf(spool->directory, sizeof spool->directory, "%.990s/tandem-XXXXXX", folder && *folder ? folder : "/tmp");
    if (!mkdtemp(spool->directory)) {
        spool->directory[0] = 0;
        return false;
    }
    snprintf(spool->path, sizeof spool->path, "%s/stdin", spool->directory);
    FILE *copy = fopen(spool->path, "wb");
    bool good = copy && copy_input(copy);
    return copy && fclose(copy) == 0 && good;
}

int cli_spool_lists(const cli_command *command, cli_list *const *lists, size_t count, cli_spool *ret_spool)
{
    for (size_t list = 0; list < count; list++)
        for (size_t i = 0; i < lists[list]->count; i++) {
            if (strcmp(lists[list]->items[i], "-") != 0)
                continue;
            if (ret_spool->directory[0])
                return cli_complain(command, CLI_USAGE, "standard input can be one file only; name the others");
            if (!make_copy(ret_spool))
                return cli_complain(command, CLI_FAILED, "standard input cannot be kept in %s: %s",
                                    ret_spool->path[0] ? ret_spool->path : ret_spool->directory, strerror(errno));
            lists[list]->items[i] = ret_spool->path;
        }
    return -1;
}

void cli_spool_remove(cli_spool *spool)
{
    if (spool->path[0])
        unlink(spool->path);
    if (spool->directory[0])
        rmdir(spool->directory);
    spool->path[0] = spool->directory[0] = 0;
}
