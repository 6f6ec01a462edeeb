#include "text/unicode.h"

#include "base/utf8.h"

#include <string.h>
#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utext.h>

bool td_unicode_is_space(uint32_t code)
{
    return u_hasBinaryProperty((UChar32)code, UCHAR_WHITE_SPACE);
}

static bool in_categories(uint32_t code, uint32_t mask)
{
    return (U_GET_GC_MASK((UChar32)code) & mask) != 0;
}

bool td_unicode_is_punctuation(uint32_t code)
{
    bool ascii = (code >= 33 && code <= 47) || (code >= 58 && code <= 64) || (code >= 91 && code <= 96) || (code >= 123 && code <= 126);
    return ascii || in_categories(code, U_GC_P_MASK);
}

bool td_unicode_is_numeric(uint32_t code)
{
    return in_categories(code, U_GC_N_MASK);
}

bool td_unicode_is_mark(uint32_t code)
{
    return in_categories(code, U_GC_M_MASK);
}

bool td_unicode_is_mark_nonspacing(uint32_t code)
{
    return in_categories(code, U_GC_MN_MASK);
}

bool td_unicode_is_word(uint32_t code)
{
    return u_hasBinaryProperty((UChar32)code, UCHAR_ALPHABETIC) || u_hasBinaryProperty((UChar32)code, UCHAR_JOIN_CONTROL) ||
           in_categories(code, U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK);
}

bool td_unicode_is_other(uint32_t code)
{
    return in_categories(code, U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK | U_GC_CS_MASK);
}

void td_unicode_append_lower(td_buffer *out, const char *text, size_t length)
{
    for (size_t at = 0, used; at < length; at += used) {
        uint32_t code = 0;
        char bytes[4];
        used = td_utf8_decode(text + at, length - at, &code);
        if (!used) {
            td_buffer_append(out, text + at, used = 1);
        } else if (code == 0x130) {
            td_buffer_append(out, "i\xcc\x87", 3); /* the one letter whose small form is two characters */
        } else {
            td_buffer_append(out, bytes, td_utf8_encode((uint32_t)u_tolower((UChar32)code), bytes));
        }
    }
}

static const UNormalizer2 *normalizer_of(td_normal_form form, UErrorCode *code)
{
    switch (form) {
    case TD_NFC:
        return unorm2_getNFCInstance(code);
    case TD_NFD:
        return unorm2_getNFDInstance(code);
    case TD_NFKC:
        return unorm2_getNFKCInstance(code);
    default:
        return unorm2_getNFKDInstance(code);
    }
}

/* No normal form of a string has more than 18 times its UTF-16 units (Unicode, annex 15). */
enum { MOST_UNITS = 18, MOST_BYTES_A_UNIT = 3 };

td_status td_unicode_normalize(td_normal_form form, const char *text, size_t length, td_buffer *out, td_error *error)
{
    if (length > INT32_MAX / (MOST_UNITS * MOST_BYTES_A_UNIT) - 1)
        return td_fail(error, TD_ERROR_LIMIT, "a text of %zu bytes is too long to be normalized", length);
    UErrorCode code = U_ZERO_ERROR;
    int32_t units = 0, normal = 0, bytes = 0;
    size_t capacity = (length + 1) * MOST_UNITS;
    UChar *wide = td_allocate_array(length + 1, sizeof *wide), *result = td_allocate_array(capacity, sizeof *result);
    const UNormalizer2 *normalizer = normalizer_of(form, &code);
    td_status status = wide && result ? TD_OK : td_fail_memory(error, capacity * sizeof *result);
    if (status == TD_OK) {
        u_strFromUTF8(wide, (int32_t)length + 1, &units, text, (int32_t)length, &code);
        normal = unorm2_normalize(normalizer, wide, units, result, (int32_t)capacity, &code);
        size_t most = (size_t)(normal > 0 ? normal : 0) * MOST_BYTES_A_UNIT + 1, before = out->length;
        char *to = U_SUCCESS(code) ? td_buffer_extend(out, most) : NULL;
        if (to) {
            u_strToUTF8(to, (int32_t)most, &bytes, result, normal, &code);
            out->length = before + (size_t)bytes;
            out->data[out->length] = 0;
        }
        if (U_FAILURE(code))
            status = td_fail(error, TD_ERROR_INTERNAL, "normalizing text: %s", u_errorName(code));
    }
    td_release(wide);
    td_release(result);
    return status;
}

td_status td_unicode_graphemes(const char *text, size_t length, td_grapheme_visit visit, void *context, td_error *error)
{
    UErrorCode code = U_ZERO_ERROR;
    UText wide = UTEXT_INITIALIZER;
    utext_openUTF8(&wide, text, (int64_t)length, &code);
    UBreakIterator *breaks = ubrk_open(UBRK_CHARACTER, "", NULL, 0, &code);
    if (U_SUCCESS(code))
        ubrk_setUText(breaks, &wide, &code);
    int32_t begin = 0;
    for (int32_t end = U_SUCCESS(code) ? ubrk_next(breaks) : UBRK_DONE; end != UBRK_DONE; end = ubrk_next(breaks)) {
        visit(context, text + begin, (size_t)(end - begin));
        begin = end;
    }
    if (breaks)
        ubrk_close(breaks);
    utext_close(&wide);
    return U_SUCCESS(code) ? TD_OK : td_fail(error, TD_ERROR_INTERNAL, "cutting text into characters: %s", u_errorName(code));
}

const char *td_unicode_for_patterns(const char *text, size_t length, char **ret_copy)
{
    static const char separator[] = "\xe1\xa0\x8e", other[] = "\xe2\x80\x8b";
    *ret_copy = NULL;
    for (size_t at = 0; at + 3 <= length; at++) {
        if (memcmp(text + at, separator, 3) != 0)
            continue;
        if (!*ret_copy && !(*ret_copy = td_copy_bytes(text, length)))
            return NULL;
        memcpy(*ret_copy + at, other, 3);
    }
    return *ret_copy ? *ret_copy : text;
}
