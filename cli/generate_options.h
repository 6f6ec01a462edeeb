/* The options that the generating verbs and `score` share: one table, one struct of values. */
#ifndef TANDEM_GENERATE_OPTIONS_H
#define TANDEM_GENERATE_OPTIONS_H

#include "command.h"

#include <stdint.h>
#include <tandem/tandem.h>

typedef struct generate_values {
    const char *model, *from, *to, *prefix, *attention, *source, *target, *list, *keys;
    int64_t beam, nbest, candidates, min_length, max_length, no_repeat_ngram, top_k, seed, threads, batch_tokens;
    double length_penalty, repetition_penalty, temperature, top_p;
    bool sample, json, stream;
    int input, output;           /* td_input_kind */
    int split;                   /* 0: as the verb has it, 1: sentences, 2: none */
    int progress;                /* for cli_progress_begin */
    int precision, minimum_risk; /* index into the choices */
    cli_list settings;
    const char *language, *profile;
    td_profile *profiled; /* made by generate_open_model when --profile is given */
    int format, task;     /* transcribe: index into the choices */
    bool timestamps, word_timestamps, fallback, condition;
    double longest, pause;
    const char *prompt, *temperatures;                    /* transcribe */
    double compression_ratio, log_probability, no_speech; /* TD_UNSET_REAL: not given */
} generate_values;

generate_values generate_values_default(void);
/* The library's options; they point into `values`. */
td_generate_options generate_library_options(const generate_values *values);
/* Opens the model of -m, or the bundled one for the verb; complains when there is none. -1, or an exit code. */
int generate_open_model(const cli_command *command, generate_values *values, td_model **ret_model);

/* Closes the model (NULL is fine) and shows the profile; returns `code`, or 1. */
int generate_close_model(const cli_command *command, generate_values *values, td_model *model, int code);

#endif
