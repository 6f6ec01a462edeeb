/* What training needs before the first step: the output directory, a vocabulary, and corpora on disk. */
#ifndef TD_TRAINING_PREPARE_H
#define TD_TRAINING_PREPARE_H

#include "training/sources.h"

typedef struct td_prepared {
    td_tokenizer *tokenizer;
    td_corpus train, validation;
    bool has_validation;
    int lock; /* file descriptor: one run at a time writes to a directory; set by td_prepare */
} td_prepared;

typedef struct td_prepare_report {
    void (*line)(void *context, const char *line, bool transient); /* may be NULL */
    void *context;
    const volatile sig_atomic_t *stop; /* or NULL; once set, reading ends with TD_ERROR_CANCELLED */
} td_prepare_report;

/* The directory, the lock and the tokenizer. restart: removes checkpoints, vocabulary and logs of an earlier run first. Else an
 * earlier run's vocabulary is kept; one of other settings is made anew, or is an error where there are weights that know it. */
td_status td_prepare_vocabulary(const td_recipe *recipe, bool restart, td_prepare_report report, td_prepared *ret_prepared,
                                td_error *error);
/* The corpora. features: NULL for text. */
td_status td_prepare_corpora(const td_recipe *recipe, const td_feature_reader *features, td_prepare_report report, td_prepared *prepared,
                             td_error *error);
void td_prepared_free(td_prepared *prepared);

#endif
