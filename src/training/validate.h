/* How good the model is on held-out pairs: loss per token, and a score of beam search against the references. */
#ifndef TD_TRAINING_VALIDATE_H
#define TD_TRAINING_VALIDATE_H

#include "decoding/generate.h"
#include "platform/thread.h"
#include "training/metric.h"
#include "training/step.h"

typedef struct td_validation {
    double loss;  /* nll per target token, natural logarithm */
    double score; /* of the recipe's metric, percent; NaN when that is the loss */
} td_validation;

typedef struct td_validator td_validator;

enum { TD_VALIDATION_SHARDS = 8 };

/* `stepper` runs over `corpus`, which was built with its text. */
td_status td_validator_new(const td_recipe *recipe, const td_network *network, const td_tokenizer *tokenizer, const td_corpus *corpus,
                           td_stepper *stepper, td_pool *pool, td_validator **ret_validator, td_error *error);
void td_validator_free(td_validator *validator);
td_status td_validator_run(td_validator *validator, td_validation *ret_validation, td_error *error);

#endif
