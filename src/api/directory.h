/* The configuration of a model directory, also of one that another program wrote without a config.json of this layout. */
#ifndef TD_API_DIRECTORY_H
#define TD_API_DIRECTORY_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* True when directory/config.json is not a model's configuration as it stands: td_directory_config makes one. */
bool td_directory_is_foreign(const char *directory);
/* config.json, or what takes its place; `path` is what messages call it. */
td_status td_directory_config(const char *directory, const char *path, json_t **ret_config, td_error *error);

#endif
