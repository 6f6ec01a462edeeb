#define _POSIX_C_SOURCE 200809L
#include "platform/clock.h"

#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double td_clock_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double td_clock_wall_seconds(void)
{
    return seconds_of(CLOCK_REALTIME);
}
