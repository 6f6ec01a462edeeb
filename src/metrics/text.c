/* Code points, white space, lower case and words, with Python's rules. */
#include "metrics/text.h"

#include "base/utf8.h"

#include <string.h>
#include <unicode/ustring.h>

td_status td_segments_check(const td_segments *segments, td_error *error)
{
    if (!segments->hypotheses || !segments->references || segments->reference_count == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "hypotheses and at least one set of references are needed");
    if (segments->count == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "there are no segments to score");
    for (size_t i = 0; i < segments->count; i++)
        if (!segments->hypotheses[i])
            return td_fail(error, TD_ERROR_ARGUMENT, "hypothesis %zu is missing", i + 1);
    for (size_t r = 0; r < segments->reference_count; r++)
        for (size_t i = 0; i < segments->count; i++)
            if (!segments->references[r] || !segments->references[r][i])
                return td_fail(error, TD_ERROR_ARGUMENT, "reference %zu of set %zu is missing", i + 1, r + 1);
    return TD_OK;
}

td_status td_options_copy(void *ret_options, size_t size, const void *options, const char *name, td_error *error)
{
    if (!options)
        return TD_OK;
    size_t given;
    memcpy(&given, options, sizeof given);
    if (given < sizeof given || given > size)
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: struct_size is %zu; start from the options' _INIT", name, given);
    memcpy(ret_options, options, given);
    return TD_OK;
}

bool td_code_is_space(uint32_t code)
{
    if (code < 0x80)
        return code == ' ' || (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x1f);
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
           code == 0x202f || code == 0x205f || code == 0x3000;
}

td_status td_codes_decode(td_arena *arena, const char *text, td_codes *ret_codes, td_error *error)
{
    size_t length = strlen(text), count = 0;
    uint32_t *data = td_arena_allocate_array(arena, length + 1, sizeof *data);
    if (!data)
        return td_fail_memory(error, (length + 1) * sizeof *data);
    for (size_t at = 0; at < length;) {
        size_t bytes = td_utf8_decode(text + at, length - at, &data[count++]);
        if (bytes == 0)
            return td_fail(error, TD_ERROR_FORMAT, "not UTF-8 (byte %zu)", at + 1);
        at += bytes;
    }
    *ret_codes = (td_codes){data, count};
    return TD_OK;
}

/* Through UTF-16, the only form in which ICU maps whole strings: a final sigma depends on its neighbours. */
static td_status lower_unicode(td_arena *arena, td_codes *codes, td_error *error)
{
    if (codes->count > INT32_MAX / 8)
        return td_fail(error, TD_ERROR_LIMIT, "a text of %zu characters is too long to lowercase", codes->count);
    /* No lowercase form is longer than three times its original in UTF-16 (SpecialCasing.txt). */
    int32_t capacity = (int32_t)codes->count * 2 + 1, lower_capacity = 3 * capacity, length = 0, lower_length = 0;
    UChar *wide = td_arena_allocate_array(arena, (size_t)capacity, sizeof *wide);
    UChar *lower = td_arena_allocate_array(arena, (size_t)lower_capacity, sizeof *lower);
    uint32_t *data = td_arena_allocate_array(arena, (size_t)lower_capacity, sizeof *data);
    if (!wide || !lower || !data)
        return td_fail_memory(error, (size_t)lower_capacity * sizeof *data);
    UErrorCode status = U_ZERO_ERROR;
    u_strFromUTF32(wide, capacity, &length, (const UChar32 *)codes->data, (int32_t)codes->count, &status);
    lower_length = u_strToLower(lower, lower_capacity, wide, length, "", &status);
    u_strToUTF32((UChar32 *)data, lower_capacity, &length, lower, lower_length, &status);
    if (U_FAILURE(status))
        return td_fail(error, TD_ERROR_INTERNAL, "lowercasing failed: %s", u_errorName(status));
    *codes = (td_codes){data, (size_t)length};
    return TD_OK;
}

td_status td_codes_lower(td_arena *arena, td_codes *codes, td_error *error)
{
    for (size_t i = 0; i < codes->count; i++)
        if (codes->data[i] >= 0x80)
            return lower_unicode(arena, codes, error);
    for (size_t i = 0; i < codes->count; i++)
        if (codes->data[i] >= 'A' && codes->data[i] <= 'Z')
            codes->data[i] += 'a' - 'A';
    return TD_OK;
}

void td_codes_trim_end(td_codes *codes)
{
    while (codes->count > 0 && td_code_is_space(codes->data[codes->count - 1]))
        codes->count--;
}

void td_codes_trim_start(td_codes *codes)
{
    while (codes->count > 0 && td_code_is_space(codes->data[0])) {
        codes->data++;
        codes->count--;
    }
}

static td_status prepare(const char *text, bool lowercase, td_arena *arena, td_codes *ret_codes, td_error *error)
{
    td_codes codes;
    TD_TRY(td_codes_decode(arena, text, &codes, error));
    if (lowercase)
        TD_TRY(td_codes_lower(arena, &codes, error));
    td_codes_trim_end(&codes);
    *ret_codes = codes;
    return TD_OK;
}

td_status td_segment_hypothesis(const td_segments *segments, size_t index, bool lowercase, td_arena *arena, td_codes *ret_codes,
                                td_error *error)
{
    td_status status = prepare(segments->hypotheses[index], lowercase, arena, ret_codes, error);
    if (status != TD_OK)
        td_error_prefix(error, "hypothesis %zu", index + 1);
    return status;
}

td_status td_segment_reference(const td_segments *segments, size_t set, size_t index, bool lowercase, td_arena *arena, td_codes *ret_codes,
                               td_error *error)
{
    td_status status = prepare(segments->references[set][index], lowercase, arena, ret_codes, error);
    if (status != TD_OK)
        td_error_prefix(error, "reference %zu of set %zu", index + 1, set + 1);
    return status;
}

td_status td_words_split(td_arena *arena, td_sequence_map *vocabulary, td_codes text, td_codes *ret_words, td_error *error)
{
    uint32_t *words = td_arena_allocate_array(arena, text.count / 2 + 1, sizeof *words);
    if (!words)
        return td_fail_memory(error, (text.count / 2 + 1) * sizeof *words);
    size_t count = 0;
    for (size_t at = 0; at < text.count;) {
        size_t start = at;
        uint64_t hash = TD_SEQUENCE_SEED;
        for (; at < text.count && !td_code_is_space(text.data[at]); at++)
            hash = td_sequence_hash_add(hash, text.data[at]);
        if (at > start)
            TD_TRY(td_sequence_map_add(vocabulary, text.data + start, at - start, hash, &words[count++], error));
        else
            at++;
    }
    *ret_words = (td_codes){words, count};
    return TD_OK;
}
