/* Text as Python's strings see it: code points, its idea of white space and lower case. The reference implementations
 * are all written in Python, and scores equal theirs only when words are split where Python splits them. */
#ifndef TD_METRICS_TEXT_H
#define TD_METRICS_TEXT_H

#include "base/arena.h"
#include "metrics/sequence_map.h"
#include "tandem/metrics.h"

typedef struct td_codes {
    uint32_t *data;
    size_t count;
} td_codes;

/* The segments of one call. `kind`, `set` and `index` of a text in an error message count from 1. */
typedef struct td_segments {
    const char *const *hypotheses;
    const char *const *const *references;
    size_t reference_count, count;
} td_segments;

td_status td_segments_check(const td_segments *segments, td_error *error);

/* Copies a caller's options, which may be older and shorter than ours, over the defaults in `ret_options`. */
td_status td_options_copy(void *ret_options, size_t size, const void *options, const char *name, td_error *error);

/* str.isspace */
bool td_code_is_space(uint32_t code);
td_status td_codes_decode(td_arena *arena, const char *text, td_codes *ret_codes, td_error *error);
/* str.lower */
td_status td_codes_lower(td_arena *arena, td_codes *codes, td_error *error);
/* str.rstrip, str.lstrip */
void td_codes_trim_end(td_codes *codes);
void td_codes_trim_start(td_codes *codes);

/* decode, lower and rstrip, as sacreBLEU prepares a segment; names the segment when it is not UTF-8. */
td_status td_segment_hypothesis(const td_segments *segments, size_t index, bool lowercase, td_arena *arena, td_codes *ret_codes,
                                td_error *error);
td_status td_segment_reference(const td_segments *segments, size_t set, size_t index, bool lowercase, td_arena *arena, td_codes *ret_codes,
                               td_error *error);

/* str.split: words become their numbers in `vocabulary`, new ones are added. */
td_status td_words_split(td_arena *arena, td_sequence_map *vocabulary, td_codes text, td_codes *ret_words, td_error *error);

/* The tokenisers of sacreBLEU (tokenize.c); ret_words as td_words_split. */
td_status td_metric_tokenize(td_metric_tokenizer tokenizer, td_arena *arena, td_sequence_map *vocabulary, td_codes text,
                             td_codes *ret_words, td_error *error);
const char *td_metric_tokenizer_name(td_metric_tokenizer tokenizer); /* NULL for an unknown one */

#endif
