#include "training/checkpoint.h"

#include "io/json.h"
#include "platform/file.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 0))) static char *format_path(const char *output, const char *format, long long step)
{
    td_buffer path = TD_BUFFER_INIT;
    td_buffer_format(&path, "%s/checkpoints/", output);
    td_buffer_format(&path, format, step);
    if (td_buffer_ok(&path))
        return path.data;
    td_buffer_free(&path);
    return NULL;
}

static int compare_steps(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? 1 : a > b ? -1 : 0;
}

static td_status add_step(int64_t **steps, size_t *count, int64_t step, td_error *error)
{
    if (!td_grow_array(steps, *count + 1, sizeof **steps))
        return td_fail_memory(error, (*count + 1) * sizeof **steps);
    (*steps)[(*count)++] = step;
    return TD_OK;
}

/* Steps of the complete checkpoints, newest first. */
static td_status list_steps(const char *output, int64_t **ret_steps, size_t *ret_count, td_error *error)
{
    char *path = td_path_join(output, "checkpoints");
    if (!path)
        return td_fail_memory(error, strlen(output));
    DIR *directory = opendir(path);
    td_status status = TD_OK;
    if (!directory && errno != ENOENT)
        status = td_fail(error, TD_ERROR_IO, "%s: cannot open directory: %s", path, strerror(errno));
    td_release(path);
    int64_t *steps = NULL;
    size_t count = 0;
    for (struct dirent *entry; status == TD_OK && directory && (entry = readdir(directory));) {
        char *end;
        if (strncmp(entry->d_name, "step-", 5) != 0)
            continue;
        int64_t step = strtoll(entry->d_name + 5, &end, 10);
        if (!*end)
            status = add_step(&steps, &count, step, error);
    }
    if (directory)
        closedir(directory);
    if (status != TD_OK) {
        td_release(steps);
        return status;
    }
    if (count)
        qsort(steps, count, sizeof *steps, compare_steps);
    *ret_steps = steps;
    *ret_count = count;
    return TD_OK;
}

static json_t *state_to_json(const td_run_state *state, const td_optimizer *optimizer)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:f,s:I,s:I,s:f,s:I,s:f,s:f,s:I,s:b,s:f}", "step", (json_int_t)state->step, "epoch",
                     (json_int_t)state->position.epoch, "window", (json_int_t)state->position.window, "batch",
                     (json_int_t)state->position.batch, "best_score", isfinite(state->best_score) ? state->best_score : -1e300, "best_step",
                     (json_int_t)state->best_step, "worse", (json_int_t)state->worse, "seconds", state->seconds, "tokens",
                     (json_int_t)state->tokens, "window_loss", state->window_loss, "window_nll", state->window_nll, "window_tokens",
                     (json_int_t)state->window_tokens, "finished", state->finished, "plateau_factor", optimizer->plateau_factor);
}

static td_status state_from_json(const json_t *object, const char *file, td_run_state *state, td_optimizer *optimizer, td_error *error)
{
    int64_t tokens, window_tokens;
    TD_TRY(td_json_get_integer(object, file, "step", 0, &state->step, error));
    TD_TRY(td_json_get_integer(object, file, "epoch", 0, &state->position.epoch, error));
    TD_TRY(td_json_get_integer(object, file, "window", 0, &state->position.window, error));
    TD_TRY(td_json_get_integer(object, file, "batch", 0, &state->position.batch, error));
    TD_TRY(td_json_get_real(object, file, "best_score", -1e300, &state->best_score, error));
    TD_TRY(td_json_get_integer(object, file, "best_step", 0, &state->best_step, error));
    TD_TRY(td_json_get_integer(object, file, "worse", 0, &state->worse, error));
    TD_TRY(td_json_get_real(object, file, "seconds", 0, &state->seconds, error));
    TD_TRY(td_json_get_integer(object, file, "tokens", 0, &tokens, error));
    TD_TRY(td_json_get_real(object, file, "window_loss", 0, &state->window_loss, error));
    TD_TRY(td_json_get_real(object, file, "window_nll", 0, &state->window_nll, error));
    TD_TRY(td_json_get_integer(object, file, "window_tokens", 0, &window_tokens, error));
    TD_TRY(td_json_get_bool(object, file, "finished", false, &state->finished, error));
    TD_TRY(td_json_get_real(object, file, "plateau_factor", 1, &optimizer->plateau_factor, error));
    state->tokens = (uint64_t)tokens;
    state->window_tokens = (uint64_t)window_tokens;
    optimizer->step = state->step;
    return TD_OK;
}

static td_stored_tensor flat_tensor(const char *name, const td_real *data, size_t size)
{
    return (td_stored_tensor){.name = name, .dtype = TD_F32, .rank = 1, .shape = {size}, .data = data, .bytes = size * sizeof *data};
}

static td_status save_files(const char *directory, const td_parameters *parameters, const td_optimizer *optimizer,
                            const td_run_state *state, td_error *error)
{
    char *weights = td_path_join(directory, "model.safetensors"), *moments = td_path_join(directory, "optimizer.safetensors");
    char *position = td_path_join(directory, "state.json");
    td_stored_tensor tensors[3] = {flat_tensor("first", optimizer->first, optimizer->size),
                                   flat_tensor("second", optimizer->second, optimizer->size),
                                   flat_tensor("average", optimizer->average, optimizer->size)};
    td_status status = weights && moments && position ? td_directory_create(directory, error) : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = td_parameters_save(parameters, NULL, weights, error);
    if (status == TD_OK)
        status = td_safetensors_write(moments, tensors, optimizer->average ? 3 : 2, NULL, 0, error);
    json_t *object = status == TD_OK ? state_to_json(state, optimizer) : NULL;
    if (status == TD_OK)
        status = object ? td_json_save_file(position, object, error) : td_fail_memory(error, 0);
    json_decref(object);
    td_release(weights);
    td_release(moments);
    td_release(position);
    return status;
}

td_status td_checkpoint_save(const char *output, const td_parameters *parameters, const td_optimizer *optimizer, const td_run_state *state,
                             td_error *error)
{
    char *partial = format_path(output, "partial", 0), *final = format_path(output, "step-%lld", state->step);
    td_status status = partial && final ? td_directory_remove(partial, error) : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = save_files(partial, parameters, optimizer, state, error);
    if (status == TD_OK)
        status = td_directory_remove(final, error);
    if (status == TD_OK)
        status = td_directory_publish(partial, final, error);
    if (status != TD_OK && partial)
        td_directory_remove(partial, NULL); /* a full disk needs the space */
    td_release(partial);
    td_release(final);
    return status;
}

td_status td_checkpoint_save_state(const char *output, const td_optimizer *optimizer, const td_run_state *state, td_error *error)
{
    char *path = format_path(output, "step-%lld/state.json", state->step);
    json_t *object = path ? state_to_json(state, optimizer) : NULL;
    td_status status = object ? td_json_save_file(path, object, error) : td_fail_memory(error, 0);
    json_decref(object);
    td_release(path);
    return status;
}

static td_status load_flat(const td_safetensors *file, const char *name, td_real *data, size_t size, td_error *error)
{
    const td_stored_tensor *tensor = td_safetensors_find(file, name);
    if (!tensor)
        return td_fail(error, TD_ERROR_FORMAT, "optimizer.safetensors: tensor \"%s\" is missing (was the recipe changed?)", name);
    return td_safetensors_read_float(tensor, data, size, error);
}

static td_status load_moments(const char *path, td_optimizer *optimizer, td_error *error)
{
    td_safetensors *file;
    TD_TRY(td_safetensors_open(path, &file, error));
    td_status status = load_flat(file, "first", optimizer->first, optimizer->size, error);
    if (status == TD_OK)
        status = load_flat(file, "second", optimizer->second, optimizer->size, error);
    if (status == TD_OK && optimizer->average)
        status = load_flat(file, "average", optimizer->average, optimizer->size, error);
    td_safetensors_close(file);
    return status;
}

static td_status load_weights(const char *path, td_parameters *parameters, td_error *error)
{
    td_safetensors *file;
    TD_TRY(td_safetensors_open(path, &file, error));
    td_status status = td_parameters_load(parameters, file, error);
    td_safetensors_close(file);
    return status;
}

static td_status load_step(const char *directory, td_parameters *parameters, td_optimizer *optimizer, td_run_state *state, td_error *error)
{
    char *weights = td_path_join(directory, "model.safetensors"), *moments = td_path_join(directory, "optimizer.safetensors");
    char *position = td_path_join(directory, "state.json");
    json_t *object = NULL;
    td_status status = weights && moments && position ? td_json_load_file(position, &object, error) : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = state_from_json(object, position, state, optimizer, error);
    if (status == TD_OK)
        status = load_weights(weights, parameters, error);
    if (status == TD_OK)
        status = load_moments(moments, optimizer, error);
    json_decref(object);
    td_release(weights);
    td_release(moments);
    td_release(position);
    return status;
}

td_status td_checkpoint_load(const char *output, td_parameters *parameters, td_optimizer *optimizer, td_run_state *ret_state,
                             bool *ret_found, td_error *error)
{
    int64_t *steps;
    size_t count;
    *ret_found = false;
    TD_TRY(list_steps(output, &steps, &count, error));
    td_status status = TD_OK;
    if (count) {
        char *directory = format_path(output, "step-%lld", steps[0]);
        status = directory ? load_step(directory, parameters, optimizer, ret_state, error) : td_fail_memory(error, 0);
        if (status != TD_OK && directory)
            td_error_prefix(error, "%s", directory);
        *ret_found = status == TD_OK;
        td_release(directory);
    }
    td_release(steps);
    return status;
}

td_status td_checkpoint_prune(const char *output, int64_t keep, int64_t every, td_error *error)
{
    int64_t *steps, kept = 0;
    size_t count;
    TD_TRY(list_steps(output, &steps, &count, error));
    td_status status = TD_OK;
    for (size_t i = 0; status == TD_OK && i < count; i++) {
        bool regular = steps[i] % every == 0;
        kept += regular;
        if (i == 0 || (regular && kept <= keep))
            continue;
        char *directory = format_path(output, "step-%lld", steps[i]);
        status = directory ? td_directory_remove(directory, error) : td_fail_memory(error, 0);
        td_release(directory);
    }
    td_release(steps);
    return status;
}

/* Loads each into the parameters themselves, one after the other; the caller's weights are put back. */
static td_status add_up(const char *output, const int64_t *steps, size_t count, td_parameters *parameters, td_real *mean, td_error *error)
{
    for (size_t i = 0; i < count; i++) {
        td_buffer path = TD_BUFFER_INIT;
        td_buffer_format(&path, "%s/checkpoints/step-%lld/model.safetensors", output, (long long)steps[i]);
        td_status status = td_buffer_ok(&path) ? load_weights(path.data, parameters, error) : td_fail_memory(error, 0);
        td_buffer_free(&path);
        TD_TRY(status);
        for (size_t k = 0; k < parameters->trained_size; k++)
            mean[k] += parameters->data[k] / (td_real)count;
    }
    return TD_OK;
}

td_status td_checkpoint_average(const char *output, size_t count, int64_t every, td_parameters *parameters, td_real *ret_mean,
                                size_t *ret_count, td_error *error)
{
    int64_t *steps;
    size_t found, used = 0;
    TD_TRY(list_steps(output, &steps, &found, error));
    for (size_t i = 0; i < found && used < count; i++)
        if (i == 0 || steps[i] % every == 0)
            steps[used++] = steps[i];
    size_t bytes = parameters->trained_size * sizeof *ret_mean;
    td_real *kept = td_allocate(bytes);
    td_status status = kept ? TD_OK : td_fail_memory(error, bytes);
    if (status == TD_OK) {
        memcpy(kept, parameters->data, bytes);
        memset(ret_mean, 0, bytes);
        status = add_up(output, steps, used, parameters, ret_mean, error);
        memcpy(parameters->data, kept, bytes);
    }
    td_release(kept);
    td_release(steps);
    *ret_count = used;
    return status;
}
