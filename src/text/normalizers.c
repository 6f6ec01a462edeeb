/* The normalizers of a tokenizer.json: each makes one string of one. */
#include "text/steps.h"

#include "base/reader.h"
#include "base/utf8.h"
#include "io/json.h"
#include "text/unicode.h"

#include <string.h>

/* Runs a function from string to buffer over every string. */
typedef td_status rewrite(const td_step *step, const char *text, size_t length, td_buffer *out, td_error *error);
static td_status rewrite_all(const td_step *step, rewrite *function, const td_strings *in, td_strings *out, td_error *error)
{
    td_buffer buffer = TD_BUFFER_INIT;
    td_status status = TD_OK;
    for (size_t i = 0; status == TD_OK && i < in->count; i++) {
        td_buffer_clear(&buffer);
        status = function(step, td_strings_at(in, i), in->items[i].length, &buffer, error);
        if (status == TD_OK && !td_buffer_ok(&buffer))
            status = td_fail_memory(error, in->items[i].length);
        if (status == TD_OK)
            td_strings_add(out, td_buffer_text(&buffer), buffer.length, in->items[i].first);
    }
    td_buffer_free(&buffer);
    return status;
}

#define REWRITER(name)                                                                                                                     \
    static td_status apply_##name(const td_step *step, const td_strings *in, td_strings *out, td_error *error)                             \
    {                                                                                                                                      \
        return rewrite_all(step, name, in, out, error);                                                                                    \
    }

#define NORMAL_FORM(name, form)                                                                                                            \
    static td_status name(const td_step *step, const char *text, size_t length, td_buffer *out, td_error *error)                           \
    {                                                                                                                                      \
        (void)step;                                                                                                                        \
        return td_unicode_normalize(form, text, length, out, error);                                                                       \
    }                                                                                                                                      \
    REWRITER(name)
NORMAL_FORM(nfc, TD_NFC)
NORMAL_FORM(nfd, TD_NFD)
NORMAL_FORM(nfkc, TD_NFKC)
NORMAL_FORM(nfkd, TD_NFKD)

static td_status lowercase(const td_step *step, const char *text, size_t length, td_buffer *out, td_error *error)
{
    (void)step;
    (void)error;
    td_unicode_append_lower(out, text, length);
    return TD_OK;
}
REWRITER(lowercase)

static void append_without(td_buffer *out, const char *text, size_t length, bool (*dropped)(uint32_t))
{
    for (size_t at = 0, used; at < length; at += used) {
        uint32_t code = 0;
        used = td_utf8_decode(text + at, length - at, &code);
        if (!used || !dropped(code))
            td_buffer_append(out, text + at, used ? used : 1);
        used = used ? used : 1;
    }
}

static td_status strip_accents(const td_step *step, const char *text, size_t length, td_buffer *out, td_error *error)
{
    (void)step;
    (void)error;
    append_without(out, text, length, td_unicode_is_mark);
    return TD_OK;
}
REWRITER(strip_accents)

static void strip_one(const td_step *step, const char *text, size_t length, bool first, td_strings *out)
{
    size_t begin = 0, end = length, last = 0; /* last: end of the last character that is no space */
    uint32_t code;
    for (size_t used;
         step->flags[0] && begin < length && (used = td_utf8_decode(text + begin, length - begin, &code)) && td_unicode_is_space(code);)
        begin += used;
    for (size_t at = begin, used; step->flags[1] && at < length; at += used) {
        code = 0;
        used = td_utf8_decode(text + at, length - at, &code);
        used = used ? used : 1;
        last = td_unicode_is_space(code) ? last : at + used;
    }
    if (step->flags[1])
        end = last > begin ? last : begin;
    td_strings_add(out, text + begin, end - begin, first && begin == 0);
}

/* flags: at the left, at the right. What is left of a text that began with spaces is not its beginning any more. */
static td_status apply_strip(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    (void)error;
    for (size_t i = 0; i < in->count; i++)
        strip_one(step, td_strings_at(in, i), in->items[i].length, in->items[i].first, out);
    return TD_OK;
}

static td_status read_strip(td_step *step, const json_t *object, const char *file, td_error *error)
{
    TD_TRY(td_json_get_bool(object, file, "strip_left", true, &step->flags[0], error));
    return td_json_get_bool(object, file, "strip_right", true, &step->flags[1], error);
}

static td_status read_replace(td_step *step, const json_t *object, const char *file, td_error *error)
{
    TD_TRY(td_step_read_text(step, object, file, "content", NULL, error));
    return td_step_read_pattern(step, object, file, error);
}

static td_status prepend(const td_step *step, const char *text, size_t length, td_buffer *out, td_error *error)
{
    (void)error;
    if (length)
        td_buffer_append(out, step->text, step->length);
    td_buffer_append(out, text, length);
    return TD_OK;
}
REWRITER(prepend)

static td_status read_prepend(td_step *step, const json_t *object, const char *file, td_error *error)
{
    return td_step_read_text(step, object, file, "prepend", NULL, error);
}

/* ---- BERT ---- */

enum { CLEAN, CHINESE, ACCENTS, LOWER };

static bool is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

static void append_cleaned(const td_step *step, const char *text, size_t length, td_buffer *out)
{
    for (size_t at = 0, used; at < length; at += used) {
        uint32_t code = 0;
        used = td_utf8_decode(text + at, length - at, &code);
        used = used ? used : 1;
        bool newline = code == '\t' || code == '\n' || code == '\r';
        if (step->flags[CLEAN] && !newline && (code == 0 || code == 0xfffd || td_unicode_is_other(code)))
            continue;
        bool chinese = step->flags[CHINESE] && is_chinese(code);
        bool space = step->flags[CLEAN] && (newline || td_unicode_is_space(code));
        td_buffer_append(out, " ", chinese);
        td_buffer_append(out, space ? " " : text + at, space ? 1 : used);
        td_buffer_append(out, " ", chinese);
    }
}

static td_status bert(const td_step *step, const char *text, size_t length, td_buffer *out, td_error *error)
{
    td_buffer cleaned = TD_BUFFER_INIT, plain = TD_BUFFER_INIT, *last = &cleaned;
    append_cleaned(step, text, length, &cleaned);
    td_status status = TD_OK;
    if (step->flags[ACCENTS]) {
        td_buffer apart = TD_BUFFER_INIT;
        status = td_unicode_normalize(TD_NFD, td_buffer_text(&cleaned), cleaned.length, &apart, error);
        append_without(&plain, td_buffer_text(&apart), apart.length, td_unicode_is_mark_nonspacing);
        last = &plain;
        td_buffer_free(&apart);
    }
    if (step->flags[LOWER])
        td_unicode_append_lower(out, td_buffer_text(last), last->length);
    else
        td_buffer_append(out, td_buffer_text(last), last->length);
    if (status == TD_OK && !(td_buffer_ok(&cleaned) && td_buffer_ok(&plain)))
        status = td_fail_memory(error, length);
    td_buffer_free(&cleaned);
    td_buffer_free(&plain);
    return status;
}
REWRITER(bert)

static td_status read_bert(td_step *step, const json_t *object, const char *file, td_error *error)
{
    TD_TRY(td_json_get_bool(object, file, "clean_text", true, &step->flags[CLEAN], error));
    TD_TRY(td_json_get_bool(object, file, "handle_chinese_chars", true, &step->flags[CHINESE], error));
    TD_TRY(td_json_get_bool(object, file, "lowercase", true, &step->flags[LOWER], error));
    return td_json_get_bool(object, file, "strip_accents", step->flags[LOWER], &step->flags[ACCENTS], error);
}

/* ---- SentencePiece's map of characters ---- */

/* The map is a double-array trie (Darts) of byte strings, whose values are places in the text behind it. */
static uint32_t unit_at(const td_step *step, size_t i)
{
    const uint8_t *at = (const uint8_t *)step->data.data + 4 * i;
    return i < step->counts[0] ? (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24 : 0;
}

static size_t unit_offset(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The shortest prefix of the text that the map holds counts for the whole of it, as in the tokenizers library. */
static const char *mapped(const td_step *step, const char *text, size_t length)
{
    size_t node = unit_offset(unit_at(step, 0));
    for (size_t i = 0; i < length && text[i]; i++) {
        node ^= (uint8_t)text[i];
        uint32_t unit = unit_at(step, node);
        if ((unit & 0x800000ffu) != (uint8_t)text[i])
            return NULL;
        node ^= unit_offset(unit);
        if (unit >> 8 & 1) {
            size_t place = step->counts[0] * 4 + (unit_at(step, node) & 0x7fffffffu);
            return place < step->data.length ? step->data.data + place : NULL;
        }
    }
    return NULL;
}

typedef struct mapping {
    const td_step *step;
    td_buffer *out;
} mapping;

static void map_grapheme(void *context, const char *text, size_t length)
{
    enum { LONGEST = 5 }; /* bytes of a cluster that is looked up whole */
    const mapping *m = context;
    const char *whole = length <= LONGEST ? mapped(m->step, text, length) : NULL;
    if (whole) {
        td_buffer_text_append(m->out, whole);
        return;
    }
    for (size_t at = 0, used; at < length; at += used) {
        uint32_t code;
        used = td_utf8_decode(text + at, length - at, &code);
        used = used ? used : 1;
        const char *one = mapped(m->step, text + at, used);
        if (one)
            td_buffer_text_append(m->out, one);
        else
            td_buffer_append(m->out, text + at, used);
    }
}

static td_status precompiled(const td_step *step, const char *text, size_t length, td_buffer *out, td_error *error)
{
    mapping m = {step, out};
    if (step->counts[0])
        return td_unicode_graphemes(text, length, map_grapheme, &m, error);
    td_buffer_append(out, text, length);
    return TD_OK;
}
REWRITER(precompiled)

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool append_base64(td_buffer *out, const char *text)
{
    uint32_t bits = 0;
    int count = 0;
    for (; *text && *text != '='; text++) {
        int digit = base64_digit(*text);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8)
            td_buffer_append(out, &(char){(char)(bits >> (count -= 8))}, 1);
    }
    return true;
}

static td_status read_precompiled(td_step *step, const json_t *object, const char *file, td_error *error)
{
    const char *text;
    td_buffer blob = TD_BUFFER_INIT;
    TD_TRY(td_json_get_string(object, file, "precompiled_charsmap", "", &text, error));
    bool good = append_base64(&blob, text);
    td_reader reader = td_reader_of(td_buffer_text(&blob), blob.length);
    uint32_t size = blob.length ? td_read_u32(&reader) : 0;
    good = good && !reader.failed && size % 4 == 0 && size <= td_reader_left(&reader);
    if (good && blob.length)
        td_buffer_append(&step->data, blob.data + 4, blob.length - 4);
    step->counts[0] = size / 4;
    bool memory = td_buffer_ok(&blob) && td_buffer_ok(&step->data);
    td_buffer_free(&blob);
    if (!memory)
        return td_fail_memory(error, strlen(text));
    return good ? TD_OK : td_fail(error, TD_ERROR_FORMAT, "%s: \"precompiled_charsmap\" is no map of characters in base 64", file);
}

const td_step_kind td_normalizer_kinds[] = {
    {"NFC", NULL, apply_nfc},
    {"NFD", NULL, apply_nfd},
    {"NFKC", NULL, apply_nfkc},
    {"NFKD", NULL, apply_nfkd},
    {"Lowercase", NULL, apply_lowercase},
    {"StripAccents", NULL, apply_strip_accents},
    {"Strip", read_strip, apply_strip},
    {"Replace", read_replace, td_step_replace},
    {"Prepend", read_prepend, apply_prepend},
    {"BertNormalizer", read_bert, apply_bert},
    {"Precompiled", read_precompiled, apply_precompiled},
    {NULL, NULL, NULL},
};
