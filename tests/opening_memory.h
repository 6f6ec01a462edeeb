/* Opening a model and what memory that takes: the packed weights and one tensor at most. Call in a process of its own. */
#ifndef TD_TESTS_OPENING_MEMORY_H
#define TD_TESTS_OPENING_MEMORY_H

#include "api/model.h"
#include "io/safetensors.h"
#include "tandem/tandem.h"

#include <stdio.h>
#include <string.h>

/* Sanitizers keep memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEASURES false
#else
#define MEASURES true
#endif

enum { KB = 1024, SLACK = 12 * KB * KB /* the allocator's, libraries', buffers of one panel */ };

/* A line of /proc/self/status in bytes; 0: there is none. */
static inline size_t process_memory(const char *key)
{
    char line[256];
    size_t kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            sscanf(line + strlen(key), ": %zu", &kilobytes);
    if (file)
        fclose(file);
    return kilobytes * KB;
}

/* The peak begins again from what there is now. */
static inline bool reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    bool good = file && fputs("5", file) >= 0;
    return file && fclose(file) == 0 && good;
}

/* As a model that runs has it, or as the file does: whichever is larger of one tensor. */
static inline size_t largest_tensor(const char *directory)
{
    td_safetensors *file = NULL;
    size_t largest = 0;
    if (td_safetensors_open_directory(directory, &file, NULL) == TD_OK)
        for (size_t i = 0; i < td_safetensors_count(file); i++) {
            size_t bytes = td_stored_count(td_safetensors_at(file, i)) * sizeof(float);
            largest = bytes > largest ? bytes : largest;
        }
    td_safetensors_close(file);
    return largest;
}

static inline td_status measure_opening(const char *directory, const char *what, const char *precision, td_model **ret_model, td_error *error)
{
    td_model_options options = TD_MODEL_OPTIONS_INIT;
    options.precision = precision;
    size_t largest = largest_tensor(directory), before = process_memory("VmRSS");
    bool measured = MEASURES && reset_peak();
    TD_TRY(td_model_open(directory, &options, ret_model, error));
    size_t peak = process_memory("VmHWM") - before, packed = td_parameters_bytes(&(*ret_model)->network.parameters),
           bound = packed + largest + SLACK;
    print_message("%s as %s: peak %zu MB, weights %zu MB, largest tensor %zu MB\n", what, precision, peak >> 20, packed >> 20, largest >> 20);
    if (measured && peak > bound)
        return td_fail(error, TD_ERROR_INTERNAL, "opening took %zu MB; %zu MB are wanted at most", peak >> 20, bound >> 20);
    return TD_OK;
}

#endif
