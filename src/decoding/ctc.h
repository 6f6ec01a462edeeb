/* Reading what a CTC output says: alone, by its best path or a search over prefixes, and as a score beside a decoder's (Watanabe 2017).
 * Knows no network: it is given frames of log-probabilities. */
#ifndef TD_DECODING_CTC_H
#define TD_DECODING_CTC_H

#include "base/memory.h"
#include "tensor/real.h"

typedef struct td_ctc_frames {
    const td_real *log_probabilities; /* [count, words] */
    size_t count, words;
    int32_t blank;
} td_ctc_frames;

/* The most probable label of each frame, repeats joined, blanks taken out (Graves 2006). ret_ids: room for `frames->count`; returns how
 * many there are. */
size_t td_ctc_best_path(const td_ctc_frames *frames, int32_t *ret_ids);

typedef struct td_ctc_labelling {
    int32_t *ids; /* [count] */
    size_t count;
    double log_probability; /* of all alignments that the search kept */
} td_ctc_labelling;

/* The `beam` most probable labellings, best first, by a search over prefixes (Hannun 2014): at each frame the best `beam` are kept and
 * extended by the frame's best `choices` labels. Release with td_ctc_labellings_free. */
td_status td_ctc_prefix_search(const td_ctc_frames *frames, size_t beam, size_t choices, td_ctc_labelling **ret_labellings,
                               size_t *ret_count, td_error *error);
void td_ctc_labellings_free(td_ctc_labelling *labellings, size_t count);

/* ---- prefix scores ---- */

/* For each row (a written prefix) of one source: the probability that what was said begins with it. Kept by one sentence and used again
 * for the next. */
typedef struct td_ctc_scorer td_ctc_scorer;
td_status td_ctc_scorer_new(td_ctc_scorer **ret_scorer, td_error *error);
void td_ctc_scorer_free(td_ctc_scorer *scorer); /* NULL is fine */
/* Takes logits [frames, words], `stride` apart, and begins with one row, the empty prefix. rows: at most so many from now on. */
td_status td_ctc_scorer_start(td_ctc_scorer *scorer, const td_real *logits, size_t stride, size_t frames, size_t words, int32_t blank,
                              size_t rows, td_error *error);
/* Rules labels out: an end token, which CTC learns nothing about. */
void td_ctc_scorer_ban(td_ctc_scorer *scorer, const int32_t *ids, size_t count);
td_ctc_frames td_ctc_scorer_frames(const td_ctc_scorer *scorer);
/* scores [words], log-probabilities of the word after `row`'s prefix: (1 - weight) of each, and weight times CTC's. An id of `ends`
 * stands for the end. */
void td_ctc_scorer_mix(td_ctc_scorer *scorer, size_t row, double weight, const int32_t *ends, size_t end_count, td_real *scores);
/* Prepares new row `row`: row `parent` with `id` written after it. Returns the log-probability that CTC gave to `id` there. */
double td_ctc_scorer_extend(td_ctc_scorer *scorer, size_t row, size_t parent, int32_t id);
/* The new rows, all of them prepared, take the place of the old. */
void td_ctc_scorer_turn(td_ctc_scorer *scorer);
/* Back to one row, the empty prefix. */
void td_ctc_scorer_empty(td_ctc_scorer *scorer);
/* log p(row's prefix is all that was said). */
double td_ctc_scorer_whole(const td_ctc_scorer *scorer, size_t row);

#endif
