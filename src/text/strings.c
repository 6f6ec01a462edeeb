#include "text/strings.h"

void td_strings_begin(td_strings *strings, bool first)
{
    if (strings->failed)
        return;
    if (strings->count == strings->capacity) {
        size_t capacity = strings->capacity ? strings->capacity * 2 : 32;
        td_string *items = td_resize_array(strings->items, capacity, sizeof *items);
        if (!items) {
            strings->failed = true;
            return;
        }
        strings->items = items;
        strings->capacity = capacity;
    }
    strings->items[strings->count++] = (td_string){strings->text.length, 0, first};
}

void td_strings_append(td_strings *strings, const char *bytes, size_t length)
{
    if (strings->failed)
        return;
    td_buffer_append(&strings->text, bytes, length);
    strings->items[strings->count - 1].length += length;
}

void td_strings_add(td_strings *strings, const char *bytes, size_t length, bool first)
{
    td_strings_begin(strings, first);
    td_strings_append(strings, bytes, length);
}

void td_strings_free(td_strings *strings)
{
    td_buffer_free(&strings->text);
    td_release(strings->items);
    *strings = (td_strings){0};
}
