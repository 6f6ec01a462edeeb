#include "platform/memory_left.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { LINE = 512, PATH = 4096 };

/* The number after `key` at the start of a line; key "": of the first line. */
static bool read_number(const char *path, const char *key, uint64_t *ret_number)
{
    char line[LINE];
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%" SCNu64, ret_number) == 1;
    if (file)
        fclose(file);
    return found;
}

/* Names of the files of a control group. */
typedef struct group_files {
    const char *mount, *limit, *usage, *caches[2];
} group_files;

static const group_files versions[] = {
    {"/sys/fs/cgroup", "memory.max", "memory.current", {"inactive_file ", "active_file "}},
    {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", {"total_inactive_file ", "total_active_file "}}};

static bool read_file(const char *group, const char *name, const char *key, uint64_t *ret_number)
{
    char path[PATH];
    int length = snprintf(path, sizeof path, "%s/%s", group, name);
    return length > 0 && (size_t)length < sizeof path && read_number(path, key, ret_number);
}

/* Lowers *left to what the group leaves, if it has a limit. */
static bool look_at_group(const char *group, const group_files *files, uint64_t *left)
{
    uint64_t limit, usage, cache = 0, part;
    if (!read_file(group, files->limit, "", &limit) || !read_file(group, files->usage, "", &usage))
        return false;
    for (size_t i = 0; i < 2; i++)
        cache += read_file(group, "memory.stat", files->caches[i], &part) ? part : 0;
    usage -= cache < usage ? cache : usage;
    limit = limit > usage ? limit - usage : 0;
    *left = limit < *left ? limit : *left;
    return true;
}

/* The group at `path` and those it lies in. Within a container the path may be that outside, of which only the end of the walk exists. */
static bool look_at_groups(const char *root, const group_files *files, const char *path, uint64_t *left)
{
    char group[PATH];
    size_t mount = strlen(root) + strlen(files->mount);
    int length = snprintf(group, sizeof group, "%s%s%s", root, files->mount, path);
    bool found = false;
    if (length < 0 || (size_t)length >= sizeof group)
        return false;
    for (;;) {
        found |= look_at_group(group, files, left);
        char *slash = strrchr(group, '/');
        if (!slash || slash < group + mount)
            return found;
        *slash = 0;
    }
}

/* A line of /proc/self/cgroup is "number:controllers:path"; version 2 has none of them. */
static bool look_at_line(const char *root, char *line, uint64_t *left)
{
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return false;
    *path++ = 0;
    path[strcspn(path, "\n")] = 0;
    if (controllers[1] == 0)
        return look_at_groups(root, &versions[0], path, left);
    return strstr(controllers, "memory") && look_at_groups(root, &versions[1], path, left);
}

bool td_memory_left(const char *root, size_t *ret_bytes)
{
    char path[PATH], line[LINE];
    uint64_t left = UINT64_MAX, available;
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    bool known = read_number(path, "MemAvailable:", &available);
    if (known)
        left = available * 1024;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        known |= look_at_line(root, line, &left);
    if (file)
        fclose(file);
    if (known)
        *ret_bytes = left < SIZE_MAX ? (size_t)left : SIZE_MAX;
    return known;
}
