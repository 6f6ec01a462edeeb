/* Advice to the system about memory. */
#ifndef TD_PLATFORM_PAGES_H
#define TD_PLATFORM_PAGES_H

#include <stddef.h>

/* The block will be filled whole and read often: large pages, where the system has them, spare it most of its look-ups of addresses. */
void td_pages_prefer_large(const void *data, size_t bytes);

#endif
