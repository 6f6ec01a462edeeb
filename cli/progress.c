#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void cli_progress_begin(cli_progress *progress, int choice, const char *inputs, uint64_t total)
{
    bool shown = choice == 1 || (choice == 0 && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO));
    double now = seconds();
    *progress = (cli_progress){.shown = shown, .inputs = inputs, .total = total, .started = now, .painted = now};
}

static void print_time(double left)
{
    unsigned whole = left < 1e6 ? (unsigned)(left + 0.5) : 1000000;
    if (whole >= 3600)
        fprintf(stderr, ", %uh%02um left", whole / 3600, whole / 60 % 60);
    else if (whole >= 60)
        fprintf(stderr, ", %um%02us left", whole / 60, whole % 60);
    else
        fprintf(stderr, ", %us left", whole);
}

/* "[#########.....]  62% 1204 lines, 5312 tokens/s, 12s left"; without a total only the middle. */
static void paint(cli_progress *progress, double now)
{
    enum { WIDTH = 30 };
    double elapsed = now - progress->started, share = 0;
    fputs("\r\033[K", stderr);
    if (progress->total) {
        char bar[WIDTH + 1] = "..............................";
        share = progress->done < progress->total ? (double)progress->done / (double)progress->total : 1;
        memset(bar, '#', (size_t)(share * WIDTH));
        fprintf(stderr, "[%s] %3d%% ", bar, (int)(share * 100));
    }
    fprintf(stderr, "%zu %s, %.0f tokens/s", progress->answered, progress->inputs, elapsed > 0 ? (double)progress->tokens / elapsed : 0);
    if (share > 0 && share < 1)
        print_time(elapsed / share * (1 - share));
    fflush(stderr);
    progress->painted = now;
    progress->pending = true;
}

void cli_progress_step(cli_progress *progress, uint64_t done, size_t tokens)
{
    static const double pause = 0.1; /* seconds */
    progress->answered++;
    progress->tokens += tokens;
    progress->done = done;
    double now = progress->shown ? seconds() : 0;
    if (progress->shown && now - progress->painted >= pause)
        paint(progress, now);
}

void cli_progress_clear(cli_progress *progress)
{
    if (progress->pending)
        fputs("\r\033[K", stderr);
    progress->pending = false;
}

void cli_progress_end(cli_progress *progress)
{
    if (!progress->shown)
        return;
    paint(progress, seconds());
    fputs("\n", stderr);
    *progress = (cli_progress){0};
}

uint64_t cli_bytes_of_files(char **files, int count)
{
    uint64_t bytes = 0;
    struct stat facts;
    for (int i = 0; i < (count ? count : 1); i++) {
        bool standard_input = count == 0 || strcmp(files[i], "-") == 0;
        if ((standard_input ? fstat(STDIN_FILENO, &facts) : stat(files[i], &facts)) != 0 || !S_ISREG(facts.st_mode))
            return 0;
        bytes += (uint64_t)facts.st_size;
    }
    return bytes;
}
