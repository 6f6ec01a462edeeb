/* chrF (Popovic 2015) and chrF++ (Popovic 2017) with sacreBLEU's treatment of orders that one side lacks. */
#include "metrics/bootstrap.h"
#include "metrics/ngrams.h"

#include <stdio.h>
#include <string.h>

/* The sums of rows of counts: for each character order, then each word order: n-grams of the hypothesis, of the reference, matches. */
static double score_of_sums(const td_chrf_options *options, const uint64_t *sums);

enum { CHARACTER_ORDER_MAX = 16, WORD_ORDER_MAX = 8 };
_Static_assert(3 * (CHARACTER_ORDER_MAX + WORD_ORDER_MAX) <= TD_STATISTICS_WIDTH_MAX, "rows fit the sums");

typedef struct chrf_counter {
    const td_chrf_options *options;
    const td_segments *segments;
    td_arena arena;
    td_sequence_map vocabulary;
    td_ngrams characters, words;
} chrf_counter;

/* A segment as chrF compares it: its characters, and its words with one punctuation mark split off. */
typedef struct chrf_text {
    td_codes characters, words;
} chrf_text;

static bool is_punctuation(uint32_t code)
{
    return code > 0 && code < 0x80 && strchr("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", (int)code) != NULL;
}

static td_codes without_spaces(td_codes text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.count; i++)
        if (!td_code_is_space(text.data[i]))
            text.data[count++] = text.data[i];
    return (td_codes){text.data, count};
}

/* Puts a space before a word's last mark, or else after its first. */
static td_status split_punctuation(td_arena *arena, td_codes text, td_codes *ret_text, td_error *error)
{
    uint32_t *data = td_arena_allocate_array(arena, 2 * text.count + 1, sizeof *data);
    if (!data)
        return td_fail_memory(error, (2 * text.count + 1) * sizeof *data);
    size_t count = 0;
    for (size_t at = 0, end; at < text.count; at = end) {
        for (end = at; end < text.count && !td_code_is_space(text.data[end]);)
            end++;
        bool last = end - at > 1 && is_punctuation(text.data[end - 1]);
        bool first = end - at > 1 && !last && is_punctuation(text.data[at]);
        for (size_t i = at; i < end; i++) {
            if (last && i + 1 == end)
                data[count++] = ' ';
            data[count++] = text.data[i];
            if (first && i == at)
                data[count++] = ' ';
        }
        if (end < text.count)
            data[count++] = text.data[end++];
    }
    *ret_text = (td_codes){data, count};
    return TD_OK;
}

static td_status read_text(chrf_counter *counter, const char *text, chrf_text *ret_text, td_error *error)
{
    td_codes codes, parted;
    chrf_text result = {{NULL, 0}, {NULL, 0}};
    TD_TRY(td_codes_decode(&counter->arena, text, &codes, error));
    if (counter->options->lowercase)
        TD_TRY(td_codes_lower(&counter->arena, &codes, error));
    if (codes.count > UINT32_MAX / 2)
        return td_fail(error, TD_ERROR_LIMIT, "a segment of %zu characters", codes.count);
    if (counter->options->word_order > 0) {
        TD_TRY(split_punctuation(&counter->arena, codes, &parted, error));
        TD_TRY(td_words_split(&counter->arena, &counter->vocabulary, parted, &result.words, error));
    }
    result.characters = counter->options->whitespace ? codes : without_spaces(codes);
    *ret_text = result;
    return TD_OK;
}

static void fill_row(const td_ngrams *ngrams, td_codes hypothesis, td_codes reference, uint32_t *row)
{
    uint32_t matches[CHARACTER_ORDER_MAX];
    td_ngrams_matches(ngrams, matches);
    for (size_t n = 1; n <= ngrams->order; n++, row += 3) {
        row[1] = td_ngram_total(reference.count, n);
        row[0] = row[1] ? td_ngram_total(hypothesis.count, n) : 0; /* no misses where there is nothing to hit */
        row[2] = matches[n - 1];
    }
}

static double score_row(const td_chrf_options *options, const uint32_t *row)
{
    uint64_t sums[TD_STATISTICS_WIDTH_MAX];
    for (size_t k = 0; k < 3 * (options->character_order + options->word_order); k++)
        sums[k] = row[k];
    return score_of_sums(options, sums);
}

/* The reference with the best score of its own gives the segment's counts. */
static td_status count_segment(chrf_counter *counter, size_t index, uint32_t *row, td_error *error)
{
    const td_chrf_options *options = counter->options;
    size_t width = 3 * (options->character_order + options->word_order);
    chrf_text hypothesis, reference;
    td_arena_reset(&counter->arena);
    td_status status = read_text(counter, counter->segments->hypotheses[index], &hypothesis, error);
    if (status != TD_OK) {
        td_error_prefix(error, "hypothesis %zu", index + 1);
        return status;
    }
    TD_TRY(td_ngrams_start(&counter->characters, hypothesis.characters, options->character_order, error));
    TD_TRY(td_ngrams_start(&counter->words, hypothesis.words, options->word_order, error));
    double best = -1;
    for (size_t r = 0; r < counter->segments->reference_count; r++) {
        status = read_text(counter, counter->segments->references[r][index], &reference, error);
        if (status != TD_OK) {
            td_error_prefix(error, "reference %zu of set %zu", index + 1, r + 1);
            return status;
        }
        td_ngrams_forget_references(&counter->characters);
        td_ngrams_forget_references(&counter->words);
        td_ngrams_add_reference(&counter->characters, reference.characters);
        td_ngrams_add_reference(&counter->words, reference.words);
        uint32_t candidate[TD_STATISTICS_WIDTH_MAX];
        fill_row(&counter->characters, hypothesis.characters, reference.characters, candidate);
        fill_row(&counter->words, hypothesis.words, reference.words, candidate + 3 * options->character_order);
        double score = score_row(options, candidate);
        if (score > best) {
            best = score;
            memcpy(row, candidate, width * sizeof *row);
        }
    }
    return TD_OK;
}

static double score_from_sums(const void *options, const uint64_t *sums)
{
    return score_of_sums(options, sums);
}

static td_status count_segments(const void *metric_options, const td_segments *segments, td_statistics *ret_statistics, td_error *error)
{
    const td_chrf_options *options = metric_options;
    TD_TRY(td_segments_check(segments, error));
    td_statistics statistics;
    size_t width = 3 * (options->character_order + options->word_order);
    TD_TRY(td_statistics_new(segments->count, width, &statistics, error));
    statistics.score = score_from_sums;
    statistics.options = options;
    chrf_counter counter = {.options = options, .segments = segments};
    td_arena_init(&counter.arena);
    td_sequence_map_init(&counter.vocabulary, true);
    td_ngrams_init(&counter.characters);
    td_ngrams_init(&counter.words);
    td_status status = TD_OK;
    for (size_t i = 0; i < segments->count && status == TD_OK; i++)
        status = count_segment(&counter, i, statistics.rows + i * width, error);
    td_ngrams_free(&counter.words);
    td_ngrams_free(&counter.characters);
    td_sequence_map_free(&counter.vocabulary);
    td_arena_free(&counter.arena);
    if (status == TD_OK)
        *ret_statistics = statistics;
    else
        td_statistics_free(&statistics);
    return status;
}

static double score_of_sums(const td_chrf_options *options, const uint64_t *sums)
{
    const double eps = 1e-16, factor = options->beta * options->beta;
    size_t order = options->character_order + options->word_order, effective = 0;
    double score = 0, precisions = 0, recalls = 0;
    for (size_t i = 0; i < order; i++, sums += 3) {
        double hypothesis = (double)sums[0], reference = (double)sums[1], matches = (double)sums[2];
        double precision = sums[0] ? matches / hypothesis : eps, recall = sums[1] ? matches / reference : eps;
        double weight = factor * precision + recall;
        score += weight > 0 ? (1 + factor) * precision * recall / weight : eps;
        if (sums[0] && sums[1]) {
            precisions += precision;
            recalls += recall;
            effective++;
        }
    }
    if (options->eps_smoothing)
        return 100 * score / (double)order;
    if (effective == 0 || precisions + recalls == 0)
        return 0;
    double precision = precisions / (double)effective, recall = recalls / (double)effective;
    return 100 * ((1 + factor) * precision * recall / (factor * precision + recall));
}

static td_status check_options(const td_chrf_options *options, td_chrf_options *ret_options, td_error *error)
{
    td_chrf_options checked = TD_CHRF_OPTIONS_INIT;
    TD_TRY(td_options_copy(&checked, sizeof checked, options, "chrF options", error));
    if (checked.character_order < 1 || checked.character_order > CHARACTER_ORDER_MAX || checked.word_order > WORD_ORDER_MAX ||
        !(checked.beta > 0))
        return td_fail(error, TD_ERROR_ARGUMENT, "chrF: character order %zu, word order %zu, beta %g; 1 to %d, 0 to %d, above 0 are right",
                       checked.character_order, checked.word_order, checked.beta, CHARACTER_ORDER_MAX, WORD_ORDER_MAX);
    *ret_options = checked;
    return TD_OK;
}

td_status td_chrf(const td_chrf_options *options, const char *const *hypotheses, const char *const *const *references,
                  size_t reference_count, size_t count, double *ret_score, td_error *error)
{
    td_chrf_options checked = TD_CHRF_OPTIONS_INIT;
    TD_TRY(check_options(options, &checked, error));
    td_segments segments = {hypotheses, references, reference_count, count};
    uint64_t sums[TD_STATISTICS_WIDTH_MAX];
    TD_TRY(td_sum_segments(count_segments, &checked, &segments, sums, error));
    *ret_score = score_of_sums(&checked, sums);
    return TD_OK;
}

td_status td_chrf_bootstrap(const td_chrf_options *options, const td_bootstrap_options *bootstrap, const char *const *hypotheses,
                            const char *const *other, const char *const *const *references, size_t reference_count, size_t count,
                            td_bootstrap_result *ret_result, td_error *error)
{
    td_chrf_options checked = TD_CHRF_OPTIONS_INIT;
    TD_TRY(check_options(options, &checked, error));
    td_segments segments = {hypotheses, references, reference_count, count};
    return td_bootstrap_segments(bootstrap, count_segments, &checked, &segments, other, ret_result, error);
}

td_signature td_chrf_signature(const td_chrf_options *options, size_t reference_count, size_t bootstrap_samples, uint64_t seed)
{
    td_signature signature = {""};
    td_chrf_options checked = TD_CHRF_OPTIONS_INIT;
    if (check_options(options, &checked, NULL) != TD_OK)
        return signature;
    char bootstrap[64];
    td_bootstrap_signature(bootstrap_samples, seed, bootstrap, sizeof bootstrap);
    snprintf(signature.text, sizeof signature.text, "nrefs:%zu|%scase:%s|eff:%s|nc:%zu|nw:%zu|space:%s|version:%s", reference_count,
             bootstrap, checked.lowercase ? "lc" : "mixed", checked.eps_smoothing ? "no" : "yes", checked.character_order,
             checked.word_order, checked.whitespace ? "yes" : "no", TD_SACREBLEU_VERSION);
    return signature;
}
