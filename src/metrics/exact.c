/* Exact match: equal byte for byte, or after lowercasing. */
#include "metrics/text.h"

#include <string.h>

static td_status lowered(const char *text, td_arena *arena, td_codes *ret_codes, td_error *error)
{
    td_codes codes;
    TD_TRY(td_codes_decode(arena, text, &codes, error));
    TD_TRY(td_codes_lower(arena, &codes, error));
    *ret_codes = codes;
    return TD_OK;
}

static td_status equal(bool lowercase, const char *hypothesis, const char *reference, td_arena *arena, bool *ret_equal, td_error *error)
{
    if (!lowercase) {
        *ret_equal = strcmp(hypothesis, reference) == 0;
        return TD_OK;
    }
    td_codes a, b;
    td_arena_reset(arena);
    TD_TRY(lowered(hypothesis, arena, &a, error));
    TD_TRY(lowered(reference, arena, &b, error));
    *ret_equal = a.count == b.count && memcmp(a.data, b.data, a.count * sizeof *a.data) == 0;
    return TD_OK;
}

td_status td_exact_match(bool lowercase, const char *const *hypotheses, const char *const *const *references, size_t reference_count,
                         size_t count, double *ret_score, td_error *error)
{
    td_segments segments = {hypotheses, references, reference_count, count};
    TD_TRY(td_segments_check(&segments, error));
    td_arena arena;
    td_arena_init(&arena);
    size_t matches = 0;
    td_status status = TD_OK;
    for (size_t i = 0; i < count && status == TD_OK; i++) {
        bool same = false;
        for (size_t r = 0; r < reference_count && !same && status == TD_OK; r++)
            status = equal(lowercase, hypotheses[i], references[r][i], &arena, &same, error);
        if (status != TD_OK)
            td_error_prefix(error, "segment %zu", i + 1);
        matches += same;
    }
    td_arena_free(&arena);
    if (status == TD_OK)
        *ret_score = 100.0 * (double)matches / (double)count;
    return status;
}
