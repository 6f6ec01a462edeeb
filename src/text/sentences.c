#include "text/sentences.h"

#include "base/array.h"

#include <stdint.h>
#include <string.h>
#include <unicode/ubrk.h>
#include <unicode/utext.h>

/* Words before a full stop that seldom end a sentence: titles, "for example" and the like, of the languages with many models. */
static const char *const abbreviations[] = {
    "Mr",  "Mrs",    "Ms",  "Dr",  "Prof", "St",  "Jr",  "Sr",  "vs",   "No",   "Nos", "Fig",  "Figs", "Eq",   "cf",  "e.g",
    "i.e", "approx", "Vol", "pp",  "Inc",  "Gen", "Col", "Lt",  "Sgt",  "Capt", "Rev", "Hon",  "Nr",   "Str",  "bzw", "ca",
    "vgl", "z.B",    "d.h", "u.a", "usw",  "Abb", "Tel", "Hr",  "Fr",   "Sog",  "sog", "M",    "Mme",  "Mlle", "env", "art",
    "Sra", "Srta",   "Ud",  "Uds", "Dra",  "núm", "pág", "Sig", "Dott", "Ing",  "dhr", "mevr", "bijv", "tzv",  "mgr", "inż",
};
enum { ABBREVIATION_COUNT = sizeof abbreviations / sizeof *abbreviations };

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The word before the full stop that text[begin, end) ends with, spaces aside, says that the sentence goes on. */
static bool goes_on(const char *text, size_t begin, size_t end)
{
    size_t stop = end;
    while (stop > begin && is_space(text[stop - 1]))
        stop--;
    if (stop == begin || text[stop - 1] != '.' || memchr(text + stop, '\n', end - stop))
        return false;
    stop--;
    size_t first = stop;
    while (first > begin && !is_space(text[first - 1]) && text[first - 1] != '(')
        first--;
    const char *word = text + first;
    size_t length = stop - first, digits = 0;
    while (digits < length && word[digits] >= '0' && word[digits] <= '9')
        digits++;
    if (digits == length && length >= 1 && length <= 2)
        return true; /* "am 3. Oktober" */
    if (length == 1 && is_letter(word[0]) && word[0] != 'I')
        return true; /* an initial; "z." of "z. B." */
    for (size_t i = 0; i < ABBREVIATION_COUNT; i++)
        if (strlen(abbreviations[i]) == length && strncmp(abbreviations[i], word, length) == 0)
            return true;
    return false;
}

typedef struct span_list {
    td_span *spans;
    size_t count, capacity;
    bool failed;
} span_list;

/* Without the spaces at its ends; nothing when nothing is left. */
static void add_span(span_list *list, const char *text, size_t begin, size_t end)
{
    while (end > begin && is_space(text[end - 1]))
        end--;
    while (begin < end && is_space(text[begin]))
        begin++;
    if (begin == end)
        return;
    if (td_reserve_array(&list->spans, &list->capacity, list->count + 1, sizeof *list->spans, NULL) != TD_OK) {
        list->failed = true;
        return;
    }
    list->spans[list->count++] = (td_span){begin, end};
}

static td_status cut(UBreakIterator *breaks, const char *text, size_t length, span_list *list, td_error *error)
{
    UErrorCode code = U_ZERO_ERROR;
    UText *utf8 = utext_openUTF8(NULL, text, (int64_t)length, &code);
    ubrk_setUText(breaks, utf8, &code);
    size_t begin = 0;
    for (int32_t at = U_FAILURE(code) ? UBRK_DONE : (ubrk_first(breaks), ubrk_next(breaks)); at != UBRK_DONE; at = ubrk_next(breaks)) {
        if ((size_t)at < length && goes_on(text, begin, (size_t)at))
            continue;
        add_span(list, text, begin, (size_t)at);
        begin = (size_t)at;
    }
    utext_close(utf8);
    return U_FAILURE(code) ? td_fail(error, TD_ERROR_UNSUPPORTED, "text cannot be cut into sentences: %s", u_errorName(code)) : TD_OK;
}

td_status td_sentences_cut(const char *text, size_t length, td_span **ret_spans, size_t *ret_count, td_error *error)
{
    if (length > INT32_MAX)
        return td_fail(error, TD_ERROR_LIMIT, "text has %zu bytes; at most %d can be cut into sentences", length, INT32_MAX);
    UErrorCode code = U_ZERO_ERROR;
    UBreakIterator *breaks = ubrk_open(UBRK_SENTENCE, "", NULL, 0, &code);
    if (U_FAILURE(code))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "text cannot be cut into sentences: %s", u_errorName(code));
    span_list list = {0};
    td_status status = cut(breaks, text, length, &list, error);
    ubrk_close(breaks);
    if (status == TD_OK && list.failed)
        status = td_fail_memory(error, length);
    if (status != TD_OK) {
        td_release(list.spans);
        return status;
    }
    *ret_spans = list.spans;
    *ret_count = list.count;
    return TD_OK;
}
