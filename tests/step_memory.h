/* What a training run says of its steps' memory before the first and after the last. */
#ifndef TD_TESTS_STEP_MEMORY_H
#define TD_TESTS_STEP_MEMORY_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The estimate among a run's lines holds within a tenth. */
static inline void assert_memory_was_foreseen(const char *lines)
{
    const char *before = strstr(lines, "optimiser, "), *after = strstr(lines, "memory: steps took ");
    assert_non_null(before);
    assert_non_null(after);
    double foreseen = strtod(before + strlen("optimiser, "), NULL), took = strtod(after + strlen("memory: steps took "), NULL);
    if (!(took > 0 && fabs(foreseen - took) <= 0.1 * took))
        fail_msg("steps took %g MB, and %g MB were foreseen", took, foreseen);
}

#endif
