/* Where the time goes: what a model or a training run spends on each operation and each shape of product. */
#ifndef TANDEM_PROFILE_H
#define TANDEM_PROFILE_H

#include <stdbool.h>
#include <tandem/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Given to td_model_open or td_train, which it must outlive. May be read while nothing runs. */
typedef struct td_profile td_profile;

typedef struct td_profile_options {
    size_t struct_size;
    bool trace; /* keep when each operation began and ended, for td_profile_write_trace: memory grows with time */
} td_profile_options;
#define TD_PROFILE_OPTIONS_INIT                                                                                                            \
    {                                                                                                                                      \
        sizeof(td_profile_options), false                                                                                                  \
    }

/* options may be NULL. */
TD_API td_status td_profile_new(const td_profile_options *options, td_profile **ret_profile, td_error *error);
TD_API void td_profile_free(td_profile *profile); /* NULL is fine */

/* One line of the table. Time within an operation that another one measures counts as the other's alone, so that shares add up to 1. */
typedef struct td_profile_row {
    const char *operation; /* "product", "attention", ...; "other": between operations */
    bool backward;         /* on the way back in training */
    const char *precision; /* of a product's operands, else NULL */
    size_t m, n, k;        /* of a product [m, k] [k, n], else 0; dimensions that follow the batch are rounded up to a power of two */
    uint64_t calls;
    double seconds, share; /* of all threads together */
    double operations;     /* of products: multiplications and additions */
} td_profile_row;
/* Row `index`, the longest first; false after the last. */
TD_API bool td_profile_get(td_profile *profile, size_t index, td_profile_row *ret_row);
/* The rows as lines of text. Belongs to the profile, until it is next asked; NULL when memory is out. */
TD_API const char *td_profile_table(td_profile *profile);
/* What chrome://tracing and Perfetto open. */
TD_API td_status td_profile_write_trace(const td_profile *profile, const char *path, td_error *error);

#ifdef __cplusplus
}
#endif
#endif
