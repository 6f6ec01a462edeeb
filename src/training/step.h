/* One training step: a batch is cut into a fixed number of shards, threads take shards, and the shards' gradients are added in order
 * of index, so that the sum has the same bits on any number of threads. */
#ifndef TD_TRAINING_STEP_H
#define TD_TRAINING_STEP_H

#include "audio/augment.h"
#include "models/architecture.h"
#include "platform/thread.h"
#include "training/candidates.h"
#include "training/corpus.h"

typedef struct td_stepper td_stepper;

typedef struct td_step_options {
    const td_network *network;
    const td_tokenizer *tokenizer; /* for sampled segmentation and the unknown id */
    const td_corpus *corpus;
    size_t shards;
    uint64_t seed;
    double label_smoothing, r_drop, bpe_dropout, word_dropout;
    double coverage_loss, doubly_stochastic; /* weights; 0: off */
    double scheduled_sampling;               /* probability at step `max_steps`, rising from 0; from the start when max_steps is 0 */
    int64_t max_steps;
    size_t max_source_length; /* sampled sources are cut to it; 0: none are */
    td_mask_policy masks;     /* of features */
    bool bfloat16;
    td_candidates *candidates; /* NULL: only the targets are learned from */
    double risk_weight;        /* of the candidates in the gradient; the targets have the rest */
    double ctc_weight;         /* of CTC's loss; the decoder's has the rest, and at 1 isn't run */
    /* Called after a training step for every pair that CTC had to leave out: its target doesn't fit in its memory's rows. May be NULL. */
    void (*unaligned)(void *context, uint64_t index);
    void *unaligned_context;
    const td_stepper *beside; /* of the same network and threads: its memory is used, as the two never run at once; it must live as long.
                                 NULL: memory of its own */
} td_step_options;

typedef struct td_step_result {
    double loss, nll; /* sums over target tokens; with candidates the loss is minus their mean score, for each token */
    uint64_t source_tokens, target_tokens;
} td_step_result;

td_status td_stepper_new(const td_step_options *options, td_pool *pool, td_stepper **ret_stepper, td_error *error);
void td_stepper_free(td_stepper *stepper);
/* Fills `gradient` [step_size] with the mean gradient per target token over the pairs `indices`, and what
 * running statistics are to follow. `step` keys the random streams.
 * gradient NULL: only the loss, without dropout. */
td_status td_stepper_run(td_stepper *stepper, int64_t step, const uint64_t *indices, size_t count, td_real *gradient,
                         td_step_result *ret_result, td_error *error);
/* Steps may take so many bytes in all, each thread its share. One that would take more fails with TD_ERROR_MEMORY, and td_stepper_refused
 * says that this was why the last step failed. It holds for a stepper beside it too. */
void td_stepper_limit_memory(td_stepper *stepper, size_t bytes);
bool td_stepper_refused(const td_stepper *stepper);
/* How much memory the largest of the parts that such a step is cut into takes, in an arbitrary unit: results grow with the tokens,
 * attention's weights with their squares. */
td_status td_stepper_largest_shard(td_stepper *stepper, const uint64_t *indices, size_t count, double *ret_size, td_error *error);
/* Bytes of all arenas and of the copies of weights that products take. */
size_t td_stepper_peak_memory(const td_stepper *stepper);

#endif
