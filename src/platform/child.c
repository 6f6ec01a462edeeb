#define _GNU_SOURCE
#include "platform/child.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { LOOK_EVERY = 50 /* milliseconds between looks at *stop */ };

static bool write_all(int descriptor, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = write(descriptor, at, length);
        if (written < 0 && errno != EINTR)
            return false;
        at += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

/* The child: writes its td_error, then the output. */
static void work_and_exit(td_status (*work)(void *context, td_buffer *output, td_error *error), void *context, int descriptor)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive whom it works for */
#endif
    signal(SIGINT, SIG_IGN); /* a terminal sends it to both; the parent decides */
    td_buffer output = TD_BUFFER_INIT;
    td_error error = {.status = TD_OK};
    td_status status = work(context, &output, &error);
    if (status == TD_OK && !td_buffer_ok(&output))
        status = td_fail_memory(&error, output.length);
    error.status = status;
    bool whole = write_all(descriptor, &error, sizeof error) && write_all(descriptor, td_buffer_text(&output), output.length);
    _exit(whole ? 0 : 1);
}

/* All that comes until the child's end; false when asked to stop. */
static bool read_until_end(int descriptor, const volatile sig_atomic_t *stop, td_buffer *received)
{
    struct pollfd wait = {.fd = descriptor, .events = POLLIN};
    for (;;) {
        if (*stop)
            return false;
        if (poll(&wait, 1, LOOK_EVERY) <= 0)
            continue;
        char block[1 << 16];
        ssize_t length = read(descriptor, block, sizeof block);
        if (length > 0)
            td_buffer_append(received, block, (size_t)length);
        else if (length == 0 || errno != EINTR)
            return true;
    }
}

static td_status take(const td_buffer *received, int outcome, td_buffer *output, td_error *error)
{
    td_error theirs;
    if (!td_buffer_ok(received))
        return td_fail_memory(error, received->length);
    if (WIFSIGNALED(outcome))
        return td_fail(error, TD_ERROR_INTERNAL, "the process that did the work was ended by signal %d", WTERMSIG(outcome));
    if (WEXITSTATUS(outcome) != 0 || received->length < sizeof theirs)
        return td_fail(error, TD_ERROR_INTERNAL, "the process that did the work gave up");
    memcpy(&theirs, received->data, sizeof theirs);
    if (theirs.status != TD_OK)
        return td_fail(error, theirs.status, "%s", theirs.message);
    td_buffer_append(output, received->data + sizeof theirs, received->length - sizeof theirs);
    return td_buffer_ok(output) ? TD_OK : td_fail_memory(error, output->length);
}

td_status td_child_run(td_status (*work)(void *context, td_buffer *output, td_error *error), void *context,
                       const volatile sig_atomic_t *stop, td_buffer *output, td_error *error)
{
    int ends[2];
    if (!stop || pipe(ends) != 0)
        return work(context, output, error);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        work_and_exit(work, context, ends[1]);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return work(context, output, error);
    }
    td_buffer received = TD_BUFFER_INIT;
    bool ended = read_until_end(ends[0], stop, &received);
    int outcome = 0;
    if (!ended)
        kill(child, SIGKILL);
    close(ends[0]);
    while (waitpid(child, &outcome, 0) < 0 && errno == EINTR)
        continue;
    td_status status = ended ? take(&received, outcome, output, error) : td_fail(error, TD_ERROR_CANCELLED, "stopped on request");
    td_buffer_free(&received);
    return status;
}
