/* CIDEr-D (Vedantam et al. 2015): cosine of tf-idf vectors of n-grams, clipped, with a penalty on unlike lengths. */
#include "metrics/ngrams.h"

#include "base/array.h"

#include <math.h>

enum { ORDER = 4 };
static const double sigma = 6.0;

typedef struct cider_counter {
    const td_cider_options *options;
    const td_segments *segments;
    td_arena arena;
    td_sequence_map vocabulary;
    td_sequence_map document_ngrams; /* all n-grams of all references */
    uint32_t *document_counts;       /* in how many segments each occurs */
    size_t *last_segments;           /* + 1 */
    size_t capacity;
    td_ngrams hypothesis, reference;
} cider_counter;

static td_status read_words(cider_counter *counter, td_codes text, td_codes *ret_words, td_error *error)
{
    return td_metric_tokenize(counter->options->tokenizer, &counter->arena, &counter->vocabulary, text, ret_words, error);
}

static td_status reserve(cider_counter *counter, size_t count, td_error *error)
{
    size_t capacity = counter->capacity;
    TD_TRY(td_reserve_array(&counter->document_counts, &capacity, count, sizeof *counter->document_counts, error));
    return td_reserve_array(&counter->last_segments, &counter->capacity, count, sizeof *counter->last_segments, error);
}

static td_status count_document(cider_counter *counter, size_t index, td_codes words, td_error *error)
{
    for (size_t start = 0; start < words.count; start++) {
        uint64_t hash = TD_SEQUENCE_SEED;
        for (size_t n = 1; n <= ORDER && start + n <= words.count; n++) {
            size_t before = counter->document_ngrams.count;
            uint32_t number;
            hash = td_sequence_hash_add(hash, words.data[start + n - 1]);
            TD_TRY(td_sequence_map_add(&counter->document_ngrams, words.data + start, n, hash, &number, error));
            TD_TRY(reserve(counter, counter->document_ngrams.count, error));
            if (counter->document_ngrams.count > before)
                counter->document_counts[number] = 0;
            if (counter->document_counts[number] == 0 || counter->last_segments[number] != index)
                counter->document_counts[number]++;
            counter->last_segments[number] = index;
        }
    }
    return TD_OK;
}

static td_status count_documents(cider_counter *counter, td_error *error)
{
    for (size_t i = 0; i < counter->segments->count; i++)
        for (size_t r = 0; r < counter->segments->reference_count; r++) {
            td_codes text, words;
            td_arena_reset(&counter->arena);
            TD_TRY(td_segment_reference(counter->segments, r, i, counter->options->lowercase, &counter->arena, &text, error));
            TD_TRY(read_words(counter, text, &words, error));
            TD_TRY(count_document(counter, i, words, error));
        }
    return TD_OK;
}

/* log(segments / segments with the n-gram); n-grams no reference has count as in one. */
static double inverse_frequency(const cider_counter *counter, const td_sequence_entry *ngram)
{
    uint32_t number = td_sequence_map_find(&counter->document_ngrams, ngram->key, ngram->length, ngram->hash);
    double documents = number == TD_SEQUENCE_ABSENT ? 1 : counter->document_counts[number];
    return log((double)counter->segments->count) - log(documents);
}

static void squared_norms(const cider_counter *counter, const td_ngrams *ngrams, double ret_norms[ORDER])
{
    for (size_t n = 0; n < ORDER; n++)
        ret_norms[n] = 0;
    for (size_t i = 0; i < ngrams->map.count; i++) {
        const td_sequence_entry *ngram = &ngrams->map.entries[i];
        double weight = ngrams->counts[i].hypothesis * inverse_frequency(counter, ngram);
        ret_norms[ngram->length - 1] += weight * weight;
    }
}

static double similarity(const cider_counter *counter, size_t hypothesis_length, size_t reference_length)
{
    double norms[ORDER], reference_norms[ORDER], products[ORDER] = {0}, sum = 0;
    squared_norms(counter, &counter->hypothesis, norms);
    squared_norms(counter, &counter->reference, reference_norms);
    for (size_t i = 0; i < counter->hypothesis.map.count; i++) {
        const td_sequence_entry *ngram = &counter->hypothesis.map.entries[i];
        uint32_t other = td_sequence_map_find(&counter->reference.map, ngram->key, ngram->length, ngram->hash);
        if (other == TD_SEQUENCE_ABSENT)
            continue;
        double idf = inverse_frequency(counter, ngram), here = counter->hypothesis.counts[i].hypothesis * idf;
        double there = counter->reference.counts[other].hypothesis * idf;
        products[ngram->length - 1] += (here < there ? here : there) * there;
    }
    /* pycocoevalcap measures length in bigrams */
    double delta = (double)td_ngram_total(hypothesis_length, 2) - (double)td_ngram_total(reference_length, 2);
    for (size_t n = 0; n < ORDER; n++)
        if (norms[n] > 0 && reference_norms[n] > 0)
            sum += products[n] / (sqrt(norms[n]) * sqrt(reference_norms[n]));
    return exp(-delta * delta / (2 * sigma * sigma)) * sum / ORDER;
}

static td_status score_segment(cider_counter *counter, size_t index, double *ret_score, td_error *error)
{
    const td_segments *segments = counter->segments;
    bool lowercase = counter->options->lowercase;
    td_codes text, words, reference;
    double sum = 0;
    td_arena_reset(&counter->arena);
    TD_TRY(td_segment_hypothesis(segments, index, lowercase, &counter->arena, &text, error));
    TD_TRY(read_words(counter, text, &words, error));
    TD_TRY(td_ngrams_start(&counter->hypothesis, words, ORDER, error));
    for (size_t r = 0; r < segments->reference_count; r++) {
        TD_TRY(td_segment_reference(segments, r, index, lowercase, &counter->arena, &text, error));
        TD_TRY(read_words(counter, text, &reference, error));
        TD_TRY(td_ngrams_start(&counter->reference, reference, ORDER, error));
        sum += similarity(counter, words.count, reference.count);
    }
    *ret_score = 10 * sum / (double)segments->reference_count;
    return TD_OK;
}

static td_status score_all(cider_counter *counter, double *ret_score, td_error *error)
{
    double sum = 0;
    TD_TRY(count_documents(counter, error));
    for (size_t i = 0; i < counter->segments->count; i++) {
        double score;
        TD_TRY(score_segment(counter, i, &score, error));
        sum += score;
    }
    *ret_score = 100 * sum / (double)counter->segments->count;
    return TD_OK;
}

td_status td_cider(const td_cider_options *options, const char *const *hypotheses, const char *const *const *references,
                   size_t reference_count, size_t count, double *ret_score, td_error *error)
{
    td_cider_options checked = TD_CIDER_OPTIONS_INIT;
    TD_TRY(td_options_copy(&checked, sizeof checked, options, "CIDEr options", error));
    if (!td_metric_tokenizer_name(checked.tokenizer))
        return td_fail(error, TD_ERROR_ARGUMENT, "CIDEr: no tokenizer %d", (int)checked.tokenizer);
    td_segments segments = {hypotheses, references, reference_count, count};
    TD_TRY(td_segments_check(&segments, error));
    cider_counter counter = {.options = &checked, .segments = &segments};
    td_arena_init(&counter.arena);
    td_sequence_map_init(&counter.vocabulary, true);
    td_sequence_map_init(&counter.document_ngrams, true);
    td_ngrams_init(&counter.hypothesis);
    td_ngrams_init(&counter.reference);
    td_status status = score_all(&counter, ret_score, error);
    td_ngrams_free(&counter.reference);
    td_ngrams_free(&counter.hypothesis);
    td_release(counter.last_segments);
    td_release(counter.document_counts);
    td_sequence_map_free(&counter.document_ngrams);
    td_sequence_map_free(&counter.vocabulary);
    td_arena_free(&counter.arena);
    return status;
}
