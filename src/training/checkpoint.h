/* Everything a run needs to go on to the same bits: weights, optimiser, position in the data, what the reports have summed up.
 * checkpoints/step-N/ appears whole or not at all. */
#ifndef TD_TRAINING_CHECKPOINT_H
#define TD_TRAINING_CHECKPOINT_H

#include "layers/parameters.h"
#include "training/batches.h"
#include "training/optimizer.h"

typedef struct td_run_state {
    int64_t step; /* updates made */
    td_batch_position position;
    double best_score;              /* of validation_metric, higher is better; -infinity before the first */
    int64_t best_step, worse;       /* validations since the best */
    double seconds;                 /* of training, all processes together */
    uint64_t tokens;                /* target tokens seen */
    double window_loss, window_nll; /* sums since the last report */
    uint64_t window_tokens;
    bool finished;
} td_run_state;

td_status td_checkpoint_save(const char *output, const td_parameters *parameters, const td_optimizer *optimizer, const td_run_state *state,
                             td_error *error);
/* Loads the newest complete checkpoint; *ret_found is false when there is none. */
td_status td_checkpoint_load(const char *output, td_parameters *parameters, td_optimizer *optimizer, td_run_state *ret_state,
                             bool *ret_found, td_error *error);
/* Replaces the state alone, in the checkpoint of state->step. */
td_status td_checkpoint_save_state(const char *output, const td_optimizer *optimizer, const td_run_state *state, td_error *error);
/* Removes all but the newest `keep` whose step is a multiple of `every`, and the newest of all: where a run was stopped in between
 * leaves no trace. */
td_status td_checkpoint_prune(const char *output, int64_t keep, int64_t every, td_error *error);
/* The mean of the weights of the newest `count` checkpoints that prune would keep -> ret_mean [trained_size]; *ret_count says how
 * many there were. */
td_status td_checkpoint_average(const char *output, size_t count, int64_t every, td_parameters *parameters, td_real *ret_mean,
                                size_t *ret_count, td_error *error);

#endif
