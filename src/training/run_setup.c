/* Setting up a training run. */
#include "training/run.h"

#include "io/json.h"
#include "kernels/gemm.h"
#include "platform/clock.h"
#include "platform/cpu.h"
#include "training/model_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void td_training_say(const td_training_run *run, bool transient, const char *format, ...)
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

static td_status load_recipe(td_training_run *run, const char *path, td_error *error)
{
    TD_TRY(td_recipe_load(path, &run->recipe, error));
    for (size_t i = 0; i < run->options->override_count; i++)
        TD_TRY(td_recipe_set(run->recipe, run->options->overrides[i], error));
    return td_recipe_check(run->recipe, error);
}

static td_status write_config(td_training_run *run, const json_t *config, td_error *error)
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
static td_status load_picture_encoder(td_training_run *run, td_error *error)
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

static td_status load_starting_point(td_training_run *run, td_error *error)
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

static td_status read_model_from(const td_training_run *run, json_t **ret_config, td_error *error)
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
static td_status fit_lengths(td_training_run *run, td_error *error)
{
    td_recipe *recipe = run->recipe;
    int64_t most = (int64_t)run->network.max_positions, *lengths[] = {&recipe->data.max_source_length, &recipe->data.max_target_length};
    static const char *const keys[] = {"data.max_source_length", "data.max_target_length"};
    for (size_t i = td_recipe_reads_text(recipe) ? 0 : 1; most > 0 && i < 2; i++) {
        if (*lengths[i] > most && td_recipe_given(recipe, keys[i]))
            return td_fail(error, TD_ERROR_ARGUMENT, "%s: must be at most %lld, the positions of the model in model.from", keys[i],
                           (long long)most);
        *lengths[i] = *lengths[i] > most ? most : *lengths[i];
    }
    return TD_OK;
}

static size_t feature_width(const td_training_run *run)
{
    return td_recipe_reads_text(run->recipe) ? 0 : td_sources_width(&run->sources);
}

/* Where texts were cut in training they are cut in use: "tandem": {"max_source_length": N}. */
static td_status cut_as_trained(const td_recipe *recipe, json_t *config, td_error *error)
{
    if (!recipe->data.truncate_source || !td_recipe_reads_text(recipe))
        return TD_OK;
    json_t *own = json_object_get(config, "tandem");
    if (!own && json_object_set_new(config, "tandem", json_object()) == 0)
        own = json_object_get(config, "tandem");
    return own && json_object_set_new(own, "max_source_length", json_integer(recipe->data.max_source_length)) == 0
               ? TD_OK
               : td_fail_memory(error, 0);
}

static td_status set_up_network(td_training_run *run, td_error *error)
{
    json_t *config = NULL;
    td_status status = *run->recipe->model.from ? read_model_from(run, &config, error)
                                                : td_model_config(run->recipe, run->data.tokenizer, feature_width(run), &config, error);
    if (status == TD_OK && *run->recipe->model.from && json_object_get(config, "encoder") && run->recipe->task == TD_TASK_CAPTION)
        status = td_model_encoder_training(run->recipe, config, error);
    if (status == TD_OK)
        status = cut_as_trained(run->recipe, config, error);
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
    td_training_run *run = context;
    if (!run->unaligned)
        run->unaligned = td_allocate_array(run->data.train.count, sizeof *run->unaligned);
    if (!run->unaligned || run->unaligned[index])
        return; /* without memory for it: not named */
    run->unaligned[index] = true;
    td_pair pair = td_corpus_get(&run->data.train, index);
    int length = pair.source_bytes < 300 ? (int)pair.source_bytes : 300;
    if (++run->unaligned_count <= NAMED)
        td_training_say(run, false, "CTC leaves out %.*s (%zu frames): its %zu target pieces do not fit in what the encoder leaves of them",
                        length, pair.source_text, pair.source_length, pair.target_length - 1);
    if (run->unaligned_count == NAMED)
        td_training_say(run, false, "further recordings that CTC leaves out are counted in log.jsonl (ctc_left_out) and not named");
}

static td_mask_policy masks(const td_recipe *recipe)
{
    return (td_mask_policy){.time_masks = (size_t)recipe->training.spec_augment.time_masks,
                            .time_width = (size_t)recipe->training.spec_augment.time_width,
                            .frequency_masks = (size_t)recipe->training.spec_augment.frequency_masks,
                            .frequency_width = (size_t)recipe->training.spec_augment.frequency_width};
}

static td_status set_up_steppers(td_training_run *run, td_error *error)
{
    run->network.profile = run->options->profile;
    const td_recipe *recipe = run->recipe;
    td_step_options options = {.network = &run->network,
                               .tokenizer = run->data.tokenizer,
                               .corpus = &run->data.train,
                               .shards = (size_t)(recipe->training.shards * recipe->training.accumulation),
                               .seed = (uint64_t)recipe->training.seed,
                               .label_smoothing = recipe->training.label_smoothing,
                               .r_drop = recipe->training.r_drop,
                               .coverage_loss = recipe->training.coverage_loss,
                               .doubly_stochastic = recipe->training.doubly_stochastic,
                               .max_source_length = recipe->data.truncate_source ? (size_t)recipe->data.max_source_length : 0,
                               .bpe_dropout = recipe->data.bpe_dropout,
                               .word_dropout = recipe->training.word_dropout,
                               .scheduled_sampling = recipe->training.scheduled_sampling,
                               .max_steps = recipe->training.max_steps,
                               .masks = masks(recipe),
                               .bfloat16 = recipe->training.precision == TD_RECIPE_BFLOAT16 && td_gemm_bfloat16_supported(),
                               .ctc_weight = recipe->training.ctc_weight,
                               .unaligned = name_unaligned,
                               .unaligned_context = run};
    if (recipe->training.minimum_risk.weight > 0)
        TD_TRY(td_candidates_new(recipe, &run->network, run->data.tokenizer, &run->data.train, run->pool, &run->candidates, error));
    options.candidates = run->candidates;
    options.risk_weight = recipe->training.minimum_risk.weight;
    if (recipe->training.precision == TD_RECIPE_BFLOAT16 && !options.bfloat16)
        td_training_say(run, false, "this processor has no bfloat16 products: training in float32");
    TD_TRY(td_stepper_new(&options, run->pool, &run->stepper, error));
    if (!run->data.has_validation)
        return TD_OK;
    options.corpus = &run->data.validation;
    options.shards = TD_VALIDATION_SHARDS;
    options.bfloat16 = false;
    options.beside = run->stepper;
    options.candidates = NULL;
    TD_TRY(td_stepper_new(&options, run->pool, &run->validation_stepper, error));
    return td_validator_new(recipe, &run->network, run->data.tokenizer, &run->data.validation, run->validation_stepper, run->pool,
                            &run->validator, error);
}

static td_status allocate_buffers(td_training_run *run, td_error *error)
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

static td_status resume(td_training_run *run, td_error *error)
{
    bool found = false;
    run->state = (td_run_state){.best_score = -1e300};
    TD_TRY(td_checkpoint_load(run->recipe->output, &run->network.parameters, &run->optimizer, &run->state, &found, error));
    if (found) {
        TD_TRY(td_batches_seek(run->batches, run->state.position, error));
        td_training_say(run, false, "continuing from step %lld", (long long)run->state.step);
    }
    run->seconds_before = run->state.seconds;
    run->first_step = run->state.step;
    return TD_OK;
}

static td_status open_reports(td_training_run *run, td_error *error)
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
    td_training_say(context, true, "mean and deviation: %llu files read", (unsigned long long)read);
}

static td_status open_sources(td_training_run *run, td_error *error)
{
    td_corpus_watch watch = {run->options->stop, show_measuring, run};
    return td_sources_open(run->recipe, run->pool, &watch, &run->sources, error);
}

td_status td_training_set_up(td_training_run *run, const char *path, td_error *error)
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
    if (run->network.frozen_width > 0)
        TD_TRY(td_sources_use_frozen(&run->sources, run->recipe, &run->network, error));
    else if (run->recipe->model.encoder.trained_blocks > 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "model.encoder.trained_blocks: the model in model.from has no picture encoder of blocks");
    TD_TRY(td_prepare_corpora(run->recipe, text ? NULL : &run->sources.reader, report, &run->data, error));
    TD_TRY(allocate_buffers(run, error));
    TD_TRY(set_up_steppers(run, error));
    TD_TRY(td_batches_new(&run->data.train, (uint64_t)run->recipe->training.seed, (size_t)run->recipe->training.batch_tokens,
                          (size_t)run->recipe->data.shuffle_window, &run->batches, error));
    TD_TRY(resume(run, error));
    return open_reports(run, error);
}

void td_training_tear_down(td_training_run *run)
{
    td_events_close(run->events);
    td_log_close(run->log);
    td_validator_free(run->validator);
    td_stepper_free(run->validation_stepper);
    td_stepper_free(run->stepper);
    td_candidates_free(run->candidates);
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
