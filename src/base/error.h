/* Errors are values: a function fails by returning td_fail(error, code, "file:line: reason; what would be right"). */
#ifndef TD_BASE_ERROR_H
#define TD_BASE_ERROR_H

#include "tandem/base.h"

/* Fills `error` (may be NULL) and returns `status`. */
td_status td_fail(td_error *error, td_status status, const char *format, ...) TD_PRINTF(3, 4);

/* Puts "prefix: " before the message that `error` already holds, and returns its status. */
td_status td_error_prefix(td_error *error, const char *format, ...) TD_PRINTF(2, 3);

/* The one message for a failed allocation. */
td_status td_fail_memory(td_error *error, size_t bytes);

/* Returns from the calling function when `call` fails. */
#define TD_TRY(call)                                                                                                                       \
    do {                                                                                                                                   \
        td_status td_try_status_ = (call);                                                                                                 \
        if (td_try_status_ != TD_OK)                                                                                                       \
            return td_try_status_;                                                                                                         \
    } while (0)

#endif
