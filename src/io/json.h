/* Thin glue over jansson: files with positions in their errors, and getters that say which key of which file is wrong. */
#ifndef TD_IO_JSON_H
#define TD_IO_JSON_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

#define TD_JSON_LIMIT ((size_t)64 << 20) /* bytes; a larger file is refused before it is parsed */

/* Reads and parses `path`; syntax errors say "path:line:column: reason". The caller owns *ret_root (json_decref). */
td_status td_json_load_file(const char *path, json_t **ret_root, td_error *error);
/* The same for bytes in memory; `name` stands for the path in errors. */
td_status td_json_parse(const char *text, size_t length, const char *name, json_t **ret_root, td_error *error);
/* Writes `root` indented by 2, keys in insertion order, so that readers see the old file or the new one. */
td_status td_json_save_file(const char *path, const json_t *root, td_error *error);

/* True when `object` has `key` with another value than null. */
bool td_json_has(const json_t *object, const char *key);
/* Each gives `fallback` when the key is absent or null, and fails with `file: "key" must be ...` when it has another type.
 * `file` is only for messages. A real accepts an integer; an integer accepts no fraction. */
td_status td_json_get_integer(const json_t *object, const char *file, const char *key, int64_t fallback, int64_t *ret_value,
                              td_error *error);
td_status td_json_get_real(const json_t *object, const char *file, const char *key, double fallback, double *ret_value, td_error *error);
td_status td_json_get_bool(const json_t *object, const char *file, const char *key, bool fallback, bool *ret_value, td_error *error);
/* The string belongs to `object`. */
td_status td_json_get_string(const json_t *object, const char *file, const char *key, const char *fallback, const char **ret_value,
                             td_error *error);
/* *ret_value is a borrowed object or NULL when absent. */
td_status td_json_get_object(const json_t *object, const char *file, const char *key, json_t **ret_value, td_error *error);

#endif
