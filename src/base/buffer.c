#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char *td_buffer_extend(td_buffer *buffer, size_t length)
{
    size_t needed;
    if (buffer->failed || td_add_overflows(buffer->length, length, &needed) || td_add_overflows(needed, 1, &needed)) {
        buffer->failed = true;
        return NULL;
    }
    if (needed > buffer->capacity) {
        size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
        while (capacity < needed)
            capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
        char *data = td_resize_array(buffer->data, capacity, 1);
        if (!data) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    char *added = buffer->data + buffer->length;
    buffer->length += length;
    buffer->data[buffer->length] = 0;
    return added;
}

void td_buffer_append(td_buffer *buffer, const void *bytes, size_t length)
{
    char *added = td_buffer_extend(buffer, length);
    if (added && length)
        memcpy(added, bytes, length);
}

void td_buffer_text_append(td_buffer *buffer, const char *text)
{
    td_buffer_append(buffer, text, strlen(text));
}

void td_buffer_format(td_buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *added = length < 0 ? NULL : td_buffer_extend(buffer, (size_t)length);
    if (added)
        vsnprintf(added, (size_t)length + 1, format, again);
    else
        buffer->failed = true;
    va_end(again);
}

void td_buffer_clear(td_buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
    if (buffer->data)
        buffer->data[0] = 0;
}

void td_buffer_free(td_buffer *buffer)
{
    td_release(buffer->data);
    *buffer = (td_buffer)TD_BUFFER_INIT;
}
