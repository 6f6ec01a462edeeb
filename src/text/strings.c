#include "text/strings.h"

#include "base/array.h"

void td_strings_begin(td_strings *strings, bool first)
{
    if (strings->failed)
        return;
    if (td_reserve_array(&strings->items, &strings->capacity, strings->count + 1, sizeof *strings->items, NULL) != TD_OK) {
        strings->failed = true;
        return;
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
