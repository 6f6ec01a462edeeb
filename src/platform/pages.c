#define _GNU_SOURCE
#include "platform/pages.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void td_pages_prefer_large(const void *data, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = ((uintptr_t)data + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)data + bytes) & ~(page - 1);
    if (end > first)
        madvise((void *)first, end - first, MADV_HUGEPAGE); /* advice: what comes of it is all the same */
#else
    (void)data, (void)bytes;
#endif
}
