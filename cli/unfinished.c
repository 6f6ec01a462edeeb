#define _POSIX_C_SOURCE 200809L
#include "unfinished.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static struct {
    const cli_command *command;
    const char *directory;
    sigset_t signals;
} watched;

/* The library writes NAME.PID.partial and renames it when all of it is on disk. */
static void remove_unfinished(const char *directory)
{
    char ending[64], path[4096];
    int length = snprintf(ending, sizeof ending, ".%ld.partial", (long)getpid());
    DIR *open = opendir(directory);
    for (struct dirent *entry; open && (entry = readdir(open));) {
        size_t own = strlen(entry->d_name);
        bool ours = own > (size_t)length && strcmp(entry->d_name + own - (size_t)length, ending) == 0;
        int total = ours ? snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) : 0;
        if (total > 0 && (size_t)total < sizeof path)
            unlink(path);
    }
    if (open)
        closedir(open);
}

/* On a thread of its own, so that it may do what a signal handler may not. */
static void *wait_for_signal(void *context)
{
    int number;
    (void)context;
    if (sigwait(&watched.signals, &number) != 0)
        return NULL;
    remove_unfinished(watched.directory);
    _exit(cli_complain(watched.command, CLI_FAILED, "interrupted"));
}

void cli_leave_nothing_unfinished(const cli_command *command, const char *directory)
{
    pthread_t thread;
    watched.command = command;
    watched.directory = directory;
    sigemptyset(&watched.signals);
    sigaddset(&watched.signals, SIGINT);
    sigaddset(&watched.signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &watched.signals, NULL); /* also for the threads that the library starts */
    if (pthread_create(&thread, NULL, wait_for_signal, NULL) == 0)
        pthread_detach(thread);
    else
        pthread_sigmask(SIG_UNBLOCK, &watched.signals, NULL);
}
