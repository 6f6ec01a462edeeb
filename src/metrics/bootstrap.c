/* Paired bootstrap resampling (Koehn 2004) as sacreBLEU does it, with the random numbers NumPy's default generator
 * gives, so that intervals and p-values are theirs and not merely like theirs. */
#include "metrics/bootstrap.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- NumPy's SeedSequence and PCG64 (O'Neill 2014, XSL-RR 128/64) ---- */

typedef unsigned __int128 wide;
typedef struct generator {
    wide state, increment;
    uint32_t half; /* the upper half of a 64-bit number whose lower half was used */
    bool has_half;
} generator;

static uint32_t hash_mix(uint32_t value, uint32_t *constant, uint32_t multiplier)
{
    value ^= *constant;
    *constant *= multiplier;
    value *= *constant;
    return value ^ (value >> 16);
}

static void seed_sequence(uint64_t seed, uint64_t ret_words[4])
{
    uint32_t pool[4], state[8], constant = 0x43b0d7e5u;
    for (size_t i = 0; i < 4; i++)
        pool[i] = hash_mix(i < 2 ? (uint32_t)(seed >> (32 * i)) : 0, &constant, 0x931e8875u);
    for (size_t from = 0; from < 4; from++)
        for (size_t to = 0; to < 4; to++)
            if (from != to) {
                uint32_t mixed = 0xca01f9ddu * pool[to] - 0x4973f715u * hash_mix(pool[from], &constant, 0x931e8875u);
                pool[to] = mixed ^ (mixed >> 16);
            }
    constant = 0x8b51f9ddu;
    for (size_t i = 0; i < 8; i++)
        state[i] = hash_mix(pool[i % 4], &constant, 0x58f38dedu);
    for (size_t i = 0; i < 4; i++)
        ret_words[i] = state[2 * i] | (uint64_t)state[2 * i + 1] << 32;
}

static void step(generator *random)
{
    const wide multiplier = (wide)0x2360ed051fc65da4u << 64 | 0x4385df649fccf645u;
    random->state = random->state * multiplier + random->increment;
}

static generator generator_of(uint64_t seed)
{
    uint64_t words[4];
    seed_sequence(seed, words);
    generator random = {.increment = ((wide)words[2] << 64 | words[3]) << 1 | 1};
    step(&random);
    random.state += (wide)words[0] << 64 | words[1];
    step(&random);
    return random;
}

static uint32_t next_half(generator *random)
{
    if (random->has_half) {
        random->has_half = false;
        return random->half;
    }
    step(random);
    uint64_t folded = (uint64_t)(random->state >> 64) ^ (uint64_t)random->state;
    unsigned turn = (unsigned)(random->state >> 122);
    uint64_t next = folded >> turn | folded << (-turn & 63);
    random->half = (uint32_t)(next >> 32);
    random->has_half = true;
    return (uint32_t)next;
}

/* Lemire (2019) with rejection; bound > 1 */
static uint32_t next_below(generator *random, uint32_t bound)
{
    uint64_t product = (uint64_t)next_half(random) * bound;
    if ((uint32_t)product < bound) {
        uint32_t threshold = -bound % bound;
        while ((uint32_t)product < threshold)
            product = (uint64_t)next_half(random) * bound;
    }
    return (uint32_t)(product >> 32);
}

/* ---- Statistics ---- */

td_status td_statistics_new(size_t count, size_t width, td_statistics *ret_statistics, td_error *error)
{
    uint32_t *rows = NULL;
    size_t cells;
    if (!td_multiply_overflows(count, width, &cells))
        rows = td_allocate_array(cells, sizeof *rows);
    if (!rows)
        return td_fail_memory(error, count);
    *ret_statistics = (td_statistics){.rows = rows, .count = count, .width = width};
    return TD_OK;
}

void td_statistics_free(td_statistics *statistics)
{
    td_release(statistics->rows);
    statistics->rows = NULL;
}

void td_statistics_sum(const td_statistics *statistics, uint64_t *ret_sums)
{
    memset(ret_sums, 0, statistics->width * sizeof *ret_sums);
    for (size_t i = 0; i < statistics->count; i++)
        for (size_t k = 0; k < statistics->width; k++)
            ret_sums[k] += statistics->rows[i * statistics->width + k];
}

static double score_of_all(const td_statistics *statistics)
{
    uint64_t sums[TD_STATISTICS_WIDTH_MAX];
    td_statistics_sum(statistics, sums);
    return statistics->score(statistics->options, sums);
}

static double score_of_sample(const td_statistics *statistics, const uint32_t *chosen)
{
    uint64_t sums[TD_STATISTICS_WIDTH_MAX] = {0};
    for (size_t i = 0; i < statistics->count; i++) {
        const uint32_t *row = statistics->rows + chosen[i] * statistics->width;
        for (size_t k = 0; k < statistics->width; k++)
            sums[k] += row[k];
    }
    return statistics->score(statistics->options, sums);
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Sorts the scores. The bounds are the 1/40 of either end. */
static void summarise(double *scores, size_t count, double *ret_mean, double *ret_interval)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += scores[i];
    qsort(scores, count, sizeof *scores, compare_doubles);
    *ret_mean = sum / (double)count;
    *ret_interval = 0.5 * (scores[count - count / 40 - 1] - scores[count / 40]);
}

/* Of the differences that resampling alone makes, the share larger than the one observed. */
static double p_value(const double *scores, const double *other, size_t count, double difference)
{
    double mean = 0;
    for (size_t i = 0; i < count; i++)
        mean += fabs(scores[i] - other[i]);
    mean /= (double)count;
    size_t larger = 0;
    for (size_t i = 0; i < count; i++)
        larger += fabs(scores[i] - other[i]) - mean > difference;
    return (double)(larger + 1) / (double)(count + 1);
}

static void resample(const td_bootstrap_options *options, const td_statistics *system, const td_statistics *other, uint32_t *chosen,
                     double *scores, double *other_scores)
{
    generator random = generator_of(options->seed);
    for (size_t s = 0; s < options->samples; s++) {
        for (size_t i = 0; i < system->count; i++)
            chosen[i] = system->count > 1 ? next_below(&random, (uint32_t)system->count) : 0;
        scores[s] = score_of_sample(system, chosen);
        if (other)
            other_scores[s] = score_of_sample(other, chosen);
    }
}

td_status td_bootstrap(const td_bootstrap_options *options, const td_statistics *system, const td_statistics *other,
                       td_bootstrap_result *ret_result, td_error *error)
{
    td_bootstrap_options chosen_options = TD_BOOTSTRAP_OPTIONS_INIT;
    TD_TRY(td_options_copy(&chosen_options, sizeof chosen_options, options, "bootstrap options", error));
    size_t samples = chosen_options.samples;
    if (samples == 0 || system->count > UINT32_MAX)
        return td_fail(error, TD_ERROR_ARGUMENT, "bootstrap of %zu samples of %zu segments; at least 1 and at most %u", samples,
                       system->count, UINT32_MAX);
    uint32_t *chosen = td_allocate_array(system->count, sizeof *chosen);
    double *scores = td_allocate_array(samples, 2 * sizeof *scores);
    if (!chosen || !scores) {
        td_release(chosen);
        td_release(scores);
        return td_fail_memory(error, samples);
    }
    double *other_scores = scores + samples;
    resample(&chosen_options, system, other, chosen, scores, other_scores);
    td_bootstrap_result result = {.score = score_of_all(system), .p_value = 1};
    if (other) {
        result.other_score = score_of_all(other);
        result.p_value = p_value(scores, other_scores, samples, fabs(result.score - result.other_score));
        summarise(other_scores, samples, &result.other_mean, &result.other_interval);
    }
    summarise(scores, samples, &result.mean, &result.interval);
    td_release(chosen);
    td_release(scores);
    *ret_result = result;
    return TD_OK;
}

td_status td_bootstrap_segments(const td_bootstrap_options *options, td_statistics_maker make, const void *metric_options,
                                const td_segments *segments, const char *const *other, td_bootstrap_result *ret_result, td_error *error)
{
    td_segments other_segments = *segments;
    td_statistics statistics = {0}, other_statistics = {0};
    other_segments.hypotheses = other;
    td_status status = make(metric_options, segments, &statistics, error);
    if (status == TD_OK && other)
        status = make(metric_options, &other_segments, &other_statistics, error);
    if (status == TD_OK)
        status = td_bootstrap(options, &statistics, other ? &other_statistics : NULL, ret_result, error);
    td_statistics_free(&statistics);
    td_statistics_free(&other_statistics);
    return status;
}

td_status td_sum_segments(td_statistics_maker make, const void *metric_options, const td_segments *segments, uint64_t *ret_sums,
                          td_error *error)
{
    td_statistics statistics;
    TD_TRY(make(metric_options, segments, &statistics, error));
    td_statistics_sum(&statistics, ret_sums);
    td_statistics_free(&statistics);
    return TD_OK;
}

void td_bootstrap_signature(size_t samples, uint64_t seed, char *ret_text, size_t capacity)
{
    if (samples > 0)
        snprintf(ret_text, capacity, "bs:%zu|seed:%" PRIu64 "|", samples, seed);
    else
        ret_text[0] = 0;
}
