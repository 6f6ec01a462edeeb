/* YAML through libyaml's document interface, with errors that name file and line. */
#include "io/yaml.h"

#include "base/utf8.h"

#include <string.h>

static size_t line_of_offset(const char *text, size_t length, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < offset && i < length; i++)
        line += text[i] == '\n';
    return line;
}

static td_status fail_at(const char *name, size_t line, const char *problem, td_error *error)
{
    if (!*name)
        return td_fail(error, TD_ERROR_FORMAT, "%s", problem);
    return td_fail(error, TD_ERROR_FORMAT, "%s:%zu: %s", name, line, problem);
}

static td_status fail_syntax(const yaml_parser_t *parser, const char *name, td_error *error)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return td_fail_memory(error, 0);
    char problem[256];
    const char *what = parser->problem ? parser->problem : "not YAML";
    if (parser->context)
        snprintf(problem, sizeof problem, "YAML syntax: %s %s", what, parser->context);
    else
        snprintf(problem, sizeof problem, "YAML syntax: %s", what);
    return fail_at(name, parser->problem_mark.line + 1, problem, error);
}

/* What follows the one document must be the end. */
static td_status expect_end(yaml_parser_t *parser, const char *name, td_error *error)
{
    yaml_document_t next;
    if (!yaml_parser_load(parser, &next))
        return fail_syntax(parser, name, error);
    yaml_node_t *root = yaml_document_get_root_node(&next);
    td_status status = TD_OK;
    if (root)
        status = fail_at(name, root->start_mark.line + 1, "a second YAML document begins; only one is read", error);
    yaml_document_delete(&next);
    return status;
}

td_status td_yaml_parse(const char *text, size_t length, const char *name, yaml_document_t *ret_document, td_error *error)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    if (length >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        text += 3;
        length -= 3;
    }
    size_t valid = td_utf8_valid_prefix(text, length);
    if (valid != length)
        return fail_at(name, line_of_offset(text, length, valid), "not UTF-8", error);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return td_fail_memory(error, sizeof parser);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    yaml_document_t document;
    td_status status = TD_OK;
    if (!yaml_parser_load(&parser, &document)) {
        status = fail_syntax(&parser, name, error);
    } else {
        if (!yaml_document_get_root_node(&document))
            status = fail_at(name, 1, "empty; YAML keys and values are expected", error);
        else
            status = expect_end(&parser, name, error);
        if (status == TD_OK)
            *ret_document = document;
        else
            yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return status;
}

int td_yaml_line(const yaml_node_t *node)
{
    return (int)node->start_mark.line + 1;
}

const char *td_yaml_scalar(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

bool td_yaml_is_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

void td_yaml_append_quoted(td_buffer *buffer, const char *text)
{
    td_buffer_text_append(buffer, "\"");
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            td_buffer_format(buffer, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            td_buffer_format(buffer, "\\x%02x", byte);
        else
            td_buffer_append(buffer, text, 1);
    }
    td_buffer_text_append(buffer, "\"");
}
