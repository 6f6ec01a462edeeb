/* A growing list of token ids. Failure is sticky, as with td_buffer: append, then ask once. */
#ifndef TD_TEXT_IDS_H
#define TD_TEXT_IDS_H

#include "base/memory.h"

typedef struct td_ids {
    int32_t *data;
    size_t length, capacity;
    bool failed;
} td_ids;

#define TD_IDS_INIT                                                                                                                        \
    {                                                                                                                                      \
        NULL, 0, 0, false                                                                                                                  \
    }

static inline void td_ids_append(td_ids *ids, int32_t id)
{
    if (ids->failed)
        return;
    if (ids->length == ids->capacity) {
        size_t capacity = ids->capacity ? ids->capacity * 2 : 32;
        int32_t *data = (int32_t *)td_resize_array(ids->data, capacity, sizeof *data);
        if (!data) {
            ids->failed = true;
            return;
        }
        ids->data = data;
        ids->capacity = capacity;
    }
    ids->data[ids->length++] = id;
}

static inline bool td_ids_ok(const td_ids *ids)
{
    return !ids->failed;
}

static inline void td_ids_clear(td_ids *ids) /* keeps the memory, forgets a failure */
{
    ids->length = 0;
    ids->failed = false;
}

static inline void td_ids_free(td_ids *ids)
{
    td_release(ids->data);
    ids->data = NULL;
    ids->length = ids->capacity = 0;
    ids->failed = false;
}

#endif
