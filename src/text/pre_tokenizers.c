/* The pre-tokenizers of a tokenizer.json: each cuts strings into shorter ones, whose tokens will not cross the cuts. */
#include "text/steps.h"

#include "base/utf8.h"
#include "io/json.h"
#include "text/tokenizer_kind.h"
#include "text/unicode.h"

#include <string.h>

/* The next character of a class, alone. */
static bool find_character(bool (*wanted)(uint32_t), const char *text, size_t length, size_t at, size_t *ret_begin, size_t *ret_end)
{
    for (size_t used; at < length; at += used) {
        uint32_t code = 0;
        used = td_utf8_decode(text + at, length - at, &code);
        used = used ? used : 1;
        if (wanted(code)) {
            *ret_begin = at;
            *ret_end = at + used;
            return true;
        }
    }
    return false;
}

#define CHARACTER_MATCH(name, wanted)                                                                                                      \
    static bool name(const td_step *step, const char *text, size_t length, size_t at, size_t *ret_begin, size_t *ret_end)                  \
    {                                                                                                                                      \
        (void)step;                                                                                                                        \
        return find_character(wanted, text, length, at, ret_begin, ret_end);                                                               \
    }
CHARACTER_MATCH(match_space, td_unicode_is_space)
CHARACTER_MATCH(match_punctuation, td_unicode_is_punctuation)
CHARACTER_MATCH(match_numeric, td_unicode_is_numeric)

static td_status whitespace_split(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    return td_step_split(step, TD_SPLIT_REMOVED, match_space, in, out, error);
}

static td_status punctuation(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    return td_step_split(step, step->split, match_punctuation, in, out, error);
}

static td_status read_punctuation(td_step *step, const json_t *object, const char *file, td_error *error)
{
    return td_step_read_split(step, object, file, "Isolated", error);
}

static td_status bert(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    td_strings words = {0};
    td_status status = td_step_split(step, TD_SPLIT_REMOVED, match_space, in, &words, error);
    if (status == TD_OK && !td_strings_ok(&words))
        status = td_fail_memory(error, in->text.length);
    if (status == TD_OK)
        status = td_step_split(step, TD_SPLIT_ISOLATED, match_punctuation, &words, out, error);
    td_strings_free(&words);
    return status;
}

static td_status digits(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    return td_step_split(step, step->flags[1] ? TD_SPLIT_ISOLATED : TD_SPLIT_CONTIGUOUS, match_numeric, in, out, error);
}

static td_status read_digits(td_step *step, const json_t *object, const char *file, td_error *error)
{
    return td_json_get_bool(object, file, "individual_digits", false, &step->flags[1], error);
}

static td_status split(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    return td_step_split(step, step->split, td_step_match, in, out, error);
}

static td_status read_split(td_step *step, const json_t *object, const char *file, td_error *error)
{
    TD_TRY(td_json_get_bool(object, file, "invert", false, &step->flags[0], error));
    TD_TRY(td_step_read_split(step, object, file, NULL, error));
    return td_step_read_pattern(step, object, file, error);
}

/* Words, and runs of anything else that is no space. */
static td_status read_whitespace(td_step *step, const json_t *object, const char *file, td_error *error)
{
    static const char pattern[] =
        "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]+|[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}\\s]+";
    (void)object;
    step->flags[0] = true;
    step->split = TD_SPLIT_REMOVED;
    return td_step_compile(step, pattern, sizeof pattern - 1, false, file, error);
}

/* flags: a space before, cutting by the pattern */
static td_status read_byte_level(td_step *step, const json_t *object, const char *file, td_error *error)
{
    TD_TRY(td_json_get_bool(object, file, "add_prefix_space", true, &step->flags[1], error));
    TD_TRY(td_json_get_bool(object, file, "use_regex", true, &step->flags[2], error));
    return td_step_compile(step, td_byte_level_pattern, strlen(td_byte_level_pattern), false, file, error);
}

static void spell_bytes(const td_strings *words, td_strings *out)
{
    for (size_t i = 0; i < words->count; i++) {
        td_strings_begin(out, words->items[i].first);
        for (size_t k = 0; k < words->items[i].length; k++) {
            char character[4];
            td_strings_append(out, character, td_utf8_encode(td_byte_character((uint8_t)td_strings_at(words, i)[k]), character));
        }
    }
}

static td_status byte_level(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    td_strings spaced = {0}, words = {0};
    for (size_t i = 0; i < in->count; i++) {
        const char *text = td_strings_at(in, i);
        size_t length = in->items[i].length;
        td_strings_begin(&spaced, in->items[i].first);
        td_strings_append(&spaced, " ", step->flags[1] && length && text[0] != ' ');
        td_strings_append(&spaced, text, length);
    }
    td_status status = td_strings_ok(&spaced) ? TD_OK : td_fail_memory(error, in->text.length);
    if (status == TD_OK && step->flags[2])
        status = td_step_split(step, TD_SPLIT_ISOLATED, td_step_match, &spaced, &words, error);
    if (status == TD_OK && !td_strings_ok(&words))
        status = td_fail_memory(error, in->text.length);
    if (status == TD_OK)
        spell_bytes(step->flags[2] ? &words : &spaced, out);
    td_strings_free(&spaced);
    td_strings_free(&words);
    return status;
}

/* ---- spaces as a visible character ---- */

enum { NEVER, FIRST, ALWAYS };

td_status td_metaspace_read(td_step *step, const json_t *object, const char *file, td_error *error)
{
    static const char *const schemes[] = {"never", "first", "always"};
    const char *scheme;
    bool prefix;
    TD_TRY(td_step_read_text(step, object, file, "replacement", "\xe2\x96\x81", error));
    TD_TRY(td_json_get_bool(object, file, "add_prefix_space", true, &prefix, error));
    TD_TRY(td_json_get_string(object, file, "prepend_scheme", prefix ? "always" : "never", &scheme, error));
    TD_TRY(td_json_get_bool(object, file, "split", true, &step->flags[1], error));
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (strcmp(scheme, schemes[i]) == 0) {
            step->counts[0] = i;
            return td_step_compile(step, step->text, step->length, true, file, error);
        }
    }
    return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"prepend_scheme\": \"%s\" is not supported (never, first, always)", file, scheme);
}

static td_status metaspace(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    td_strings marked = {0};
    td_strings *to = step->flags[1] ? &marked : out;
    for (size_t i = 0; i < in->count; i++) {
        const char *text = td_strings_at(in, i);
        size_t length = in->items[i].length;
        bool begins = (length && text[0] == ' ') || (length >= step->length && memcmp(text, step->text, step->length) == 0);
        td_strings_begin(to, in->items[i].first);
        if (!begins && (step->counts[0] == ALWAYS || (step->counts[0] == FIRST && in->items[i].first)))
            td_strings_append(to, step->text, step->length);
        for (size_t at = 0; at < length; at++)
            td_strings_append(to, text[at] == ' ' ? step->text : text + at, text[at] == ' ' ? step->length : 1);
    }
    td_status status = td_strings_ok(to) ? TD_OK : td_fail_memory(error, in->text.length);
    if (status == TD_OK && step->flags[1])
        status = td_step_split(step, TD_SPLIT_WITH_NEXT, td_step_match, &marked, out, error);
    td_strings_free(&marked);
    return status;
}

const td_step_kind td_pre_tokenizer_kinds[] = {
    {"ByteLevel", read_byte_level, byte_level},
    {"Metaspace", td_metaspace_read, metaspace},
    {"Whitespace", read_whitespace, split},
    {"WhitespaceSplit", NULL, whitespace_split},
    {"BertPreTokenizer", NULL, bert},
    {"Split", read_split, split},
    {"Punctuation", read_punctuation, punctuation},
    {"Digits", read_digits, digits},
    {NULL, NULL, NULL},
};
