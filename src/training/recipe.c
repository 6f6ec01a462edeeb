/* Reading a recipe: YAML nodes become typed values through the table, or an error that says where and what is right. */
#include "training/recipe_table.h"

#include "io/yaml.h"
#include "platform/file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_RECIPE_BYTES (1 << 20)
#define MAX_LIST_ITEMS 10000

typedef union value {
    int64_t integer;
    double real;
    bool boolean;
    int choice;
    char *text;
    td_string_list list;
} value;

typedef struct reader {
    td_recipe *recipe;
    yaml_document_t *document;
    const char *name;      /* file, or "" for an override */
    const char *directory; /* that input paths are relative to */
    td_error *error;
} reader;

/* ---- messages ---- */

static td_status fail_key(const reader *in, int line, const char *key, td_status status, const char *problem)
{
    if (!*in->name)
        return td_fail(in->error, status, "%s: %s", key, problem);
    if (line <= 0)
        return td_fail(in->error, status, "%s: %s: %s", in->name, key, problem);
    return td_fail(in->error, status, "%s:%d: %s: %s", in->name, line, key, problem);
}

static td_status fail_value(const reader *in, int line, const td_recipe_key *key, const char *text, const char *problem)
{
    char message[768], choices[192] = "", low[64], high[64];
    td_recipe_format_real(key->low, low, sizeof low);
    td_recipe_format_real(key->high, high, sizeof high);
    switch (key->type) {
    case TD_RECIPE_INTEGER:
    case TD_RECIPE_REAL:
        snprintf(message, sizeof message, "\"%.80s\" is %s; give a %s from %s to %s", text,
                 problem ? problem : (key->type == TD_RECIPE_REAL ? "not a number" : "not a whole number"),
                 key->type == TD_RECIPE_REAL ? "number" : "whole number", low, high);
        break;
    case TD_RECIPE_BOOL:
        snprintf(message, sizeof message, "\"%.80s\" is neither true nor false", text);
        break;
    case TD_RECIPE_CHOICE:
        for (const char *const *choice = key->choices; *choice; choice++)
            snprintf(choices + strlen(choices), sizeof choices - strlen(choices), "%s%s", choice == key->choices ? "" : ", ", *choice);
        snprintf(message, sizeof message, "\"%.80s\" is not one of %s; the nearest is \"%s\"", text, choices,
                 td_recipe_nearest_choice(key->choices, text));
        break;
    default:
        snprintf(message, sizeof message, "%s", problem);
    }
    return fail_key(in, line, key->name, TD_ERROR_ARGUMENT, message);
}

static td_status fail_kind(const reader *in, int line, const td_recipe_key *key)
{
    static const char *const wanted[] = {"give one whole number",   "give one number", "give true or false",
                                         "give one of its choices", "give one text",   "give one text or a list of texts"};
    char message[128];
    snprintf(message, sizeof message, "the value has the wrong form; %s", wanted[key->type]);
    return fail_key(in, line, key->name, TD_ERROR_ARGUMENT, message);
}

static td_status fail_unknown(const reader *in, int line, const char *name)
{
    char nearest[96], message[160];
    td_recipe_nearest(name, nearest, sizeof nearest);
    snprintf(message, sizeof message, "unknown key; the nearest is %s", nearest);
    return fail_key(in, line, name, TD_ERROR_ARGUMENT, message);
}

/* ---- values ---- */

static void free_value(td_recipe_type type, value *v)
{
    if (type == TD_RECIPE_STRING)
        td_release(v->text);
    if (type == TD_RECIPE_LIST) {
        for (size_t i = 0; i < v->list.count; i++)
            td_release(v->list.items[i]);
        td_release(v->list.items);
    }
}

static size_t value_size(td_recipe_type type)
{
    static const size_t sizes[] = {sizeof(int64_t), sizeof(double), sizeof(bool), sizeof(int), sizeof(char *), sizeof(td_string_list)};
    return sizes[type];
}

/* Moves `v` into the recipe; what stood there is freed. */
static void store(td_recipe *recipe, int row, const value *v, int line)
{
    const td_recipe_key *key = &td_recipe_keys[row];
    void *field = td_recipe_field(recipe, key);
    value old;
    memcpy(&old, field, value_size(key->type));
    memcpy(field, v, value_size(key->type));
    free_value(key->type, &old);
    recipe->lines[row] = line;
}

static td_status parse_number(const reader *in, int line, const td_recipe_key *key, const char *text, value *ret_value)
{
    char *end;
    double real;
    if (!*text || strspn(text, "+-.0123456789eE") != strlen(text))
        return fail_value(in, line, key, text, NULL);
    errno = 0;
    if (key->type == TD_RECIPE_INTEGER) {
        long long integer = strtoll(text, &end, 10);
        if (*end || end == text)
            return fail_value(in, line, key, text, NULL);
        real = (double)integer;
        ret_value->integer = integer;
    } else {
        real = strtod(text, &end);
        if (*end || end == text)
            return fail_value(in, line, key, text, NULL);
        ret_value->real = real;
    }
    if (!(real >= key->low && real <= key->high) || (errno == ERANGE && isinf(real)))
        return fail_value(in, line, key, text, "out of bounds");
    return TD_OK;
}

/* Appends `text` with ${NAME} replaced from the environment and $$ by one dollar sign. */
static td_status expand(const reader *in, int line, const td_recipe_key *key, const char *text, td_buffer *buffer)
{
    while (*text) {
        size_t plain = strcspn(text, "$");
        td_buffer_append(buffer, text, plain);
        text += plain;
        if (text[0] == '$' && text[1] == '{') {
            size_t length = strcspn(text + 2, "}");
            char name[128], message[256];
            snprintf(name, sizeof name, "%.*s", (int)(length < 127 ? length : 127), text + 2);
            if (!text[2 + length])
                return fail_key(in, line, key->name, TD_ERROR_ARGUMENT, "\"${\" without \"}\"; write $$ for a dollar sign");
            const char *found = getenv(name);
            snprintf(message, sizeof message, "the environment variable \"%s\" is not set; set it or write the path out", name);
            if (!found)
                return fail_key(in, line, key->name, TD_ERROR_ARGUMENT, message);
            td_buffer_text_append(buffer, found);
            text += length + 3;
        } else if (*text) {
            td_buffer_append(buffer, "$", 1);
            text += text[1] == '$' ? 2 : 1;
        }
    }
    return TD_OK;
}

static td_status copy_text(const reader *in, int line, const td_recipe_key *key, const char *text, char **ret_text)
{
    td_buffer buffer = TD_BUFFER_INIT;
    td_status status = TD_OK;
    char *result = NULL;
    if (key->path == TD_RECIPE_NO_PATH || !*text) {
        result = td_copy_string(text);
    } else {
        status = expand(in, line, key, text, &buffer);
        const char *path = td_buffer_text(&buffer);
        while (strncmp(path, "./", 2) == 0)
            path += 2 + strspn(path + 2, "/");
        if (status == TD_OK && td_buffer_ok(&buffer) && *path != '/') {
            char here[4096];
            const char *base = key->path == TD_RECIPE_INPUT_PATH ? in->directory : getcwd(here, sizeof here);
            result = base ? td_path_join(base, path) : NULL;
        } else if (status == TD_OK && td_buffer_ok(&buffer)) {
            result = td_copy_string(path);
        }
    }
    td_buffer_free(&buffer);
    if (status != TD_OK)
        return status;
    if (!result)
        return td_fail_memory(in->error, strlen(text) + 1);
    *ret_text = result;
    return TD_OK;
}

static td_status parse_list(const reader *in, const yaml_node_t *node, const td_recipe_key *key, value *ret_value)
{
    value v = {.list = {NULL, 0}};
    const yaml_node_item_t *first = NULL;
    size_t count = 1;
    if (node->type == YAML_SEQUENCE_NODE) {
        first = node->data.sequence.items.start;
        count = (size_t)(node->data.sequence.items.top - first);
    }
    if (count > MAX_LIST_ITEMS)
        return fail_key(in, td_yaml_line(node), key->name, TD_ERROR_LIMIT, "more than 10000 items");
    v.list.items = td_allocate_array(count ? count : 1, sizeof *v.list.items);
    if (!v.list.items)
        return td_fail_memory(in->error, count * sizeof *v.list.items);
    td_status status = TD_OK;
    for (size_t i = 0; i < count && status == TD_OK; i++) {
        const yaml_node_t *item = first ? yaml_document_get_node(in->document, first[i]) : node;
        const char *text = item ? td_yaml_scalar(item) : NULL;
        if (!text || !*text)
            status = fail_kind(in, td_yaml_line(item ? item : node), key);
        else
            status = copy_text(in, td_yaml_line(item), key, text, &v.list.items[i]);
        v.list.count += status == TD_OK;
    }
    if (status == TD_OK)
        *ret_value = v;
    else
        free_value(TD_RECIPE_LIST, &v);
    return status;
}

static td_status parse_scalar(const reader *in, int line, const td_recipe_key *key, const char *text, value *ret_value)
{
    switch (key->type) {
    case TD_RECIPE_INTEGER:
    case TD_RECIPE_REAL:
        return parse_number(in, line, key, text, ret_value);
    case TD_RECIPE_BOOL:
        ret_value->boolean = strcmp(text, "true") == 0;
        return ret_value->boolean || strcmp(text, "false") == 0 ? TD_OK : fail_value(in, line, key, text, NULL);
    case TD_RECIPE_CHOICE:
        ret_value->choice = td_recipe_find_choice(key->choices, text);
        return ret_value->choice >= 0 ? TD_OK : fail_value(in, line, key, text, NULL);
    default:
        return copy_text(in, line, key, text, &ret_value->text);
    }
}

static td_status read_value(const reader *in, int row, int line, const yaml_node_t *node)
{
    const td_recipe_key *key = &td_recipe_keys[row];
    value v = {0};
    if (key->type == TD_RECIPE_LIST && (node->type == YAML_SEQUENCE_NODE || td_yaml_scalar(node))) {
        TD_TRY(parse_list(in, node, key, &v));
    } else {
        const char *text = td_yaml_scalar(node);
        bool plain_wanted = key->type <= TD_RECIPE_BOOL;
        if (!text || (plain_wanted && !td_yaml_is_plain(node)))
            return fail_kind(in, line, key);
        if (!*text && td_yaml_is_plain(node))
            return fail_key(in, line, key->name, TD_ERROR_ARGUMENT, "has no value; give one or leave the key out");
        TD_TRY(parse_scalar(in, line, key, text, &v));
    }
    store(in->recipe, row, &v, *in->name ? line : -1);
    return TD_OK;
}

/* ---- documents ---- */

static td_status check_twice(const reader *in, const yaml_node_t *section, const yaml_node_pair_t *pair, const char *name)
{
    const yaml_node_t *key = yaml_document_get_node(in->document, pair->key);
    char message[64];
    for (const yaml_node_pair_t *p = section->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *other = yaml_document_get_node(in->document, p->key);
        if (strcmp(td_yaml_scalar(other), td_yaml_scalar(key)) != 0)
            continue;
        snprintf(message, sizeof message, "given twice; the first is on line %d", td_yaml_line(other));
        return fail_key(in, td_yaml_line(key), name, TD_ERROR_ARGUMENT, message);
    }
    int row = td_recipe_find(name); /* "a.b: 1" beside "a: {b: 1}" */
    if (row < 0 || in->recipe->lines[row] == 0)
        return TD_OK;
    snprintf(message, sizeof message, "given twice; the first is on line %d", in->recipe->lines[row]);
    return fail_key(in, td_yaml_line(key), name, TD_ERROR_ARGUMENT, message);
}

static td_status read_section(const reader *in, const char *prefix, const yaml_node_t *section)
{
    const yaml_node_pair_t *end = section->data.mapping.pairs.top;
    for (const yaml_node_pair_t *pair = section->data.mapping.pairs.start; pair < end; pair++) {
        const yaml_node_t *key = yaml_document_get_node(in->document, pair->key);
        const yaml_node_t *node = yaml_document_get_node(in->document, pair->value);
        const char *text = td_yaml_scalar(key);
        int line = td_yaml_line(key);
        char name[128];
        if (!text || !*text)
            return fail_key(in, line, *prefix ? prefix : "recipe", TD_ERROR_ARGUMENT, "a key is not a word");
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", text);
        int row = td_recipe_find(name);
        if (row < 0 && !td_recipe_is_section(name))
            return fail_unknown(in, line, name);
        TD_TRY(check_twice(in, section, pair, name));
        if (row >= 0) {
            TD_TRY(read_value(in, row, line, node));
        } else if (node->type == YAML_MAPPING_NODE) {
            TD_TRY(read_section(in, name, node));
        } else {
            return fail_key(in, line, name, TD_ERROR_ARGUMENT, "is a section; write its keys below it, indented");
        }
    }
    return TD_OK;
}

static td_status read_document(reader *in, const char *text, size_t length)
{
    yaml_document_t document;
    TD_TRY(td_yaml_parse(text, length, in->name, &document, in->error));
    in->document = &document;
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    td_status status;
    if (root->type == YAML_MAPPING_NODE)
        status = read_section(in, "", root);
    else
        status = td_fail(in->error, TD_ERROR_FORMAT, "%s:%d: a recipe is keys and values, such as \"task: translate\"", in->name,
                         td_yaml_line(root));
    yaml_document_delete(&document);
    return status;
}

/* ---- public ---- */

static td_status fill_defaults(td_recipe *recipe, td_error *error)
{
    reader in = {.recipe = recipe, .name = "", .directory = "", .error = error};
    for (size_t row = 0; row < td_recipe_key_count; row++) {
        value v = {0};
        if (td_recipe_keys[row].type == TD_RECIPE_LIST)
            continue;
        TD_TRY(parse_scalar(&in, 0, &td_recipe_keys[row], td_recipe_keys[row].initial, &v));
        store(recipe, (int)row, &v, 0);
    }
    return TD_OK;
}

td_status td_recipe_new(td_recipe **ret_recipe, td_error *error)
{
    td_recipe *recipe = td_allocate_array(1, sizeof *recipe);
    if (!recipe)
        return td_fail_memory(error, sizeof *recipe);
    td_c_locale locale = td_c_locale_enter();
    td_status status = fill_defaults(recipe, error);
    td_c_locale_leave(locale);
    if (status == TD_OK && !(recipe->path = td_copy_string("")))
        status = td_fail_memory(error, 1);
    if (status != TD_OK)
        td_recipe_free(recipe);
    else
        *ret_recipe = recipe;
    return status;
}

void td_recipe_free(td_recipe *recipe)
{
    if (!recipe)
        return;
    for (size_t row = 0; row < td_recipe_key_count; row++) {
        value v;
        memcpy(&v, td_recipe_field(recipe, &td_recipe_keys[row]), value_size(td_recipe_keys[row].type));
        free_value(td_recipe_keys[row].type, &v);
    }
    td_release(recipe->path);
    td_release(recipe);
}

/* The absolute directory that holds the file `path`. */
static td_status directory_of(const char *path, char **ret_directory, td_error *error)
{
    char here[4096] = "";
    if (*path != '/' && !getcwd(here, sizeof here))
        return td_fail(error, TD_ERROR_IO, "%s: the current directory cannot be read", path);
    td_buffer buffer = TD_BUFFER_INIT;
    const char *slash = strrchr(path, '/');
    td_buffer_text_append(&buffer, here);
    if (slash) {
        if (*path != '/')
            td_buffer_text_append(&buffer, "/");
        td_buffer_append(&buffer, path, slash == path ? 1 : (size_t)(slash - path));
    }
    char *directory = td_buffer_ok(&buffer) ? td_copy_string(td_buffer_text(&buffer)) : NULL;
    td_buffer_free(&buffer);
    if (!directory)
        return td_fail_memory(error, strlen(path) + sizeof here);
    *ret_directory = directory;
    return TD_OK;
}

static td_status load_text(td_recipe *recipe, const char *path, const td_buffer *text, td_error *error)
{
    reader in = {.recipe = recipe, .name = path, .error = error};
    char *directory = NULL;
    TD_TRY(directory_of(path, &directory, error));
    in.directory = directory;
    td_c_locale locale = td_c_locale_enter();
    td_status status = read_document(&in, td_buffer_text(text), text->length);
    td_c_locale_leave(locale);
    td_release(directory);
    if (status != TD_OK)
        return status;
    char *copy = td_copy_string(path);
    if (!copy)
        return td_fail_memory(error, strlen(path) + 1);
    td_release(recipe->path);
    recipe->path = copy;
    return TD_OK;
}

td_status td_recipe_load(const char *path, td_recipe **ret_recipe, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    td_recipe *recipe = NULL;
    td_status status = td_file_read(path, MAX_RECIPE_BYTES, &text, error);
    if (status == TD_OK)
        status = td_recipe_new(&recipe, error);
    if (status == TD_OK)
        status = load_text(recipe, path, &text, error);
    td_buffer_free(&text);
    if (status == TD_OK)
        *ret_recipe = recipe;
    else
        td_recipe_free(recipe);
    return status;
}

/* An empty value empties a text or a list; anything else is YAML. */
static td_status set_value(reader *in, int row, const char *text)
{
    const td_recipe_key *key = &td_recipe_keys[row];
    if (!*text && key->type >= TD_RECIPE_STRING)
        text = key->type == TD_RECIPE_LIST ? "[]" : "''";
    if (!*text)
        return fail_key(in, 0, key->name, TD_ERROR_ARGUMENT, "has no value; give one after \"=\"");
    yaml_document_t document;
    td_status status = td_yaml_parse(text, strlen(text), "", &document, in->error);
    if (status != TD_OK)
        return td_error_prefix(in->error, "%s", key->name);
    in->document = &document;
    status = read_value(in, row, 0, yaml_document_get_root_node(&document));
    yaml_document_delete(&document);
    return status;
}

td_status td_recipe_set(td_recipe *recipe, const char *assignment, td_error *error)
{
    char name[128], here[4096];
    reader in = {.recipe = recipe, .name = "", .error = error};
    size_t length = strcspn(assignment, "=");
    snprintf(name, sizeof name, "%.*s", (int)(length < 127 ? length : 127), assignment);
    if (!assignment[length] || length == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "\"%s\" is not an assignment; write KEY=VALUE", assignment);
    in.directory = getcwd(here, sizeof here);
    if (!in.directory)
        return td_fail(error, TD_ERROR_IO, "the current directory cannot be read");
    int row = td_recipe_find(name);
    if (row < 0 && td_recipe_is_section(name))
        return fail_key(&in, 0, name, TD_ERROR_ARGUMENT, "is a section; set one of its keys");
    if (row < 0)
        return fail_unknown(&in, 0, name);
    td_c_locale locale = td_c_locale_enter();
    td_status status = set_value(&in, row, assignment + length + 1);
    td_c_locale_leave(locale);
    return status;
}
