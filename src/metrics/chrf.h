/* chrF's counts a segment, for whoever scores more than once. */
#ifndef TD_METRICS_CHRF_H
#define TD_METRICS_CHRF_H

#include "metrics/bootstrap.h"

/* A row: for each character order, then each word order: n-grams of the hypothesis, of the reference, matches.
 * `options` (not NULL) must outlive the statistics. */
td_status td_chrf_statistics(const td_chrf_options *options, const td_segments *segments, td_statistics *ret_statistics,
                             td_error *error);
double td_chrf_from_sums(const td_chrf_options *options, const uint64_t *sums);

#endif
