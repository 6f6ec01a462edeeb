/* How much memory the process may still take before the system ends it. Linux grants more than there is, so a large allocation that
 * succeeds says nothing. */
#ifndef TD_PLATFORM_MEMORY_LEFT_H
#define TD_PLATFORM_MEMORY_LEFT_H

#include <stdbool.h>
#include <stddef.h>

/* The least of what the machine has available and of what each control group around the process (version 1 or 2) leaves; memory that only
 * keeps files counts as free. Swap does not count. root: in front of /proc and /sys, "" but in tests. False where the system does not say.
 */
bool td_memory_left(const char *root, size_t *ret_bytes);

#endif
