/* Schedules and the update of the weights: everything is one flat buffer. */
#ifndef TD_TRAINING_OPTIMIZER_H
#define TD_TRAINING_OPTIMIZER_H

#include "layers/parameters.h"
#include "platform/thread.h"
#include "tensor/real.h"
#include "training/recipe.h"

/* Elements up to `end` (from the span before) decay, or do not: norms and biases. */
typedef struct td_decay_span {
    size_t end;
    bool decays;
} td_decay_span;

typedef struct td_optimizer {
    size_t size;
    td_decay_span *spans; /* of the whole buffer, or NULL: nothing decays */
    size_t span_count;
    td_real *first, *second; /* Adam's moments; SGD with momentum uses `first` */
    td_real *average;        /* exponential moving average of the weights, or NULL */
    int64_t step;            /* updates made */
    double plateau_factor;   /* what the plateau schedule has come to */
} td_optimizer;

td_status td_optimizer_new(const td_recipe *recipe, const td_parameters *parameters, td_optimizer *ret_optimizer, td_error *error);
void td_optimizer_free(td_optimizer *optimizer);
/* The rate of update number `step` (from 1). */
double td_learning_rate(const td_recipe *recipe, const td_optimizer *optimizer, int64_t step);
/* Sum of squares in a fixed order, then sqrt. */
double td_gradient_norm(td_pool *pool, const td_real *gradient, size_t size, double *partial);
size_t td_gradient_norm_parts(size_t size); /* entries `partial` needs */
/* One update, which may change `gradient`. norm: of the gradient, for clipping. Returns the rate used. */
double td_optimizer_update(td_optimizer *optimizer, const td_recipe *recipe, td_pool *pool, td_real *weights, td_real *gradient,
                           double norm);

#endif
