#include "keyed_line.h"
#include "command.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* NULL, or what is wrong. */
static const char *replace_text(stream_line *line, const json_t *object, const char *keys, int which)
{
    char name[256];
    for (; which > 0; which--) {
        const char *comma = strchr(keys, ',');
        if (!comma)
            return "--keys names no second key";
        keys = comma + 1;
    }
    size_t length = strcspn(keys, ",");
    if (length >= sizeof name)
        return "the key given by --keys is longer than 255 bytes";
    memcpy(name, keys, length);
    name[length] = 0;
    if (!json_is_object(object))
        return "line is not a JSON object, which --keys asks for";
    const char *value = json_string_value(json_object_get(object, name));
    if (!value)
        return "the object has no string under the key that --keys names";
    char *copy = strdup(value);
    if (!copy)
        return "out of memory";
    free(line->text);
    line->text = copy;
    line->length = strlen(copy);
    return NULL;
}

void keyed_line_take(stream_line *line, const char *keys, int which)
{
    if (line->problem || !line->text[strspn(line->text, " \t")])
        return;
    json_t *object = json_loads(line->text, 0, NULL);
    line->problem = replace_text(line, object, keys, which);
    if (line->problem)
        line->text[0] = 0;
    json_decref(object);
}

static size_t count_keys(const char *keys)
{
    size_t count = 1;
    for (; *keys; keys++)
        count += *keys == ',';
    return count;
}

/* A text is never longer than the JSON it stood in, so it takes the line's own place. */
static const char *take_in_place(const char **line, const char *keys, int which)
{
    stream_line taken = {.text = strdup(*line)};
    if (!taken.text)
        return "out of memory";
    keyed_line_take(&taken, keys, which);
    if (!taken.problem)
        memcpy((char *)(uintptr_t)*line, taken.text, strlen(taken.text) + 1);
    free(taken.text);
    return taken.problem;
}

int keyed_lines_take(const cli_command *command, const char *path, cli_lines *lines, const char *keys)
{
    int last = (int)count_keys(keys) - 1;
    for (size_t i = 0; i < lines->count; i++) {
        const char *problem = take_in_place(&lines->items[i], keys, last);
        if (problem)
            return cli_complain(command, CLI_FAILED, "%s:%zu: %s", path, i + 1, problem);
    }
    return -1;
}
