/* tandem translate, summarize, generate: one line in, one line out. Lines are read in windows of bounded size; a window
 * ends early when the next line is not there yet, so that someone typing is answered at once. */
#include "attention_svg.h"
#include "generate_options.h"
#include "interrupt.h"
#include "keyed_line.h"
#include "line_stream.h"
#include "progress.h"
#include "result_output.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW_LINES = 4096, WINDOW_BYTES = 8 << 20 };

typedef struct generate_run {
    const cli_command *command;
    const generate_values *values;
    td_model *model;
    td_generate_options options;
    td_batch_options batch;
    const volatile sig_atomic_t *stop;
    size_t lines_per_input;
    stream_line *lines; /* [WINDOW_LINES], of the window */
    const char **texts; /* [WINDOW_LINES], of the lines that are not empty */
    size_t *line_of;    /* [WINDOW_LINES], their lines */
    size_t count;       /* lines in the window */
    size_t written;     /* of them */
    size_t before;      /* lines of earlier windows */
    bool failed, drawn;
    cli_progress progress;
} generate_run;

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\f\v\r")] == 0;
}

static void complain_line(generate_run *run, const stream_line *line, const char *message)
{
    cli_flush_output();
    cli_progress_clear(&run->progress);
    fprintf(stderr, "%s:%zu: %s\n", line->file, line->number, message);
    run->failed = true;
}

static void step_progress(generate_run *run, size_t index, const td_result *result)
{
    size_t tokens = 0;
    if (td_result_outputs(result, 0))
        td_result_ids(result, 0, 0, &tokens);
    cli_progress_step(&run->progress, run->lines[index].end, tokens);
}

/* What there is to print for a line; result and problem NULL: an empty line. */
static void print_answer(generate_run *run, size_t index, const td_result *result, const char *problem)
{
    const stream_line *line = &run->lines[index];
    if (problem)
        complain_line(run, line, problem);
    step_progress(run, index, result);
    if (run->values->json) {
        result_print_json(run->before + index, line->text, result, problem, stdout);
        return;
    }
    size_t outputs = td_result_outputs(result, 0);
    for (size_t i = 0; i < run->lines_per_input || i < outputs; i++)
        result_print_line(run->model, result, i, (td_input_kind)run->values->output, stdout);
}

/* Lines up to `end` that need no model: empty ones and those that could not be read. */
static void print_until(generate_run *run, size_t end)
{
    for (; run->written < end; run->written++)
        print_answer(run, run->written, NULL, run->lines[run->written].problem);
}

static void notice(generate_run *run, const stream_line *line, const td_result *result)
{
    size_t cut = td_result_truncated(result, 0);
    if (cut || run->values->attention)
        cli_progress_clear(&run->progress);
    if (cut)
        fprintf(stderr, "%s:%zu: warning: cut to %zu tokens, the most the model takes; %zu were left out\n", line->file, line->number,
                td_model_max_source(run->model), cut);
    if (run->values->attention && !run->drawn) {
        run->drawn = true;
        if (attention_svg_write(run->command, result, run->values->attention) >= 0)
            run->failed = true;
    }
}

static void answer(generate_run *run, size_t index, const td_result *result, const td_error *error)
{
    print_until(run, index);
    if (result)
        notice(run, &run->lines[index], result);
    print_answer(run, index, result, result ? NULL : error->message);
    run->written++;
}

static bool take_result(void *context, size_t index, const td_result *result, const td_error *error)
{
    generate_run *run = context;
    answer(run, run->line_of[index - run->batch.first_index], result, error);
    return cli_output_ok();
}

static int generate_window(generate_run *run, size_t count)
{
    td_error error;
    td_status status = td_generate_batch(run->model, run->texts, count, &run->options, &run->batch, take_result, run, &error);
    run->batch.first_index += count;
    if (status == TD_OK)
        return -1;
    if (status == TD_ERROR_CANCELLED)
        return CLI_FAILED; /* said elsewhere */
    cli_progress_clear(&run->progress);
    return cli_complain(run->command, CLI_FAILED, "%s", error.message);
}

static bool print_stream(void *context, const char *text, size_t length)
{
    generate_run *run = context;
    fwrite(text, 1, length, stdout);
    return cli_flush_output() && !*run->stop;
}

/* --stream: line after line, words as they are chosen. */
static int stream_window(generate_run *run, size_t count)
{
    td_session *session = NULL;
    td_error error;
    td_session_options options = TD_SESSION_OPTIONS_INIT;
    options.threads = run->batch.threads ? run->batch.threads : SIZE_MAX;
    if (td_session_new(run->model, &options, &session, &error) != TD_OK)
        return cli_complain(run->command, CLI_FAILED, "%s", error.message);
    for (size_t i = 0; i < count && !*run->stop && cli_output_ok(); i++) {
        td_result *result = NULL;
        print_until(run, run->line_of[i]);
        if (td_generate_text(session, run->texts[i], &run->options, &result, &error) != TD_OK)
            complain_line(run, &run->lines[run->line_of[i]], error.message);
        else
            notice(run, &run->lines[run->line_of[i]], result);
        fputc('\n', stdout);
        step_progress(run, run->line_of[i], result);
        run->written++;
        td_result_free(result);
    }
    td_session_free(session);
    return -1;
}

/* Reads lines until the window is full or the next one would have to be waited for; false at the end of the input. */
static bool read_window(generate_run *run, line_stream *stream)
{
    size_t bytes = 0;
    run->count = run->written = 0;
    while (run->count < WINDOW_LINES && bytes < WINDOW_BYTES && (run->count == 0 || line_stream_ready(stream))) {
        stream_line *line = &run->lines[run->count];
        stream_read outcome = line_stream_next(stream, line);
        if (outcome == STREAM_END)
            return false;
        if (outcome == STREAM_FAILED) {
            run->failed = true;
            continue;
        }
        if (run->values->keys)
            keyed_line_take(line, run->values->keys, 0);
        bytes += line->length;
        run->count++;
    }
    return true;
}

static int answer_window(generate_run *run)
{
    size_t count = 0;
    for (size_t i = 0; i < run->count; i++) {
        if (run->lines[i].problem || is_blank(run->lines[i].text))
            continue;
        run->line_of[count] = i;
        run->texts[count++] = run->lines[i].text;
    }
    int code = count == 0 ? -1 : run->values->stream ? stream_window(run, count) : generate_window(run, count);
    if (code < 0 && !*run->stop)
        print_until(run, run->count);
    for (size_t i = 0; i < run->count; i++)
        free(run->lines[i].text);
    run->before += run->count;
    return cli_flush_output() ? code : CLI_FAILED;
}

static int generate_lines(generate_run *run, line_stream *stream)
{
    int code = -1;
    bool more = true;
    while (code < 0 && more && !*run->stop) {
        more = read_window(run, stream);
        code = answer_window(run);
    }
    cli_progress_end(&run->progress);
    if (*run->stop)
        code = cli_complain(run->command, CLI_FAILED, "interrupted after %zu lines", run->before - run->count + run->written);
    return cli_finish_output(run->command, code < 0 ? (run->failed ? CLI_FAILED : CLI_DONE) : code);
}

/* Mistakes that would show only later, said at once. */
static int check_values(const cli_command *command, generate_values *values)
{
    if (values->sample && values->beam > 1)
        return cli_complain(command, CLI_USAGE, "--sample draws and --beam searches; choose one");
    if (values->stream && (values->json || values->output != TD_INPUT_TEXT || values->nbest > 1))
        return cli_complain(command, CLI_USAGE, "--stream prints one text; it goes with neither --json, --nbest nor --output");
    if (values->stream && values->beam > 1)
        return cli_complain(command, CLI_USAGE,
                            "--stream prints words as they are chosen, which a beam does not settle; "
                            "it needs --beam 1 or --sample");
    if (values->stream && !values->sample)
        values->beam = 1;
    if (!values->sample && values->beam > 0 && values->nbest > values->beam)
        return cli_complain(command, CLI_USAGE, "--nbest %lld is more than the --beam %lld", (long long)values->nbest,
                            (long long)values->beam);
    return -1;
}

static int generate_files(generate_run *run, char **files, int count)
{
    line_stream stream;
    run->lines = calloc(WINDOW_LINES, sizeof *run->lines);
    run->texts = calloc(WINDOW_LINES, sizeof *run->texts);
    run->line_of = calloc(WINDOW_LINES, sizeof *run->line_of);
    int code;
    if (!run->lines || !run->texts || !run->line_of || !line_stream_open(&stream, (const char *const *)files, (size_t)count, run->stop)) {
        code = cli_complain(run->command, CLI_FAILED, "out of memory");
    } else {
        cli_progress_begin(&run->progress, run->values->progress, "lines", cli_bytes_of_files(files, count));
        code = generate_lines(run, &stream);
        line_stream_close(&stream);
    }
    free(run->lines);
    free(run->texts);
    free(run->line_of);
    return code;
}

/* Options that this model cannot take are known before the first line is read. */
static int try_options(generate_run *run)
{
    td_error error;
    td_status status = td_generate_batch(run->model, NULL, 0, &run->options, NULL, take_result, run, &error);
    if (status == TD_OK)
        return -1;
    return cli_complain(run->command, status == TD_ERROR_ARGUMENT ? CLI_USAGE : CLI_FAILED, "%s", error.message);
}

int cmd_generate(const cli_command *command, int argc, char **argv)
{
    generate_values values = generate_values_default();
    generate_run run = {.command = command, .values = &values, .batch = TD_BATCH_OPTIONS_INIT};
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code < 0)
        code = check_values(command, &values);
    if (code < 0)
        code = generate_open_model(command, &values, &run.model);
    if (code < 0) {
        run.stop = cli_catch_interrupt();
        if (values.split == 0 && strcmp(command->name, "translate") == 0)
            values.split = 1;
        run.options = generate_library_options(&values);
        run.options.on_text = values.stream ? print_stream : NULL;
        run.options.on_text_context = &run;
        run.batch.threads = (size_t)values.threads;
        run.batch.batch_tokens = (size_t)values.batch_tokens;
        run.batch.cancel = run.stop;
        run.lines_per_input = values.nbest > 0 ? (size_t)values.nbest : 1;
        code = try_options(&run);
    }
    if (code < 0)
        code = generate_files(&run, argv + 1, positional);
    code = generate_close_model(command, &values, run.model, code);
    cli_release(command->options, &values);
    return code;
}
