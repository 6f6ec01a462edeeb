/* A training run: updates, reports, validation and checkpoints, until it is over. */
#include "training/run.h"

#include "base/array.h"
#include "io/json.h"
#include "platform/clock.h"
#include "platform/memory_left.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- one update ---- */

static td_status collect_pairs(td_training_run *run, td_error *error)
{
    run->index_count = 0;
    for (int64_t i = 0; i < run->recipe->training.accumulation; i++) {
        const uint64_t *indices;
        size_t count = td_batches_next(run->batches, &indices);
        size_t needed = run->index_count + count;
        TD_TRY(td_reserve_array(&run->indices, &run->index_capacity, needed, sizeof *run->indices, error));
        memcpy(run->indices + run->index_count, indices, count * sizeof *indices);
        run->index_count = needed;
    }
    run->state.position = td_batches_position(run->batches);
    return TD_OK;
}

static td_status fail_numeric(int64_t step, const char *what, td_error *error)
{
    return td_fail(error, TD_ERROR_NUMERIC,
                   "step %lld: %s; lower training.learning_rate or set training.clip_norm (the last checkpoint is kept)", (long long)step,
                   what);
}

static double update_weights(td_training_run *run)
{
    td_recorder *recorder = td_recorder_attach(run->network.profile);
    td_scope scope;
    td_scope_open(&scope, recorder, "optimiser");
    double rate = td_optimizer_update(&run->optimizer, run->recipe, run->pool, run->network.parameters.data, run->gradient, run->last_norm);
    td_scope_close(&scope);
    td_recorder_release(recorder);
    return rate;
}

static td_status update(td_training_run *run, td_error *error)
{
    td_step_result result;
    TD_TRY(collect_pairs(run, error));
    TD_TRY(td_stepper_run(run->stepper, run->state.step + 1, run->indices, run->index_count, run->gradient, &result, error));
    size_t size = run->network.parameters.trained_size;
    run->last_norm = td_gradient_norm(run->pool, run->gradient, size, run->norm_parts);
    if (!isfinite(run->last_norm) || !isfinite(result.loss))
        return fail_numeric(run->state.step + 1, "the loss or its gradient is not a finite number", error);
    run->last_rate = update_weights(run);
    td_parameters_follow(&run->network.parameters, run->gradient);
    run->state.step++;
    run->state.tokens += result.target_tokens;
    run->state.window_tokens += result.target_tokens;
    run->state.window_loss += result.loss;
    run->state.window_nll += result.nll;
    run->report_tokens += result.target_tokens;
    return TD_OK;
}

/* ---- memory ---- */

/* Linux would grant more than there is and end the process when a step uses it: steps have a limit of their own. */
static void limit_memory(td_training_run *run)
{
    double given = run->recipe->training.max_memory * 1e9;
    size_t left;
    if (given > 0)
        run->memory = (size_t)given;
    else if (td_memory_left("", &left))
        run->memory = left - left / 16;
    if (given > 0 || run->memory)
        td_stepper_limit_memory(run->stepper, run->memory);
}

static bool was_refused(const td_training_run *run)
{
    return (run->stepper && td_stepper_refused(run->stepper)) || (run->validation_stepper && td_stepper_refused(run->validation_stepper));
}

/* What a step that was refused memory is answered with. */
static td_status fail_large_step(const td_training_run *run, td_error *error)
{
    const td_recipe *recipe = run->recipe;
    size_t threads = td_pool_threads(run->pool);
    bool whole = run->network.frozen_width == 0 && *recipe->model.encoder.from && !recipe->model.encoder.frozen;
    const char *blocks = "";
    if (whole)
        blocks = ", or train only its last blocks (model.encoder.frozen: true, trained_blocks)";
    else if (recipe->model.encoder.trained_blocks > 0)
        blocks = ", or train fewer blocks (model.encoder.trained_blocks)";
    return td_fail(
        error, TD_ERROR_MEMORY,
        "training.batch_tokens: a step of %lld needs more than the %.0f MB of memory there are for it on %zu %s; lower it, raise "
        "training.shards%s%s",
        (long long)recipe->training.batch_tokens, (double)run->memory / 1e6, threads, threads == 1 ? "thread" : "threads",
        threads == 1 ? "" : ", lower training.threads", blocks);
}

/* Goes through the batch of the first ones whose largest part takes the most. */
static td_status run_largest(td_training_run *run, uint64_t **largest, td_error *error)
{
    enum { LOOKED_AT = 256 };
    int64_t epoch = td_batches_position(run->batches).epoch;
    double most = 0;
    size_t largest_count = 0;
    for (int i = 0; i < LOOKED_AT && td_batches_position(run->batches).epoch == epoch; i++) {
        const uint64_t *indices;
        size_t count = td_batches_next(run->batches, &indices);
        double size;
        TD_TRY(td_stepper_largest_shard(run->stepper, indices, count, &size, error));
        if (size <= most)
            continue;
        uint64_t *copy = td_resize_array(*largest, count, sizeof *copy);
        if (!copy)
            return td_fail_memory(error, count * sizeof *copy);
        memcpy(copy, indices, count * sizeof *copy);
        *largest = copy;
        largest_count = count;
        most = size;
    }
    td_step_result result;
    return td_stepper_run(run->stepper, 0, *largest, largest_count, run->gradient, &result, error);
}

/* The largest batch goes through once before training: what it took is what training will take, and the arenas have their size from step
 * one. */
static td_status measure_memory(td_training_run *run, td_error *error)
{
    td_batch_position position = td_batches_position(run->batches);
    uint64_t *largest = NULL;
    td_status status = run_largest(run, &largest, error);
    td_release(largest);
    TD_TRY(status);
    size_t weights = (run->network.parameters.size + run->optimizer.size * (run->optimizer.average ? 4 : 3)) * sizeof(td_real);
    size_t step = td_stepper_peak_memory(run->stepper);
    td_training_say(run, false, "memory: %.1f MB for weights, gradient and optimiser, %.1f MB for steps on %zu threads",
                    (double)weights / 1e6, (double)step / 1e6, td_pool_threads(run->pool));
    return td_batches_seek(run->batches, position, error);
}

/* ---- reports, validation, checkpoints ---- */

static td_status log_numbers(td_training_run *run, json_t *object, td_error *error)
{
    if (!object)
        return td_fail_memory(error, 0);
    td_status status = td_log_append(run->log, object, error);
    const char *key;
    json_t *value;
    double wall = td_clock_wall_seconds();
    json_object_foreach(object, key, value)
    {
        if (status == TD_OK && json_is_number(value) && strcmp(key, "step") != 0 && strcmp(key, "averaged") != 0)
            status = td_events_scalar(run->events, wall, run->state.step, key, (float)json_number_value(value), error);
    }
    if (status == TD_OK)
        status = td_events_flush(run->events, error);
    json_decref(object);
    return status;
}

static void show_progress(td_training_run *run, double speed, bool transient)
{
    if (!run->options->report)
        return;
    double loss = run->state.window_tokens ? run->state.window_loss / (double)run->state.window_tokens : 0;
    td_progress progress = {.step = run->state.step,
                            .total_steps = run->recipe->training.max_steps,
                            .elapsed = td_clock_seconds() - run->started,
                            .total_seconds = run->recipe->training.max_minutes * 60,
                            .tokens_per_second = speed,
                            .loss = loss,
                            .epoch = run->state.position.epoch,
                            .first_step = run->first_step};
    td_buffer_clear(&run->progress);
    if (!run->progress.capacity && td_buffer_extend(&run->progress, 256)) /* once */
        td_buffer_clear(&run->progress);
    td_progress_render(&progress, 110, &run->progress);
    td_training_say(run, transient, "%s", td_buffer_text(&run->progress));
}

static td_status report(td_training_run *run, td_error *error)
{
    double now = td_clock_seconds(), tokens = (double)run->state.window_tokens;
    double speed = (double)run->report_tokens / fmax(now - run->report_clock, 1e-9);
    show_progress(run, speed, false);
    const char *left_out = run->recipe->training.ctc_weight > 0 ? "{s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:I}" : "{s:I,s:I,s:f,s:f,s:f,s:f,s:f}";
    TD_TRY(log_numbers(run,
                       json_pack(left_out, "step", (json_int_t)run->state.step, "epoch", (json_int_t)run->state.position.epoch, "loss",
                                 run->state.window_loss / tokens, "nll", run->state.window_nll / tokens, "tokens_per_second", speed,
                                 "learning_rate", run->last_rate, "gradient_norm", run->last_norm, "ctc_left_out",
                                 (json_int_t)run->unaligned_count),
                       error));
    run->state.window_loss = run->state.window_nll = 0;
    run->state.window_tokens = run->report_tokens = 0;
    run->report_clock = now;
    return TD_OK;
}

static td_status save_model(td_training_run *run, td_error *error)
{
    char *path = td_path_join(run->recipe->output, "model.safetensors");
    td_status status = path ? td_parameters_save(&run->network.parameters, NULL, path, error) : td_fail_memory(error, 0);
    td_release(path);
    return status;
}

/* Puts other weights in place (NULL: none) and keeps the present ones in `spare`. */
static void swap_in(td_training_run *run, const td_real *weights)
{
    size_t bytes = run->network.parameters.trained_size * sizeof *weights;
    if (!weights)
        return;
    memcpy(run->spare, run->network.parameters.data, bytes);
    memcpy(run->network.parameters.data, weights, bytes);
}

static void swap_back(td_training_run *run, const td_real *weights)
{
    if (weights)
        memcpy(run->network.parameters.data, run->spare, run->network.parameters.trained_size * sizeof *weights);
}

/* Scores the weights in place; saves them as the model when they are the best so far. */
static td_status try_weights(td_training_run *run, size_t averaged, td_error *error)
{
    td_validation validation = {.score = NAN};
    if (!run->validator)
        return save_model(run, error);
    TD_TRY(td_validator_run(run->validator, &validation, error));
    if (!isfinite(validation.loss))
        return fail_numeric(run->state.step, "the validation loss is not a finite number", error);
    const td_metric *metric = td_metric_find(run->recipe->training.validation_metric);
    double score = !metric ? -validation.loss : metric->lower ? -validation.score : validation.score;
    bool better = score > run->state.best_score;
    json_t *object = json_pack("{s:I,s:f}", "step", (json_int_t)run->state.step, "validation_loss", validation.loss);
    char key[64] = "", what[64] = "", text[48] = "";
    snprintf(key, sizeof key, "validation_%s", td_recipe_choice("training.validation_metric", run->recipe->training.validation_metric));
    if (object && metric)
        json_object_set_new(object, key, json_real(validation.score));
    if (object && averaged)
        json_object_set_new(object, "averaged", json_integer((json_int_t)averaged));
    TD_TRY(log_numbers(run, object, error));
    if (averaged)
        snprintf(what, sizeof what, " of the mean of %zu checkpoints", averaged);
    if (metric)
        snprintf(text, sizeof text, ", %s %.2f", metric->title, validation.score);
    td_training_say(run, false, "validation%s at step %lld: loss %.4f%s%s", what, (long long)run->state.step, validation.loss, text,
                    better ? ", best so far" : "");
    run->state.worse = better ? 0 : run->state.worse + 1;
    if (!better && run->recipe->training.schedule == TD_RECIPE_PLATEAU)
        run->optimizer.plateau_factor *= 0.5;
    if (!better)
        return TD_OK;
    run->state.best_score = score;
    run->state.best_step = run->state.step;
    return save_model(run, error);
}

static td_status validate(td_training_run *run, td_error *error)
{
    double before = td_clock_seconds();
    swap_in(run, run->optimizer.average);
    td_status status = try_weights(run, 0, error);
    swap_back(run, run->optimizer.average);
    run->report_clock += td_clock_seconds() - before; /* not time spent training */
    return status;
}

/* Huge steps make weights infinite before the loss tells: such weights must not become a checkpoint. */
static td_status check_weights(td_training_run *run, td_error *error)
{
    double norm = td_gradient_norm(run->pool, run->network.parameters.data, run->network.parameters.trained_size, run->norm_parts);
    return isfinite(norm) ? TD_OK : fail_numeric(run->state.step, "the weights are not finite numbers", error);
}

static td_status save_checkpoint(td_training_run *run, td_error *error)
{
    run->state.seconds = run->seconds_before + td_clock_seconds() - run->started;
    TD_TRY(td_checkpoint_save(run->recipe->output, &run->network.parameters, &run->optimizer, &run->state, error));
    int64_t keep = run->recipe->training.keep_checkpoints, average = run->recipe->training.average_last;
    return td_checkpoint_prune(run->recipe->output, keep > average ? keep : average, run->recipe->training.checkpoint_every, error);
}

static bool is_over(const td_training_run *run)
{
    const td_recipe *recipe = run->recipe;
    double seconds = run->seconds_before + td_clock_seconds() - run->started;
    return (recipe->training.max_steps && run->state.step >= recipe->training.max_steps) ||
           (recipe->training.max_epochs && run->state.position.epoch >= recipe->training.max_epochs) ||
           (recipe->training.patience && run->state.worse >= recipe->training.patience) ||
           (recipe->training.max_minutes > 0 && seconds >= recipe->training.max_minutes * 60);
}

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

static bool stop_asked(const td_training_run *run)
{
    return run->options->stop && *run->options->stop;
}

static td_status train(td_training_run *run, td_error *error)
{
    bool over = is_over(run);
    run->state.finished &= over; /* a recipe that now allows more goes on */
    while (!over) {
        TD_TRY(update(run, error));
        over = is_over(run);
        bool stop = stop_asked(run);
        if (is_due(run->state.step, run->recipe->training.report_every) || (over && run->state.window_tokens))
            TD_TRY(report(run, error));
        else
            show_progress(run, (double)run->report_tokens / fmax(td_clock_seconds() - run->report_clock, 1e-9), true);
        bool saving = stop || over || is_due(run->state.step, run->recipe->training.checkpoint_every);
        bool validating = over || is_due(run->state.step, run->recipe->training.validate_every);
        if (saving || validating)
            TD_TRY(check_weights(run, error));
        if (validating) {
            TD_TRY(validate(run, error));
            over |= is_over(run);
            if (over && run->state.window_tokens)
                TD_TRY(report(run, error));
        }
        if (saving || over)
            TD_TRY(save_checkpoint(run, error));
        if (stop && !over)
            return td_fail(error, TD_ERROR_CANCELLED, "stopped at step %lld; the same command goes on from there",
                           (long long)run->state.step);
    }
    return TD_OK;
}

/* The mean of the last checkpoints may beat every single one. */
static td_status try_average(td_training_run *run, td_error *error)
{
    size_t wanted = (size_t)run->recipe->training.average_last, found;
    if (wanted < 2 || run->state.finished)
        return TD_OK;
    TD_TRY(td_checkpoint_average(run->recipe->output, wanted, run->recipe->training.checkpoint_every, &run->network.parameters,
                                 run->gradient, &found, error));
    if (found < 2)
        return TD_OK;
    swap_in(run, run->gradient);
    td_status status = try_weights(run, found, error);
    swap_back(run, run->gradient);
    return status;
}

static td_status run_all(td_training_run *run, const char *path, td_error *error)
{
    TD_TRY(td_training_set_up(run, path, error));
    td_training_say(run, false, "model: %s, %.2f M parameters", run->network.architecture->model_type,
                    (double)td_parameters_trained_count(&run->network.parameters) / 1e6);
    run->started = run->report_clock = td_clock_seconds();
    limit_memory(run);
    if (!is_over(run))
        TD_TRY(measure_memory(run, error));
    run->started = run->report_clock = td_clock_seconds();
    TD_TRY(train(run, error));
    TD_TRY(try_average(run, error));
    if (!run->state.finished) {
        run->state.finished = true;
        TD_TRY(td_checkpoint_save_state(run->recipe->output, &run->optimizer, &run->state, error));
    }
    if (run->state.step > run->first_step)
        td_training_say(run, false, "memory: steps took %.1f MB", (double)td_stepper_peak_memory(run->stepper) / 1e6);
    char best[48] = "";
    if (run->validator)
        snprintf(best, sizeof best, " (best at step %lld)", (long long)run->state.best_step);
    td_training_say(run, false, "done: the model is in %s%s", run->recipe->output, best);
    return TD_OK;
}

td_status td_train(const char *recipe_path, const td_train_options *options, td_error *error)
{
    td_train_options given = TD_TRAIN_OPTIONS_INIT;
    if (options)
        memcpy(&given, options, options->struct_size < sizeof given ? options->struct_size : sizeof given);
    td_training_run run = {.options = &given, .data.lock = -1};
    td_status status = run_all(&run, recipe_path, error);
    if (status == TD_ERROR_MEMORY && was_refused(&run))
        status = fail_large_step(&run, error);
    td_training_tear_down(&run);
    return status;
}
