#include "keyed_line.h"

#include <jansson.h>
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
