/* The order of training: every epoch is a new permutation; a window of it at a time is sorted by length, cut into batches by tokens,
 * and the batches shuffled. All follows from (seed, epoch, window), so a position is three integers. */
#ifndef TD_TRAINING_BATCHES_H
#define TD_TRAINING_BATCHES_H

#include "training/corpus.h"

typedef struct td_batch_position {
    int64_t epoch, window, batch;
} td_batch_position;

typedef struct td_batches td_batches;

td_status td_batches_new(const td_corpus *corpus, uint64_t seed, size_t batch_tokens, size_t window, td_batches **ret_batches,
                         td_error *error);
void td_batches_free(td_batches *batches);
/* Indices of the pairs of the next batch, sorted by length; valid until the next call. Their number is returned. */
size_t td_batches_next(td_batches *batches, const uint64_t **ret_indices);
td_batch_position td_batches_position(const td_batches *batches); /* of the batch that comes next */
td_status td_batches_seek(td_batches *batches, td_batch_position position, td_error *error);

#endif
