/* Scores of generated text during training, by the names of training.validation_metric. */
#ifndef TD_TRAINING_METRIC_H
#define TD_TRAINING_METRIC_H

#include "training/recipe.h"

typedef struct td_metric_texts {
    const char *const *hypotheses;        /* [count] */
    const char *const *const *references; /* [reference_count][count] */
    size_t reference_count, count;
    int tokenize; /* td_recipe_tokenize */
} td_metric_texts;

typedef struct td_metric {
    const char *title;                                                                    /* for reports: "BLEU" */
    bool lower;                                                                           /* a lower score is better */
    td_status (*score)(const td_metric_texts *texts, double *ret_score, td_error *error); /* percent */
} td_metric;

/* NULL for TD_RECIPE_METRIC_LOSS. */
const td_metric *td_metric_find(int metric);

#endif
