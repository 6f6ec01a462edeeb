/* Prefix scores (Watanabe 2017, algorithm 2). A prefix keeps, for every frame, the probability of being written by then with a label or
 * a blank last. The next label's share of it is a sum over frames of what may come before it times its probability there: one pass over
 * the probabilities for all labels together. */
#include "decoding/ctc.h"

#include "kernels/rows.h"

#include <math.h>
#include <string.h>

typedef struct prefix_row {
    double *label, *blank; /* [frames] log-probabilities of the prefix at this frame, by what ends it */
    double score;          /* log p(what was said begins with it) */
    int32_t last;          /* -1: empty */
} prefix_row;

struct td_ctc_scorer {
    td_ctc_frames frames;
    td_real *log_probabilities, *probabilities; /* [frames, words] */
    prefix_row *row, *spare;                    /* [rows] */
    double *storage;                            /* of both */
    double *before;                             /* [frames] */
    double *sums;                               /* [words] */
    size_t frame_capacity, row_capacity, word_capacity, cell_capacity;
};

td_status td_ctc_scorer_new(td_ctc_scorer **ret_scorer, td_error *error)
{
    *ret_scorer = td_allocate_array(1, sizeof **ret_scorer);
    return *ret_scorer ? TD_OK : td_fail_memory(error, sizeof **ret_scorer);
}

static void release(td_ctc_scorer *scorer)
{
    td_release(scorer->log_probabilities);
    td_release(scorer->probabilities);
    td_release(scorer->row < scorer->spare ? scorer->row : scorer->spare);
    td_release(scorer->storage);
    td_release(scorer->before);
    td_release(scorer->sums);
    *scorer = (td_ctc_scorer){0};
}

void td_ctc_scorer_free(td_ctc_scorer *scorer)
{
    if (scorer)
        release(scorer);
    td_release(scorer);
}

static td_status reserve(td_ctc_scorer *scorer, size_t frames, size_t words, size_t rows, td_error *error)
{
    size_t cells, states;
    if (td_multiply_overflows(frames, words, &cells) || td_multiply_overflows(4 * rows, frames, &states))
        return td_fail_memory(error, SIZE_MAX);
    if (frames <= scorer->frame_capacity && rows <= scorer->row_capacity && words <= scorer->word_capacity &&
        cells <= scorer->cell_capacity)
        return TD_OK;
    release(scorer);
    scorer->log_probabilities = td_allocate_array(cells, sizeof(td_real));
    scorer->probabilities = td_allocate_array(cells, sizeof(td_real));
    scorer->row = td_allocate_array(2 * rows, sizeof *scorer->row);
    scorer->storage = td_allocate_array(states, sizeof *scorer->storage);
    scorer->before = td_allocate_array(frames, sizeof *scorer->before);
    scorer->sums = td_allocate_array(words, sizeof *scorer->sums);
    if (!scorer->log_probabilities || !scorer->probabilities || !scorer->row || !scorer->storage || !scorer->before || !scorer->sums) {
        release(scorer);
        return td_fail_memory(error, cells * 2 * sizeof(td_real));
    }
    scorer->spare = scorer->row + rows;
    for (size_t i = 0; i < 2 * rows; i++) {
        scorer->row[i].label = scorer->storage + 2 * i * frames;
        scorer->row[i].blank = scorer->row[i].label + frames;
    }
    scorer->frame_capacity = frames;
    scorer->row_capacity = rows;
    scorer->word_capacity = words;
    scorer->cell_capacity = cells;
    return TD_OK;
}

static void normalise(td_ctc_scorer *scorer, const td_real *logits, size_t stride)
{
    const td_kernels *kernels = td_kernels_get();
    size_t words = scorer->frames.words;
    for (size_t t = 0; t < scorer->frames.count; t++) {
        const td_real *from = logits + t * stride;
        td_real *log_row = scorer->log_probabilities + t * words, *row = scorer->probabilities + t * words;
        td_real shift = kernels->maximum(from, words), sum = kernels->exp_sum(row, from, shift, words);
        td_real log_sum = shift + (td_real)log((double)sum);
        for (size_t i = 0; i < words; i++) {
            log_row[i] = from[i] - log_sum;
            row[i] /= sum;
        }
    }
}

static double log_add(double a, double b)
{
    double most = a > b ? a : b, least = a > b ? b : a;
    return least == -INFINITY ? most : most + log1p(exp(least - most));
}

static double at(const td_ctc_scorer *scorer, size_t frame, int32_t id)
{
    return (double)scorer->log_probabilities[frame * scorer->frames.words + (size_t)id];
}

void td_ctc_scorer_empty(td_ctc_scorer *scorer)
{
    prefix_row *empty = &scorer->row[0];
    double silent = 0;
    for (size_t t = 0; t < scorer->frames.count; t++) {
        empty->label[t] = -INFINITY;
        empty->blank[t] = silent += at(scorer, t, scorer->frames.blank);
    }
    empty->score = 0;
    empty->last = -1;
}

td_status td_ctc_scorer_start(td_ctc_scorer *scorer, const td_real *logits, size_t stride, size_t frames, size_t words, int32_t blank,
                              size_t rows, td_error *error)
{
    TD_TRY(reserve(scorer, frames, words, rows, error));
    scorer->frames = (td_ctc_frames){scorer->log_probabilities, frames, words, blank};
    normalise(scorer, logits, stride);
    td_ctc_scorer_empty(scorer);
    return TD_OK;
}

void td_ctc_scorer_ban(td_ctc_scorer *scorer, const int32_t *ids, size_t count)
{
    for (size_t t = 0; t < scorer->frames.count; t++)
        for (size_t i = 0; i < count; i++) {
            scorer->log_probabilities[t * scorer->frames.words + (size_t)ids[i]] = -(td_real)INFINITY;
            scorer->probabilities[t * scorer->frames.words + (size_t)ids[i]] = 0;
        }
}

td_ctc_frames td_ctc_scorer_frames(const td_ctc_scorer *scorer)
{
    return scorer->frames;
}

double td_ctc_scorer_whole(const td_ctc_scorer *scorer, size_t row)
{
    size_t frames = scorer->frames.count;
    return frames ? log_add(scorer->row[row].label[frames - 1], scorer->row[row].blank[frames - 1]) : 0;
}

/* What stands before a label `id` at frame t: the prefix by the frame before; between two equal labels a blank must be. */
static double before(const prefix_row *row, size_t t, int32_t id)
{
    if (t == 0)
        return row->last < 0 ? 0 : -INFINITY;
    return id == row->last ? row->blank[t - 1] : log_add(row->label[t - 1], row->blank[t - 1]);
}

/* sums[id]: the probability that `id` comes next, over exp(*ret_shift). */
static void sum_next(td_ctc_scorer *scorer, const prefix_row *row, double *ret_shift)
{
    size_t words = scorer->frames.words, frames = scorer->frames.count;
    double shift = -INFINITY, repeated = 0, *sums = scorer->sums;
    for (size_t t = 0; t < frames; t++) {
        scorer->before[t] = before(row, t, -2);
        shift = scorer->before[t] > shift ? scorer->before[t] : shift;
    }
    memset(sums, 0, words * sizeof *sums);
    *ret_shift = shift;
    for (size_t t = 0; shift > -INFINITY && t < frames; t++) {
        double weight = exp(scorer->before[t] - shift);
        const td_real *p = scorer->probabilities + t * words;
        for (size_t i = 0; weight > 0 && i < words; i++)
            sums[i] += weight * (double)p[i];
        if (row->last >= 0)
            repeated += exp(before(row, t, row->last) - shift) * (double)p[row->last];
    }
    if (row->last >= 0)
        sums[row->last] = repeated;
}

static td_real mix(td_real score, double own, double weight)
{
    return own > -INFINITY ? (td_real)((1 - weight) * (double)score + weight * own) : -(td_real)INFINITY;
}

void td_ctc_scorer_mix(td_ctc_scorer *scorer, size_t row, double weight, const int32_t *ends, size_t end_count, td_real *scores)
{
    const prefix_row *prefix = &scorer->row[row];
    double shift, whole = td_ctc_scorer_whole(scorer, row) - prefix->score;
    sum_next(scorer, prefix, &shift);
    shift -= prefix->score;
    scorer->sums[scorer->frames.blank] = 0;
    for (size_t e = 0; e < end_count; e++)
        scorer->sums[ends[e]] = NAN; /* no label: done apart */
    for (size_t i = 0; i < scorer->frames.words; i++)
        if (!isnan(scorer->sums[i]))
            scores[i] = mix(scores[i], scorer->sums[i] > 0 ? log(scorer->sums[i]) + shift : -INFINITY, weight);
    for (size_t e = 0; e < end_count; e++)
        scores[ends[e]] = mix(scores[ends[e]], whole, weight);
}

static void extend(const td_ctc_scorer *scorer, const prefix_row *from, int32_t id, prefix_row *to)
{
    double score = -INFINITY, label = -INFINITY, blank = -INFINITY;
    for (size_t t = 0; t < scorer->frames.count; t++) {
        double first = before(from, t, id) + at(scorer, t, id);
        double silent = log_add(blank, label) + at(scorer, t, scorer->frames.blank);
        score = log_add(score, first);
        label = log_add(label + at(scorer, t, id), first);
        blank = silent;
        to->label[t] = label;
        to->blank[t] = blank;
    }
    to->score = score;
    to->last = id;
}

double td_ctc_scorer_extend(td_ctc_scorer *scorer, size_t row, size_t parent, int32_t id)
{
    extend(scorer, &scorer->row[parent], id, &scorer->spare[row]);
    return scorer->spare[row].score - scorer->row[parent].score;
}

void td_ctc_scorer_turn(td_ctc_scorer *scorer)
{
    prefix_row *row = scorer->row;
    scorer->row = scorer->spare;
    scorer->spare = row;
}
