#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/steps.h"

#include "base/array.h"
#include "io/json.h"
#include "text/unicode.h"

#include <pcre2.h>
#include <string.h>

enum { DEEPEST = 16 };

static td_status read_sequence(td_step_sort sort, const json_t *object, const char *file, const char *name, int depth, td_step *step,
                               td_error *error);

static td_status read_step(td_step_sort sort, const json_t *object, const char *file, const char *name, int depth, td_step *step,
                           td_error *error)
{
    static const td_step_kind *const tables[] = {td_normalizer_kinds, td_pre_tokenizer_kinds, td_decoder_kinds};
    if (!object || json_is_null(object))
        return TD_OK;
    const char *type = json_string_value(json_object_get(object, "type"));
    if (!type)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be an object with a \"type\"", file, name);
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(sort, object, file, name, depth, step, error);
    for (const td_step_kind *kind = tables[sort]; kind->type; kind++) {
        if (strcmp(kind->type, type) == 0) {
            step->kind = kind;
            return kind->read ? kind->read(step, object, file, error) : TD_OK;
        }
    }
    return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": type \"%s\" is not supported", file, name, type);
}

static td_status read_sequence(td_step_sort sort, const json_t *object, const char *file, const char *name, int depth, td_step *step,
                               td_error *error)
{
    static const char *const keys[] = {"normalizers", "pretokenizers", "decoders"};
    const json_t *list = json_object_get(object, keys[sort]);
    size_t count = json_array_size(list);
    if (!json_is_array(list) || depth == DEEPEST)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\": a Sequence must have an array \"%s\", at most %d deep", file, name, keys[sort],
                       DEEPEST);
    step->steps = td_allocate_array(count, sizeof *step->steps);
    if (!step->steps)
        return td_fail_memory(error, count * sizeof *step->steps);
    step->step_count = count;
    for (size_t i = 0; i < count; i++)
        TD_TRY(read_step(sort, json_array_get(list, i), file, name, depth + 1, &step->steps[i], error));
    return TD_OK;
}

td_status td_step_read(td_step_sort sort, const json_t *object, const char *file, const char *name, td_step *ret_step, td_error *error)
{
    *ret_step = (td_step){0};
    return read_step(sort, object, file, name, 0, ret_step, error);
}

void td_step_free(td_step *step)
{
    for (size_t i = 0; i < step->step_count; i++)
        td_step_free(&step->steps[i]);
    td_release(step->steps);
    td_release(step->text);
    td_buffer_free(&step->data);
    pcre2_code_free(step->pattern);
    *step = (td_step){0};
}

td_status td_step_apply(const td_step *step, td_strings *strings, td_error *error)
{
    for (size_t i = 0; i < step->step_count; i++)
        TD_TRY(td_step_apply(&step->steps[i], strings, error));
    if (!step->kind)
        return TD_OK;
    td_strings out = {0};
    td_status status = step->kind->apply(step, strings, &out, error);
    if (status == TD_OK && !td_strings_ok(&out))
        status = td_fail_memory(error, out.text.length);
    if (status != TD_OK) {
        td_strings_free(&out);
        return status;
    }
    td_strings_free(strings);
    *strings = out;
    return TD_OK;
}

/* ---- reading ---- */

td_status td_step_read_text(td_step *step, const json_t *object, const char *file, const char *key, const char *fallback, td_error *error)
{
    const char *text;
    TD_TRY(td_json_get_string(object, file, key, fallback, &text, error));
    if (!text)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" is missing", file, key);
    step->text = td_copy_string(text);
    step->length = strlen(text);
    return step->text ? TD_OK : td_fail_memory(error, step->length);
}

td_status td_step_compile(td_step *step, const char *expression, size_t length, bool literal, const char *file, td_error *error)
{
    int code;
    PCRE2_SIZE offset;
    step->pattern =
        pcre2_compile((PCRE2_SPTR)expression, length, literal ? PCRE2_UTF | PCRE2_LITERAL : PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    if (step->pattern)
        return TD_OK;
    char reason[256] = "";
    pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
    return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"pattern\": \"%.*s\" at %zu: %s", file, (int)length, expression, offset, reason);
}

td_status td_step_read_pattern(td_step *step, const json_t *object, const char *file, td_error *error)
{
    const json_t *pattern = json_object_get(object, "pattern"), *plain = json_object_get(pattern, "String");
    const json_t *expression = plain ? plain : json_object_get(pattern, "Regex");
    if (!json_is_string(expression))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"pattern\" must be {\"String\": ...} or {\"Regex\": ...}", file);
    return td_step_compile(step, json_string_value(expression), json_string_length(expression), plain != NULL, file, error);
}

td_status td_step_read_split(td_step *step, const json_t *object, const char *file, const char *fallback, td_error *error)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name;
    TD_TRY(td_json_get_string(object, file, "behavior", fallback, &name, error));
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            step->split = (td_split)i;
            return TD_OK;
        }
    }
    return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"behavior\": \"%s\" is not supported", file, name ? name : "");
}

/* ---- matching ---- */

bool td_step_match(const td_step *step, const char *text, size_t length, size_t at, size_t *ret_begin, size_t *ret_end)
{
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    uint32_t options = 0;
    char *copy = NULL;
    pcre2_pattern_info(step->pattern, PCRE2_INFO_ALLOPTIONS, &options);
    const char *seen = options & PCRE2_LITERAL ? text : td_unicode_for_patterns(text, length, &copy);
    bool found = false;
    while (match && seen && at <= length &&
           pcre2_match(step->pattern, (PCRE2_SPTR)seen, length, at, PCRE2_NO_UTF_CHECK, match, NULL) >= 0) {
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match);
        *ret_begin = span[0];
        *ret_end = span[1];
        if ((found = span[1] > span[0]))
            break;
        for (at = span[1] + 1; at < length && (text[at] & 0xc0) == 0x80;)
            at++;
    }
    pcre2_match_data_free(match);
    td_release(copy);
    return found;
}

typedef struct stretch {
    size_t begin, end;
    bool match;
} stretch;

typedef struct stretches {
    stretch *items;
    size_t count, capacity;
} stretches;

static bool add_stretch(stretches *list, size_t begin, size_t end, bool match, td_split split)
{
    if (begin == end)
        return true;
    stretch *last = list->count ? &list->items[list->count - 1] : NULL;
    if (split == TD_SPLIT_CONTIGUOUS && last && last->match == match) {
        last->end = end;
        return true;
    }
    if (td_reserve_array(&list->items, &list->capacity, list->count + 1, sizeof *list->items, NULL) != TD_OK)
        return false;
    list->items[list->count++] = (stretch){begin, end, match};
    return true;
}

/* A match joins its neighbour unless that is a match that took this one's side already. */
static void emit(const stretches *list, td_split split, const char *text, bool first, td_strings *out)
{
    for (size_t i = 0; i < list->count; i++) {
        stretch item = list->items[i];
        if (split == TD_SPLIT_REMOVED && item.match)
            continue;
        if (split == TD_SPLIT_WITH_PREVIOUS && !item.match && i + 1 < list->count && list->items[i + 1].match)
            item.end = list->items[++i].end;
        else if (split == TD_SPLIT_WITH_NEXT && item.match && i + 1 < list->count && !list->items[i + 1].match)
            item.end = list->items[++i].end;
        td_strings_add(out, text + item.begin, item.end - item.begin, first && item.begin == 0);
    }
}

td_status td_step_split(const td_step *step, td_split split, td_match *match, const td_strings *in, td_strings *out, td_error *error)
{
    stretches list = {0};
    bool good = true;
    for (size_t i = 0; good && i < in->count; i++) {
        const char *text = td_strings_at(in, i);
        size_t length = in->items[i].length, at = 0, begin, end;
        list.count = 0;
        while (good && at < length && match(step, text, length, at, &begin, &end)) {
            good = add_stretch(&list, at, begin, step->flags[0], split) && add_stretch(&list, begin, end, !step->flags[0], split);
            at = end;
        }
        good = good && add_stretch(&list, at, length, step->flags[0], split);
        emit(&list, split, text, in->items[i].first, out);
    }
    td_release(list.items);
    return good ? TD_OK : td_fail_memory(error, list.count * sizeof *list.items);
}

td_status td_step_replace(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    (void)error;
    for (size_t i = 0; i < in->count; i++) {
        const char *text = td_strings_at(in, i);
        size_t length = in->items[i].length, at = 0, begin, end;
        td_strings_begin(out, in->items[i].first);
        while (at < length && td_step_match(step, text, length, at, &begin, &end)) {
            td_strings_append(out, text + at, begin - at);
            td_strings_append(out, step->text, step->length);
            at = end;
        }
        td_strings_append(out, text + at, length - at);
    }
    return TD_OK;
}
