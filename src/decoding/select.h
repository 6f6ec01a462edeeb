/* The best few of a row, and the random choice among them. */
#ifndef TD_DECODING_SELECT_H
#define TD_DECODING_SELECT_H

#include "base/random.h"
#include "kernels/rows.h"
#include "tensor/real.h"

#include <stddef.h>
#include <stdint.h>

typedef struct td_candidate {
    td_real key;   /* what it is chosen by: the value, or the value with noise */
    td_real value; /* its log-probability, or logit */
    int32_t id;
} td_candidate;

/* Writes the `wanted` largest of row [n] above minus infinity, largest first, ties by lower id; returns how many there
 * are. */
size_t td_select_largest(const td_real *row, size_t n, size_t wanted, td_candidate *ret_candidates);

/* The same, given for each block of `block` numbers one that none of them exceeds. */
size_t td_select_bounded(const td_real *row, size_t n, const td_real *bounds, size_t block, size_t wanted, td_candidate *ret_candidates);

/* The same of the numbers in some blocks alone, given in rising order. */
size_t td_select_in_blocks(const td_real *row, size_t n, const int32_t *blocks, size_t block_count, size_t block, size_t wanted,
                           td_candidate *ret_candidates);

/* Of candidates in falling order, how many the nucleus keeps: the fewest whose probabilities (softmax over all `count`)
 * reach top_p (Holtzman 2020), then those of at least min_p times the best; never fewer than `least`. weights: [count]
 * scratch. */
size_t td_select_nucleus(const td_candidate *candidates, size_t count, double top_p, double min_p, size_t least, double *weights);

/* One number of a row [n] at random, by softmax: ret_candidates[0], 1, or 0 where all are minus infinity. ret_candidates has room for
 * TD_SELECT_LIKELY. The row is scratch afterwards. Nothing is sorted but the likeliest few, among which most draws end. */
#define TD_SELECT_LIKELY 32
size_t td_select_from_all(const td_kernels *kernels, td_real *row, size_t n, td_random *random, td_candidate *ret_candidates);

/* One of them at random by softmax(value); weights: [count] scratch. */
size_t td_select_random(const td_candidate *candidates, size_t count, td_random *random, double *weights);

#endif
