/* YAML through libyaml's document interface, with errors that name file and line. */
#ifndef TD_IO_YAML_H
#define TD_IO_YAML_H

#include "base/buffer.h"

#include <yaml.h>

/* Parses exactly one document. `name` stands before the line in messages; "" leaves both out. On success the caller owns
 * the document (yaml_document_delete); it has a root node. */
td_status td_yaml_parse(const char *text, size_t length, const char *name, yaml_document_t *ret_document, td_error *error);
/* The line a node starts on, from 1. */
int td_yaml_line(const yaml_node_t *node);
/* The text of a scalar without inner zero bytes, or NULL when the node is something else. */
const char *td_yaml_scalar(const yaml_node_t *node);
/* Whether the scalar stands unquoted, so that it may be a number or a boolean. */
bool td_yaml_is_plain(const yaml_node_t *node);
/* Appends a double-quoted scalar. */
void td_yaml_append_quoted(td_buffer *buffer, const char *text);

#endif
