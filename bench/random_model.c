/* Directories of bench/shapes.c, written on first use. */
#include "bench.h"
#include "shapes.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <tandem/tools.h>
#include <unistd.h>

static bool write_model(const char *directory, const char *shape, const char *float32)
{
    td_error error;
    td_status status = shape ? bench_shape_write(directory, shape, "F32", 1, &error) : td_convert_model(float32, "int8", directory, &error);
    if (status != TD_OK)
        fprintf(stderr, "tandem_bench: %s: %s\n", directory, error.message);
    return status == TD_OK;
}

/* In a process of its own, so that the memory it takes is not counted as the measured one's. */
static bool write_apart(const char *directory, const char *shape, const char *float32)
{
    int status = 1;
    if (access(directory, F_OK) == 0)
        return true;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(write_model(directory, shape, float32) ? 0 : 1);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

bool bench_random_model(const bench_settings *settings, const char *shape, bool int8, char *directory, size_t size)
{
    char float32[256];
    snprintf(float32, sizeof float32, "%s/%s", settings->directory, shape);
    snprintf(directory, size, "%s%s", float32, int8 ? "-int8" : "");
    return bench_shape_config(shape) && write_apart(float32, shape, NULL) && (!int8 || write_apart(directory, NULL, float32));
}
