/* tandem caption, and transcribe where single outputs are asked for: names of pictures or sounds in, a line of text for each out. A file
 * that cannot be read is named on standard error; the others are answered all the same. */
#include "file_names.h"
#include "interrupt.h"
#include "progress.h"
#include "result_output.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct files_run {
    const cli_command *command;
    const generate_values *values;
    td_model *model;
    td_generate_options options;
    td_batch_options batch;
    const volatile sig_atomic_t *stop;
    const char *const *names; /* of those at hand */
    bool single; /* one file: its text alone is printed */
    bool failed;
    cli_progress progress;
} files_run;

static void print_text(const files_run *run, const char *name, const td_result *result)
{
    size_t outputs = td_result_outputs(result, 0);
    for (size_t i = 0; i < outputs; i++) {
        if (!run->single)
            printf("%s\t", name);
        result_print_line(run->model, result, i, (td_input_kind)run->values->output, stdout);
    }
}

/* Where picture `number` (from 1) is drawn; malloc'ed. */
static char *svg_path(const files_run *run, const char *name, size_t number)
{
    const char *path = run->values->attention, *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    const char *dot = strrchr(path, '.'), *file = strrchr(path, '/');
    size_t length = strlen(path), size = length + strlen(base) + 32;
    size_t stem = dot && (!file || dot > file) ? (size_t)(dot - path) : length;
    struct stat facts;
    char *made = malloc(size);
    if (!made)
        return NULL;
    if (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode))
        snprintf(made, size, "%s/%s.svg", path, base);
    else if (run->single)
        snprintf(made, size, "%s", path);
    else
        snprintf(made, size, "%.*s-%zu%s", (int)stem, path, number, path + stem);
    return made;
}

static void draw_attention(files_run *run, size_t index, const char *name, const td_result *result)
{
    td_error error = {0};
    char *path = svg_path(run, name, index + 1);
    if (path && td_picture_overlay(result, 0, 0, name, path, &error) == TD_OK) {
        free(path);
        return;
    }
    cli_flush_output();
    fprintf(stderr, "%s: %s\n", name, path ? error.message : "out of memory");
    run->failed = true;
    free(path);
}

static bool take_result(void *context, size_t index, const td_result *result, const td_error *error)
{
    files_run *run = context;
    const char *name = run->names[index - run->batch.first_index];
    if (!result) {
        cli_flush_output();
        cli_progress_clear(&run->progress);
        fprintf(stderr, "%s: %s\n", name, error->message);
        run->failed = true;
    } else if (run->values->attention) {
        draw_attention(run, index, name, result);
    }
    size_t tokens = 0;
    if (td_result_outputs(result, 0))
        td_result_ids(result, 0, 0, &tokens);
    cli_progress_step(&run->progress, run->progress.done + 1, tokens);
    if (run->values->json)
        result_print_json(index, name, result, result ? NULL : error->message, stdout);
    else if (result)
        print_text(run, name, result);
    return cli_output_ok();
}

static int answer(void *context, const char *const *names, size_t count)
{
    files_run *run = context;
    td_error error;
    run->names = names;
    td_status status = td_generate_batch(run->model, names, count, &run->options, &run->batch, take_result, run, &error);
    run->batch.first_index += count;
    if (status == TD_OK)
        return cli_flush_output() ? -1 : CLI_FAILED;
    cli_progress_clear(&run->progress);
    if (status == TD_ERROR_CANCELLED)
        return *run->stop ? cli_complain(run->command, CLI_FAILED, "interrupted") : CLI_FAILED;
    return cli_complain(run->command, status == TD_ERROR_ARGUMENT ? CLI_USAGE : CLI_FAILED, "%s", error.message);
}

int files_check(const cli_command *command, const generate_values *values, int positional)
{
    if (!positional == !values->list)
        return cli_complain(command, CLI_USAGE, "give the files to read, or --list FILE with their names");
    if (values->sample && values->beam > 1)
        return cli_complain(command, CLI_USAGE, "--sample draws and --beam searches; choose one");
    return -1;
}

int files_answer(const cli_command *command, const generate_values *values, td_model *model, char **names, int count)
{
    files_run run = {.command = command, .values = values, .model = model, .single = count == 1, .batch = TD_BATCH_OPTIONS_INIT};
    run.stop = cli_catch_interrupt();
    run.options = generate_library_options(values);
    run.batch.threads = (size_t)values->threads;
    run.batch.batch_tokens = (size_t)values->batch_tokens;
    run.batch.cancel = run.stop;
    cli_progress_begin(&run.progress, values->progress, "files", values->list ? 0 : (uint64_t)count);
    int code = file_names_each(&(file_names){command, values->list, names, count, run.stop}, answer, &run, &run.failed);
    cli_progress_end(&run.progress);
    return cli_finish_output(command, code < 0 ? (run.failed ? CLI_FAILED : CLI_DONE) : code);
}

int cmd_files(const cli_command *command, int argc, char **argv)
{
    generate_values values = generate_values_default();
    td_model *model = NULL;
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code < 0)
        code = files_check(command, &values, positional);
    if (code < 0)
        code = generate_open_model(command, &values, &model);
    if (code < 0)
        code = files_answer(command, &values, model, argv + 1, positional);
    code = generate_close_model(command, &values, model, code);
    cli_release(command->options, &values);
    return code;
}
