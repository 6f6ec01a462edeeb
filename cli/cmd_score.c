/* tandem score: the log-probability of given targets, a line each. */
#include "generate_options.h"
#include "interrupt.h"
#include "keyed_line.h"
#include "line_stream.h"
#include "result_output.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW_LINES = 4096, WINDOW_BYTES = 8 << 20 };

typedef struct score_run {
    const cli_command *command;
    const generate_values *values;
    td_model *model;
    td_generate_options options;
    td_batch_options batch;
    const volatile sig_atomic_t *stop;
    line_stream sources, targets;
    stream_line *lines[2]; /* [WINDOW_LINES]: sources, targets */
    const char **texts[2]; /* [WINDOW_LINES] */
    size_t count;
    bool failed;
} score_run;

static void print_score(score_run *run, size_t index, const td_result *result, const char *problem)
{
    if (run->values->json)
        result_print_score_json(index, result, problem, stdout);
    else if (problem)
        fputc('\n', stdout);
    else
        printf("%.9g\n", td_result_score(result, 0, 0));
}

static bool take_result(void *context, size_t index, const td_result *result, const td_error *error)
{
    score_run *run = context;
    const stream_line *source = &run->lines[0][index - run->batch.first_index];
    const stream_line *target = &run->lines[1][index - run->batch.first_index];
    const char *problem = source->problem ? source->problem : target->problem ? target->problem : error ? error->message : NULL;
    if (problem) {
        bool in_target = !source->problem && (target->problem || strncmp(problem, "target", 6) == 0);
        const stream_line *where = in_target ? target : source;
        cli_flush_output();
        fprintf(stderr, "%s:%zu: %s\n", where->file, where->number, problem);
        run->failed = true;
    } else if (td_result_truncated(result, 0)) {
        fprintf(stderr, "%s:%zu: warning: source cut to %zu tokens, the most the model takes\n", source->file, source->number,
                td_model_max_source(run->model));
    }
    print_score(run, index, result, problem);
    return cli_output_ok();
}

/* A line that cannot be read as text still takes its place. */
static const char *usable(const stream_line *line)
{
    return line->problem ? "" : line->text;
}

/* Reads pairs; false at the end, with *ret_code set when it came early on one side. */
static bool read_window(score_run *run, int *ret_code)
{
    size_t bytes = 0;
    for (run->count = 0; run->count < WINDOW_LINES && bytes < WINDOW_BYTES; run->count++) {
        stream_line *source = &run->lines[0][run->count], *target = &run->lines[1][run->count];
        stream_read first = line_stream_next(&run->sources, source);
        stream_read second = line_stream_next(&run->targets, target);
        if (first == STREAM_LINE && second == STREAM_LINE) {
            if (run->values->keys) {
                keyed_line_take(source, run->values->keys, 0);
                keyed_line_take(target, run->values->keys, 1);
            }
            run->texts[0][run->count] = usable(source);
            run->texts[1][run->count] = usable(target);
            bytes += source->length + target->length;
            continue;
        }
        if (first == STREAM_LINE)
            free(source->text);
        if (second == STREAM_LINE)
            free(target->text);
        if (first == STREAM_FAILED || second == STREAM_FAILED)
            *ret_code = CLI_FAILED;
        else if (first != second && !*run->stop)
            *ret_code = cli_complain(run->command, CLI_FAILED, "%s has fewer lines than %s",
                                     first == STREAM_END ? run->values->source : run->values->target,
                                     first == STREAM_END ? run->values->target : run->values->source);
        return false;
    }
    return true;
}

static int score_lines(score_run *run)
{
    int code = -1;
    bool more = true;
    while (code < 0 && more && !*run->stop) {
        td_error error;
        int reading = -1;
        more = read_window(run, &reading);
        td_status status =
            td_score_batch(run->model, run->texts[0], run->texts[1], run->count, &run->options, &run->batch, take_result, run, &error);
        if (status == TD_ERROR_CANCELLED)
            code = CLI_FAILED;
        else if (status != TD_OK)
            code = cli_complain(run->command, status == TD_ERROR_ARGUMENT ? CLI_USAGE : CLI_FAILED, "%s", error.message);
        else
            code = reading;
        run->batch.first_index += run->count;
        for (size_t i = 0; i < run->count; i++) {
            free(run->lines[0][i].text);
            free(run->lines[1][i].text);
        }
    }
    if (*run->stop)
        code = cli_complain(run->command, CLI_FAILED, "interrupted");
    return cli_finish_output(run->command, code < 0 ? (run->failed ? CLI_FAILED : CLI_DONE) : code);
}

static int score_files(score_run *run)
{
    bool ready = line_stream_open(&run->sources, (const char *const *)&run->values->source, 1, run->stop) &&
                 line_stream_open(&run->targets, (const char *const *)&run->values->target, 1, run->stop);
    for (int side = 0; side < 2; side++) {
        run->lines[side] = calloc(WINDOW_LINES, sizeof *run->lines[side]);
        run->texts[side] = calloc(WINDOW_LINES, sizeof *run->texts[side]);
        ready = ready && run->lines[side] && run->texts[side];
    }
    int code = ready ? score_lines(run) : cli_complain(run->command, CLI_FAILED, "out of memory");
    for (int side = 0; side < 2; side++) {
        free(run->lines[side]);
        free(run->texts[side]);
    }
    line_stream_close(&run->sources);
    line_stream_close(&run->targets);
    return code;
}

int cmd_score(const cli_command *command, int argc, char **argv)
{
    generate_values values = generate_values_default();
    score_run run = {.command = command, .values = &values, .batch = TD_BATCH_OPTIONS_INIT};
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (values.keys && !values.target)
        values.target = values.source;
    if (code < 0 && (positional || !values.source || !values.target))
        code = cli_complain(command, CLI_USAGE, "two files are wanted: --source FILE --target FILE");
    if (code < 0 && strcmp(values.source, "-") == 0 && strcmp(values.target, "-") == 0)
        code = cli_complain(command, CLI_USAGE, "only one of --source and --target can be standard input");
    if (code < 0)
        code = generate_open_model(command, &values, &run.model);
    if (code < 0) {
        run.stop = cli_catch_interrupt();
        run.options = generate_library_options(&values);
        run.batch.threads = (size_t)values.threads;
        run.batch.batch_tokens = (size_t)values.batch_tokens;
        run.batch.cancel = run.stop;
        code = score_files(&run);
    }
    code = generate_close_model(command, &values, run.model, code);
    cli_release(command->options, &values);
    return code;
}
