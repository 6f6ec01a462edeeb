#include "io/json.h"

#include "platform/file.h"

#include <math.h>
#include <string.h>

/* A number that was read as real, though an integer holds it: that integer, else NULL. */
static json_t *integer_of(const json_t *value)
{
    const double limit = 9007199254740992.0; /* 2^53: beyond it a double is not every integer */
    double number = json_real_value(value);
    bool whole = json_is_real(value) && number == floor(number) && fabs(number) < limit;
    return whole ? json_integer((json_int_t)number) : NULL;
}

/* Makes whole numbers that an integer holds integers again. Depth is bounded by the parser. */
static int restore_integers(json_t *value)
{
    const char *key;
    json_t *member, *integer;
    void *next;
    size_t index;
    int failed = 0;
    json_object_foreach_safe(value, next, key, member) failed |=
        (integer = integer_of(member)) ? json_object_set_new(value, key, integer) : restore_integers(member);
    json_array_foreach(value, index, member) failed |=
        (integer = integer_of(member)) ? json_array_set_new(value, index, integer) : restore_integers(member);
    return failed;
}

/* save_pretrained writes "model_max_length": 1000000000000000019884624838656 for "no limit", which no integer type holds. */
static json_t *parse_with_huge_numbers(const char *text, size_t length, json_error_t *reason)
{
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, reason);
    if (!root || restore_integers(root) == 0)
        return root;
    json_decref(root);
    return NULL;
}

td_status td_json_parse(const char *text, size_t length, const char *name, json_t **ret_root, td_error *error)
{
    json_error_t reason;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &reason);
    if (!root && json_error_code(&reason) == json_error_numeric_overflow)
        root = parse_with_huge_numbers(text, length, &reason);
    if (!root)
        return td_fail(error, json_error_code(&reason) == json_error_out_of_memory ? TD_ERROR_MEMORY : TD_ERROR_FORMAT,
                       "%s:%d:%d: not JSON: %s", name, reason.line, reason.column, reason.text);
    *ret_root = root;
    return TD_OK;
}

td_status td_json_load_file(const char *path, json_t **ret_root, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    td_status status = td_file_read(path, TD_JSON_LIMIT, &text, error);
    if (status == TD_OK)
        status = td_json_parse(td_buffer_text(&text), text.length, path, ret_root, error);
    td_buffer_free(&text);
    return status;
}

static int append_to_buffer(const char *bytes, size_t length, void *context)
{
    td_buffer *buffer = context;
    td_buffer_append(buffer, bytes, length);
    return td_buffer_ok(buffer) ? 0 : -1;
}

td_status td_json_save_file(const char *path, const json_t *root, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    td_status status;
    /* 17 digits: a double read back is the double written. */
    if (json_dump_callback(root, append_to_buffer, &text, JSON_INDENT(2) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY) != 0) {
        status = td_buffer_ok(&text) ? td_fail(error, TD_ERROR_ARGUMENT, "%s: value cannot be written as JSON", path)
                                     : td_fail_memory(error, text.length);
    } else {
        td_buffer_append(&text, "\n", 1);
        status = td_buffer_ok(&text) ? td_file_write(path, text.data, text.length, error) : td_fail_memory(error, text.length);
    }
    td_buffer_free(&text);
    return status;
}

bool td_json_has(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value);
}

static td_status fail_type(td_error *error, const char *file, const char *key, const char *wanted)
{
    return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be %s", file, key, wanted);
}

td_status td_json_get_integer(const json_t *object, const char *file, const char *key, int64_t fallback, int64_t *ret_value,
                              td_error *error)
{
    const json_t *value = json_object_get(object, key);
    if (value && !json_is_null(value) && !json_is_integer(value))
        return fail_type(error, file, key, "an integer");
    *ret_value = json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
    return TD_OK;
}

td_status td_json_get_real(const json_t *object, const char *file, const char *key, double fallback, double *ret_value, td_error *error)
{
    const json_t *value = json_object_get(object, key);
    if (value && !json_is_null(value) && !json_is_number(value))
        return fail_type(error, file, key, "a number");
    *ret_value = json_is_number(value) ? json_number_value(value) : fallback;
    return TD_OK;
}

td_status td_json_get_bool(const json_t *object, const char *file, const char *key, bool fallback, bool *ret_value, td_error *error)
{
    const json_t *value = json_object_get(object, key);
    if (value && !json_is_null(value) && !json_is_boolean(value))
        return fail_type(error, file, key, "true or false");
    *ret_value = json_is_boolean(value) ? json_is_true(value) : fallback;
    return TD_OK;
}

td_status td_json_get_string(const json_t *object, const char *file, const char *key, const char *fallback, const char **ret_value,
                             td_error *error)
{
    const json_t *value = json_object_get(object, key);
    if (value && !json_is_null(value) && !json_is_string(value))
        return fail_type(error, file, key, "a string");
    *ret_value = json_is_string(value) ? json_string_value(value) : fallback;
    return TD_OK;
}

td_status td_json_get_object(const json_t *object, const char *file, const char *key, json_t **ret_value, td_error *error)
{
    json_t *value = json_object_get(object, key);
    if (value && !json_is_null(value) && !json_is_object(value))
        return fail_type(error, file, key, "an object");
    *ret_value = json_is_object(value) ? value : NULL;
    return TD_OK;
}
