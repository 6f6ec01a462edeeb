/* Work that cannot be asked to stop runs in a process of its own, which can. */
#ifndef TD_PLATFORM_CHILD_H
#define TD_PLATFORM_CHILD_H

#include "base/buffer.h"

#include <signal.h>

/* Runs work(context, output) on a copy of this process and appends what it puts into its output; of everything else
 * that it changes nothing is seen here. Once *stop is set it is ended: TD_ERROR_CANCELLED. stop NULL, or no process to
 * be had: runs here. */
td_status td_child_run(td_status (*work)(void *context, td_buffer *output, td_error *error), void *context,
                       const volatile sig_atomic_t *stop, td_buffer *output, td_error *error);

#endif
