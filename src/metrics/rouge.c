/* ROUGE (Lin 2004): overlap of n-grams and longest common subsequences, as the rouge-score package counts them. */
#include "metrics/ngrams.h"
#include "metrics/porter.h"

#include <string.h>

enum { KINDS = 4, SHORTEST_STEMMED = 4 }; /* words of up to three letters stay as they are */

/* A text's words and, for Lsum, where each of its sentences ends. */
typedef struct rouge_text {
    td_codes words;
    size_t *sentence_ends;
    size_t sentence_count;
} rouge_text;

typedef struct rouge_counter {
    const td_segments *segments;
    bool stem;
    td_arena arena;
    td_sequence_map vocabulary;
    td_ngrams ngrams;
} rouge_counter;

static bool is_word_letter(uint32_t code)
{
    return (code >= 'a' && code <= 'z') || (code >= '0' && code <= '9');
}

static td_status add_word(rouge_counter *counter, uint32_t *letters, size_t length, td_codes *words, td_error *error)
{
    char *word = td_arena_allocate(&counter->arena, length);
    if (!word)
        return td_fail_memory(error, length);
    for (size_t i = 0; i < length; i++)
        word[i] = (char)letters[i];
    if (counter->stem && length >= SHORTEST_STEMMED)
        length = td_porter_stem(word, length);
    uint64_t hash = TD_SEQUENCE_SEED;
    for (size_t i = 0; i < length; i++) {
        letters[i] = (unsigned char)word[i];
        hash = td_sequence_hash_add(hash, letters[i]);
    }
    return length == 0 ? TD_OK : td_sequence_map_add(&counter->vocabulary, letters, length, hash, &words->data[words->count++], error);
}

static td_status read_text(rouge_counter *counter, const char *text, rouge_text *ret_text, td_error *error)
{
    td_codes codes;
    TD_TRY(td_codes_decode(&counter->arena, text, &codes, error));
    TD_TRY(td_codes_lower(&counter->arena, &codes, error));
    rouge_text result = {.words.data = td_arena_allocate_array(&counter->arena, codes.count + 1, sizeof(uint32_t)),
                         .sentence_ends = td_arena_allocate_array(&counter->arena, codes.count + 1, sizeof(size_t))};
    if (!result.words.data || !result.sentence_ends)
        return td_fail_memory(error, codes.count);
    for (size_t at = 0, end; at < codes.count; at = end + 1) {
        for (end = at; end < codes.count && is_word_letter(codes.data[end]);)
            end++;
        if (end > at)
            TD_TRY(add_word(counter, codes.data + at, end - at, &result.words, error));
        if (end == codes.count || codes.data[end] == '\n')
            result.sentence_ends[result.sentence_count++] = result.words.count;
    }
    if (result.sentence_count == 0 || result.sentence_ends[result.sentence_count - 1] < result.words.count)
        result.sentence_ends[result.sentence_count++] = result.words.count;
    *ret_text = result;
    return TD_OK;
}

static td_rouge_score score_of(double hits, size_t reference, size_t hypothesis)
{
    td_rouge_score score = {hypothesis ? hits / (double)hypothesis : 0, reference ? hits / (double)reference : 0, 0};
    if (score.precision + score.recall > 0)
        score.f = 2 * score.precision * score.recall / (score.precision + score.recall);
    return score;
}

/* The length of the longest common subsequence; `left` [a * b bits], when given, gets at (i, j) whether a[0..i],
 * b[0..j-1] have more in common than a[0..i-1], b[0..j]. `row` has b.count + 1 elements. */
static size_t common_length(td_codes a, td_codes b, uint32_t *row, uint8_t *left)
{
    memset(row, 0, (b.count + 1) * sizeof *row);
    for (size_t i = 0; i < a.count; i++) {
        uint32_t diagonal = 0;
        for (size_t j = 0; j < b.count; j++) {
            uint32_t above = row[j + 1], best = above > row[j] ? above : row[j];
            size_t bit = i * b.count + j;
            if (left && row[j] > above)
                left[bit / 8] |= (uint8_t)(1u << bit % 8);
            row[j + 1] = a.data[i] == b.data[j] ? diagonal + 1 : best;
            diagonal = above;
        }
    }
    return row[b.count];
}

/* Marks the elements of `a` that a longest common subsequence with `b` uses: the one rouge-score walks. */
static td_status mark_common(td_arena *arena, td_codes a, td_codes b, uint8_t *marks, td_error *error)
{
    size_t cells;
    td_arena_mark mark = td_arena_get_mark(arena);
    if (td_multiply_overflows(a.count, b.count, &cells))
        return td_fail(error, TD_ERROR_LIMIT, "sentences of %zu and %zu words", a.count, b.count);
    uint8_t *left = td_arena_zeroed_array(arena, cells / 8 + 1, 1);
    uint32_t *row = td_arena_allocate_array(arena, b.count + 1, sizeof *row);
    if (!left || !row)
        return td_fail_memory(error, cells / 8);
    common_length(a, b, row, left);
    for (size_t i = a.count, j = b.count; i > 0 && j > 0;) {
        size_t bit = (i - 1) * b.count + j - 1;
        if (a.data[i - 1] == b.data[j - 1])
            marks[--i] = 1, j--;
        else if (left[bit / 8] >> bit % 8 & 1)
            j--;
        else
            i--;
    }
    td_arena_release_to(arena, mark);
    return TD_OK;
}

static td_codes sentence(const rouge_text *text, size_t index)
{
    size_t start = index ? text->sentence_ends[index - 1] : 0;
    return (td_codes){text->words.data + start, text->sentence_ends[index] - start};
}

/* Lin 2004, 3.2: hits are the union over hypothesis sentences, but no word counts more often than either side has it.
 */
static td_status summary_hits(rouge_counter *counter, const rouge_text *reference, const rouge_text *hypothesis, size_t *ret_hits,
                              td_error *error)
{
    size_t words = counter->vocabulary.count, hits = 0;
    uint8_t *marks = td_arena_zeroed_array(&counter->arena, reference->words.count + 1, 1);
    uint32_t *left = td_arena_zeroed_array(&counter->arena, words + 1, 2 * sizeof *left);
    if (!marks || !left)
        return td_fail_memory(error, words);
    for (size_t r = 0; r < reference->sentence_count; r++)
        for (size_t h = 0; h < hypothesis->sentence_count; h++) {
            td_codes of_reference = sentence(reference, r);
            TD_TRY(mark_common(&counter->arena, of_reference, sentence(hypothesis, h), marks + (of_reference.data - reference->words.data),
                               error));
        }
    for (size_t i = 0; i < reference->words.count; i++)
        left[2 * reference->words.data[i]]++;
    for (size_t i = 0; i < hypothesis->words.count; i++)
        left[2 * hypothesis->words.data[i] + 1]++;
    for (size_t i = 0; i < reference->words.count; i++) {
        uint32_t *both = left + 2 * reference->words.data[i];
        if (marks[i] && both[0] > 0 && both[1] > 0) {
            both[0]--;
            both[1]--;
            hits++;
        }
    }
    *ret_hits = hits;
    return TD_OK;
}

static td_status score_pair(rouge_counter *counter, const rouge_text *hypothesis, const rouge_text *reference,
                            td_rouge_score ret_scores[KINDS], td_error *error)
{
    uint32_t matches[2];
    td_ngrams_forget_references(&counter->ngrams);
    td_ngrams_add_reference(&counter->ngrams, reference->words);
    td_ngrams_matches(&counter->ngrams, matches);
    for (size_t n = 0; n < 2; n++)
        ret_scores[n] = score_of(matches[n], td_ngram_total(reference->words.count, n + 1), td_ngram_total(hypothesis->words.count, n + 1));
    uint32_t *row = td_arena_allocate_array(&counter->arena, hypothesis->words.count + 1, sizeof *row);
    if (!row)
        return td_fail_memory(error, hypothesis->words.count * sizeof *row);
    size_t common = common_length(reference->words, hypothesis->words, row, NULL), hits = 0;
    ret_scores[2] = score_of((double)common, reference->words.count, hypothesis->words.count);
    TD_TRY(summary_hits(counter, reference, hypothesis, &hits, error));
    ret_scores[3] = score_of((double)hits, reference->words.count, hypothesis->words.count);
    return TD_OK;
}

static td_status score_segment(rouge_counter *counter, size_t index, td_rouge_score best[KINDS], td_error *error)
{
    const td_segments *segments = counter->segments;
    rouge_text hypothesis, reference;
    td_arena_reset(&counter->arena);
    td_sequence_map_clear(&counter->vocabulary);
    TD_TRY(read_text(counter, segments->hypotheses[index], &hypothesis, error));
    TD_TRY(td_ngrams_start(&counter->ngrams, hypothesis.words, 2, error));
    for (size_t r = 0; r < segments->reference_count; r++) {
        td_rouge_score scores[KINDS] = {{0, 0, 0}};
        TD_TRY(read_text(counter, segments->references[r][index], &reference, error));
        TD_TRY(score_pair(counter, &hypothesis, &reference, scores, error));
        for (size_t k = 0; k < KINDS; k++)
            if (r == 0 || scores[k].f > best[k].f)
                best[k] = scores[k];
    }
    return TD_OK;
}

static void add_score(td_rouge_score *sum, td_rouge_score score, double weight)
{
    sum->precision += weight * score.precision;
    sum->recall += weight * score.recall;
    sum->f += weight * score.f;
}

td_status td_rouge(const td_rouge_options *options, const char *const *hypotheses, const char *const *const *references,
                   size_t reference_count, size_t count, td_rouge_result *ret_result, td_error *error)
{
    td_rouge_options checked = TD_ROUGE_OPTIONS_INIT;
    TD_TRY(td_options_copy(&checked, sizeof checked, options, "ROUGE options", error));
    td_segments segments = {hypotheses, references, reference_count, count};
    TD_TRY(td_segments_check(&segments, error));
    rouge_counter counter = {.segments = &segments, .stem = checked.stem};
    td_arena_init(&counter.arena);
    td_sequence_map_init(&counter.vocabulary, false);
    td_ngrams_init(&counter.ngrams);
    td_rouge_score sums[KINDS] = {{0, 0, 0}};
    td_status status = TD_OK;
    for (size_t i = 0; i < count && status == TD_OK; i++) {
        td_rouge_score scores[KINDS] = {{0, 0, 0}};
        status = score_segment(&counter, i, scores, error);
        if (status != TD_OK)
            td_error_prefix(error, "segment %zu", i + 1);
        for (size_t k = 0; k < KINDS; k++)
            add_score(&sums[k], scores[k], 100.0 / (double)count);
    }
    td_ngrams_free(&counter.ngrams);
    td_sequence_map_free(&counter.vocabulary);
    td_arena_free(&counter.arena);
    if (status == TD_OK)
        *ret_result = (td_rouge_result){sums[0], sums[1], sums[2], sums[3]};
    return status;
}
