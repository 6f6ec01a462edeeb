/* Inside td_profile: what recorders hold. */
#ifndef TD_TENSOR_PROFILE_SUMS_H
#define TD_TENSOR_PROFILE_SUMS_H

#include "base/buffer.h"
#include "tensor/profile.h"

#include <pthread.h>

enum { TD_PROFILE_SUMS = 1024, TD_PROFILE_EVENTS = 1 << 20 };

typedef struct td_profile_event {
    uint32_t sum; /* index into the recorder's sums */
    float seconds;
    double begun;
} td_profile_event;

struct td_recorder {
    td_recorder *next; /* of the profile */
    td_profile *profile;
    bool idle;
    td_scope *open; /* innermost */
    size_t count;   /* of sums; the first is for what finds no room */
    td_profile_row sums[TD_PROFILE_SUMS];
    uint32_t places[2 * TD_PROFILE_SUMS]; /* hash -> index + 1 */
    td_profile_event *events;
    size_t event_count, event_capacity;
};

struct td_profile {
    pthread_mutex_t mutex; /* guards the list */
    td_recorder *recorders;
    bool trace;
    double begun;
    td_profile_row *rows; /* merged, when asked */
    size_t row_count;
    td_buffer table;
};

/* The sum for that operation and shape: found or begun; the first when there is no room. */
size_t td_recorder_place(td_recorder *recorder, const td_profile_row *key);

#endif
