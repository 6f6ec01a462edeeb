/* Minimum Bayes risk: what is chosen is what the definition says of the same candidates, computed here from n-best lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem/metrics.h>
#include <tandem/tandem.h>
#include <unistd.h>

static char directory[64];

static int make_model(void **state)
{
    (void)state;
    char command[512];
    strcpy(directory, "/tmp/tandem-risk-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(command, sizeof command, "cp '%s'/golden/marian-tokenizer/* '%s'/golden/tiny-translator/* '%s'/", TD_TEST_DATA, TD_TEST_DATA,
             directory);
    return system(command);
}

static int remove_model(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", directory);
    return system(command);
}

static const char *const sentences[] = {"The old boat leaves the harbour.", "Two cats sleep.", "They walk home along the river.",
                                        "Where is the key?"};
enum { SENTENCES = sizeof sentences / sizeof *sentences, CANDIDATES = 6 };

static td_generate_options german(void)
{
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    options.target_language = "de";
    return options;
}

static td_session *open_session(td_model **ret_model)
{
    td_error error;
    td_session *session = NULL;
    assert_int_equal(td_model_open(directory, NULL, ret_model, &error), TD_OK);
    assert_int_equal(td_session_new(*ret_model, NULL, &session, &error), TD_OK);
    return session;
}

static double chrf(const char *candidate, const char *other)
{
    double score;
    const char *const *references[] = {&other};
    assert_int_equal(td_chrf(NULL, &candidate, references, 1, 1, &score, NULL), TD_OK);
    return score;
}

static double sum_of_logprobs(const td_result *result, size_t input, size_t output)
{
    size_t count;
    double sum = 0;
    const float *logprobs = td_result_token_logprobs(result, input, output, &count);
    for (size_t i = 0; i < count; i++)
        sum += logprobs[i];
    return sum;
}

/* Probabilities to the power 0.3 for a beam, one each for samples. */
static size_t best_of(const td_result *result, size_t input, bool sampled)
{
    size_t count = td_result_outputs(result, input), best = 0;
    double most = -1;
    for (size_t i = 0; i < count; i++) {
        double total = 0;
        for (size_t j = 0; j < count; j++)
            total += (sampled ? 1 : exp(0.3 * (sum_of_logprobs(result, input, j) - sum_of_logprobs(result, input, 0)))) *
                     chrf(td_result_text(result, input, i), td_result_text(result, input, j));
        if (total > most * (1 + 1e-12)) {
            most = total;
            best = i;
        }
    }
    return best;
}

/* Returns how often the choice is not the first candidate. */
static size_t compare(td_session *session, td_generate_options options, bool sampled)
{
    td_error error;
    td_result *all = NULL, *chosen = NULL;
    size_t others = 0;
    options.nbest = CANDIDATES;
    assert_int_equal(td_generate_texts(session, sentences, SENTENCES, &options, &all, &error), TD_OK);
    options.nbest = TD_UNSET;
    options.minimum_risk = "chrf";
    options.candidates = CANDIDATES;
    assert_int_equal(td_generate_texts(session, sentences, SENTENCES, &options, &chosen, &error), TD_OK);
    for (size_t i = 0; i < SENTENCES; i++) {
        size_t best = best_of(all, i, sampled);
        assert_int_equal(td_result_outputs(all, i), CANDIDATES);
        assert_int_equal(td_result_outputs(chosen, i), 1);
        assert_string_equal(td_result_text(chosen, i, 0), td_result_text(all, i, best));
        assert_float_equal(td_result_score(chosen, i, 0), td_result_score(all, i, best), 0);
        others += best != 0;
    }
    td_result_free(all);
    td_result_free(chosen);
    return others;
}

static void test_choice(void **state)
{
    (void)state;
    td_model *model = NULL;
    td_session *session = open_session(&model);
    td_generate_options options = german();
    options.beam = CANDIDATES;
    size_t others = compare(session, options, false);
    options = german();
    options.sample = 1;
    options.temperature = 1.5;
    options.seed = 3;
    others += compare(session, options, true);
    assert_in_range(others, 1, 2 * SENTENCES); /* or the comparison shows nothing */
    td_session_free(session);
    td_model_close(model);
}

static void test_kept(void **state)
{
    (void)state;
    td_error error;
    td_model *model = NULL;
    td_session *session = open_session(&model);
    td_result *result = NULL;
    static const char *const metrics[] = {"bleu", "chrf", "rouge", "wer", "cer"};
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        td_generate_options options = german();
        options.beam = CANDIDATES;
        options.nbest = 2;
        options.minimum_risk = metrics[i];
        assert_int_equal(td_generate_text(session, sentences[0], &options, &result, &error), TD_OK);
        assert_int_equal(td_result_outputs(result, 0), 2);
        td_result_free(result);
        options.candidates = 1; /* nothing to choose from */
        options.nbest = TD_UNSET;
        td_result *plain = NULL;
        assert_int_equal(td_generate_text(session, sentences[0], &options, &result, &error), TD_OK);
        options.minimum_risk = NULL;
        options.candidates = TD_UNSET;
        assert_int_equal(td_generate_text(session, sentences[0], &options, &plain, &error), TD_OK);
        assert_string_equal(td_result_text(result, 0, 0), td_result_text(plain, 0, 0));
        td_result_free(result);
        td_result_free(plain);
    }
    td_session_free(session);
    td_model_close(model);
}

static void assert_refused(td_session *session, const td_generate_options *options, const char *message)
{
    td_error error;
    td_result *result = NULL;
    assert_int_equal(td_generate_text(session, sentences[0], options, &result, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, message));
    assert_null(result);
}

static void test_mistakes(void **state)
{
    (void)state;
    td_model *model = NULL;
    td_session *session = open_session(&model);
    td_generate_options options = german();
    options.minimum_risk = "meteor";
    assert_refused(session, &options, "it is one of bleu, chrf, rouge, wer, cer");
    options.minimum_risk = "bleu";
    options.candidates = 0;
    assert_refused(session, &options, "candidates is 0");
    options.candidates = 3;
    options.nbest = 4;
    options.beam = 8;
    assert_refused(session, &options, "only 3 candidates");
    options.candidates = 9;
    assert_refused(session, &options, "the beam keeps only 8 hypotheses");
    options.minimum_risk = NULL;
    assert_refused(session, &options, "names no metric");
    td_session_free(session);
    td_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
