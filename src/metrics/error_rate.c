/* Word and character error rates: Levenshtein distance with the counts of one best alignment. Of several, the one
 * jiwer's library (rapidfuzz) walks is taken, so that substitutions, deletions and insertions are the same as well as
 * their sum. */
#include "metrics/text.h"

#include <string.h>

enum { RISES = 1, FALLS = 2 }; /* how the distance changes from one reference length to the next */

typedef struct rate_counter {
    const td_error_rate_options *options;
    td_arena arena;
    td_sequence_map vocabulary;
    td_error_rate_result sums;
    uint64_t reference_units;
} rate_counter;

/* Words are parted by a space or by two and more characters of white space of any kind: a lone tab parts nothing. */
static td_status split(rate_counter *counter, td_codes text, td_codes *ret_words, td_error *error)
{
    uint32_t *words = td_arena_allocate_array(&counter->arena, text.count + 1, sizeof *words);
    if (!words)
        return td_fail_memory(error, text.count * sizeof *words);
    size_t count = 0, start = 0;
    for (size_t at = 0; at <= text.count;) {
        size_t end = at;
        while (end < text.count && td_code_is_space(text.data[end]))
            end++;
        bool parts = at == text.count || end - at > 1 || (end - at == 1 && text.data[at] == ' ');
        if (!parts) {
            at++;
            continue;
        }
        uint64_t hash = TD_SEQUENCE_SEED;
        for (size_t i = start; i < at; i++)
            hash = td_sequence_hash_add(hash, text.data[i]);
        if (at > start)
            TD_TRY(
                td_sequence_map_add(&counter->vocabulary, text.data + start, at - start, hash, &words[count++], error));
        start = end;
        at = at == text.count ? at + 1 : end;
    }
    *ret_words = (td_codes){words, count};
    return TD_OK;
}

static td_status read_units(rate_counter *counter, const char *text, td_codes *ret_units, td_error *error)
{
    td_codes codes;
    TD_TRY(td_codes_decode(&counter->arena, text, &codes, error));
    if (counter->options->lowercase)
        TD_TRY(td_codes_lower(&counter->arena, &codes, error));
    td_codes_trim_end(&codes);
    td_codes_trim_start(&codes);
    if (!counter->options->characters)
        return split(counter, codes, ret_units, error);
    *ret_units = codes;
    return TD_OK;
}

static uint32_t smallest(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t smaller = a < b ? a : b;
    return smaller < c ? smaller : c;
}

/* Two bits for each of [hypothesis, reference]: RISES, FALLS or neither. `column` has a.count + 1 elements. */
static void fill_changes(td_codes reference, td_codes hypothesis, uint32_t *column, uint8_t *changes)
{
    for (size_t i = 0; i <= reference.count; i++)
        column[i] = (uint32_t)i;
    for (size_t j = 0; j < hypothesis.count; j++) {
        uint32_t diagonal = column[0]++;
        for (size_t i = 0; i < reference.count; i++) {
            uint32_t before = column[i + 1];
            column[i + 1] = smallest(before + 1, column[i] + 1, diagonal + (reference.data[i] != hypothesis.data[j]));
            diagonal = before;
            unsigned change = column[i + 1] > column[i] ? RISES : column[i + 1] < column[i] ? FALLS : 0;
            size_t cell = j * reference.count + i;
            changes[cell / 4] |= (uint8_t)(change << 2 * (cell % 4));
        }
    }
}

static void walk_back(td_codes reference, td_codes hypothesis, const uint8_t *changes, td_error_rate_result *sums)
{
    size_t i = reference.count, j = hypothesis.count;
    while (i > 0 && j > 0) {
        size_t cell = (j - 1) * reference.count + i - 1, above = cell - reference.count;
        if ((changes[cell / 4] >> 2 * (cell % 4) & 3) == RISES) {
            sums->deletions++;
            i--;
        } else if (--j > 0 && (changes[above / 4] >> 2 * (above % 4) & 3) == FALLS) {
            sums->insertions++;
        } else if (reference.data[--i] == hypothesis.data[j]) {
            sums->hits++;
        } else {
            sums->substitutions++;
        }
    }
    sums->deletions += i;
    sums->insertions += j;
}

static td_status count_edits(rate_counter *counter, td_codes reference, td_codes hypothesis, td_error *error)
{
    counter->reference_units += reference.count;
    while (reference.count && hypothesis.count && reference.data[0] == hypothesis.data[0]) {
        reference.data++, reference.count--;
        hypothesis.data++, hypothesis.count--;
        counter->sums.hits++;
    }
    while (reference.count && hypothesis.count &&
           reference.data[reference.count - 1] == hypothesis.data[hypothesis.count - 1]) {
        reference.count--, hypothesis.count--;
        counter->sums.hits++;
    }
    size_t cells;
    if (reference.count >= UINT32_MAX || td_multiply_overflows(reference.count, hypothesis.count, &cells))
        return td_fail(error, TD_ERROR_LIMIT, "texts of %zu and %zu units", reference.count, hypothesis.count);
    uint32_t *column = td_arena_allocate_array(&counter->arena, reference.count + 1, sizeof *column);
    uint8_t *changes = td_arena_zeroed_array(&counter->arena, cells / 4 + 1, 1);
    if (!column || !changes)
        return td_fail_memory(error, cells / 4);
    fill_changes(reference, hypothesis, column, changes);
    walk_back(reference, hypothesis, changes, &counter->sums);
    return TD_OK;
}

static td_status count_segment(rate_counter *counter, const char *hypothesis_text, const char *reference_text,
                               td_error *error)
{
    td_codes hypothesis, reference;
    td_arena_reset(&counter->arena);
    td_sequence_map_clear(&counter->vocabulary);
    TD_TRY(read_units(counter, hypothesis_text, &hypothesis, error));
    TD_TRY(read_units(counter, reference_text, &reference, error));
    return count_edits(counter, reference, hypothesis, error);
}

td_status td_error_rate(const td_error_rate_options *options, const char *const *hypotheses,
                        const char *const *references, size_t count, td_error_rate_result *ret_result, td_error *error)
{
    td_error_rate_options checked = TD_ERROR_RATE_OPTIONS_INIT;
    TD_TRY(td_options_copy(&checked, sizeof checked, options, "error rate options", error));
    td_segments segments = {hypotheses, &references, 1, count};
    TD_TRY(td_segments_check(&segments, error));
    rate_counter counter = {.options = &checked};
    td_arena_init(&counter.arena);
    td_sequence_map_init(&counter.vocabulary, false);
    td_status status = TD_OK;
    for (size_t i = 0; i < count && status == TD_OK; i++) {
        status = count_segment(&counter, hypotheses[i], references[i], error);
        if (status != TD_OK)
            td_error_prefix(error, "segment %zu", i + 1);
    }
    td_sequence_map_free(&counter.vocabulary);
    td_arena_free(&counter.arena);
    if (status != TD_OK)
        return status;
    td_error_rate_result *sums = &counter.sums;
    double errors = (double)(sums->substitutions + sums->deletions + sums->insertions);
    sums->score = 100 * errors / (counter.reference_units ? (double)counter.reference_units : 1);
    *ret_result = *sums;
    return TD_OK;
}
