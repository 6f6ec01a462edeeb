/* tandem transcribe: recordings of any length in, text, subtitles or JSON out. */
#include "file_names.h"
#include "interrupt.h"
#include "progress.h"
#include "transcript_output.h"

typedef struct transcribe_run {
    const cli_command *command;
    const generate_values *values;
    td_model *model;
    td_generate_options generate;
    td_transcribe_options options;
    td_batch_options batch;
    const volatile sig_atomic_t *stop;
    const char *const *names; /* of those at hand */
    bool single;              /* one file: its text alone is printed */
    bool failed;
    cli_progress progress;
} transcribe_run;

/* What `fallback` stands for (Radford 2022, section 4.5). */
static const double rising_temperatures[] = {0, 0.2, 0.4, 0.6, 0.8, 1.0};

static void print_transcript(const transcribe_run *run, const char *name, const td_transcript *transcript)
{
    char before[4200] = "";
    if (!run->single)
        snprintf(before, sizeof before, "%s\t", name);
    switch ((transcript_format)run->values->format) {
    case TRANSCRIPT_SRT:
        transcript_print_srt(transcript, stdout);
        return;
    case TRANSCRIPT_VTT:
        transcript_print_vtt(transcript, stdout);
        return;
    case TRANSCRIPT_JSON:
        transcript_print_json(transcript, name, NULL, stdout);
        return;
    case TRANSCRIPT_TEXT:
        if (run->values->timestamps) {
            transcript_print_times(transcript, before, stdout);
            return;
        }
        fputs(before, stdout);
        transcript_print_text(transcript, stdout);
    }
}

static bool take_transcript(void *context, size_t index, const td_transcript *transcript, const td_error *error)
{
    transcribe_run *run = context;
    const char *name = run->names[index - run->batch.first_index];
    if (transcript) {
        size_t tokens = 0;
        for (size_t i = 0; i < td_transcript_segments(transcript); i++)
            tokens += td_transcript_segment_at(transcript, i)->id_count;
        print_transcript(run, name, transcript);
        cli_progress_step(&run->progress, run->progress.done + 1, tokens);
        return cli_output_ok();
    }
    cli_flush_output();
    cli_progress_clear(&run->progress);
    fprintf(stderr, "%s: %s\n", name, error->message);
    run->failed = true;
    if (run->values->format == TRANSCRIPT_JSON)
        transcript_print_json(NULL, name, error->message, stdout);
    return cli_output_ok();
}

static int answer(void *context, const char *const *names, size_t count)
{
    transcribe_run *run = context;
    td_error error;
    run->names = names;
    td_status status = td_transcribe_files(run->model, names, count, &run->options, &run->batch, take_transcript, run, &error);
    run->batch.first_index += count;
    if (status == TD_OK)
        return cli_flush_output() ? -1 : CLI_FAILED;
    cli_progress_clear(&run->progress);
    if (status == TD_ERROR_CANCELLED)
        return *run->stop ? cli_complain(run->command, CLI_FAILED, "interrupted") : CLI_FAILED;
    return cli_complain(run->command, status == TD_ERROR_ARGUMENT ? CLI_USAGE : CLI_FAILED, "%s", error.message);
}

static td_transcribe_options library_options(const generate_values *values)
{
    static const char *const tasks[] = {NULL, "transcribe", "translate"};
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    options.language = values->language;
    options.task = tasks[values->task];
    if (values->timestamps || values->format != TRANSCRIPT_TEXT)
        options.timestamps = 1;
    if (values->condition)
        options.condition_on_previous = 1;
    if (values->longest > 0)
        options.longest_segment = values->longest;
    if (values->pause > 0)
        options.pause = values->pause;
    if (values->fallback) {
        options.compression_ratio = 2.4;
        options.log_probability = -1;
        options.no_speech = 0.6;
        options.temperatures = rising_temperatures;
        options.temperature_count = sizeof rising_temperatures / sizeof *rising_temperatures;
    }
    return options;
}

static int transcribe(const cli_command *command, const generate_values *values, td_model *model, char **names, int count)
{
    transcribe_run run = {.command = command, .values = values, .model = model, .single = count == 1, .batch = TD_BATCH_OPTIONS_INIT};
    run.stop = cli_catch_interrupt();
    run.generate = generate_library_options(values);
    run.options = library_options(values);
    run.options.generate = &run.generate;
    run.batch.threads = (size_t)values->threads;
    run.batch.batch_tokens = (size_t)values->batch_tokens;
    run.batch.cancel = run.stop;
    cli_progress_begin(&run.progress, values->progress, "files", values->list ? 0 : (uint64_t)count);
    int code = file_names_each(&(file_names){command, values->list, names, count, run.stop}, answer, &run, &run.failed);
    cli_progress_end(&run.progress);
    return cli_finish_output(command, code < 0 ? (run.failed ? CLI_FAILED : CLI_DONE) : code);
}

/* Single outputs with pieces, ids or hypotheses are those of `generate`. */
static bool wants_outputs(const generate_values *values) { return values->json || values->output != TD_INPUT_TEXT || values->nbest > 1; }

static int check(const cli_command *command, const generate_values *values, int positional)
{
    bool subtitles = values->format == TRANSCRIPT_SRT || values->format == TRANSCRIPT_VTT;
    bool times = values->format != TRANSCRIPT_TEXT || values->timestamps;
    if (subtitles && (values->list || positional > 1))
        return cli_complain(command, CLI_USAGE, "--format %s writes the subtitles of one file; call it for each, or use --format json",
                            values->format == TRANSCRIPT_SRT ? "srt" : "vtt");
    if (wants_outputs(values) && times)
        return cli_complain(command, CLI_USAGE, "--json, --output and --nbest show single outputs; leave them out for --format and "
                                                "--timestamps");
    if (wants_outputs(values) && (values->language || values->task || values->fallback || values->condition))
        return cli_complain(command, CLI_USAGE, "--json, --output and --nbest show single outputs; set what they need by --generation");
    return files_check(command, values, positional);
}

int cmd_transcribe(const cli_command *command, int argc, char **argv)
{
    generate_values values = generate_values_default();
    td_model *model = NULL;
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code < 0)
        code = check(command, &values, positional);
    if (code < 0)
        code = generate_open_model(command, &values, &model);
    if (code < 0)
        code = (wants_outputs(&values) ? files_answer : transcribe)(command, &values, model, argv + 1, positional);
    code = generate_close_model(command, &values, model, code);
    cli_release(command->options, &values);
    return code;
}
