/* What generation_config.json says about Whisper's special tokens, and the prompts made of them. */
#ifndef TD_API_WHISPER_H
#define TD_API_WHISPER_H

#include "api/model.h"
#include "api/windows.h"
#include "tandem/transcribe.h"
#include "text/ids.h"

typedef struct td_whisper {
    const td_model *model;
    json_t *settings;                       /* generation_config.json; an empty object when there is none */
    char *file;                             /* its path, for messages */
    int32_t start, no_timestamps, previous; /* -1: none */
    int32_t first_timestamp;                /* behind every id when there are none */
    td_ids forced;                          /* what older configurations put after the start token; -1: to be detected */
    td_ids told;                            /* the caller's prompt */
    bool thresholds[3];                     /* which of those below count */
    double compression_ratio, log_probability, no_speech;
    bool condition_on_previous, return_timestamps;
} td_whisper;

/* Merges the caller's options over the file's. */
td_status td_whisper_open(const td_model *model, const td_generation *generation, const td_transcribe_options *options,
                          td_whisper *ret_whisper, td_error *error);
void td_whisper_close(td_whisper *whisper);
/* The heads of "alignment_heads" and the width of the configuration's "median_filter_width"; free the lists, also after a failure. */
td_status td_whisper_heads(const td_whisper *whisper, td_alignment_heads *heads, td_error *error);
/* The language's token; -1: it is to be detected; -2: the prompt has none, or is forced. */
td_status td_whisper_language(const td_whisper *whisper, const td_transcribe_options *options, int32_t *ret_id, td_error *error);
/* The token of a language with the highest logit. */
int32_t td_whisper_detect(const td_whisper *whisper, const float *logits);
/* "en" of "<|en|>" in a new string; NULL when the id is of no language or out of memory. */
char *td_whisper_language_name(const td_whisper *whisper, int32_t id);
/* Start token, language, task, and <|notimestamps|> unless `timestamps`. language: as td_whisper_language gives it, or detected. */
td_status td_whisper_prompt(const td_whisper *whisper, const td_transcribe_options *options, int32_t language, bool timestamps,
                            td_ids *prompt, td_error *error);

enum { TD_WHISPER_DETECT = -1, TD_WHISPER_NO_LANGUAGE = -2 };
#endif
