/* Word and character error rates: Levenshtein distance with the counts of one best alignment. Of several, the one
 * jiwer's library (rapidfuzz) walks is taken, so that substitutions, deletions and insertions are the same as well as
 * their sum. */
#include "base/buffer.h"
#include "base/utf8.h"
#include "metrics/text.h"

#include <string.h>

enum { RISES = 1, FALLS = 2 }; /* how the distance changes from one reference length to the next */

typedef struct rate_counter {
    const td_error_rate_options *options;
    td_arena arena;
    td_sequence_map vocabulary;
    td_error_rate_result sums;
    uint64_t reference_units;
    uint8_t *edits; /* [units of both sides] td_edit of the segment in hand; NULL: nobody asks */
    size_t edit_count;
} rate_counter;

/* A text's units as numbers, equal where the units are, and where each stands in the text. */
typedef struct unit_list {
    td_codes units, text;
    uint32_t *starts, *ends; /* [units.count] in `text`; of words */
} unit_list;

/* Words are parted by a space or by two and more characters of white space of any kind: a lone tab parts nothing. */
static td_status split(rate_counter *counter, td_codes text, unit_list *ret_words, td_error *error)
{
    uint32_t *words = td_arena_allocate_array(&counter->arena, text.count + 1, sizeof *words);
    uint32_t *starts = td_arena_allocate_array(&counter->arena, text.count + 1, sizeof *starts);
    uint32_t *ends = td_arena_allocate_array(&counter->arena, text.count + 1, sizeof *ends);
    if (!words || !starts || !ends)
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
        if (at > start) {
            starts[count] = (uint32_t)start;
            ends[count] = (uint32_t)at;
            TD_TRY(td_sequence_map_add(&counter->vocabulary, text.data + start, at - start, hash, &words[count++], error));
        }
        start = end;
        at = at == text.count ? at + 1 : end;
    }
    *ret_words = (unit_list){{words, count}, text, starts, ends};
    return TD_OK;
}

static td_status read_units(rate_counter *counter, const char *text, unit_list *ret_units, td_error *error)
{
    td_codes codes;
    TD_TRY(td_codes_decode(&counter->arena, text, &codes, error));
    if (counter->options->lowercase)
        TD_TRY(td_codes_lower(&counter->arena, &codes, error));
    td_codes_trim_end(&codes);
    td_codes_trim_start(&codes);
    if (!counter->options->characters)
        return split(counter, codes, ret_units, error);
    *ret_units = (unit_list){.units = codes, .text = codes};
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

static void note(rate_counter *counter, td_edit edit, size_t count)
{
    uint64_t *sums[] = {&counter->sums.hits, &counter->sums.substitutions, &counter->sums.deletions, &counter->sums.insertions};
    *sums[edit] += count;
    if (counter->edits)
        memset(counter->edits + counter->edit_count, (int)edit, count);
    counter->edit_count += count;
}

/* Notes edits from the last to the first. */
static void walk_back(rate_counter *counter, td_codes reference, td_codes hypothesis, const uint8_t *changes)
{
    size_t i = reference.count, j = hypothesis.count;
    while (i > 0 && j > 0) {
        size_t cell = (j - 1) * reference.count + i - 1, above = cell - reference.count;
        if ((changes[cell / 4] >> 2 * (cell % 4) & 3) == RISES) {
            note(counter, TD_EDIT_DELETION, 1);
            i--;
        } else if (--j > 0 && (changes[above / 4] >> 2 * (above % 4) & 3) == FALLS) {
            note(counter, TD_EDIT_INSERTION, 1);
        } else if (reference.data[--i] == hypothesis.data[j]) {
            note(counter, TD_EDIT_HIT, 1);
        } else {
            note(counter, TD_EDIT_SUBSTITUTION, 1);
        }
    }
    note(counter, TD_EDIT_DELETION, i);
    note(counter, TD_EDIT_INSERTION, j);
}

static void reverse(uint8_t *edits, size_t count)
{
    for (size_t i = 0; edits && i < count / 2; i++) {
        uint8_t kept = edits[i];
        edits[i] = edits[count - 1 - i];
        edits[count - 1 - i] = kept;
    }
}

static td_status count_edits(rate_counter *counter, td_codes reference, td_codes hypothesis, td_error *error)
{
    size_t start = 0, end = 0;
    counter->reference_units += reference.count;
    counter->edit_count = 0;
    while (reference.count && hypothesis.count && reference.data[0] == hypothesis.data[0]) {
        reference.data++, reference.count--;
        hypothesis.data++, hypothesis.count--;
        start++;
    }
    while (reference.count && hypothesis.count && reference.data[reference.count - 1] == hypothesis.data[hypothesis.count - 1]) {
        reference.count--, hypothesis.count--;
        end++;
    }
    size_t cells;
    if (reference.count >= UINT32_MAX || td_multiply_overflows(reference.count, hypothesis.count, &cells))
        return td_fail(error, TD_ERROR_LIMIT, "texts of %zu and %zu units", reference.count, hypothesis.count);
    uint32_t *column = td_arena_allocate_array(&counter->arena, reference.count + 1, sizeof *column);
    uint8_t *changes = td_arena_zeroed_array(&counter->arena, cells / 4 + 1, 1);
    if (!column || !changes)
        return td_fail_memory(error, cells / 4);
    fill_changes(reference, hypothesis, column, changes);
    note(counter, TD_EDIT_HIT, end);
    walk_back(counter, reference, hypothesis, changes);
    note(counter, TD_EDIT_HIT, start);
    reverse(counter->edits, counter->edit_count);
    return TD_OK;
}

static td_status read_segment(rate_counter *counter, const char *hypothesis_text, const char *reference_text, unit_list *ret_hypothesis,
                              unit_list *ret_reference, td_error *error)
{
    td_arena_reset(&counter->arena);
    td_sequence_map_clear(&counter->vocabulary);
    TD_TRY(read_units(counter, hypothesis_text, ret_hypothesis, error));
    return read_units(counter, reference_text, ret_reference, error);
}

static td_status count_segment(rate_counter *counter, const char *hypothesis_text, const char *reference_text, td_error *error)
{
    unit_list hypothesis, reference;
    td_error_rate_result *sums = &counter->sums;
    uint64_t before = sums->substitutions + sums->deletions + sums->insertions;
    TD_TRY(read_segment(counter, hypothesis_text, reference_text, &hypothesis, &reference, error));
    TD_TRY(count_edits(counter, reference.units, hypothesis.units, error));
    sums->wrong_segments += sums->substitutions + sums->deletions + sums->insertions > before;
    return TD_OK;
}

td_status td_error_rate(const td_error_rate_options *options, const char *const *hypotheses, const char *const *references, size_t count,
                        td_error_rate_result *ret_result, td_error *error)
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

/* ---- the alignment ---- */

/* Unit `index` as text. */
static const char *unit_text(const unit_list *list, size_t index, td_buffer *buffer)
{
    size_t start = list->starts ? list->starts[index] : index, end = list->ends ? list->ends[index] : index + 1;
    td_buffer_clear(buffer);
    for (size_t i = start; i < end; i++) {
        char bytes[4];
        td_buffer_append(buffer, bytes, td_utf8_encode(list->text.data[i], bytes));
    }
    return td_buffer_text(buffer);
}

static td_status give_edits(const rate_counter *counter, const unit_list *hypothesis, const unit_list *reference, td_edit_callback callback,
                            void *context, td_error *error)
{
    td_buffer texts[2] = {TD_BUFFER_INIT, TD_BUFFER_INIT};
    size_t r = 0, h = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < counter->edit_count; i++) {
        td_edit edit = (td_edit)counter->edits[i];
        const char *left = edit != TD_EDIT_INSERTION ? unit_text(reference, r++, &texts[0]) : NULL;
        const char *right = edit != TD_EDIT_DELETION ? unit_text(hypothesis, h++, &texts[1]) : NULL;
        ok = td_buffer_ok(&texts[0]) && td_buffer_ok(&texts[1]);
        if (ok)
            callback(context, edit, left, right);
    }
    td_buffer_free(&texts[0]);
    td_buffer_free(&texts[1]);
    return ok ? TD_OK : td_fail_memory(error, 0);
}

static td_status align(rate_counter *counter, const char *hypothesis_text, const char *reference_text, td_edit_callback callback,
                       void *context, td_error *error)
{
    unit_list hypothesis, reference;
    TD_TRY(read_segment(counter, hypothesis_text, reference_text, &hypothesis, &reference, error));
    size_t units = hypothesis.units.count + reference.units.count;
    counter->edits = td_arena_allocate_array(&counter->arena, units + 1, sizeof *counter->edits);
    if (!counter->edits)
        return td_fail_memory(error, units);
    TD_TRY(count_edits(counter, reference.units, hypothesis.units, error));
    return give_edits(counter, &hypothesis, &reference, callback, context, error);
}

td_status td_error_alignment(const td_error_rate_options *options, const char *hypothesis, const char *reference, td_edit_callback callback,
                             void *context, td_error *error)
{
    td_error_rate_options checked = TD_ERROR_RATE_OPTIONS_INIT;
    TD_TRY(td_options_copy(&checked, sizeof checked, options, "error rate options", error));
    if (!hypothesis || !reference || !callback)
        return td_fail(error, TD_ERROR_ARGUMENT, "two texts and a callback are needed");
    rate_counter counter = {.options = &checked};
    td_arena_init(&counter.arena);
    td_sequence_map_init(&counter.vocabulary, false);
    td_status status = align(&counter, hypothesis, reference, callback, context, error);
    td_sequence_map_free(&counter.vocabulary);
    td_arena_free(&counter.arena);
    return status;
}
