/* The table turned outwards: a recipe as YAML, and the reference page. */
#include "training/recipe_table.h"

#include "io/yaml.h"
#include "platform/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void append_text(td_buffer *buffer, const td_recipe_key *key, const char *text)
{
    if (key->path == TD_RECIPE_NO_PATH || !strchr(text, '$')) {
        td_yaml_append_quoted(buffer, text);
        return;
    }
    td_buffer escaped = TD_BUFFER_INIT;
    for (; *text; text++)
        td_buffer_append(&escaped, *text == '$' ? "$$" : text, *text == '$' ? 2 : 1);
    td_yaml_append_quoted(buffer, td_buffer_text(&escaped));
    buffer->failed |= escaped.failed;
    td_buffer_free(&escaped);
}

static void append_list(td_buffer *buffer, const td_recipe_key *key, const td_string_list *list)
{
    if (list->count != 1)
        td_buffer_text_append(buffer, "[");
    for (size_t i = 0; i < list->count; i++) {
        td_buffer_text_append(buffer, i ? ", " : "");
        append_text(buffer, key, list->items[i]);
    }
    if (list->count != 1)
        td_buffer_text_append(buffer, "]");
}

static void append_value(td_buffer *buffer, const td_recipe *recipe, const td_recipe_key *key)
{
    const void *field = td_recipe_field(recipe, key);
    char number[64];
    switch (key->type) {
    case TD_RECIPE_INTEGER:
        td_buffer_format(buffer, "%" PRId64, *(const int64_t *)field);
        break;
    case TD_RECIPE_REAL:
        td_recipe_format_real(*(const double *)field, number, sizeof number);
        td_buffer_text_append(buffer, number);
        break;
    case TD_RECIPE_BOOL:
        td_buffer_text_append(buffer, *(const bool *)field ? "true" : "false");
        break;
    case TD_RECIPE_CHOICE:
        td_buffer_text_append(buffer, key->choices[*(const int *)field]);
        break;
    case TD_RECIPE_STRING:
        append_text(buffer, key, *(char *const *)field);
        break;
    case TD_RECIPE_LIST:
        append_list(buffer, key, field);
        break;
    }
}

/* Opens the sections of `name` that `previous` was not in, then writes the last part of the name. */
static void append_key(td_buffer *buffer, const char *previous, const char *name)
{
    size_t start = 0;
    int depth = 0;
    bool same = true;
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'), depth++) {
        size_t end = (size_t)(dot - name) + 1;
        same = same && strncmp(previous, name, end) == 0;
        if (!same)
            td_buffer_format(buffer, "%*s%.*s:\n", 2 * depth, "", (int)(end - 1 - start), name + start);
        start = end;
    }
    td_buffer_format(buffer, "%*s%s: ", 2 * depth, "", name + start);
}

td_status td_recipe_write(const td_recipe *recipe, const char *path, td_error *error)
{
    td_buffer buffer = TD_BUFFER_INIT;
    td_c_locale locale = td_c_locale_enter();
    for (size_t row = 0; row < td_recipe_key_count; row++) {
        append_key(&buffer, row ? td_recipe_keys[row - 1].name : "", td_recipe_keys[row].name);
        append_value(&buffer, recipe, &td_recipe_keys[row]);
        td_buffer_text_append(&buffer, "\n");
    }
    td_c_locale_leave(locale);
    td_status status =
        td_buffer_ok(&buffer) ? td_file_write(path, td_buffer_text(&buffer), buffer.length, error) : td_fail_memory(error, buffer.capacity);
    td_buffer_free(&buffer);
    return status;
}

/* ---- reference page ---- */

static void append_domain(td_buffer *buffer, const td_recipe_key *key)
{
    static const char *const names[] = {"whole number", "number", "true, false", "", "text", "text or list of texts"};
    char low[64], high[64];
    if (key->path != TD_RECIPE_NO_PATH) {
        td_buffer_text_append(buffer, key->type == TD_RECIPE_LIST ? "path or list of paths" : "path");
    } else if (key->type == TD_RECIPE_CHOICE) {
        for (const char *const *choice = key->choices; *choice; choice++)
            td_buffer_format(buffer, "%s`%s`", choice == key->choices ? "" : ", ", *choice);
    } else {
        td_buffer_text_append(buffer, names[key->type]);
    }
    if (key->type > TD_RECIPE_REAL)
        return;
    td_recipe_format_real(key->low, low, sizeof low);
    td_recipe_format_real(key->high, high, sizeof high);
    td_buffer_format(buffer, ", %s to %s", low, high);
}

static void append_row(td_buffer *buffer, const td_recipe_key *key)
{
    td_buffer_format(buffer, "| `%s` | ", key->name);
    append_domain(buffer, key);
    if (*key->initial)
        td_buffer_format(buffer, " | `%s` | %s |\n", key->initial, key->help);
    else
        td_buffer_format(buffer, " | | %s |\n", key->help);
}

void td_recipe_reference(td_buffer *buffer)
{
    td_buffer_text_append(buffer,
                          "# The recipe\n\n"
                          "A recipe is a YAML file that says what to learn from, what model to build and how to train it:\n"
                          "`tandem train recipe.yaml`. Any key can be overridden on the command line, such as\n"
                          "`--set training.learning_rate=0.002`. Unknown keys, wrong types and values out of bounds are errors that name\n"
                          "the line. Every run writes its recipe with all defaults filled in to `recipe.yaml` in its output directory.\n\n"
                          "Relative paths are taken from the recipe's directory (`output`, and paths given with `--set`, from the current\n"
                          "one). In paths `${NAME}` is the environment variable NAME and `$$` a dollar sign.\n\n"
                          "This page is generated from the table that checks recipes; edit `src/training/recipe_table.c`.\n");
    td_c_locale locale = td_c_locale_enter();
    const char *section = "-";
    size_t length = 1;
    for (size_t row = 0; row < td_recipe_key_count; row++) {
        const td_recipe_key *key = &td_recipe_keys[row];
        const char *dot = strchr(key->name, '.');
        size_t own = dot ? (size_t)(dot - key->name) + 1 : 0;
        if (own != length || strncmp(section, key->name, own) != 0) {
            td_buffer_format(buffer, "\n## %.*s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", own ? (int)own - 1 : 9,
                             own ? key->name : "top level");
            section = key->name;
            length = own;
        }
        append_row(buffer, key);
    }
    td_c_locale_leave(locale);
}
