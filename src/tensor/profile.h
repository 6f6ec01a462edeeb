/* Measuring operations: a thread's recorder holds a sum for every operation and shape, and scopes on the stack add to it. An operation's
 * time excludes that of the scopes within it. Without a recorder a scope costs one branch. */
#ifndef TD_TENSOR_PROFILE_H
#define TD_TENSOR_PROFILE_H

#include "tandem/profile.h"

typedef struct td_recorder td_recorder;

typedef struct td_scope {
    td_recorder *recorder; /* NULL: nothing is measured, and nothing below is set */
    struct td_scope *outer;
    const char *name;      /* a literal */
    const char *precision; /* of a product, else NULL */
    size_t m, n, k;
    double operations;
    double begun, inside; /* inside: seconds of the scopes within */
    bool backward;
} td_scope;

/* A recorder for one thread; NULL without a profile or without memory. Its memory is the profile's; released ones serve again. */
td_recorder *td_recorder_attach(td_profile *profile);
void td_recorder_release(td_recorder *recorder); /* NULL is fine */

void td_scope_begin(td_scope *scope, const char *name);
void td_scope_finish(td_scope *scope);
/* What the innermost scope is called, or NULL: what an operation's way back goes under. */
const char *td_recorder_current(const td_recorder *recorder);
/* Makes the scope that was just begun one of a product. `batch`: which of m (0) and k (1) follows the batch. */
void td_scope_product(td_scope *scope, const char *precision, size_t m, size_t n, size_t k, int batch);

static inline void td_scope_open(td_scope *scope, td_recorder *recorder, const char *name)
{
    scope->recorder = recorder;
    if (__builtin_expect(recorder != NULL, 0))
        td_scope_begin(scope, name);
}

static inline void td_scope_close(td_scope *scope)
{
    if (__builtin_expect(scope->recorder != NULL, 0))
        td_scope_finish(scope);
}

/* Measures from here to the end of the block, however it is left. */
#define TD_PROFILE(recorder_, name_)                                                                                                       \
    __attribute__((cleanup(td_scope_close))) td_scope td_profiled_scope_;                                                                  \
    td_scope_open(&td_profiled_scope_, recorder_, name_)
#define TD_PROFILE_PRODUCT(recorder_, precision_, m_, n_, k_, batch_)                                                                      \
    TD_PROFILE(recorder_, "product");                                                                                                      \
    if (__builtin_expect(td_profiled_scope_.recorder != NULL, 0))                                                                          \
    td_scope_product(&td_profiled_scope_, precision_, m_, n_, k_, batch_)

#endif
