/* A list of strings, end to end in one buffer. Failure is sticky, as with td_buffer. */
#ifndef TD_TEXT_STRINGS_H
#define TD_TEXT_STRINGS_H

#include "base/buffer.h"

typedef struct td_string {
    size_t begin, length;
    bool first; /* begins where the whole text begins */
} td_string;

typedef struct td_strings {
    td_buffer text;
    td_string *items;
    size_t count, capacity;
    bool failed;
} td_strings;

void td_strings_begin(td_strings *strings, bool first);                        /* a new, empty string at the end */
void td_strings_append(td_strings *strings, const char *bytes, size_t length); /* to the last string */
void td_strings_add(td_strings *strings, const char *bytes, size_t length, bool first);
void td_strings_free(td_strings *strings);
static inline bool td_strings_ok(const td_strings *strings)
{
    return !strings->failed && td_buffer_ok(&strings->text);
}
static inline const char *td_strings_at(const td_strings *strings, size_t i)
{
    return td_buffer_text(&strings->text) + strings->items[i].begin;
}

#endif
