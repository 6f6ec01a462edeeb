/* A training run from recipe to model directory. */
#include "tandem/training.h"

#include "io/json.h"
#include "kernels/gemm.h"
#include "platform/clock.h"
#include "platform/cpu.h"
#include "training/checkpoint.h"
#include "training/model_config.h"
#include "training/prepare.h"
#include "training/report.h"
#include "training/validate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct training_run {
    const td_train_options *options;
    td_recipe *recipe;
    td_prepared data;
    td_sources sources; /* of sound and pictures */
    td_network network;
    td_pool *pool;
    td_stepper *stepper, *validation_stepper;
    td_validator *validator;
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
} training_run;

static void say(const training_run *run, bool transient, const char *format, ...) TD_PRINTF(3, 4);

static void say(const training_run *run, bool transient, const char *format, ...)
{
    char line[512];
    if (!run->options->report)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    run->options->report(run->options->context, line, transient);
}

/* ---- setting up ---- */

static td_status load_recipe(training_run *run, const char *path, td_error *error)
{
    TD_TRY(td_recipe_load(path, &run->recipe, error));
    for (size_t i = 0; i < run->options->override_count; i++)
        TD_TRY(td_recipe_set(run->recipe, run->options->overrides[i], error));
    return td_recipe_check(run->recipe, error);
}

static td_status write_config(training_run *run, const json_t *config, td_error *error)
{
    json_t *generation = NULL;
    char *config_path = td_path_join(run->recipe->output, "config.json");
    char *generation_path = td_path_join(run->recipe->output, "generation_config.json");
    td_status status = config_path && generation_path ? TD_OK : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = *run->recipe->model.from ? td_model_tuned_generation(run->recipe, run->data.tokenizer, config, &generation, error)
                                          : td_model_generation_config(run->recipe, run->data.tokenizer, &generation, error);
    if (status == TD_OK)
        status = td_json_save_file(config_path, config, error);
    if (status == TD_OK && generation)
        status = td_json_save_file(generation_path, generation, error);
    json_decref(generation);
    td_release(config_path);
    td_release(generation_path);
    return status;
}

/* The weights of a picture encoder that exists. */
static td_status load_picture_encoder(training_run *run, td_error *error)
{
    static const char prefix[] = "encoder.cnn.";
    td_parameters part = run->network.parameters;
    td_safetensors *file;
    part.entries = td_allocate_array(part.count, sizeof(td_parameter_entry *));
    if (!part.entries)
        return td_fail_memory(error, part.count * sizeof(td_parameter_entry *));
    part.count = 0;
    for (size_t i = 0; i < run->network.parameters.count; i++)
        if (strncmp(run->network.parameters.entries[i]->parameter.name, prefix, sizeof prefix - 1) == 0)
            part.entries[part.count++] = run->network.parameters.entries[i];
    td_status status = td_safetensors_open_directory(run->recipe->model.encoder.from, &file, error);
    if (status == TD_OK) {
        status = td_parameters_load(&part, file, error);
        td_safetensors_close(file);
    }
    td_release(part.entries);
    return status;
}

static td_status load_starting_point(training_run *run, td_error *error)
{
    if (!*run->recipe->model.from) {
        td_parameters_initialise(&run->network.parameters, (uint64_t)run->recipe->training.seed);
        return *run->recipe->model.encoder.from ? load_picture_encoder(run, error) : TD_OK;
    }
    td_safetensors *file;
    TD_TRY(td_safetensors_open_directory(run->recipe->model.from, &file, error));
    td_status status = td_parameters_load(&run->network.parameters, file, error);
    td_safetensors_close(file);
    return status;
}

static td_status read_model_from(const training_run *run, json_t **ret_config, td_error *error)
{
    char *path = td_path_join(run->recipe->model.from, "config.json");
    if (!path)
        return td_fail_memory(error, 0);
    td_status status = td_json_load_file(path, ret_config, error);
    td_release(path);
    /* The weights are written as float32, whatever they were. */
    static const char *const types[] = {"dtype", "torch_dtype"};
    for (size_t i = 0; status == TD_OK && i < 2; i++)
        if (json_object_get(*ret_config, types[i]) && json_object_set_new(*ret_config, types[i], json_string("float32")) != 0)
            status = td_fail_memory(error, 0);
    return status;
}

/* Texts that the model has no positions for cannot be learned from; a limit that nobody chose follows the model's. */
static td_status fit_lengths(training_run *run, td_error *error)
{
    td_recipe *recipe = run->recipe;
    int64_t most = (int64_t)run->network.max_positions, *lengths[] = {&recipe->data.max_source_length, &recipe->data.max_target_length};
    static const char *const keys[] = {"data.max_source_length", "data.max_target_length"};
    for (size_t i = td_recipe_reads_text(recipe) ? 0 : 1; most > 0 && i < 2; i++) {
        if (*lengths[i] > most && td_recipe_given(recipe, keys[i]))
            return td_fail(error, TD_ERROR_ARGUMENT, "%s: must be at most %lld, the positions of the model in model.from", keys[i], (long long)most);
        *lengths[i] = *lengths[i] > most ? most : *lengths[i];
    }
    return TD_OK;
}

static size_t feature_width(const training_run *run)
{
    return td_recipe_reads_text(run->recipe) ? 0 : td_sources_width(&run->sources);
}

static td_status set_up_network(training_run *run, td_error *error)
{
    json_t *config = NULL;
    td_status status = *run->recipe->model.from ? read_model_from(run, &config, error)
                                                : td_model_config(run->recipe, run->data.tokenizer, feature_width(run), &config, error);
    if (status == TD_OK)
        status = td_network_configure(config, "config.json", &run->network, error);
    if (status == TD_OK)
        status = write_config(run, config, error);
    json_decref(config);
    TD_TRY(status);
    if (*run->recipe->model.from)
        TD_TRY(fit_lengths(run, error));
    if (run->network.copies != run->recipe->model.copy)
        return td_fail(error, TD_ERROR_ARGUMENT, "model.copy: must be %s as in model.from", run->network.copies ? "true" : "false");
    run->network.keeps_attention = run->recipe->training.doubly_stochastic > 0;
    run->network.rates = (td_dropout_rates){(td_real)run->recipe->training.dropout, (td_real)run->recipe->training.attention_dropout,
                                            (td_real)run->recipe->training.activation_dropout, (td_real)run->recipe->training.word_dropout};
    return load_starting_point(run, error);
}

/* Names each pair once. */
static void name_unaligned(void *context, uint64_t index)
{
    enum { NAMED = 20 };
    training_run *run = context;
    if (!run->unaligned)
        run->unaligned = td_allocate_array(run->data.train.count, sizeof *run->unaligned);
    if (!run->unaligned || run->unaligned[index])
        return; /* without memory for it: not named */
    run->unaligned[index] = true;
    td_pair pair = td_corpus_get(&run->data.train, index);
    int length = pair.source_bytes < 300 ? (int)pair.source_bytes : 300;
    if (++run->unaligned_count <= NAMED)
        say(run, false, "CTC leaves out %.*s (%zu frames): its %zu target pieces do not fit in what the encoder leaves of them", length,
            pair.source_text, pair.source_length, pair.target_length - 1);
    if (run->unaligned_count == NAMED)
        say(run, false, "further recordings that CTC leaves out are counted in log.jsonl (ctc_left_out) and not named");
}

static td_mask_policy masks(const td_recipe *recipe)
{
    return (td_mask_policy){.time_masks = (size_t)recipe->training.spec_augment.time_masks,
                            .time_width = (size_t)recipe->training.spec_augment.time_width,
                            .frequency_masks = (size_t)recipe->training.spec_augment.frequency_masks,
                            .frequency_width = (size_t)recipe->training.spec_augment.frequency_width};
}

static td_status set_up_steppers(training_run *run, td_error *error)
{
    run->network.profile = run->options->profile;
    const td_recipe *recipe = run->recipe;
    td_step_options options = {.network = &run->network, .tokenizer = run->data.tokenizer, .corpus = &run->data.train,
                               .shards = (size_t)(recipe->training.shards * recipe->training.accumulation),
                               .seed = (uint64_t)recipe->training.seed, .label_smoothing = recipe->training.label_smoothing,
                               .r_drop = recipe->training.r_drop, .coverage_loss = recipe->training.coverage_loss,
                               .doubly_stochastic = recipe->training.doubly_stochastic,
                               .max_source_length = recipe->data.truncate_source ? (size_t)recipe->data.max_source_length : 0, .bpe_dropout = recipe->data.bpe_dropout,
                               .word_dropout = recipe->training.word_dropout,
                               .scheduled_sampling = recipe->training.scheduled_sampling, .max_steps = recipe->training.max_steps,
                               .masks = masks(recipe),
                               .bfloat16 = recipe->training.precision == TD_RECIPE_BFLOAT16 && td_gemm_bfloat16_supported(),
                               .ctc_weight = recipe->training.ctc_weight, .unaligned = name_unaligned, .unaligned_context = run};
    if (recipe->training.precision == TD_RECIPE_BFLOAT16 && !options.bfloat16)
        say(run, false, "this processor has no bfloat16 products: training in float32");
    TD_TRY(td_stepper_new(&options, run->pool, &run->stepper, error));
    if (!run->data.has_validation)
        return TD_OK;
    options.corpus = &run->data.validation;
    options.shards = 8;
    options.bfloat16 = false;
    TD_TRY(td_stepper_new(&options, run->pool, &run->validation_stepper, error));
    return td_validator_new(recipe, &run->network, run->data.tokenizer, &run->data.validation, run->validation_stepper, run->pool,
                            &run->validator, error);
}

static td_status allocate_buffers(training_run *run, td_error *error)
{
    size_t size = run->network.parameters.trained_size;
    run->gradient = td_allocate_array(run->network.parameters.step_size, sizeof *run->gradient);
    run->norm_parts = td_allocate_array(td_gradient_norm_parts(size), sizeof *run->norm_parts);
    bool averages = run->recipe->training.ema > 0 || run->recipe->training.average_last > 0;
    run->spare = averages ? td_allocate_array(size, sizeof *run->spare) : NULL;
    if (!run->gradient || !run->norm_parts || (averages && !run->spare))
        return td_fail_memory(error, size * sizeof(td_real));
    return td_optimizer_new(run->recipe, &run->network.parameters, &run->optimizer, error);
}

static td_status resume(training_run *run, td_error *error)
{
    bool found = false;
    run->state = (td_run_state){.best_score = -1e300};
    TD_TRY(td_checkpoint_load(run->recipe->output, &run->network.parameters, &run->optimizer, &run->state, &found, error));
    if (found) {
        TD_TRY(td_batches_seek(run->batches, run->state.position, error));
        say(run, false, "continuing from step %lld", (long long)run->state.step);
    }
    run->seconds_before = run->state.seconds;
    run->first_step = run->state.step;
    return TD_OK;
}

static td_status open_reports(training_run *run, td_error *error)
{
    char *path = td_path_join(run->recipe->output, "log.jsonl");
    int64_t last = run->state.finished ? INT64_MAX : run->state.step;
    td_status status = path ? td_log_open(path, last, &run->log, error) : td_fail_memory(error, 0);
    td_release(path);
    TD_TRY(status);
    return td_events_open(run->recipe->output, td_clock_wall_seconds(), run->state.step, &run->events, error);
}

static void show_measuring(void *context, uint64_t read)
{
    say(context, true, "mean and deviation: %llu files read", (unsigned long long)read);
}

static td_status open_sources(training_run *run, td_error *error)
{
    td_corpus_watch watch = {run->options->stop, show_measuring, run};
    return td_sources_open(run->recipe, run->pool, &watch, &run->sources, error);
}

static td_status set_up(training_run *run, const char *path, td_error *error)
{
    TD_TRY(load_recipe(run, path, error));
    td_prepare_report report = {run->options->report, run->options->context, run->options->stop};
    bool text = td_recipe_reads_text(run->recipe);
    TD_TRY(td_prepare_vocabulary(run->recipe, run->options->restart, report, &run->data, error));
    size_t threads = run->recipe->training.threads > 0 ? (size_t)run->recipe->training.threads : (size_t)td_cpu_count();
    TD_TRY(td_pool_new(threads, td_gemm_thread_setup, &run->pool, error));
    if (!text)
        TD_TRY(open_sources(run, error));
    TD_TRY(set_up_network(run, error));
    if (run->recipe->task == TD_TASK_CAPTION && *run->recipe->model.encoder.from && run->recipe->model.encoder.frozen)
        TD_TRY(td_sources_use_frozen(&run->sources, &run->network, error));
    TD_TRY(td_prepare_corpora(run->recipe, text ? NULL : &run->sources.reader, report, &run->data, error));
    TD_TRY(allocate_buffers(run, error));
    TD_TRY(set_up_steppers(run, error));
    TD_TRY(td_batches_new(&run->data.train, (uint64_t)run->recipe->training.seed, (size_t)run->recipe->training.batch_tokens,
                          (size_t)run->recipe->data.shuffle_window, &run->batches, error));
    TD_TRY(resume(run, error));
    return open_reports(run, error);
}

static void tear_down(training_run *run)
{
    td_events_close(run->events);
    td_log_close(run->log);
    td_validator_free(run->validator);
    td_stepper_free(run->validation_stepper);
    td_stepper_free(run->stepper);
    td_batches_free(run->batches);
    td_release(run->unaligned);
    td_optimizer_free(&run->optimizer);
    td_release(run->gradient);
    td_release(run->spare);
    td_release(run->norm_parts);
    td_release(run->indices);
    td_buffer_free(&run->progress);
    td_sources_close(&run->sources);
    td_network_free(&run->network);
    td_pool_free(run->pool);
    td_prepared_free(&run->data);
    td_recipe_free(run->recipe);
}

/* ---- one update ---- */

static td_status collect_pairs(training_run *run, td_error *error)
{
    run->index_count = 0;
    for (int64_t i = 0; i < run->recipe->training.accumulation; i++) {
        const uint64_t *indices;
        size_t count = td_batches_next(run->batches, &indices);
        size_t needed = run->index_count + count;
        if (needed > run->index_capacity) {
            uint64_t *grown = td_resize_array(run->indices, needed * 2, sizeof *grown);
            if (!grown)
                return td_fail_memory(error, needed * sizeof *grown);
            run->indices = grown;
            run->index_capacity = needed * 2;
        }
        memcpy(run->indices + run->index_count, indices, count * sizeof *indices);
        run->index_count = needed;
    }
    run->state.position = td_batches_position(run->batches);
    return TD_OK;
}

static td_status fail_numeric(int64_t step, const char *what, td_error *error)
{
    return td_fail(error, TD_ERROR_NUMERIC, "step %lld: %s; lower training.learning_rate or set training.clip_norm (the last checkpoint is kept)",
                   (long long)step, what);
}

static double update_weights(training_run *run)
{
    td_recorder *recorder = td_recorder_attach(run->network.profile);
    td_scope scope;
    td_scope_open(&scope, recorder, "optimiser");
    double rate = td_optimizer_update(&run->optimizer, run->recipe, run->pool, run->network.parameters.data, run->gradient, run->last_norm);
    td_scope_close(&scope);
    td_recorder_release(recorder);
    return rate;
}

static td_status update(training_run *run, td_error *error)
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

/* The longest batch of the first window goes through once before training: what it took is what training will take, and the arenas have
 * their size from step one. */
static td_status measure_memory(training_run *run, td_error *error)
{
    td_batch_position position = td_batches_position(run->batches);
    const uint64_t *indices;
    size_t count, source, target, longest = 0;
    uint64_t *worst = NULL;
    size_t worst_count = 0;
    for (int i = 0; i < 64; i++) {
        count = td_batches_next(run->batches, &indices);
        td_corpus_lengths(&run->data.train, indices[count - 1], &source, &target);
        if (source + target <= longest)
            continue;
        uint64_t *copy = td_resize_array(worst, count, sizeof *copy);
        if (!copy) {
            td_release(worst);
            return td_fail_memory(error, count * sizeof *copy);
        }
        worst = copy;
        memcpy(worst, indices, count * sizeof *indices);
        worst_count = count;
        longest = source + target;
    }
    td_step_result result;
    td_status status = td_stepper_run(run->stepper, 0, worst, worst_count, run->gradient, &result, error);
    td_release(worst);
    TD_TRY(status);
    size_t weights = (run->network.parameters.size + run->optimizer.size * (run->optimizer.average ? 4 : 3)) * sizeof(td_real);
    size_t step = td_stepper_peak_memory(run->stepper);
    say(run, false, "memory: %.1f MB for weights, gradient and optimiser, %.1f MB for steps on %zu threads", (double)weights / 1e6,
        (double)step / 1e6, td_pool_threads(run->pool));
    return td_batches_seek(run->batches, position, error);
}

/* ---- reports, validation, checkpoints ---- */

static td_status log_numbers(training_run *run, json_t *object, td_error *error)
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

static void show_progress(training_run *run, double speed, bool transient)
{
    if (!run->options->report)
        return;
    double loss = run->state.window_tokens ? run->state.window_loss / (double)run->state.window_tokens : 0;
    td_progress progress = {.step = run->state.step, .total_steps = run->recipe->training.max_steps, .elapsed = td_clock_seconds() - run->started,
                            .total_seconds = run->recipe->training.max_minutes * 60, .tokens_per_second = speed, .loss = loss,
                            .epoch = run->state.position.epoch, .first_step = run->first_step};
    td_buffer_clear(&run->progress);
    if (!run->progress.capacity && td_buffer_extend(&run->progress, 256)) /* once */
        td_buffer_clear(&run->progress);
    td_progress_render(&progress, 110, &run->progress);
    say(run, transient, "%s", td_buffer_text(&run->progress));
}

static td_status report(training_run *run, td_error *error)
{
    double now = td_clock_seconds(), tokens = (double)run->state.window_tokens;
    double speed = (double)run->report_tokens / fmax(now - run->report_clock, 1e-9);
    show_progress(run, speed, false);
    const char *left_out = run->recipe->training.ctc_weight > 0 ? "{s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:I}" : "{s:I,s:I,s:f,s:f,s:f,s:f,s:f}";
    TD_TRY(log_numbers(run,
                       json_pack(left_out, "step", (json_int_t)run->state.step, "epoch",
                                 (json_int_t)run->state.position.epoch, "loss", run->state.window_loss / tokens, "nll",
                                 run->state.window_nll / tokens, "tokens_per_second", speed, "learning_rate", run->last_rate,
                                 "gradient_norm", run->last_norm, "ctc_left_out", (json_int_t)run->unaligned_count),
                       error));
    run->state.window_loss = run->state.window_nll = 0;
    run->state.window_tokens = run->report_tokens = 0;
    run->report_clock = now;
    return TD_OK;
}

static td_status save_model(training_run *run, td_error *error)
{
    char *path = td_path_join(run->recipe->output, "model.safetensors");
    td_status status = path ? td_parameters_save(&run->network.parameters, NULL, path, error) : td_fail_memory(error, 0);
    td_release(path);
    return status;
}

/* Puts other weights in place (NULL: none) and keeps the present ones in `spare`. */
static void swap_in(training_run *run, const td_real *weights)
{
    size_t bytes = run->network.parameters.trained_size * sizeof *weights;
    if (!weights)
        return;
    memcpy(run->spare, run->network.parameters.data, bytes);
    memcpy(run->network.parameters.data, weights, bytes);
}

static void swap_back(training_run *run, const td_real *weights)
{
    if (weights)
        memcpy(run->network.parameters.data, run->spare, run->network.parameters.trained_size * sizeof *weights);
}

/* Scores the weights in place; saves them as the model when they are the best so far. */
static td_status try_weights(training_run *run, size_t averaged, td_error *error)
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
    say(run, false, "validation%s at step %lld: loss %.4f%s%s", what, (long long)run->state.step, validation.loss, text,
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

static td_status validate(training_run *run, td_error *error)
{
    double before = td_clock_seconds();
    swap_in(run, run->optimizer.average);
    td_status status = try_weights(run, 0, error);
    swap_back(run, run->optimizer.average);
    run->report_clock += td_clock_seconds() - before; /* not time spent training */
    return status;
}

/* Huge steps make weights infinite before the loss tells: such weights must not become a checkpoint. */
static td_status check_weights(training_run *run, td_error *error)
{
    double norm = td_gradient_norm(run->pool, run->network.parameters.data, run->network.parameters.trained_size, run->norm_parts);
    return isfinite(norm) ? TD_OK : fail_numeric(run->state.step, "the weights are not finite numbers", error);
}

static td_status save_checkpoint(training_run *run, td_error *error)
{
    run->state.seconds = run->seconds_before + td_clock_seconds() - run->started;
    TD_TRY(td_checkpoint_save(run->recipe->output, &run->network.parameters, &run->optimizer, &run->state, error));
    int64_t keep = run->recipe->training.keep_checkpoints, average = run->recipe->training.average_last;
    return td_checkpoint_prune(run->recipe->output, keep > average ? keep : average, run->recipe->training.checkpoint_every, error);
}

static bool is_over(const training_run *run)
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

static bool stop_asked(const training_run *run)
{
    return run->options->stop && *run->options->stop;
}

static td_status train(training_run *run, td_error *error)
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
            return td_fail(error, TD_ERROR_CANCELLED, "stopped at step %lld; the same command goes on from there", (long long)run->state.step);
    }
    return TD_OK;
}

/* The mean of the last checkpoints may beat every single one. */
static td_status try_average(training_run *run, td_error *error)
{
    size_t wanted = (size_t)run->recipe->training.average_last, found;
    if (wanted < 2 || run->state.finished)
        return TD_OK;
    TD_TRY(td_checkpoint_average(run->recipe->output, wanted, run->recipe->training.checkpoint_every, &run->network.parameters, run->gradient, &found, error));
    if (found < 2)
        return TD_OK;
    swap_in(run, run->gradient);
    td_status status = try_weights(run, found, error);
    swap_back(run, run->gradient);
    return status;
}

static td_status run_all(training_run *run, const char *path, td_error *error)
{
    TD_TRY(set_up(run, path, error));
    say(run, false, "model: %s, %.2f M parameters", run->network.architecture->model_type,
        (double)td_parameters_trained_count(&run->network.parameters) / 1e6);
    run->started = run->report_clock = td_clock_seconds();
    if (!is_over(run))
        TD_TRY(measure_memory(run, error));
    run->started = run->report_clock = td_clock_seconds();
    TD_TRY(train(run, error));
    TD_TRY(try_average(run, error));
    if (!run->state.finished) {
        run->state.finished = true;
        TD_TRY(td_checkpoint_save_state(run->recipe->output, &run->optimizer, &run->state, error));
    }
    say(run, false, "done: the model is in %s (best at step %lld)", run->recipe->output, (long long)run->state.best_step);
    return TD_OK;
}

td_status td_train(const char *recipe_path, const td_train_options *options, td_error *error)
{
    td_train_options given = TD_TRAIN_OPTIONS_INIT;
    if (options)
        memcpy(&given, options, options->struct_size < sizeof given ? options->struct_size : sizeof given);
    training_run run = {.options = &given, .data.lock = -1};
    td_status status = run_all(&run, recipe_path, error);
    tear_down(&run);
    return status;
}
