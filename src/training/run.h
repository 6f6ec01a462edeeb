/* What a training run holds, from recipe to report. */
#ifndef TD_TRAINING_RUN_H
#define TD_TRAINING_RUN_H

#include "tandem/training.h"
#include "training/checkpoint.h"
#include "training/prepare.h"
#include "training/report.h"
#include "training/validate.h"

typedef struct td_training_run {
    const td_train_options *options;
    td_recipe *recipe;
    td_prepared data;
    td_sources sources; /* of sound and pictures */
    td_network network;
    td_pool *pool;
    td_stepper *stepper, *validation_stepper;
    size_t memory; /* bytes that steps may take; 0: not known */
    td_validator *validator;
    td_candidates *candidates; /* NULL: no minimum risk */
    td_batches *batches;
    td_optimizer optimizer;
    td_run_state state;
    td_real *gradient;
    td_real *spare; /* weights set aside while averaged ones are tried */
    double *norm_parts;
    uint64_t *indices; /* pairs of one update */
    size_t index_count, index_capacity;
    td_log *log;
    td_events *events;
    double started; /* clock when this process's training began */
    double seconds_before;
    double report_clock;
    uint64_t report_tokens;
    double last_rate, last_norm;
    td_buffer progress; /* the line in hand */
    int64_t first_step; /* where this process began */
    bool *unaligned;    /* [pairs] those that CTC left out, and how many; NULL: none so far */
    size_t unaligned_count;
} td_training_run;

/* A line for the caller; a transient one is replaced by the next. */
void td_training_say(const td_training_run *run, bool transient, const char *format, ...) TD_PRINTF(3, 4);
/* Everything up to the first step: recipe, data, network, and where an earlier process stopped. */
td_status td_training_set_up(td_training_run *run, const char *path, td_error *error);
void td_training_tear_down(td_training_run *run);

#endif
