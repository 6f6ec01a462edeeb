#include "generate_options.h"
#include "bundled.h"
#include "profile.h"

/* A row of the tables below: all verbs share one struct of values. */
#define OPTION(name, letter, kind, member, argument, help, minimum, maximum)                                                               \
    {                                                                                                                                      \
        name, letter, kind, offsetof(generate_values, member), argument, help, minimum, maximum                                            \
    }

#define MODEL_OPTION                                                                                                                       \
    OPTION("model", 'm', CLI_TEXT, model, "DIR", "model directory in the Hugging Face layout (default: the bundled model for the verb)",   \
           0, 0)
#define FROM_OPTION                                                                                                                        \
    OPTION("from", 0, CLI_TEXT, from, "LANG", "source language, for models of many languages; Whisper: the one spoken", 0, 0)
#define TO_OPTION OPTION("to", 0, CLI_TEXT, to, "LANG", "target language, as the model writes it; needed when a model has several", 0, 0)
#define TASK_OPTION                                                                                                                        \
    OPTION("task", 0, CLI_CHOICE, task, "default|transcribe|translate", "Whisper: write what is said, or its English translation", 0, 0)
#define INPUT_OPTION                                                                                                                       \
    OPTION("input", 0, CLI_CHOICE, input, "text|pieces|ids",                                                                               \
           "what a line holds: text, subword pieces, or token ids taken as they are (default: text)", 0, 0)
#define PROGRESS_OPTION                                                                                                                    \
    OPTION("progress", 0, CLI_CHOICE, progress, "auto|on|off",                                                                             \
           "a moving line on standard error: how far and how fast (default: auto, on a terminal while the output "                         \
           "goes elsewhere)",                                                                                                              \
           0, 0)
#define JSON_OPTION OPTION("json", 0, CLI_FLAG, json, NULL, "one JSON object a line, with scores and pieces", 0, 0)

/* How a model runs. */
#define RUN_OPTIONS                                                                                                                        \
    OPTION("precision", 0, CLI_CHOICE, precision, "stored|float32|bfloat16|int8",                                                          \
           "of weights in memory and of products (default: stored, int8 if the file holds int8, else float32)", 0, 0),                     \
        OPTION("profile", 0, CLI_OPTIONAL, profile, "FILE.json", PROFILE_HELP, 0, 0),                                                      \
        OPTION("threads", 0, CLI_INTEGER, threads, "N",                                                                                    \
               "sentences decoded side by side (default: one thread per processor); results do not depend on it", 1, 1024),                \
        OPTION("batch-tokens", 0, CLI_INTEGER, batch_tokens, "N",                                                                          \
               "source tokens times beams that a thread decodes together; results do not depend on it", 1, 1e9)

/* How outputs are found. */
#define SEARCH_OPTIONS                                                                                                                     \
    OPTION("beam", 0, CLI_INTEGER, beam, "N", "hypotheses kept; 1 is greedy (default: what the model says, else 4)", 1, 1024),             \
        OPTION("nbest", 0, CLI_INTEGER, nbest, "N", "outputs for each input, best first, a line each (default: 1)", 1, 1024),              \
        OPTION("length-penalty", 0, CLI_REAL, length_penalty, "A", "rank by log-probability / length^A; above 0 favours longer outputs",   \
               -100, 100),                                                                                                                 \
        OPTION("min-length", 0, CLI_INTEGER, min_length, "N", "no end before N tokens, the start token counted", 0, 1e6),                  \
        OPTION("max-length", 0, CLI_INTEGER, max_length, "N", "no more than N tokens, start and end token counted", 1, 1e6),               \
        OPTION("repetition-penalty", 0, CLI_REAL, repetition_penalty, "P", "above 1: tokens already written are less likely", 1e-3, 1e3),  \
        OPTION("no-repeat-ngram", 0, CLI_INTEGER, no_repeat_ngram, "N", "no N tokens in a row occur twice; 0: off", 0, 1e6),               \
        OPTION("sample", 0, CLI_FLAG, sample, NULL, "draw from the distribution instead of searching", 0, 0),                              \
        OPTION("temperature", 0, CLI_REAL, temperature, "T", "with --sample: below 1 sharpens, above 1 flattens", 1e-4, 1e4),              \
        OPTION("top-k", 0, CLI_INTEGER, top_k, "N", "with --sample: only the N most probable tokens; 0: all", 0, 1e9),                     \
        OPTION("top-p", 0, CLI_REAL, top_p, "P", "with --sample: only the most probable tokens that make up P", 1e-6, 1),                  \
        OPTION("mbr", 0, CLI_CHOICE, minimum_risk, "off|bleu|chrf|rouge|wer|cer",                                                          \
               "minimum Bayes risk: of the beam's hypotheses, or the samples, take the one most like the others by this metric", 0, 0),    \
        OPTION("candidates", 0, CLI_INTEGER, candidates, "N", "with --mbr: how many to choose from (default: the beam, or 32 samples)", 1, \
               1024),                                                                                                                      \
        OPTION("seed", 0, CLI_INTEGER, seed, "N", "with --sample: the same seed gives the same output (default: 0)", 0, 9e15)

#define LIST_OPTION OPTION("list", 0, CLI_TEXT, list, "FILE", "read the names of the files from FILE, one a line (-: standard input)", 0, 0)
#define PREFIX_OPTION OPTION("prefix", 0, CLI_TEXT, prefix, "TEXT", "every output begins with this text", 0, 0)
#define OUTPUT_OPTION                                                                                                                      \
    OPTION("output", 0, CLI_CHOICE, output, "text|pieces|ids",                                                                             \
           "what is written: text, subword pieces, or token ids with the end token (default: text)", 0, 0)
#define SETTINGS_OPTION                                                                                                                    \
    OPTION("generation", 0, CLI_LIST, settings, "FIELD=VALUE",                                                                             \
           "set any field of generation_config.json to a JSON value, e.g. max_new_tokens=20 (repeatable)", 0, 0)

const cli_option generate_options[] = {
    MODEL_OPTION,
    SEARCH_OPTIONS,
    FROM_OPTION,
    TO_OPTION,
    TASK_OPTION,
    PREFIX_OPTION,
    RUN_OPTIONS,
    INPUT_OPTION,
    OPTION("keys", 0, CLI_TEXT, keys, "SOURCE[,TARGET]",
           "lines are JSON objects that have their text under the key SOURCE; a second key is for `tandem score`", 0, 0),
    OUTPUT_OPTION,
    OPTION("split", 0, CLI_CHOICE, split, "auto|sentences|none",
           "lines of more tokens than models of sentences read well (100, or the most the model takes) go in sentence by sentence, and the "
           "outputs are joined with what stood between them (default: auto, sentences for translate, none for other verbs)",
           0, 0),
    SETTINGS_OPTION,
    JSON_OPTION,
    PROGRESS_OPTION,
    OPTION("attention", 0, CLI_TEXT, attention, "FILE.svg",
           "draw what the first output attends to; with --json the numbers of every output are printed, too", 0, 0),
    OPTION("stream", 0, CLI_FLAG, stream, NULL, "print words as they are chosen; greedy or with --sample", 0, 0),
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

const cli_option files_options[] = {
    MODEL_OPTION,
    LIST_OPTION,
    SEARCH_OPTIONS,
    PREFIX_OPTION,
    RUN_OPTIONS,
    OUTPUT_OPTION,
    SETTINGS_OPTION,
    JSON_OPTION,
    PROGRESS_OPTION,
    OPTION("attention", 0, CLI_TEXT, attention, "FILE.svg",
           "draw where the model looked in the picture for each word; of several pictures FILE-1.svg, FILE-2.svg, ..., or, if it "
           "is a directory, in it one named like each picture",
           0, 0),
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

const cli_option transcribe_options[] = {
    MODEL_OPTION,
    LIST_OPTION,
    OPTION("format", 0, CLI_CHOICE, format, "text|srt|vtt|json",
           "text; subtitles of one file; or a JSON object a file, with segments and their times (default: text)", 0, 0),
    OPTION("timestamps", 0, CLI_FLAG, timestamps, NULL, "text with times: a line for each segment", 0, 0),
    OPTION("word-timestamps", 0, CLI_FLAG, word_timestamps, NULL,
           "Whisper: times of single words, with --format json, vtt (within cues), srt (a cue each), or --timestamps (a line each)", 0, 0),
    OPTION("longest-segment", 0, CLI_REAL, longest, "S",
           "models for utterances: seconds of sound read in one piece; without a pause, it is cut where it is quietest (default: 20)", 1,
           3600),
    OPTION("pause", 0, CLI_REAL, pause, "S", "models for utterances: seconds of quiet that end a segment (default: 0.5)", 0.05, 60),
    OPTION("language", 0, CLI_TEXT, language, "LANG",
           "Whisper: the language spoken, as en or de; auto: detected at the beginning (default: as the model says)", 0, 0),
    TASK_OPTION,
    OPTION("fallback", 0, CLI_FLAG, fallback, NULL,
           "Whisper: decode what came out badly (log-probability below -1, compression above 2.4) at rising temperatures; skip silence", 0,
           0),
    OPTION("temperatures", 0, CLI_TEXT, temperatures, "T,T,...",
           "Whisper: the temperatures tried one after the other while a threshold is not met; 0 searches, above samples", 0, 0),
    OPTION("compression-ratio-threshold", 0, CLI_REAL, compression_ratio, "R", "Whisper: text that repeats itself so much came out badly",
           0, 1e6),
    OPTION("logprob-threshold", 0, CLI_REAL, log_probability, "L", "Whisper: so did text of a lower mean log-probability", -1e6, 0),
    OPTION("no-speech-threshold", 0, CLI_REAL, no_speech, "P",
           "Whisper: but not if it is silence with more than this probability: that is skipped", 0, 1),
    OPTION("condition-on-previous", 0, CLI_FLAG, condition, NULL, "Whisper: tell each window the text before it", 0, 0),
    OPTION("prompt", 0, CLI_TEXT, prompt, "TEXT", "Whisper: tell each window this text: names, spelling, style", 0, 0),
    SEARCH_OPTIONS,
    PREFIX_OPTION,
    RUN_OPTIONS,
    OUTPUT_OPTION,
    SETTINGS_OPTION,
    PROGRESS_OPTION,
    JSON_OPTION,
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

const cli_option score_options[] = {
    MODEL_OPTION,
    OPTION("source", 0, CLI_TEXT, source, "FILE", "the sources, one a line", 0, 0),
    OPTION("target", 0, CLI_TEXT, target, "FILE", "the targets, one a line", 0, 0),
    FROM_OPTION,
    TO_OPTION,
    RUN_OPTIONS,
    OPTION("input", 0, CLI_CHOICE, input, "text|pieces|ids",
           "what lines of both files hold; ids are taken as they are, so a target's end token counts only if it is there", 0, 0),
    OPTION("keys", 0, CLI_TEXT, keys, "SOURCE,TARGET",
           "lines are JSON objects; the two texts are under these keys, of --source alone or of both files", 0, 0),
    JSON_OPTION,
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

generate_values generate_values_default(void)
{
    return (generate_values){.beam = TD_UNSET,
                             .nbest = TD_UNSET,
                             .candidates = TD_UNSET,
                             .min_length = TD_UNSET,
                             .max_length = TD_UNSET,
                             .no_repeat_ngram = TD_UNSET,
                             .top_k = TD_UNSET,
                             .length_penalty = TD_UNSET_REAL,
                             .repetition_penalty = TD_UNSET_REAL,
                             .temperature = TD_UNSET_REAL,
                             .compression_ratio = TD_UNSET_REAL,
                             .log_probability = TD_UNSET_REAL,
                             .no_speech = TD_UNSET_REAL,
                             .top_p = TD_UNSET_REAL};
}

td_generate_options generate_library_options(const generate_values *values)
{
    static const char *const tasks[] = {NULL, "transcribe", "translate"};
    static const char *const risks[] = {NULL, "bleu", "chrf", "rouge", "wer", "cer"};
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    options.minimum_risk = risks[values->minimum_risk];
    options.candidates = values->candidates;
    options.input = (td_input_kind)values->input;
    options.beam = values->beam;
    options.nbest = values->nbest;
    options.min_length = values->min_length;
    options.max_length = values->max_length;
    options.no_repeat_ngram = values->no_repeat_ngram;
    options.sample = values->sample ? 1 : TD_UNSET;
    options.top_k = values->top_k;
    options.seed = (uint64_t)values->seed;
    options.length_penalty = values->length_penalty;
    options.repetition_penalty = values->repetition_penalty;
    options.temperature = values->temperature;
    options.top_p = values->top_p;
    options.source_language = values->from;
    options.target_language = values->to;
    options.task = tasks[values->task];
    options.prefix = values->prefix;
    options.settings = values->settings.items;
    options.setting_count = values->settings.count;
    options.attention = values->attention != NULL;
    options.split = values->split == 1 ? TD_SPLIT_SENTENCES : TD_SPLIT_NONE;
    return options;
}

int generate_open_model(const cli_command *command, generate_values *values, td_model **ret_model)
{
    static const char *const precisions[] = {NULL, "float32", "bfloat16", "int8"};
    const char *directory = values->model;
    td_model_options options = TD_MODEL_OPTIONS_INIT;
    options.precision = precisions[values->precision];
    td_error error;
    char *bundled = NULL;
    if (!directory) {
        int code = bundled_model(command, &bundled);
        if (code >= 0)
            return code;
        directory = bundled;
    }
    int code = cli_profile_begin(command, values->profile, &values->profiled);
    if (code >= 0) {
        bundled_release(bundled);
        return code;
    }
    options.profile = values->profiled;
    td_status status = td_model_open(directory, &options, ret_model, &error);
    bundled_release(bundled);
    return status ? cli_complain(command, CLI_FAILED, "%s", error.message) : -1;
}

int generate_close_model(const cli_command *command, generate_values *values, td_model *model, int code)
{
    td_model_close(model);
    return cli_profile_end(command, values->profile, values->profiled, code);
}
