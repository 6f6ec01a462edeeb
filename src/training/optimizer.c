#include "training/optimizer.h"

#include "base/memory.h"
#include "kernels/rows.h"

#include <math.h>
#include <string.h>

enum { PART = 1 << 16 }; /* elements a task takes: the order of sums does not depend on the number of threads */

static td_status find_spans(td_optimizer *optimizer, const td_parameters *parameters, td_error *error)
{
    optimizer->spans = td_allocate_array(parameters->count + 1, sizeof *optimizer->spans);
    if (!optimizer->spans)
        return td_fail_memory(error, parameters->count * sizeof *optimizer->spans);
    for (size_t i = 0; i < parameters->count; i++) {
        const td_parameter *parameter = &parameters->entries[i]->parameter;
        if (parameter->constant)
            continue;
        bool decays = parameter->rank > 1;
        size_t end = parameter->offset + parameter->rows * parameter->columns;
        td_decay_span *last = optimizer->span_count ? &optimizer->spans[optimizer->span_count - 1] : NULL;
        if (last && last->decays == decays)
            last->end = end;
        else
            optimizer->spans[optimizer->span_count++] = (td_decay_span){end, decays};
    }
    if (optimizer->span_count)
        optimizer->spans[optimizer->span_count - 1].end = optimizer->size;
    return TD_OK;
}

td_status td_optimizer_new(const td_recipe *recipe, const td_parameters *parameters, td_optimizer *ret_optimizer, td_error *error)
{
    size_t size = parameters->trained_size;
    td_optimizer optimizer = {.size = size, .plateau_factor = 1};
    optimizer.first = td_allocate_array(size, sizeof *optimizer.first);
    optimizer.second = td_allocate_array(size, sizeof *optimizer.second);
    if (recipe->training.ema > 0)
        optimizer.average = td_allocate_array(size, sizeof *optimizer.average);
    if (!optimizer.first || !optimizer.second || (recipe->training.ema > 0 && !optimizer.average)) {
        td_optimizer_free(&optimizer);
        return td_fail_memory(error, size * sizeof(td_real));
    }
    if (recipe->training.weight_decay > 0 && find_spans(&optimizer, parameters, error) != TD_OK) {
        td_optimizer_free(&optimizer);
        return TD_ERROR_MEMORY;
    }
    if (optimizer.average)
        memcpy(optimizer.average, parameters->data, size * sizeof(td_real));
    *ret_optimizer = optimizer;
    return TD_OK;
}

void td_optimizer_free(td_optimizer *optimizer)
{
    td_release(optimizer->first);
    td_release(optimizer->second);
    td_release(optimizer->average);
    td_release(optimizer->spans);
    *optimizer = (td_optimizer){0};
}

double td_learning_rate(const td_recipe *recipe, const td_optimizer *optimizer, int64_t step)
{
    double peak = recipe->training.learning_rate, floor = recipe->training.minimum_learning_rate;
    double warmup = (double)recipe->training.warmup_steps, at = (double)step, last = (double)recipe->training.max_steps;
    if (at < warmup)
        return peak * at / warmup;
    double progress = last > warmup ? fmin(1, (at - warmup) / (last - warmup)) : 0, rate = peak;
    switch ((td_recipe_schedule)recipe->training.schedule) {
    case TD_RECIPE_INVERSE_SQRT:
        rate = peak * sqrt(fmax(warmup, 1) / at);
        break;
    case TD_RECIPE_LINEAR:
        rate = floor + (peak - floor) * (1 - progress);
        break;
    case TD_RECIPE_COSINE:
        rate = floor + (peak - floor) * 0.5 * (1 + cos(3.14159265358979323846 * progress));
        break;
    case TD_RECIPE_PLATEAU:
        rate = peak * optimizer->plateau_factor;
        break;
    case TD_RECIPE_CONSTANT:
        break;
    }
    return fmax(rate, floor);
}

typedef struct update_task {
    td_optimizer *optimizer;
    td_real *weights, *gradient;
    const td_real *values; /* to be summed up */
    double *partial;
    size_t size;
    td_adam_step adam;
    double momentum, ema;
    int kind;
} update_task;

size_t td_gradient_norm_parts(size_t size)
{
    return (size + PART - 1) / PART;
}

static void part_range(size_t size, size_t index, size_t *ret_first, size_t *ret_count)
{
    *ret_first = index * PART;
    *ret_count = size - *ret_first < PART ? size - *ret_first : PART;
}

static void sum_part(void *context, size_t index, size_t thread)
{
    (void)thread;
    update_task *task = context;
    size_t first, count;
    part_range(task->size, index, &first, &count);
    task->partial[index] = td_kernels_get()->sum_squares(task->values + first, count);
}

double td_gradient_norm(td_pool *pool, const td_real *gradient, size_t size, double *partial)
{
    update_task task = {.values = gradient, .partial = partial, .size = size};
    td_pool_run(pool, td_gradient_norm_parts(size), sum_part, &task);
    double sum = 0;
    for (size_t i = 0; i < td_gradient_norm_parts(size); i++)
        sum += partial[i];
    return sqrt(sum);
}

static void sgd(td_real *weights, const td_real *gradient, td_real *velocity, size_t count, td_real decay, const update_task *task)
{
    td_real rate = task->adam.learning_rate, scale = task->adam.gradient_scale;
    td_real momentum = (td_real)task->momentum;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        velocity[i] = momentum * velocity[i] + gradient[i] * scale + decay * weights[i];
        weights[i] -= rate * velocity[i];
    }
}

static void follow(td_real *average, const td_real *weights, size_t count, td_real keep)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        average[i] = keep * average[i] + (1 - keep) * weights[i];
}

/* Decay as part of the gradient (Kingma 2015); the kernel's own is decoupled (Loshchilov 2019). */
static void add_decay(td_real *gradient, const td_real *weights, size_t count, const td_adam_step *step)
{
    td_real scale = step->gradient_scale, decay = step->weight_decay;
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        gradient[i] = gradient[i] * scale + decay * weights[i];
}

static void update_range(const update_task *task, size_t first, size_t count, bool decays)
{
    td_real *weights = task->weights + first, *gradient = task->gradient + first, *moment = task->optimizer->first + first;
    td_adam_step step = task->adam;
    if (!decays)
        step.weight_decay = 0;
    if (task->kind == TD_RECIPE_SGD) {
        sgd(weights, gradient, moment, count, step.weight_decay, task);
        return;
    }
    if (task->kind == TD_RECIPE_ADAM && decays) {
        add_decay(gradient, weights, count, &step);
        step.gradient_scale = 1;
        step.weight_decay = 0;
    }
    td_kernels_get()->adam(weights, gradient, moment, task->optimizer->second + first, count, &step);
}

static void update_part(void *context, size_t index, size_t thread)
{
    (void)thread;
    update_task *task = context;
    size_t first, count;
    part_range(task->size, index, &first, &count);
    td_real *weights = task->weights + first;
    if (!task->optimizer->spans)
        update_range(task, first, count, false);
    for (size_t i = 0, at = first; i < task->optimizer->span_count && at < first + count; i++) {
        const td_decay_span *span = &task->optimizer->spans[i];
        size_t end = span->end < first + count ? span->end : first + count;
        if (end <= at)
            continue;
        update_range(task, at, end - at, span->decays);
        at = end;
    }
    td_real *average = task->optimizer->average ? task->optimizer->average + first : NULL;
    if (average)
        follow(average, weights, count, (td_real)task->ema);
}

double td_optimizer_update(td_optimizer *optimizer, const td_recipe *recipe, td_pool *pool, td_real *weights, td_real *gradient,
                           double norm)
{
    double step = (double)++optimizer->step, rate = td_learning_rate(recipe, optimizer, optimizer->step), clip = recipe->training.clip_norm;
    update_task task = {.optimizer = optimizer,
                        .weights = weights,
                        .gradient = gradient,
                        .size = optimizer->size,
                        .momentum = recipe->training.momentum,
                        .kind = recipe->training.optimizer};
    task.adam = (td_adam_step){.learning_rate = (td_real)rate,
                               .beta1 = (td_real)recipe->training.beta1,
                               .beta2 = (td_real)recipe->training.beta2,
                               .epsilon = (td_real)recipe->training.epsilon,
                               .weight_decay = (td_real)recipe->training.weight_decay,
                               .correction1 = (td_real)(1 - pow(recipe->training.beta1, step)),
                               .correction2 = (td_real)(1 - pow(recipe->training.beta2, step)),
                               .gradient_scale = (td_real)(clip > 0 && norm > clip ? clip / norm : 1)};
    /* the average follows quickly at first (as in TensorFlow's num_updates rule) */
    task.ema = fmin(recipe->training.ema, (1 + step) / (10 + step));
    td_pool_run(pool, td_gradient_norm_parts(optimizer->size), update_part, &task);
    return rate;
}
