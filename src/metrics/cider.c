/* CIDEr-D (Vedantam et al. 2015): cosine of tf-idf vectors of n-grams, clipped, with a penalty on unlike lengths. */
#include "metrics/cider.h"

#include "metrics/ngrams.h"
#include "metrics/one_segment.h"

#include "base/array.h"

#include <math.h>

enum { ORDER = 4 };
static const double sigma = 6.0;

struct td_cider_index {
    td_cider_options options;
    size_t documents;
    td_arena arena;
    td_sequence_map vocabulary;
    td_sequence_map document_ngrams; /* all n-grams of all references */
    uint32_t *document_counts;       /* in how many segments each occurs */
    size_t *last_segments;           /* + 1 */
    size_t capacity;
    td_ngrams hypothesis, reference;
};

static td_status read_words(td_cider_index *cider, td_codes text, td_codes *ret_words, td_error *error)
{
    return td_metric_tokenize(cider->options.tokenizer, &cider->arena, &cider->vocabulary, text, ret_words, error);
}

static td_status reserve(td_cider_index *cider, size_t count, td_error *error)
{
    size_t capacity = cider->capacity; /* of both */
    TD_TRY(td_reserve_array(&cider->document_counts, &capacity, count, sizeof *cider->document_counts, error));
    return td_reserve_array(&cider->last_segments, &cider->capacity, count, sizeof *cider->last_segments, error);
}

static td_status count_document(td_cider_index *cider, td_codes words, td_error *error)
{
    for (size_t start = 0; start < words.count; start++) {
        uint64_t hash = TD_SEQUENCE_SEED;
        for (size_t n = 1; n <= ORDER && start + n <= words.count; n++) {
            size_t before = cider->document_ngrams.count;
            uint32_t number;
            hash = td_sequence_hash_add(hash, words.data[start + n - 1]);
            TD_TRY(td_sequence_map_add(&cider->document_ngrams, words.data + start, n, hash, &number, error));
            TD_TRY(reserve(cider, cider->document_ngrams.count, error));
            if (cider->document_ngrams.count > before)
                cider->document_counts[number] = 0;
            if (cider->document_counts[number] == 0 || cider->last_segments[number] != cider->documents)
                cider->document_counts[number]++;
            cider->last_segments[number] = cider->documents;
        }
    }
    return TD_OK;
}

static td_status add_segment(td_cider_index *cider, const td_segments *segments, size_t index, td_error *error)
{
    for (size_t r = 0; r < segments->reference_count; r++) {
        td_codes text, words;
        td_arena_reset(&cider->arena);
        TD_TRY(td_segment_reference(segments, r, index, cider->options.lowercase, &cider->arena, &text, error));
        TD_TRY(read_words(cider, text, &words, error));
        TD_TRY(count_document(cider, words, error));
    }
    cider->documents++;
    return TD_OK;
}

/* log(segments / segments with the n-gram); n-grams no reference has count as in one. */
static double inverse_frequency(const td_cider_index *cider, const td_sequence_entry *ngram)
{
    uint32_t number = td_sequence_map_find(&cider->document_ngrams, ngram->key, ngram->length, ngram->hash);
    double documents = number == TD_SEQUENCE_ABSENT ? 1 : cider->document_counts[number];
    return log((double)cider->documents) - log(documents);
}

static void squared_norms(const td_cider_index *cider, const td_ngrams *ngrams, double ret_norms[ORDER])
{
    for (size_t n = 0; n < ORDER; n++)
        ret_norms[n] = 0;
    for (size_t i = 0; i < ngrams->map.count; i++) {
        const td_sequence_entry *ngram = &ngrams->map.entries[i];
        double weight = ngrams->counts[i].hypothesis * inverse_frequency(cider, ngram);
        ret_norms[ngram->length - 1] += weight * weight;
    }
}

static double similarity(const td_cider_index *cider, size_t hypothesis_length, size_t reference_length)
{
    double norms[ORDER], reference_norms[ORDER], products[ORDER] = {0}, sum = 0;
    squared_norms(cider, &cider->hypothesis, norms);
    squared_norms(cider, &cider->reference, reference_norms);
    for (size_t i = 0; i < cider->hypothesis.map.count; i++) {
        const td_sequence_entry *ngram = &cider->hypothesis.map.entries[i];
        uint32_t other = td_sequence_map_find(&cider->reference.map, ngram->key, ngram->length, ngram->hash);
        if (other == TD_SEQUENCE_ABSENT)
            continue;
        double idf = inverse_frequency(cider, ngram), here = cider->hypothesis.counts[i].hypothesis * idf;
        double there = cider->reference.counts[other].hypothesis * idf;
        products[ngram->length - 1] += (here < there ? here : there) * there;
    }
    /* pycocoevalcap measures length in bigrams */
    double delta = (double)td_ngram_total(hypothesis_length, 2) - (double)td_ngram_total(reference_length, 2);
    for (size_t n = 0; n < ORDER; n++)
        if (norms[n] > 0 && reference_norms[n] > 0)
            sum += products[n] / (sqrt(norms[n]) * sqrt(reference_norms[n]));
    return exp(-delta * delta / (2 * sigma * sigma)) * sum / ORDER;
}

static td_status score_segment(td_cider_index *cider, const td_segments *segments, size_t index, double *ret_score, td_error *error)
{
    bool lowercase = cider->options.lowercase;
    td_codes text, words, reference;
    double sum = 0;
    td_arena_reset(&cider->arena);
    TD_TRY(td_segment_hypothesis(segments, index, lowercase, &cider->arena, &text, error));
    TD_TRY(read_words(cider, text, &words, error));
    TD_TRY(td_ngrams_start(&cider->hypothesis, words, ORDER, error));
    for (size_t r = 0; r < segments->reference_count; r++) {
        TD_TRY(td_segment_reference(segments, r, index, lowercase, &cider->arena, &text, error));
        TD_TRY(read_words(cider, text, &reference, error));
        TD_TRY(td_ngrams_start(&cider->reference, reference, ORDER, error));
        sum += similarity(cider, words.count, reference.count);
    }
    *ret_score = 10 * sum / (double)segments->reference_count;
    return TD_OK;
}

td_status td_cider_index_new(const td_cider_options *options, td_cider_index **ret_index, td_error *error)
{
    td_cider_index *cider = td_allocate_array(1, sizeof *cider);
    if (!cider)
        return td_fail_memory(error, sizeof *cider);
    cider->options = *options;
    td_arena_init(&cider->arena);
    td_sequence_map_init(&cider->vocabulary, true);
    td_sequence_map_init(&cider->document_ngrams, true);
    td_ngrams_init(&cider->hypothesis);
    td_ngrams_init(&cider->reference);
    *ret_index = cider;
    return TD_OK;
}

void td_cider_index_free(td_cider_index *cider)
{
    if (!cider)
        return;
    td_ngrams_free(&cider->reference);
    td_ngrams_free(&cider->hypothesis);
    td_release(cider->last_segments);
    td_release(cider->document_counts);
    td_sequence_map_free(&cider->document_ngrams);
    td_sequence_map_free(&cider->vocabulary);
    td_arena_free(&cider->arena);
    td_release(cider);
}

td_status td_cider_index_add(td_cider_index *cider, const char *const *references, size_t count, td_error *error)
{
    td_one_segment one;
    td_one_segment_set(&one, "", references, count);
    return add_segment(cider, &one.segments, 0, error);
}

td_status td_cider_index_score(td_cider_index *cider, const char *text, const char *const *references, size_t count, double *ret_score,
                               td_error *error)
{
    td_one_segment one;
    td_one_segment_set(&one, text, references, count);
    return score_segment(cider, &one.segments, 0, ret_score, error);
}

static td_status score_all(td_cider_index *cider, const td_segments *segments, double *ret_score, td_error *error)
{
    double sum = 0;
    for (size_t i = 0; i < segments->count; i++)
        TD_TRY(add_segment(cider, segments, i, error));
    for (size_t i = 0; i < segments->count; i++) {
        double score;
        TD_TRY(score_segment(cider, segments, i, &score, error));
        sum += score;
    }
    *ret_score = 100 * sum / (double)segments->count;
    return TD_OK;
}

td_status td_cider(const td_cider_options *options, const char *const *hypotheses, const char *const *const *references,
                   size_t reference_count, size_t count, double *ret_score, td_error *error)
{
    td_cider_options checked = TD_CIDER_OPTIONS_INIT;
    td_cider_index *cider = NULL;
    TD_TRY(td_options_copy(&checked, sizeof checked, options, "CIDEr options", error));
    if (!td_metric_tokenizer_name(checked.tokenizer))
        return td_fail(error, TD_ERROR_ARGUMENT, "CIDEr: no tokenizer %d", (int)checked.tokenizer);
    td_segments segments = {hypotheses, references, reference_count, count};
    TD_TRY(td_segments_check(&segments, error));
    TD_TRY(td_cider_index_new(&checked, &cider, error));
    td_status status = score_all(cider, &segments, ret_score, error);
    td_cider_index_free(cider);
    return status;
}
