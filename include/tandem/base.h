/* Status codes, errors, memory and log hooks: what every other public header builds on. */
#ifndef TANDEM_BASE_H
#define TANDEM_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TD_API __attribute__((visibility("default")))
#define TD_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define TD_API
#define TD_PRINTF(format_index, first)
#endif

#define TD_VERSION_MAJOR 0
#define TD_VERSION_MINOR 1
#define TD_VERSION_PATCH 0

/* One row per status code: name, what td_status_text returns. */
#define TD_STATUS_TABLE(X)                                                                                                                 \
    X(TD_OK, "ok")                                                                                                                         \
    X(TD_ERROR_MEMORY, "out of memory")                                                                                                    \
    X(TD_ERROR_ARGUMENT, "invalid argument")                                                                                               \
    X(TD_ERROR_IO, "input or output failed")                                                                                               \
    X(TD_ERROR_FORMAT, "malformed data")                                                                                                   \
    X(TD_ERROR_LIMIT, "size limit exceeded")                                                                                               \
    X(TD_ERROR_UNSUPPORTED, "not supported")                                                                                               \
    X(TD_ERROR_NUMERIC, "not a finite number")                                                                                             \
    X(TD_ERROR_CANCELLED, "stopped on request")                                                                                            \
    X(TD_ERROR_INTERNAL, "internal error")

typedef enum td_status {
#define X(name, text) name,
    TD_STATUS_TABLE(X)
#undef X
} td_status;

/* What went wrong, where, and what would be right. Filled by every function that takes one; may be NULL. */
typedef struct td_error {
    td_status status;
    char message[1020];
} td_error;

/* Returns a static description of a status code. */
TD_API const char *td_status_text(td_status status);

/* Returns "MAJOR.MINOR.PATCH". */
TD_API const char *td_version(void);

/* The functions every allocation goes through. `resize` must behave as realloc, `release` as free. */
typedef struct td_allocator {
    void *(*allocate)(void *context, size_t bytes);
    void *(*resize)(void *context, void *block, size_t bytes);
    void (*release)(void *context, void *block);
    void *context;
} td_allocator;

/* Replaces the allocator of the process; NULL restores malloc. Call before anything else is created. */
TD_API void td_set_allocator(const td_allocator *allocator);

#ifdef __cplusplus
}
#endif
#endif
