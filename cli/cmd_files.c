/* tandem caption, and transcribe where single outputs are asked for: names of pictures or sounds in, a line of text for each out. A file
 * that cannot be read is named on standard error; the others are answered all the same. */
#include "file_names.h"
#include "result_output.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void print_text(const files_job *job, const char *name, const td_result *result)
{
    size_t outputs = td_result_outputs(result, 0);
    for (size_t i = 0; i < outputs; i++) {
        if (!job->single)
            printf("%s\t", name);
        result_print_line(job->model, result, i, (td_input_kind)job->values->output, stdout);
    }
}

/* Where picture `number` (from 1) is drawn; malloc'ed. */
static char *svg_path(const files_job *job, const char *name, size_t number)
{
    const char *path = job->values->attention, *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    const char *dot = strrchr(path, '.'), *file = strrchr(path, '/');
    size_t length = strlen(path), size = length + strlen(base) + 32;
    size_t stem = dot && (!file || dot > file) ? (size_t)(dot - path) : length;
    struct stat facts;
    char *made = malloc(size);
    if (!made)
        return NULL;
    if (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode))
        snprintf(made, size, "%s/%s.svg", path, base);
    else if (job->single)
        snprintf(made, size, "%s", path);
    else
        snprintf(made, size, "%.*s-%zu%s", (int)stem, path, number, path + stem);
    return made;
}

static void draw_attention(files_job *job, size_t index, const char *name, const td_result *result)
{
    td_error error = {0};
    char *path = svg_path(job, name, index + 1);
    if (path && td_picture_overlay(result, 0, 0, name, path, &error) == TD_OK) {
        free(path);
        return;
    }
    files_complain(job, name, path ? error.message : "out of memory");
    free(path);
}

static bool take_result(void *context, size_t index, const td_result *result, const td_error *error)
{
    files_job *job = context;
    const char *name = job->names[index - job->batch.first_index];
    if (!result)
        files_complain(job, name, error->message);
    else if (job->values->attention)
        draw_attention(job, index, name, result);
    size_t tokens = 0;
    if (td_result_outputs(result, 0))
        td_result_ids(result, 0, 0, &tokens);
    cli_progress_step(&job->progress, job->progress.done + 1, tokens);
    if (job->values->json)
        result_print_json(index, name, result, result ? NULL : error->message, stdout);
    else if (result)
        print_text(job, name, result);
    return cli_output_ok();
}

static td_status call(files_job *job, const char *const *names, size_t count, td_error *error)
{
    return td_generate_batch(job->model, names, count, &job->options, &job->batch, take_result, job, error);
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
    files_job job = files_job_of(command, values, model, count);
    job.call = call;
    return files_run(&job, names, count);
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
