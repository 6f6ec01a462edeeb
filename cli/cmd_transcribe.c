/* tandem transcribe: recordings of any length in, text, subtitles or JSON out. */
#include "file_names.h"
#include "transcript_output.h"

#include <stdlib.h>
#include <string.h>

enum { TEMPERATURES = 32 };

typedef struct transcribe_run {
    files_job job; /* first: its call gets a pointer to it */
    td_transcribe_options options;
    double temperatures[TEMPERATURES];
} transcribe_run;

/* What `fallback` stands for (Radford 2022, section 4.5). */
static const double rising_temperatures[] = {0, 0.2, 0.4, 0.6, 0.8, 1.0};

static void print_transcript(const files_job *job, const char *name, const td_transcript *transcript)
{
    char before[4200] = "";
    if (!job->single)
        snprintf(before, sizeof before, "%s\t", name);
    switch ((transcript_format)job->values->format) {
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
        if (job->values->timestamps) {
            transcript_print_times(transcript, before, stdout);
            return;
        }
        fputs(before, stdout);
        transcript_print_text(transcript, stdout);
    }
}

static bool take_transcript(void *context, size_t index, const td_transcript *transcript, const td_error *error)
{
    files_job *job = context;
    const char *name = job->names[index - job->batch.first_index];
    if (transcript) {
        size_t tokens = 0;
        for (size_t i = 0; i < td_transcript_segments(transcript); i++)
            tokens += td_transcript_segment_at(transcript, i)->id_count;
        print_transcript(job, name, transcript);
        cli_progress_step(&job->progress, job->progress.done + 1, tokens);
        return cli_output_ok();
    }
    files_complain(job, name, error->message);
    if (job->values->format == TRANSCRIPT_JSON)
        transcript_print_json(NULL, name, error->message, stdout);
    return cli_output_ok();
}

static td_status call(files_job *job, const char *const *names, size_t count, td_error *error)
{
    const transcribe_run *run = (const transcribe_run *)job;
    return td_transcribe_files(job->model, names, count, &run->options, &job->batch, take_transcript, job, error);
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
    if (values->compression_ratio != TD_UNSET_REAL)
        options.compression_ratio = values->compression_ratio;
    if (values->log_probability != TD_UNSET_REAL)
        options.log_probability = values->log_probability;
    if (values->no_speech != TD_UNSET_REAL)
        options.no_speech = values->no_speech;
    options.prompt = values->prompt;
    options.word_timestamps = values->word_timestamps;
    return options;
}

/* Numbers between commas; how many, or 0 where the list is none. */
static size_t read_temperatures(const char *list, double *temperatures)
{
    size_t count = 0;
    for (char *end; count < TEMPERATURES; list = end + 1) {
        temperatures[count] = strtod(list, &end);
        if (end == list || !(temperatures[count] >= 0 && temperatures[count] <= 100) || (*end && *end != ','))
            return 0;
        count++;
        if (!*end)
            return count;
    }
    return 0;
}

static int transcribe(const cli_command *command, const generate_values *values, td_model *model, char **names, int count)
{
    transcribe_run run = {.job = files_job_of(command, values, model, count), .options = library_options(values)};
    run.job.options.task = NULL; /* among the options of transcription */
    run.job.call = call;
    if (values->temperatures) {
        run.options.temperature_count = read_temperatures(values->temperatures, run.temperatures);
        run.options.temperatures = run.temperatures;
    }
    run.options.generate = &run.job.options;
    return files_run(&run.job, names, count);
}

/* Single outputs with pieces, ids or hypotheses are those of `generate`. */
static bool wants_outputs(const generate_values *values)
{
    return values->json || values->output != TD_INPUT_TEXT || values->nbest > 1;
}

/* Options of long form alone; language and task go with single outputs, too. */
static bool wants_long_form(const generate_values *values)
{
    return values->fallback || values->condition || values->prompt || values->temperatures || values->word_timestamps ||
           values->compression_ratio != TD_UNSET_REAL || values->log_probability != TD_UNSET_REAL || values->no_speech != TD_UNSET_REAL;
}

static int check(const cli_command *command, const generate_values *values, int positional)
{
    bool subtitles = values->format == TRANSCRIPT_SRT || values->format == TRANSCRIPT_VTT;
    bool times = values->format != TRANSCRIPT_TEXT || values->timestamps;
    if (subtitles && (values->list || positional > 1))
        return cli_complain(command, CLI_USAGE, "--format %s writes the subtitles of one file; call it for each, or use --format json",
                            values->format == TRANSCRIPT_SRT ? "srt" : "vtt");
    if (wants_outputs(values) && times)
        return cli_complain(command, CLI_USAGE,
                            "--json, --output and --nbest show single outputs; leave them out for --format and "
                            "--timestamps");
    if (wants_outputs(values) && wants_long_form(values))
        return cli_complain(command, CLI_USAGE, "--json, --output and --nbest show single outputs; set what they need by --generation");
    double temperatures[TEMPERATURES];
    if (values->temperatures && read_temperatures(values->temperatures, temperatures) == 0)
        return cli_complain(command, CLI_USAGE,
                            "--temperatures %s: at most %d numbers from 0 to 100 with commas between them, as in 0,0.2,0.4",
                            values->temperatures, TEMPERATURES);
    if (values->word_timestamps && !times)
        return cli_complain(command, CLI_USAGE, "--word-timestamps shows in --format json, vtt or srt, or with --timestamps");
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
    if (wants_outputs(&values))
        values.from = values.language;
    if (code < 0)
        code = (wants_outputs(&values) ? files_answer : transcribe)(command, &values, model, argv + 1, positional);
    code = generate_close_model(command, &values, model, code);
    cli_release(command->options, &values);
    return code;
}
