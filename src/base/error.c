#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *td_status_text(td_status status)
{
    switch (status) {
#define X(name, text)                                                                                                                      \
    case name:                                                                                                                             \
        return text;
        TD_STATUS_TABLE(X)
#undef X
    }
    return "unknown status";
}

#define TD_STRINGIFY_(x) #x
#define TD_STRINGIFY(x) TD_STRINGIFY_(x)

const char *td_version(void)
{
    return TD_STRINGIFY(TD_VERSION_MAJOR) "." TD_STRINGIFY(TD_VERSION_MINOR) "." TD_STRINGIFY(TD_VERSION_PATCH);
}

td_status td_fail(td_error *error, td_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

td_status td_error_prefix(td_error *error, const char *format, ...)
{
    if (!error)
        return TD_ERROR_INTERNAL;
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    size_t used = length < 0 ? 0 : (size_t)length;
    if (used + 3 < sizeof message)
        snprintf(message + used, sizeof message - used, ": %.*s", (int)(sizeof message - used - 3), error->message);
    memcpy(error->message, message, sizeof message);
    return error->status;
}

td_status td_fail_memory(td_error *error, size_t bytes)
{
    return td_fail(error, TD_ERROR_MEMORY, "out of memory (asked for %zu bytes)", bytes);
}
