/* Numbers from preprocessor_config.json with their bounds: one row a key. */
#ifndef TD_AUDIO_SETTINGS_H
#define TD_AUDIO_SETTINGS_H

#include "base/error.h"

#include <jansson.h>

typedef struct td_setting {
    const char *key;
    double fallback, low, high;
    double *real; /* where it goes: one of the two */
    size_t *count;
} td_setting;

/* `rows` ends with a NULL key. Counts must be whole. */
td_status td_settings_read(const td_setting *rows, const json_t *config, const char *file, td_error *error);

#endif
