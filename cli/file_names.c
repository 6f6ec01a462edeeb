#include "file_names.h"

#include "interrupt.h"
#include "line_stream.h"

#include <stdlib.h>
#include <string.h>

enum { TOGETHER = 256 };

files_job files_job_of(const cli_command *command, const generate_values *values, td_model *model, int count)
{
    files_job job = {.command = command, .values = values, .model = model, .single = count == 1, .batch = TD_BATCH_OPTIONS_INIT};
    job.stop = cli_catch_interrupt();
    job.options = generate_library_options(values);
    job.batch.threads = (size_t)values->threads;
    job.batch.batch_tokens = (size_t)values->batch_tokens;
    job.batch.cancel = job.stop;
    return job;
}

void files_complain(files_job *job, const char *name, const char *message)
{
    size_t length = strlen(name);
    bool named = strncmp(message, name, length) == 0 && message[length] == ':'; /* what reads files names them itself */
    cli_flush_output();
    cli_progress_clear(&job->progress);
    fprintf(stderr, "%s%s%s\n", named ? "" : name, named ? "" : ": ", message);
    job->failed = true;
}

/* -1, or an exit code. */
static int answer(files_job *job, const char *const *names, size_t count)
{
    td_error error;
    job->names = names;
    td_status status = job->call(job, names, count, &error);
    job->batch.first_index += count;
    if (status == TD_OK)
        return cli_flush_output() ? -1 : CLI_FAILED;
    cli_progress_clear(&job->progress);
    if (status == TD_ERROR_CANCELLED)
        return *job->stop ? cli_complain(job->command, CLI_FAILED, "interrupted") : CLI_FAILED;
    return cli_complain(job->command, status == TD_ERROR_ARGUMENT ? CLI_USAGE : CLI_FAILED, "%s", error.message);
}

static int answer_listed(files_job *job)
{
    line_stream lines;
    stream_line line;
    stream_read outcome = STREAM_END;
    int code = -1;
    if (!line_stream_open(&lines, &job->values->list, 1, job->stop))
        return cli_complain(job->command, CLI_FAILED, "out of memory");
    do {
        char *kept[TOGETHER];
        const char *named[TOGETHER];
        size_t count = 0, named_count = 0;
        while (count < TOGETHER && (outcome = line_stream_next(&lines, &line)) == STREAM_LINE) {
            kept[count++] = line.text;
            if (*line.text)
                named[named_count++] = line.text;
        }
        job->failed |= outcome == STREAM_FAILED;
        code = named_count ? answer(job, named, named_count) : -1;
        for (size_t i = 0; i < count; i++)
            free(kept[i]);
    } while (code < 0 && outcome == STREAM_LINE && !*job->stop);
    line_stream_close(&lines);
    return code;
}

static int answer_given(files_job *job, char **names, int given)
{
    int code = -1;
    for (int i = 0; i < given && code < 0; i += TOGETHER) {
        const char *named[TOGETHER];
        size_t count = 0;
        for (; count < TOGETHER && i + (int)count < given; count++)
            named[count] = names[i + (int)count];
        code = answer(job, named, count);
    }
    return code;
}

int files_run(files_job *job, char **names, int count)
{
    const char *list = job->values->list;
    cli_progress_begin(&job->progress, job->values->progress, "files", list ? 0 : (uint64_t)count);
    int code = list ? answer_listed(job) : answer_given(job, names, count);
    cli_progress_end(&job->progress);
    return cli_finish_output(job->command, code < 0 ? (job->failed ? CLI_FAILED : CLI_DONE) : code);
}
