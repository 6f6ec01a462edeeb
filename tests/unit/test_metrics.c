/* Every metric against the figures of its reference implementation (tests/golden/metrics.json). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/porter.h"
#include "tandem/metrics.h"

enum { TEXTS_MAX = 64, SETS_MAX = 4 };

typedef struct golden_case {
    const char *name;
    const char *hypotheses[TEXTS_MAX], *other[TEXTS_MAX];
    const char *sets[SETS_MAX][TEXTS_MAX];
    const char *const *references[SETS_MAX];
    size_t count, reference_count;
} golden_case;

static json_t *golden;

static int load(void **state)
{
    (void)state;
    golden = json_load_file(TD_TEST_DATA "/golden/metrics.json", 0, NULL);
    return golden ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static size_t texts(const json_t *array, const char **ret_texts)
{
    size_t count = json_array_size(array);
    assert_true(count <= TEXTS_MAX);
    for (size_t i = 0; i < count; i++)
        ret_texts[i] = json_string_value(json_array_get(array, i));
    return count;
}

static golden_case case_of(const json_t *entry)
{
    golden_case result = {.name = json_string_value(json_object_get(entry, "name"))};
    result.count = texts(json_object_get(entry, "hypotheses"), result.hypotheses);
    texts(json_object_get(entry, "other"), result.other);
    const json_t *sets = json_object_get(entry, "references");
    result.reference_count = json_array_size(sets);
    assert_in_range(result.reference_count, 1, SETS_MAX);
    for (size_t r = 0; r < result.reference_count; r++)
        assert_int_equal(texts(json_array_get(sets, r), result.sets[r]), result.count);
    return result;
}

/* After every copy of a corpus: its sets move with it. */
static const char *const *const *sets_of(golden_case *corpus)
{
    for (size_t r = 0; r < corpus->reference_count; r++)
        corpus->references[r] = corpus->sets[r];
    return corpus->references;
}

static void close_to(const char *what, const char *name, double ours, double theirs, double tolerance)
{
    if (!(fabs(ours - theirs) <= tolerance))
        fail_msg("%s of '%s': %.12f, the reference says %.12f", what, name, ours, theirs);
}

static double number(const json_t *entry, const char *key)
{
    const json_t *value = json_object_get(entry, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static bool flag(const json_t *entry, const char *key)
{
    return json_is_true(json_object_get(entry, key));
}

static int choice(const json_t *entry, const char *key, const char *const *names, int count)
{
    const char *name = json_string_value(json_object_get(entry, key));
    for (int i = 0; name && i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return 0;
}

static void check_bleu(golden_case *corpus, const json_t *theirs)
{
    static const char *const tokenizers[] = {"13a", "none", "char", "intl"};
    static const char *const smoothings[] = {"exp", "none", "floor", "add-k"};
    td_bleu_options options = TD_BLEU_OPTIONS_INIT;
    options.tokenizer = (td_metric_tokenizer)choice(theirs, "tokenize", tokenizers, 4);
    options.smoothing = (td_bleu_smoothing)choice(theirs, "smooth_method", smoothings, 4);
    options.lowercase = flag(theirs, "lowercase");
    options.effective_order = flag(theirs, "effective_order");
    td_signature signature = td_bleu_signature(&options, corpus->reference_count, 0, 0);
    assert_string_equal(signature.text, json_string_value(json_object_get(theirs, "signature")));
    td_bleu_result ours;
    td_error error;
    assert_int_equal(td_bleu(&options, corpus->hypotheses, sets_of(corpus), corpus->reference_count, corpus->count, &ours, &error), TD_OK);
    char what[200];
    snprintf(what, sizeof what, "BLEU (%s)", signature.text);
    close_to(what, corpus->name, ours.score, number(theirs, "score"), 1e-9);
    close_to(what, corpus->name, ours.brevity_penalty, number(theirs, "brevity_penalty"), 1e-12);
    assert_int_equal(ours.hypothesis_length, number(theirs, "hypothesis_length"));
    assert_int_equal(ours.reference_length, number(theirs, "reference_length"));
    for (size_t n = 0; n < 4; n++) {
        const json_t *precision = json_array_get(json_object_get(theirs, "precisions"), n);
        close_to(what, corpus->name, ours.precisions[n], json_number_value(precision), 1e-9);
        assert_int_equal(ours.correct[n], json_integer_value(json_array_get(json_object_get(theirs, "correct"), n)));
        assert_int_equal(ours.total[n], json_integer_value(json_array_get(json_object_get(theirs, "total"), n)));
    }
}

static void bleu_equals_sacrebleu(void **state)
{
    (void)state;
    size_t i, k;
    json_t *entry, *theirs;
    json_array_foreach(json_object_get(golden, "cases"), i, entry)
    {
        golden_case corpus = case_of(entry);
        json_array_foreach(json_object_get(entry, "bleu"), k, theirs) check_bleu(&corpus, theirs);
        assert_true(k > 10);
    }
    assert_true(i > 20);
}

static void chrf_equals_sacrebleu(void **state)
{
    (void)state;
    size_t i, k;
    json_t *entry, *theirs;
    json_array_foreach(json_object_get(golden, "cases"), i, entry)
    {
        golden_case corpus = case_of(entry);
        json_array_foreach(json_object_get(entry, "chrf"), k, theirs)
        {
            td_chrf_options options = TD_CHRF_OPTIONS_INIT;
            options.lowercase = flag(theirs, "lowercase");
            options.whitespace = flag(theirs, "whitespace");
            options.eps_smoothing = flag(theirs, "eps_smoothing");
            options.word_order = (size_t)json_integer_value(json_object_get(theirs, "word_order"));
            if (json_object_get(theirs, "char_order"))
                options.character_order = (size_t)number(theirs, "char_order");
            if (json_object_get(theirs, "beta"))
                options.beta = number(theirs, "beta");
            td_signature signature = td_chrf_signature(&options, corpus.reference_count, 0, 0);
            assert_string_equal(signature.text, json_string_value(json_object_get(theirs, "signature")));
            double ours;
            assert_int_equal(td_chrf(&options, corpus.hypotheses, sets_of(&corpus), corpus.reference_count, corpus.count, &ours, NULL),
                             TD_OK);
            close_to(signature.text, corpus.name, ours, number(theirs, "score"), 1e-9);
        }
        assert_true(k > 5);
    }
    assert_true(i > 20);
}

/* sacreBLEU resamples in single precision, hence the tolerance. */
static void check_bootstrap(const char *what, const golden_case *corpus, td_bootstrap_result ours, const json_t *theirs)
{
    close_to(what, corpus->name, ours.score, number(theirs, "score"), 1e-9);
    close_to(what, corpus->name, ours.other_score, number(theirs, "other_score"), 1e-9);
    close_to(what, corpus->name, ours.mean, number(theirs, "mean"), 1e-4);
    close_to(what, corpus->name, ours.interval, number(theirs, "interval"), 1e-4);
    close_to(what, corpus->name, ours.other_mean, number(theirs, "other_mean"), 1e-4);
    close_to(what, corpus->name, ours.other_interval, number(theirs, "other_interval"), 1e-4);
    close_to(what, corpus->name, ours.p_value, number(theirs, "p_value"), 1e-12);
}

static void bootstrap_equals_sacrebleu(void **state)
{
    (void)state;
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(golden, "bootstrap"), i, entry)
    {
        golden_case corpus = case_of(entry);
        td_bootstrap_options options = TD_BOOTSTRAP_OPTIONS_INIT;
        options.samples = (size_t)number(entry, "samples");
        td_bootstrap_result ours;
        assert_int_equal(td_bleu_bootstrap(NULL, &options, corpus.hypotheses, corpus.other, sets_of(&corpus), 1, corpus.count, &ours, NULL),
                         TD_OK);
        check_bootstrap("bootstrap of BLEU", &corpus, ours, json_object_get(entry, "bleu"));
        assert_int_equal(td_chrf_bootstrap(NULL, &options, corpus.hypotheses, corpus.other, sets_of(&corpus), 1, corpus.count, &ours, NULL),
                         TD_OK);
        check_bootstrap("bootstrap of chrF", &corpus, ours, json_object_get(entry, "chrf"));
        td_bootstrap_result alone;
        assert_int_equal(td_chrf_bootstrap(NULL, &options, corpus.hypotheses, NULL, sets_of(&corpus), 1, corpus.count, &alone, NULL),
                         TD_OK);
        assert_true(alone.mean == ours.mean && alone.interval == ours.interval && alone.p_value == 1);
    }
    assert_int_equal(i, 3);
    assert_string_equal(td_bleu_signature(NULL, 1, 500, 12345).text, json_string_value(json_object_get(golden, "bootstrap_signature")));
}

static void check_rouge(const char *kind, golden_case *corpus, td_rouge_score ours, const json_t *theirs)
{
    const json_t *numbers = json_object_get(theirs, kind);
    assert_int_equal(json_array_size(numbers), 3);
    close_to(kind, corpus->name, ours.precision, json_number_value(json_array_get(numbers, 0)), 1e-9);
    close_to(kind, corpus->name, ours.recall, json_number_value(json_array_get(numbers, 1)), 1e-9);
    close_to(kind, corpus->name, ours.f, json_number_value(json_array_get(numbers, 2)), 1e-9);
}

static void rouge_equals_rouge_score(void **state)
{
    (void)state;
    size_t i, k;
    json_t *entry, *theirs;
    json_array_foreach(json_object_get(golden, "cases"), i, entry)
    {
        golden_case corpus = case_of(entry);
        json_array_foreach(json_object_get(entry, "rouge"), k, theirs)
        {
            td_rouge_options options = TD_ROUGE_OPTIONS_INIT;
            options.stem = flag(theirs, "stem");
            td_rouge_result ours;
            assert_int_equal(td_rouge(&options, corpus.hypotheses, sets_of(&corpus), corpus.reference_count, corpus.count, &ours, NULL),
                             TD_OK);
            check_rouge("rouge1", &corpus, ours.rouge1, theirs);
            check_rouge("rouge2", &corpus, ours.rouge2, theirs);
            check_rouge("rougeL", &corpus, ours.rougeL, theirs);
            check_rouge("rougeLsum", &corpus, ours.rougeLsum, theirs);
        }
        assert_int_equal(k, 2);
    }
    assert_true(i > 20);
}

static void stems_equal_nltk(void **state)
{
    (void)state;
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(golden, "stems"), i, pair)
    {
        char word[64];
        snprintf(word, sizeof word, "%s", json_string_value(json_array_get(pair, 0)));
        word[td_porter_stem(word, strlen(word))] = 0;
        assert_string_equal(word, json_string_value(json_array_get(pair, 1)));
    }
    assert_true(i > 100);
}

static void error_rates_equal_jiwer(void **state)
{
    (void)state;
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(golden, "cases"), i, entry)
    {
        golden_case corpus = case_of(entry);
        for (int characters = 0; characters < 2; characters++) {
            const json_t *theirs = json_object_get(entry, characters ? "cer" : "wer");
            td_error_rate_options options = TD_ERROR_RATE_OPTIONS_INIT;
            options.characters = characters;
            td_error_rate_result ours;
            assert_int_equal(td_error_rate(&options, corpus.hypotheses, corpus.sets[0], corpus.count, &ours, NULL), TD_OK);
            close_to(characters ? "CER" : "WER", corpus.name, ours.score, number(theirs, "score"), 1e-9);
            close_to("substitutions", corpus.name, (double)ours.substitutions, number(theirs, "substitutions"), 0);
            close_to("deletions", corpus.name, (double)ours.deletions, number(theirs, "deletions"), 0);
            close_to("insertions", corpus.name, (double)ours.insertions, number(theirs, "insertions"), 0);
            close_to("hits", corpus.name, (double)ours.hits, number(theirs, "hits"), 0);
        }
    }
    assert_true(i > 20);
}

static void caption_scores_equal_pycocoevalcap(void **state)
{
    (void)state;
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(golden, "cases"), i, entry)
    {
        golden_case corpus = case_of(entry);
        const json_t *theirs = json_object_get(entry, "captions");
        double cider;
        assert_int_equal(td_cider(NULL, corpus.hypotheses, sets_of(&corpus), corpus.reference_count, corpus.count, &cider, NULL), TD_OK);
        close_to("CIDEr", corpus.name, cider, number(theirs, "cider"), 1e-9);
        td_bleu_options options = TD_BLEU_OPTIONS_INIT;
        options.tokenizer = TD_TOKENIZER_NONE;
        td_bleu_result bleu;
        assert_int_equal(td_bleu(&options, corpus.hypotheses, sets_of(&corpus), corpus.reference_count, corpus.count, &bleu, NULL), TD_OK);
        for (size_t n = 0; n < 4; n++)
            close_to("BLEU-n", corpus.name, bleu.cumulative[n], json_number_value(json_array_get(json_object_get(theirs, "bleu"), n)),
                     1e-9);
    }
    assert_true(i > 20);
}

static void exact_match_counts_any_reference(void **state)
{
    (void)state;
    const char *hypotheses[] = {"Yes", "no", "Ähre", "x "}, *first[] = {"yes", "no", "ähre", "x"};
    const char *second[] = {"Yes", "maybe", "", ""};
    const char *const *references[] = {first, second};
    double score;
    assert_int_equal(td_exact_match(false, hypotheses, references, 1, 4, &score, NULL), TD_OK);
    assert_true(score == 25);
    assert_int_equal(td_exact_match(false, hypotheses, references, 2, 4, &score, NULL), TD_OK);
    assert_true(score == 50);
    assert_int_equal(td_exact_match(true, hypotheses, references, 1, 4, &score, NULL), TD_OK);
    assert_true(score == 75);
}

static void wrong_calls_name_the_segment(void **state)
{
    (void)state;
    const char *good[] = {"a", "b"}, *broken[] = {"a", "b\xff"}, *missing[] = {"a", NULL};
    const char *const *references[] = {good}, *const * broken_references[] = {good, broken};
    td_error error;
    td_bleu_result result = {.score = -7};
    assert_int_equal(td_bleu(NULL, broken, references, 1, 2, &result, &error), TD_ERROR_FORMAT);
    assert_string_equal(error.message, "hypothesis 2: not UTF-8 (byte 2)");
    assert_int_equal(td_bleu(NULL, good, broken_references, 2, 2, &result, &error), TD_ERROR_FORMAT);
    assert_string_equal(error.message, "reference 2 of set 2: not UTF-8 (byte 2)");
    assert_int_equal(td_bleu(NULL, missing, references, 1, 2, &result, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_bleu(NULL, good, references, 1, 0, &result, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_bleu(NULL, good, references, 0, 2, &result, &error), TD_ERROR_ARGUMENT);
    td_bleu_options options = TD_BLEU_OPTIONS_INIT;
    options.tokenizer = (td_metric_tokenizer)99;
    assert_int_equal(td_bleu(&options, good, references, 1, 2, &result, &error), TD_ERROR_ARGUMENT);
    assert_true(result.score == -7);
    double score = -7;
    td_chrf_options chrf = TD_CHRF_OPTIONS_INIT;
    chrf.character_order = 17;
    assert_int_equal(td_chrf(&chrf, good, references, 1, 2, &score, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_chrf(NULL, broken, references, 1, 2, &score, &error), TD_ERROR_FORMAT);
    assert_true(score == -7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bleu_equals_sacrebleu),
        cmocka_unit_test(chrf_equals_sacrebleu),
        cmocka_unit_test(bootstrap_equals_sacrebleu),
        cmocka_unit_test(rouge_equals_rouge_score),
        cmocka_unit_test(stems_equal_nltk),
        cmocka_unit_test(error_rates_equal_jiwer),
        cmocka_unit_test(caption_scores_equal_pycocoevalcap),
        cmocka_unit_test(exact_match_counts_any_reference),
        cmocka_unit_test(wrong_calls_name_the_segment),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
