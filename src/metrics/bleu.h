/* BLEU's counts a segment, for whoever scores more than once. */
#ifndef TD_METRICS_BLEU_H
#define TD_METRICS_BLEU_H

#include "metrics/bootstrap.h"

/* A row: hypothesis length, reference length, matches of order 1 to 4, totals of order 1 to 4. `options` (not NULL)
 * must outlive the statistics. */
enum { TD_BLEU_ORDER = 4, TD_BLEU_WIDTH = 2 + 2 * TD_BLEU_ORDER };
td_status td_bleu_statistics(const td_bleu_options *options, const td_segments *segments, td_statistics *ret_statistics,
                             td_error *error);
td_bleu_result td_bleu_from_sums(const td_bleu_options *options, const uint64_t sums[TD_BLEU_WIDTH]);

#endif
