/* What training needs before the first step: the output directory, a vocabulary, and corpora as ids. */
#ifndef TD_TRAINING_PREPARE_H
#define TD_TRAINING_PREPARE_H

#include "training/corpus.h"

typedef struct td_prepared {
    td_tokenizer *tokenizer;
    td_corpus train, validation;
    bool has_validation;
    int lock; /* file descriptor: one run at a time writes to a directory; set by td_prepare */
} td_prepared;

/* restart: removes checkpoints, vocabulary and logs of an earlier run first. */
td_status td_prepare(const td_recipe *recipe, bool restart, void (*report)(void *context, const char *line, bool transient),
                     void *context, td_prepared *ret_prepared, td_error *error);
void td_prepared_free(td_prepared *prepared);

#endif
