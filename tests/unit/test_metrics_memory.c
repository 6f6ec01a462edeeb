/* Every allocation of every metric fails in turn: the call says so, writes no result and leaks nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "tandem/metrics.h"

static long before_failure; /* allocations that still succeed; negative: all */
static long outstanding;

static bool may_allocate(void)
{
    if (before_failure == 0)
        return false;
    before_failure -= before_failure > 0;
    return true;
}

static void *counted_allocate(void *context, size_t bytes)
{
    (void)context;
    void *block = may_allocate() ? malloc(bytes) : NULL;
    outstanding += block != NULL;
    return block;
}

static void *counted_resize(void *context, void *block, size_t bytes)
{
    (void)context;
    void *larger = may_allocate() ? realloc(block, bytes) : NULL;
    outstanding += larger != NULL && block == NULL;
    return larger;
}

static void counted_release(void *context, void *block)
{
    (void)context;
    outstanding -= block != NULL;
    free(block);
}

static const char *const hypotheses[] = {"The ferry leaves at half past nine, they say; nobody minds.",
                                         "Größe und Gewicht: „stehen“ auf der Rückseite.", ""};
static const char *const reference[] = {"The ferry sails at half past nine, it is said, and nobody minds.",
                                        "Größe und Gewicht stehen auf der Rückseite!", "Nothing\nat all"};
static const char *const *const references[] = {reference, hypotheses};
enum { COUNT = 3, SETS = 2 };

static td_status run_bleu(double *ret_score, td_error *error)
{
    td_bleu_options options = TD_BLEU_OPTIONS_INIT;
    td_bleu_result result = {.score = *ret_score};
    options.lowercase = true;
    td_status status = td_bleu(&options, hypotheses, references, SETS, COUNT, &result, error);
    *ret_score = result.score;
    return status;
}

static td_status run_chrf(double *ret_score, td_error *error)
{
    td_chrf_options options = TD_CHRF_OPTIONS_INIT;
    options.word_order = 2;
    options.lowercase = true;
    return td_chrf(&options, hypotheses, references, SETS, COUNT, ret_score, error);
}

static td_status run_bootstrap(double *ret_score, td_error *error)
{
    td_bootstrap_options options = TD_BOOTSTRAP_OPTIONS_INIT;
    td_bootstrap_result result = {.mean = *ret_score};
    options.samples = 10;
    td_status status = td_bleu_bootstrap(NULL, &options, hypotheses, reference, references, SETS, COUNT, &result, error);
    *ret_score = result.mean;
    return status;
}

static td_status run_rouge(double *ret_score, td_error *error)
{
    td_rouge_result result = {.rougeL.f = *ret_score};
    td_status status = td_rouge(NULL, hypotheses, references, SETS, COUNT, &result, error);
    *ret_score = result.rougeL.f;
    return status;
}

static td_status run_error_rate(double *ret_score, td_error *error)
{
    td_error_rate_result result = {.score = *ret_score};
    td_status status = td_error_rate(NULL, hypotheses, reference, COUNT, &result, error);
    *ret_score = result.score;
    return status;
}

static td_status run_cider(double *ret_score, td_error *error)
{
    return td_cider(NULL, hypotheses, references, SETS, COUNT, ret_score, error);
}

static td_status run_exact(double *ret_score, td_error *error)
{
    return td_exact_match(true, hypotheses, references, SETS, COUNT, ret_score, error);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    td_status (*const runs[])(double *, td_error *) = {run_bleu, run_chrf, run_bootstrap, run_rouge, run_error_rate, run_cider, run_exact};
    const td_allocator allocator = {counted_allocate, counted_resize, counted_release, NULL};
    td_set_allocator(&allocator);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        td_status status = TD_ERROR_MEMORY;
        long failed = 0;
        for (; status != TD_OK; failed++) {
            double score = -7;
            td_error error;
            before_failure = failed;
            status = runs[i](&score, &error);
            assert_int_equal(outstanding, 0);
            assert_true(status == TD_OK || status == TD_ERROR_MEMORY);
            assert_true(status == TD_OK ? score >= 0 : score == -7);
            assert_true(status == TD_OK || error.status == TD_ERROR_MEMORY);
        }
        assert_true(failed > 2);
    }
    td_set_allocator(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
