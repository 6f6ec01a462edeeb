#include "generate_options.h"
#include "bundled.h"
#include "profile.h"

#define AT(member) offsetof(generate_values, member)

#define MODEL_OPTION                                                                                                                       \
    {                                                                                                                                      \
        "model", 'm', CLI_TEXT, AT(model), "DIR", "model directory in the Hugging Face layout (default: the bundled model for the verb)",  \
            0, 0                                                                                                                           \
    }
#define FROM_OPTION                                                                                                                        \
    {                                                                                                                                      \
        "from", 0, CLI_TEXT, AT(from), "LANG", "source language, for models of many languages; Whisper: the one spoken", 0, 0              \
    }
#define TO_OPTION                                                                                                                          \
    {                                                                                                                                      \
        "to", 0, CLI_TEXT, AT(to), "LANG", "target language, as the model writes it; needed when a model has several", 0, 0                \
    }
#define TASK_OPTION                                                                                                                        \
    {                                                                                                                                      \
        "task", 0, CLI_CHOICE, AT(task), "default|transcribe|translate", "Whisper: write what is said, or its English translation", 0, 0   \
    }
#define THREADS_OPTION                                                                                                                     \
    {                                                                                                                                      \
        "threads", 0, CLI_INTEGER, AT(threads), "N",                                                                                       \
            "sentences decoded side by side (default: one thread per processor); results do not depend on it", 1, 1024                     \
    }
#define BATCH_OPTION                                                                                                                       \
    {                                                                                                                                      \
        "batch-tokens", 0, CLI_INTEGER, AT(batch_tokens), "N",                                                                             \
            "source tokens times beams that a thread decodes together; results do not depend on it", 1, 1e9                                \
    }
#define PRECISION_OPTION                                                                                                                   \
    {                                                                                                                                      \
        "precision", 0, CLI_CHOICE, AT(precision), "stored|float32|bfloat16|int8",                                                         \
            "of weights in memory and of products (default: stored, int8 if the file holds int8, else float32)", 0, 0                      \
    }
#define PROFILE_OPTION                                                                                                                     \
    {                                                                                                                                      \
        "profile", 0, CLI_OPTIONAL, AT(profile), "FILE.json", PROFILE_HELP, 0, 0                                                           \
    }
#define INPUT_OPTION                                                                                                                       \
    {                                                                                                                                      \
        "input", 0, CLI_CHOICE, AT(input), "text|pieces|ids",                                                                              \
            "what a line holds: text, subword pieces, or token ids taken as they are (default: text)", 0, 0                                \
    }
#define PROGRESS_OPTION                                                                                                                    \
    {                                                                                                                                      \
        "progress", 0, CLI_CHOICE, AT(progress), "auto|on|off",                                                                            \
            "a moving line on standard error: how far and how fast (default: auto, on a terminal while the output "                        \
            "goes elsewhere)",                                                                                                             \
            0, 0                                                                                                                           \
    }
#define JSON_OPTION                                                                                                                        \
    {                                                                                                                                      \
        "json", 0, CLI_FLAG, AT(json), NULL, "one JSON object a line, with scores and pieces", 0, 0                                        \
    }

/* How outputs are found. */
#define SEARCH_OPTIONS                                                                                                                     \
    {"beam", 0, CLI_INTEGER, AT(beam), "N", "hypotheses kept; 1 is greedy (default: what the model says, else 4)", 1, 1024},               \
        {"nbest", 0, CLI_INTEGER, AT(nbest), "N", "outputs for each input, best first, a line each (default: 1)", 1, 1024},                \
        {"length-penalty",                                                                                                                 \
         0,                                                                                                                                \
         CLI_REAL,                                                                                                                         \
         AT(length_penalty),                                                                                                               \
         "A",                                                                                                                              \
         "rank by log-probability / length^A; above 0 favours longer outputs",                                                             \
         -100,                                                                                                                             \
         100},                                                                                                                             \
        {"min-length", 0, CLI_INTEGER, AT(min_length), "N", "no end before N tokens, the start token counted", 0, 1e6},                    \
        {"max-length", 0, CLI_INTEGER, AT(max_length), "N", "no more than N tokens, start and end token counted", 1, 1e6},                 \
        {"repetition-penalty", 0, CLI_REAL, AT(repetition_penalty), "P", "above 1: tokens already written are less likely", 1e-3, 1e3},    \
        {"no-repeat-ngram", 0, CLI_INTEGER, AT(no_repeat_ngram), "N", "no N tokens in a row occur twice; 0: off", 0, 1e6},                 \
        {"sample", 0, CLI_FLAG, AT(sample), NULL, "draw from the distribution instead of searching", 0, 0},                                \
        {"temperature", 0, CLI_REAL, AT(temperature), "T", "with --sample: below 1 sharpens, above 1 flattens", 1e-4, 1e4},                \
        {"top-k", 0, CLI_INTEGER, AT(top_k), "N", "with --sample: only the N most probable tokens; 0: all", 0, 1e9},                       \
        {"top-p", 0, CLI_REAL, AT(top_p), "P", "with --sample: only the most probable tokens that make up P", 1e-6, 1},                    \
        {"mbr",                                                                                                                            \
         0,                                                                                                                                \
         CLI_CHOICE,                                                                                                                       \
         AT(minimum_risk),                                                                                                                 \
         "off|bleu|chrf|rouge|wer|cer",                                                                                                    \
         "minimum Bayes risk: of the beam's hypotheses, or the samples, take the one most like the others by this metric",                 \
         0,                                                                                                                                \
         0},                                                                                                                               \
        {"candidates", 0, CLI_INTEGER, AT(candidates), "N", "with --mbr: how many to choose from (default: the beam, or 32 samples)", 1,   \
         1024},                                                                                                                            \
    {                                                                                                                                      \
        "seed", 0, CLI_INTEGER, AT(seed), "N", "with --sample: the same seed gives the same output (default: 0)", 0, 9e15                  \
    }

#define LIST_OPTION                                                                                                                        \
    {                                                                                                                                      \
        "list", 0, CLI_TEXT, AT(list), "FILE", "read the names of the files from FILE, one a line (-: standard input)", 0, 0               \
    }
#define PREFIX_OPTION                                                                                                                      \
    {                                                                                                                                      \
        "prefix", 0, CLI_TEXT, AT(prefix), "TEXT", "every output begins with this text", 0, 0                                              \
    }
#define OUTPUT_OPTION                                                                                                                      \
    {                                                                                                                                      \
        "output", 0, CLI_CHOICE, AT(output), "text|pieces|ids",                                                                            \
            "what is written: text, subword pieces, or token ids with the end token (default: text)", 0, 0                                 \
    }
#define SETTINGS_OPTION                                                                                                                    \
    {                                                                                                                                      \
        "generation", 0, CLI_LIST, AT(settings), "FIELD=VALUE",                                                                            \
            "set any field of generation_config.json to a JSON value, e.g. max_new_tokens=20 (repeatable)", 0, 0                           \
    }

const cli_option generate_options[] = {
    MODEL_OPTION,
    SEARCH_OPTIONS,
    FROM_OPTION,
    TO_OPTION,
    TASK_OPTION,
    PREFIX_OPTION,
    PRECISION_OPTION,
    PROFILE_OPTION,
    THREADS_OPTION,
    BATCH_OPTION,
    INPUT_OPTION,
    {"keys", 0, CLI_TEXT, AT(keys), "SOURCE[,TARGET]",
     "lines are JSON objects that have their text under the key SOURCE; a second key is for `tandem score`", 0, 0},
    OUTPUT_OPTION,
    {"split", 0, CLI_CHOICE, AT(split), "auto|sentences|none",
     "lines of more tokens than models of sentences read well (100, or the most the model takes) go in sentence by sentence, and the "
     "outputs are joined with what stood between them (default: auto, sentences for translate, none for other verbs)",
     0, 0},
    SETTINGS_OPTION,
    JSON_OPTION,
    PROGRESS_OPTION,
    {"attention", 0, CLI_TEXT, AT(attention), "FILE.svg",
     "draw what the first output attends to; with --json the numbers of every output are printed, too", 0, 0},
    {"stream", 0, CLI_FLAG, AT(stream), NULL, "print words as they are chosen; greedy or with --sample", 0, 0},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

const cli_option files_options[] = {
    MODEL_OPTION,
    LIST_OPTION,
    SEARCH_OPTIONS,
    PREFIX_OPTION,
    PRECISION_OPTION,
    PROFILE_OPTION,
    THREADS_OPTION,
    BATCH_OPTION,
    OUTPUT_OPTION,
    SETTINGS_OPTION,
    JSON_OPTION,
    PROGRESS_OPTION,
    {"attention", 0, CLI_TEXT, AT(attention), "FILE.svg",
     "draw where the model looked in the picture for each word; of several pictures FILE-1.svg, FILE-2.svg, ..., or, if it "
     "is a directory, in it one named like each picture",
     0, 0},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

const cli_option transcribe_options[] = {
    MODEL_OPTION,
    LIST_OPTION,
    {"format", 0, CLI_CHOICE, AT(format), "text|srt|vtt|json",
     "text; subtitles of one file; or a JSON object a file, with segments and their times (default: text)", 0, 0},
    {"timestamps", 0, CLI_FLAG, AT(timestamps), NULL, "text with times: a line for each segment", 0, 0},
    {"word-timestamps", 0, CLI_FLAG, AT(word_timestamps), NULL,
     "Whisper: times of single words, with --format json, vtt (within cues), srt (a cue each), or --timestamps (a line each)", 0, 0},
    {"longest-segment", 0, CLI_REAL, AT(longest), "S",
     "models for utterances: seconds of sound read in one piece; without a pause, it is cut where it is quietest (default: 20)", 1, 3600},
    {"pause", 0, CLI_REAL, AT(pause), "S", "models for utterances: seconds of quiet that end a segment (default: 0.5)", 0.05, 60},
    {"language", 0, CLI_TEXT, AT(language), "LANG",
     "Whisper: the language spoken, as en or de; auto: detected at the beginning (default: as the model says)", 0, 0},
    TASK_OPTION,
    {"fallback", 0, CLI_FLAG, AT(fallback), NULL,
     "Whisper: decode what came out badly (log-probability below -1, compression above 2.4) at rising temperatures; skip silence", 0, 0},
    {"temperatures", 0, CLI_TEXT, AT(temperatures), "T,T,...",
     "Whisper: the temperatures tried one after the other while a threshold is not met; 0 searches, above samples", 0, 0},
    {"compression-ratio-threshold", 0, CLI_REAL, AT(compression_ratio), "R", "Whisper: text that repeats itself so much came out badly", 0,
     1e6},
    {"logprob-threshold", 0, CLI_REAL, AT(log_probability), "L", "Whisper: so did text of a lower mean log-probability", -1e6, 0},
    {"no-speech-threshold", 0, CLI_REAL, AT(no_speech), "P",
     "Whisper: but not if it is silence with more than this probability: that is skipped", 0, 1},
    {"condition-on-previous", 0, CLI_FLAG, AT(condition), NULL, "Whisper: tell each window the text before it", 0, 0},
    {"prompt", 0, CLI_TEXT, AT(prompt), "TEXT", "Whisper: tell each window this text: names, spelling, style", 0, 0},
    SEARCH_OPTIONS,
    PREFIX_OPTION,
    PRECISION_OPTION,
    PROFILE_OPTION,
    THREADS_OPTION,
    BATCH_OPTION,
    OUTPUT_OPTION,
    SETTINGS_OPTION,
    PROGRESS_OPTION,
    JSON_OPTION,
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

const cli_option score_options[] = {
    MODEL_OPTION,
    {"source", 0, CLI_TEXT, AT(source), "FILE", "the sources, one a line", 0, 0},
    {"target", 0, CLI_TEXT, AT(target), "FILE", "the targets, one a line", 0, 0},
    FROM_OPTION,
    TO_OPTION,
    PRECISION_OPTION,
    PROFILE_OPTION,
    THREADS_OPTION,
    BATCH_OPTION,
    {"input", 0, CLI_CHOICE, AT(input), "text|pieces|ids",
     "what lines of both files hold; ids are taken as they are, so a target's end token counts only if it is there", 0, 0},
    {"keys", 0, CLI_TEXT, AT(keys), "SOURCE,TARGET",
     "lines are JSON objects; the two texts are under these keys, of --source alone or of both files", 0, 0},
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
