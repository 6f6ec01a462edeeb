#include "api/words.h"

#include "api/result.h"
#include "base/utf8.h"
#include "text/unicode.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"
/* Signs that belong to the word after them, to the one before, and that are no part of a word's letters. */
#define OPENING "\"'\xe2\x80\x9c\xc2\xa1\xc2\xbf([{-"
#define CLOSING "\"'.\xe3\x80\x82,\xef\xbc\x8c!\xef\xbc\x81?\xef\xbc\x9f:\xef\xbc\x9a\xe2\x80\x9d)]}\xe3\x80\x81"
#define SIGNS "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

static bool is_written_without_spaces(const char *language)
{
    static const char *const languages[] = {"zh", "ja", "th", "lo", "my", "yue"};
    for (size_t i = 0; language && i < sizeof languages / sizeof *languages; i++)
        if (strcmp(language, languages[i]) == 0)
            return true;
    return false;
}

/* Bytes of the first `count` characters. */
static size_t bytes_of(const char *text, size_t length, size_t count)
{
    size_t at = 0;
    for (; count > 0 && at < length; count--) {
        uint32_t code;
        size_t bytes = td_utf8_decode(text + at, length - at, &code);
        at += bytes ? bytes : 1;
    }
    return at;
}

static size_t characters_of(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* Tokens that spell half a character have U+FFFD in their text, unless that is what the whole has there, too. `before`: characters of the
 * whole before them. */
static bool is_complete(const td_buffer *text, const td_buffer *whole, size_t before)
{
    const char *found = strstr(td_buffer_text(text), REPLACEMENT);
    if (!found)
        return true;
    size_t place = before + characters_of(text->data, (size_t)(found - text->data));
    size_t at = bytes_of(td_buffer_text(whole), whole->length, place);
    return at >= whole->length || strncmp(whole->data + at, REPLACEMENT, sizeof REPLACEMENT - 1) == 0;
}

/* The fewest tokens in a row that spell whole characters. */
static td_status split_at_characters(const td_model *model, const int32_t *ids, size_t id_count, td_words *words, td_error *error)
{
    td_buffer whole = TD_BUFFER_INIT, text = TD_BUFFER_INIT;
    td_status status = td_model_spell(model, NULL, ids, id_count, &whole, error);
    size_t first = 0, characters = 0;
    for (size_t i = 0; status == TD_OK && i < id_count; i++) {
        td_buffer_clear(&text);
        status = td_model_spell(model, NULL, ids + first, i + 1 - first, &text, error);
        if (status != TD_OK || !is_complete(&text, &whole, characters))
            continue;
        size_t begin = words->text.length;
        td_buffer_append(&words->text, td_buffer_text(&text), text.length);
        words->spans[words->count++] = (td_word_span){first, i + 1, begin, words->text.length};
        characters += characters_of(td_buffer_text(&text), text.length);
        first = i + 1;
    }
    if (status == TD_OK && !(td_buffer_ok(&text) && td_buffer_ok(&whole) && td_buffer_ok(&words->text)))
        status = td_fail_memory(error, whole.length);
    td_buffer_free(&text);
    td_buffer_free(&whole);
    return status;
}

/* The span's text without spaces around it. */
static const char *trimmed(const td_words *words, const td_word_span *span, size_t *ret_length)
{
    const char *text = td_buffer_text(&words->text) + span->text, *first = NULL, *end = text;
    size_t length = span->text_end - span->text;
    for (size_t at = 0; at < length;) {
        uint32_t code = 0;
        size_t bytes = td_utf8_decode(text + at, length - at, &code);
        bytes = bytes ? bytes : 1;
        if (!td_unicode_is_space(code)) {
            first = first ? first : text + at;
            end = text + at + bytes;
        }
        at += bytes;
    }
    *ret_length = first ? (size_t)(end - first) : 0;
    return first ? first : text;
}

static bool occurs_in(const char *signs, const char *text, size_t length)
{
    for (; strlen(signs) >= length; signs++) {
        if (memcmp(signs, text, length) == 0)
            return true;
        if (!*signs)
            break;
    }
    return false;
}

static bool begins_with_space(const td_words *words, const td_word_span *span)
{
    return span->text < span->text_end && words->text.data[span->text] == ' ';
}

static bool ends_with_space(const td_words *words, const td_word_span *span)
{
    return span->text < span->text_end && words->text.data[span->text_end - 1] == ' ';
}

static void join(td_word_span *word, const td_word_span *next)
{
    word->end = next->end;
    word->text_end = next->text_end;
}

static void join_letters(td_words *words)
{
    size_t count = 0;
    for (size_t i = 0; i < words->count; i++) {
        size_t length;
        const char *text = trimmed(words, &words->spans[i], &length);
        if (count == 0 || begins_with_space(words, &words->spans[i]) || occurs_in(SIGNS, text, length))
            words->spans[count++] = words->spans[i];
        else
            join(&words->spans[count - 1], &words->spans[i]);
    }
    words->count = count;
}

/* From the last word on, so that several opening signs in a row all come to the word after them. */
static void join_opening_signs(td_words *words)
{
    size_t kept = words->count;
    for (size_t i = words->count; i-- > 0;) {
        size_t length;
        const char *text = trimmed(words, &words->spans[i], &length);
        if (kept < words->count && begins_with_space(words, &words->spans[i]) && occurs_in(OPENING, text, length)) {
            words->spans[kept].first = words->spans[i].first;
            words->spans[kept].text = words->spans[i].text;
        } else {
            words->spans[--kept] = words->spans[i];
        }
    }
    memmove(words->spans, words->spans + kept, (words->count - kept) * sizeof *words->spans);
    words->count -= kept;
}

static void join_closing_signs(td_words *words)
{
    size_t count = 0;
    for (size_t i = 0; i < words->count; i++) {
        const td_word_span *span = &words->spans[i];
        if (count > 0 && !ends_with_space(words, &words->spans[count - 1]) &&
            occurs_in(CLOSING, td_buffer_text(&words->text) + span->text, span->text_end - span->text))
            join(&words->spans[count - 1], span);
        else
            words->spans[count++] = *span;
    }
    words->count = count;
}

td_status td_words_of(const td_model *model, const int32_t *ids, size_t id_count, const char *language, td_words *ret_words,
                      td_error *error)
{
    td_words words = {.text = TD_BUFFER_INIT, .spans = td_allocate_array(id_count, sizeof *words.spans)};
    td_status status =
        words.spans ? split_at_characters(model, ids, id_count, &words, error) : td_fail_memory(error, id_count * sizeof *words.spans);
    if (status != TD_OK) {
        td_words_free(&words);
        return status;
    }
    if (!is_written_without_spaces(language))
        join_letters(&words);
    join_opening_signs(&words);
    join_closing_signs(&words);
    *ret_words = words;
    return TD_OK;
}

void td_words_free(td_words *words)
{
    td_buffer_free(&words->text);
    td_release(words->spans);
    words->spans = NULL;
    words->count = 0;
}
