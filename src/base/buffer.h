/* A growing byte string, always terminated by a 0 that `length` does not count. Failure is sticky: append as much as you
 * like, then ask once with td_buffer_ok. */
#ifndef TD_BASE_BUFFER_H
#define TD_BASE_BUFFER_H

#include "base/memory.h"

typedef struct td_buffer {
    char *data; /* NULL while empty: use td_buffer_text */
    size_t length, capacity;
    bool failed;
} td_buffer;

#define TD_BUFFER_INIT                                                                                                                     \
    {                                                                                                                                      \
        NULL, 0, 0, false                                                                                                                  \
    }

void td_buffer_append(td_buffer *buffer, const void *bytes, size_t length);
void td_buffer_text_append(td_buffer *buffer, const char *text);
void td_buffer_format(td_buffer *buffer, const char *format, ...) TD_PRINTF(2, 3);
/* Appends `length` uninitialised bytes and returns them, or NULL. */
char *td_buffer_extend(td_buffer *buffer, size_t length);
void td_buffer_clear(td_buffer *buffer); /* keeps the memory, forgets a failure */
void td_buffer_free(td_buffer *buffer);
static inline bool td_buffer_ok(const td_buffer *buffer)
{
    return !buffer->failed;
}
static inline const char *td_buffer_text(const td_buffer *buffer)
{
    return buffer->data ? buffer->data : "";
}

#endif
