/* Scores that are a function of sums over segments can be resampled without counting again: a row of counts a segment,
 * a function from the sum of rows to the score. */
#ifndef TD_METRICS_BOOTSTRAP_H
#define TD_METRICS_BOOTSTRAP_H

#include "metrics/text.h"

typedef struct td_statistics {
    uint32_t *rows; /* [count, width] */
    size_t count, width;
    double (*score)(const void *options, const uint64_t *sums);
    const void *options;
} td_statistics;

enum { TD_STATISTICS_WIDTH_MAX = 80 };

td_status td_statistics_new(size_t count, size_t width, td_statistics *ret_statistics, td_error *error);
void td_statistics_free(td_statistics *statistics);
void td_statistics_sum(const td_statistics *statistics, uint64_t *ret_sums);

/* `other` may be NULL; else it has as many segments. */
td_status td_bootstrap(const td_bootstrap_options *options, const td_statistics *system, const td_statistics *other,
                       td_bootstrap_result *ret_result, td_error *error);

/* Counts a system's segments. */
typedef td_status (*td_statistics_maker)(const void *metric_options, const td_segments *segments, td_statistics *ret_statistics,
                                         td_error *error);

/* The bootstrap of texts; `other` NULL: of one system alone. */
td_status td_bootstrap_segments(const td_bootstrap_options *options, td_statistics_maker make, const void *metric_options,
                                const td_segments *segments, const char *const *other, td_bootstrap_result *ret_result, td_error *error);
td_status td_sum_segments(td_statistics_maker make, const void *metric_options, const td_segments *segments, uint64_t *ret_sums,
                          td_error *error);

/* Writes sacreBLEU's "bs:N|seed:S|" or, for no samples, nothing. */
void td_bootstrap_signature(size_t samples, uint64_t seed, char *ret_text, size_t capacity);

#endif
