/* BLEU (Papineni et al. 2002) with sacreBLEU's tokenisation, smoothing and choice of reference length. */
#include "metrics/bootstrap.h"
#include "metrics/ngrams.h"

#include <math.h>
#include <stdio.h>

/* A row of counts: hypothesis length, reference length, matches of order 1 to 4, totals of order 1 to 4. */
enum { ORDER = 4, WIDTH = 2 + 2 * ORDER };

static td_bleu_result score_of_sums(const td_bleu_options *options, const uint64_t sums[WIDTH]);

typedef struct bleu_counter {
    const td_bleu_options *options;
    const td_segments *segments;
    td_arena arena; /* one segment's texts */
    td_sequence_map vocabulary;
    td_ngrams ngrams;
} bleu_counter;

static uint32_t distance(uint32_t a, uint32_t b)
{
    return a > b ? a - b : b - a;
}

static td_status check_length(size_t count, td_error *error)
{
    if (count > UINT32_MAX / 2)
        return td_fail(error, TD_ERROR_LIMIT, "a segment of %zu tokens", count);
    return TD_OK;
}

static td_status count_segment(bleu_counter *counter, size_t index, uint32_t *row, td_error *error)
{
    const td_segments *segments = counter->segments;
    td_metric_tokenizer tokenizer = counter->options->tokenizer;
    td_codes text, words;
    td_arena_reset(&counter->arena);
    TD_TRY(td_segment_hypothesis(segments, index, counter->options->lowercase, &counter->arena, &text, error));
    TD_TRY(td_metric_tokenize(tokenizer, &counter->arena, &counter->vocabulary, text, &words, error));
    TD_TRY(check_length(words.count, error));
    TD_TRY(td_ngrams_start(&counter->ngrams, words, ORDER, error));
    row[0] = (uint32_t)words.count;
    for (size_t n = 1; n <= ORDER; n++)
        row[1 + ORDER + n] = td_ngram_total(words.count, n);

    for (size_t r = 0; r < segments->reference_count; r++) {
        td_codes reference;
        TD_TRY(td_segment_reference(segments, r, index, counter->options->lowercase, &counter->arena, &text, error));
        TD_TRY(td_metric_tokenize(tokenizer, &counter->arena, &counter->vocabulary, text, &reference, error));
        TD_TRY(check_length(reference.count, error));
        td_ngrams_add_reference(&counter->ngrams, reference);
        /* the closest length counts, of two as close the shorter */
        uint32_t length = (uint32_t)reference.count, best = distance(row[1], row[0]), here = distance(length, row[0]);
        if (r == 0 || here < best || (here == best && length < row[1]))
            row[1] = length;
    }
    td_ngrams_matches(&counter->ngrams, row + 2);
    return TD_OK;
}

static double score_from_sums(const void *options, const uint64_t *sums)
{
    return score_of_sums(options, sums).score;
}

static td_status count_segments(const void *metric_options, const td_segments *segments, td_statistics *ret_statistics, td_error *error)
{
    const td_bleu_options *options = metric_options;
    TD_TRY(td_segments_check(segments, error));
    td_statistics statistics;
    TD_TRY(td_statistics_new(segments->count, WIDTH, &statistics, error));
    statistics.score = score_from_sums;
    statistics.options = options;
    bleu_counter counter = {.options = options, .segments = segments};
    td_arena_init(&counter.arena);
    td_sequence_map_init(&counter.vocabulary, true);
    td_ngrams_init(&counter.ngrams);
    td_status status = TD_OK;
    for (size_t i = 0; i < segments->count && status == TD_OK; i++)
        status = count_segment(&counter, i, statistics.rows + i * WIDTH, error);
    td_ngrams_free(&counter.ngrams);
    td_sequence_map_free(&counter.vocabulary);
    td_arena_free(&counter.arena);
    if (status == TD_OK)
        *ret_statistics = statistics;
    else
        td_statistics_free(&statistics);
    return status;
}

static double smoothing_value(const td_bleu_options *options)
{
    if (options->smoothing_value >= 0)
        return options->smoothing_value;
    return options->smoothing == TD_SMOOTHING_ADD_K ? 1.0 : 0.1;
}

/* Fills the precisions and returns the orders that count. */
static size_t smooth_precisions(const td_bleu_options *options, td_bleu_result *result)
{
    size_t orders = ORDER;
    double halving = 1;
    for (size_t n = 0; n < ORDER; n++) {
        double added = options->smoothing == TD_SMOOTHING_ADD_K && n > 0 ? smoothing_value(options) : 0;
        double correct = (double)result->correct[n] + added, total = (double)result->total[n] + added;
        if (total == 0)
            break;
        if (options->effective_order)
            orders = n + 1;
        if (correct > 0)
            result->precisions[n] = 100.0 * correct / total;
        else if (options->smoothing == TD_SMOOTHING_EXP)
            result->precisions[n] = 100.0 / ((halving *= 2) * total);
        else if (options->smoothing == TD_SMOOTHING_FLOOR)
            result->precisions[n] = 100.0 * smoothing_value(options) / total;
    }
    return orders;
}

/* pycocoevalcap's bleu_scorer, whose tiny and small keep divisions by zero away. */
static void caption_scores(td_bleu_result *result)
{
    const double tiny = 1e-15, small = 1e-9;
    double ratio = ((double)result->hypothesis_length + tiny) / ((double)result->reference_length + small);
    double penalty = ratio < 1 ? exp(1 - 1 / ratio) : 1, product = 1;
    for (size_t n = 0; n < ORDER; n++) {
        product *= ((double)result->correct[n] + tiny) / ((double)result->total[n] + small);
        result->cumulative[n] = 100 * penalty * pow(product, 1.0 / (double)(n + 1));
    }
}

static td_bleu_result score_of_sums(const td_bleu_options *options, const uint64_t sums[WIDTH])
{
    td_bleu_result result = {.hypothesis_length = sums[0], .reference_length = sums[1], .brevity_penalty = 1};
    uint64_t matches = 0;
    for (size_t n = 0; n < ORDER; n++) {
        matches += result.correct[n] = sums[2 + n];
        result.total[n] = sums[2 + ORDER + n];
    }
    caption_scores(&result);
    if (sums[0] < sums[1])
        result.brevity_penalty = sums[0] ? exp(1 - (double)sums[1] / (double)sums[0]) : 0;
    if (matches == 0)
        return result;
    size_t orders = smooth_precisions(options, &result);
    double sum = 0;
    for (size_t n = 0; n < orders; n++)
        sum += result.precisions[n] > 0 ? log(result.precisions[n]) : -9999999999.0;
    result.score = result.brevity_penalty * exp(sum / (double)orders);
    return result;
}

static td_status check_options(const td_bleu_options *options, td_bleu_options *ret_options, td_error *error)
{
    td_bleu_options checked = TD_BLEU_OPTIONS_INIT;
    TD_TRY(td_options_copy(&checked, sizeof checked, options, "BLEU options", error));
    if (!td_metric_tokenizer_name(checked.tokenizer))
        return td_fail(error, TD_ERROR_ARGUMENT, "BLEU: no tokenizer %d", (int)checked.tokenizer);
    if ((unsigned)checked.smoothing > TD_SMOOTHING_ADD_K)
        return td_fail(error, TD_ERROR_ARGUMENT, "BLEU: no smoothing %d", (int)checked.smoothing);
    *ret_options = checked;
    return TD_OK;
}

td_status td_bleu(const td_bleu_options *options, const char *const *hypotheses, const char *const *const *references,
                  size_t reference_count, size_t count, td_bleu_result *ret_result, td_error *error)
{
    td_bleu_options checked = TD_BLEU_OPTIONS_INIT;
    TD_TRY(check_options(options, &checked, error));
    td_segments segments = {hypotheses, references, reference_count, count};
    uint64_t sums[WIDTH];
    TD_TRY(td_sum_segments(count_segments, &checked, &segments, sums, error));
    *ret_result = score_of_sums(&checked, sums);
    return TD_OK;
}

td_status td_bleu_bootstrap(const td_bleu_options *options, const td_bootstrap_options *bootstrap, const char *const *hypotheses,
                            const char *const *other, const char *const *const *references, size_t reference_count, size_t count,
                            td_bootstrap_result *ret_result, td_error *error)
{
    td_bleu_options checked = TD_BLEU_OPTIONS_INIT;
    TD_TRY(check_options(options, &checked, error));
    td_segments segments = {hypotheses, references, reference_count, count};
    return td_bootstrap_segments(bootstrap, count_segments, &checked, &segments, other, ret_result, error);
}

td_signature td_bleu_signature(const td_bleu_options *options, size_t reference_count, size_t bootstrap_samples, uint64_t seed)
{
    static const char *const smoothings[] = {"exp", "none", "floor", "add-k"};
    td_signature signature = {""};
    td_bleu_options checked = TD_BLEU_OPTIONS_INIT;
    if (check_options(options, &checked, NULL) != TD_OK)
        return signature;
    char bootstrap[64], value[32] = "";
    td_bootstrap_signature(bootstrap_samples, seed, bootstrap, sizeof bootstrap);
    if (checked.smoothing >= TD_SMOOTHING_FLOOR)
        snprintf(value, sizeof value, "[%.2f]", smoothing_value(&checked));
    snprintf(signature.text, sizeof signature.text, "nrefs:%zu|%scase:%s|eff:%s|tok:%s|smooth:%s%s|version:%s", reference_count, bootstrap,
             checked.lowercase ? "lc" : "mixed", checked.effective_order ? "yes" : "no", td_metric_tokenizer_name(checked.tokenizer),
             smoothings[checked.smoothing], value, TD_SACREBLEU_VERSION);
    return signature;
}
