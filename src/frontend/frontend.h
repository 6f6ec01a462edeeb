/* The front end of a model directory: what preprocessor_config.json says, ready to turn files into features. */
#ifndef TD_FRONTEND_FRONTEND_H
#define TD_FRONTEND_FRONTEND_H

#include "frontend/kind.h"

typedef struct td_frontend {
    const td_frontend_kind *kind;
    void *state;
} td_frontend;

/* Reads directory/preprocessor_config.json. */
td_status td_frontend_open(const char *directory, td_modality modality, td_frontend *ret_frontend, td_error *error);
/* The same from JSON in memory; `file` is what messages call it. */
td_status td_frontend_configure(const json_t *config, const char *file, td_modality modality, td_frontend *ret_frontend, td_error *error);
void td_frontend_close(td_frontend *frontend);

#endif
