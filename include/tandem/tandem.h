/* Tandem: sequence-to-sequence models, trained and run. This program translates one sentence:
 *
 *     #include <stdio.h>
 *     #include <tandem/tandem.h>
 *
 *     int main(void)
 *     {
 *         td_model *model = NULL; td_session *session = NULL; td_result *result = NULL; td_error error;
 *         if (td_model_open("pretrained/multi30k", NULL, &model, &error) ||
 *             td_session_new(model, NULL, &session, &error) ||
 *             td_generate_text(session, "Ein Hund läuft am Strand.", NULL, &result, &error))
 *             return fprintf(stderr, "%s\n", error.message), 1;
 *         puts(td_result_text(result, 0, 0));
 *         td_result_free(result), td_session_free(session), td_model_close(model);
 *         return 0;
 *     }
 *
 * Conventions. A function that can fail returns td_status (TD_OK is 0) and fills its last argument, which may be NULL.
 * Outputs named ret_* are untouched on failure. Text is UTF-8. Logarithms are natural. Freeing NULL does nothing. A
 * model may be used by many threads at once; a session and a result belong to one thread at a time. */
#ifndef TANDEM_TANDEM_H
#define TANDEM_TANDEM_H

#include <stdbool.h>
#include <stdint.h>
#include <tandem/base.h>
#include <tandem/profile.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Models ---- */

/* What a model directory holds, read once: weights, tokenizer, generation settings. Immutable. */
typedef struct td_model td_model;

typedef struct td_model_options {
    size_t struct_size;
    const char *precision; /* of weights in memory and of products: "float32", "bfloat16" (half the memory), "int8" (a quarter; inputs
                              of a product are rounded to 8 bits row by row); in both of these a decoder keeps keys and values in
                              bfloat16. NULL: int8 when the file holds int8, else float32 */
    td_profile *profile;   /* measures what the model's sessions and batches do; NULL: nothing. Must outlive the model */
} td_model_options;
#define TD_MODEL_OPTIONS_INIT                                                                                                              \
    {                                                                                                                                      \
        sizeof(td_model_options), NULL, NULL                                                                                               \
    }

/* Opens a directory in the Hugging Face layout: config.json, model.safetensors (or its shards), generation_config.json
 * (optional) and the tokenizer's files. Errors name the file and what in it is wrong. options may be NULL. */
TD_API td_status td_model_open(const char *directory, const td_model_options *options, td_model **ret_model, td_error *error);
/* Releases a model; all its sessions must be gone. */
TD_API void td_model_close(td_model *model);

/* Ids of the target vocabulary are 0 .. size - 1. */
TD_API size_t td_model_vocabulary_size(const td_model *model);
/* The most source tokens the model takes, end token included; 0: any number. */
TD_API size_t td_model_max_source(const td_model *model);
/* Languages the model can translate into, as its tokens name them ("de" for ">>de<<", "de_DE", "deu_Latn"), in the order
 * of the vocabulary; NULL after the last one. A model for one pair of languages has none. */
TD_API const char *td_model_language(const td_model *model, size_t index);

/* One thing to know about a model, e.g. {"parameters", "5412864", true, "model.safetensors"}. */
typedef struct td_fact {
    const char *name;  /* a JSON key: lower case, underscores */
    const char *value; /* text, or a JSON number when `number` */
    bool number;
    const char *from; /* the file (and key) it was read from, or how it was computed */
} td_fact;
/* The facts of a model in the order to show them; NULL after the last one. */
TD_API const td_fact *td_model_fact(const td_model *model, size_t index);

/* ---- Sessions ---- */

/* Working memory for one thread. Memory grows to what the longest request needs, and is kept. */
typedef struct td_session td_session;

typedef struct td_session_options {
    size_t struct_size;
    size_t batch_tokens; /* source tokens times beams decoded together by td_generate_texts; 0: a good number */
    size_t threads;      /* that share the work of each step, at most one per processor, for an early answer; 0: the calling one alone,
                            which is best where several sessions run side by side. Outputs do not depend on it */
} td_session_options;
#define TD_SESSION_OPTIONS_INIT                                                                                                            \
    {                                                                                                                                      \
        sizeof(td_session_options), 0, 0                                                                                                   \
    }

/* options may be NULL. The model must outlive the session. */
TD_API td_status td_session_new(td_model *model, const td_session_options *options, td_session **ret_session, td_error *error);
TD_API void td_session_free(td_session *session);

/* ---- Options of generation ---- */

/* A field with one of these values is taken from the model's generation_config.json. */
#define TD_UNSET (-1)
#define TD_UNSET_REAL (-1e30)

/* What goes in: text; or subword pieces separated by spaces; or ids, taken as they are with no special tokens added. */
typedef enum td_input_kind { TD_INPUT_TEXT, TD_INPUT_PIECES, TD_INPUT_IDS } td_input_kind;

/* Texts longer than a model of sentences reads well (100 tokens, or the most it takes): read whole, or sentence by sentence,
 * the outputs joined with what stood between the sentences. Whole, too, with a prefix, on_text or attention. */
typedef enum td_split_kind { TD_SPLIT_NONE, TD_SPLIT_SENTENCES } td_split_kind;

typedef struct td_generate_options {
    size_t struct_size;
    td_input_kind input;
    int64_t beam;                /* hypotheses kept; 1: greedy */
    int64_t nbest;               /* outputs a result holds, at most `beam`; TD_UNSET: 1 */
    int64_t min_length;          /* of the output in tokens, counted as max_length is */
    int64_t max_length;          /* of the output in tokens, decoder start, prefix and end token included */
    int64_t no_repeat_ngram;     /* no n-gram of this many tokens occurs twice; 0: off */
    int64_t sample;              /* 1: draw from the distribution instead of searching (beam is then 1) */
    int64_t top_k;               /* sampling: only among the k most probable tokens; 0: all */
    uint64_t seed;               /* sampling: the same seed gives the same outputs; input i draws from stream (seed, i) */
    double length_penalty;       /* a hypothesis ranks by its log-probability / length ^ length_penalty */
    double repetition_penalty;   /* 1: none (Keskar 2019) */
    double temperature;          /* sampling: logits are divided by it; > 0. An error, as top_k and top_p, where nothing is sampled */
    double top_p;                /* sampling: only among the most probable tokens that make up p (Holtzman 2020) */
    const char *source_language; /* models of many languages: as the model writes it; NULL: its default. Whisper: the one spoken, as
                                    td_transcribe_options.language */
    const char *target_language; /* must be given when the model writes several and names no default */
    const char *prefix;          /* every output begins with this text; NULL: none */
    const char *const *settings; /* further fields of generation_config.json, "name=JSON value"; they win over the above */
    size_t setting_count;
    bool attention;   /* results hold the decoder's attention to the source */
    bool no_truncate; /* a source longer than the model takes is an error instead of being cut */
    /* Called with each new piece of text of a greedy or sampled output as it is chosen; returning false ends the output
     * there. Not with a beam above 1. */
    bool (*on_text)(void *context, const char *text, size_t length);
    void *on_text_context;
    td_split_kind split;
    const char *task; /* Whisper: "transcribe" or "translate" (to English): outputs begin with the tokens that say so; NULL: with none,
                         unless the source language is given */
    /* Minimum Bayes risk decoding (Kumar and Byrne 2004): the outputs are those of the candidates that agree best with all candidates, as
     * this metric sees it: "bleu", "chrf", "rouge", "wer" or "cer" (equal outputs agree; scores stay log-probabilities). NULL: the most
     * probable ones. */
    const char *minimum_risk;
    int64_t candidates; /* for minimum_risk: how many; TD_UNSET: the beam, or 32 when sampling */
} td_generate_options;
#define TD_GENERATE_OPTIONS_INIT                                                                                                           \
    {                                                                                                                                      \
        sizeof(td_generate_options), TD_INPUT_TEXT, TD_UNSET, TD_UNSET, TD_UNSET, TD_UNSET, TD_UNSET, TD_UNSET, TD_UNSET, 0,               \
            TD_UNSET_REAL, TD_UNSET_REAL, TD_UNSET_REAL, TD_UNSET_REAL, NULL, NULL, NULL, NULL, 0, false, false, NULL, NULL,               \
            TD_SPLIT_NONE, NULL, NULL, TD_UNSET                                                                                            \
    }

/* ---- Generating ---- */

/* The answer to one or more inputs: for each its outputs, best first. */
typedef struct td_result td_result;

/* One input (kind: options->input), 0-terminated. options may be NULL: text in, everything as the model's files say. */
TD_API td_status td_generate_text(td_session *session, const char *text, const td_generate_options *options, td_result **ret_result,
                                  td_error *error);
/* Inputs that are decoded together; the outputs do not depend on the company. */
TD_API td_status td_generate_texts(td_session *session, const char *const *texts, size_t count, const td_generate_options *options,
                                   td_result **ret_result, td_error *error);

/* Models of sound and pictures take the names of files in the place of texts; or one input from memory: the bytes of a
 * file; samples [frames, channels], full scale 1, of any rate; pixels [height, width, channels], channels 1 (grey), 3
 * (RGB) or 4 (RGBA). */
TD_API td_status td_generate_bytes(td_session *session, const void *bytes, size_t length, const td_generate_options *options,
                                   td_result **ret_result, td_error *error);
TD_API td_status td_generate_samples(td_session *session, const float *samples, size_t frames, size_t channels, size_t rate,
                                     const td_generate_options *options, td_result **ret_result, td_error *error);
TD_API td_status td_generate_pixels(td_session *session, const uint8_t *pixels, size_t height, size_t width, size_t channels,
                                    const td_generate_options *options, td_result **ret_result, td_error *error);

/* Receives input `index`'s result (with one input, number 0), or NULL and why. Only valid during the call. Calls come
 * one at a time and in order of index, from any thread. Returning false ends the batch with TD_ERROR_CANCELLED. */
typedef bool (*td_result_callback)(void *context, size_t index, const td_result *result, const td_error *error);

typedef struct td_batch_options {
    size_t struct_size;
    size_t threads;             /* 0: one per processor; where inputs are fewer, threads share the work of one */
    size_t batch_tokens;        /* source tokens times beams a thread decodes together; 0: a good number */
    size_t first_index;         /* number of the first input: what callbacks get, and what random streams depend on */
    const volatile int *cancel; /* or NULL; once it is not 0, no further input is begun and the batch ends as cancelled */
} td_batch_options;
#define TD_BATCH_OPTIONS_INIT                                                                                                              \
    {                                                                                                                                      \
        sizeof(td_batch_options), 0, 0, 0, NULL                                                                                            \
    }

/* Many inputs on several threads, each with a session of its own. Outputs and their scores are the same, to the bit, for any number of
 * threads and any batch size. An input that fails is reported to the callback and the others go on. */
TD_API td_status td_generate_batch(td_model *model, const char *const *texts, size_t count, const td_generate_options *options,
                                   const td_batch_options *batch_options, td_result_callback callback, void *context, td_error *error);

/* ---- Scoring ---- */

/* The log-probability of given targets: the result's only output holds the target's ids, their log-probabilities, and
 * as score their sum. With text, the end token is part of the target; with ids, the target is taken as it is (decoder
 * start not included). Of the options only input, the languages and attention count. */
TD_API td_status td_score_text(td_session *session, const char *source, const char *target, const td_generate_options *options,
                               td_result **ret_result, td_error *error);
TD_API td_status td_score_batch(td_model *model, const char *const *sources, const char *const *targets, size_t count,
                                const td_generate_options *options, const td_batch_options *batch_options, td_result_callback callback,
                                void *context, td_error *error);

/* ---- Results ---- */

TD_API void td_result_free(td_result *result);
TD_API size_t td_result_inputs(const td_result *result);
/* How many outputs input `input` has; 0 when there is no such input. The accessors below return NULL (or 0) outside. */
TD_API size_t td_result_outputs(const td_result *result, size_t input);

/* The output as text, without special tokens. */
TD_API const char *td_result_text(const td_result *result, size_t input, size_t output);
/* Tokens chosen, end token included when it was reached, decoder start token not. */
TD_API const int32_t *td_result_ids(const td_result *result, size_t input, size_t output, size_t *ret_count);
/* Token `position` as the vocabulary writes it. */
TD_API const char *td_result_piece(const td_result *result, size_t input, size_t output, size_t position);
/* What outputs are ranked by: sum of log-probabilities / length ^ length_penalty in beam search, else the sum. */
TD_API double td_result_score(const td_result *result, size_t input, size_t output);
/* Log-probability of each token under the distribution it was chosen from, [count of ids]. */
TD_API const float *td_result_token_logprobs(const td_result *result, size_t input, size_t output, size_t *ret_count);
/* Attention to the source, last layer, mean of heads: [tokens, source tokens], rows sum to 1. NULL unless asked for, or
 * when the model has none. */
TD_API const float *td_result_attention(const td_result *result, size_t input, size_t output, size_t *ret_rows, size_t *ret_columns);
/* Draws where a captioner looked as an SVG: the picture, once for each word of the output, bright where the word's attention was. `picture`
 * is the file that input `input` was read from. Needs options->attention. */
TD_API td_status td_picture_overlay(const td_result *result, size_t input, size_t output, const char *picture, const char *svg_path,
                                    td_error *error);
/* The source as the encoder saw it. */
TD_API const int32_t *td_result_source_ids(const td_result *result, size_t input, size_t *ret_count);
TD_API const char *td_result_source_piece(const td_result *result, size_t input, size_t position);
/* The sentences a text was cut into (options->split): how many, 0 when it was taken whole; each one's source, output and
 * score. The output's score is the sum of theirs. */
TD_API size_t td_result_segments(const td_result *result, size_t input, size_t output);
TD_API const char *td_result_segment_source(const td_result *result, size_t input, size_t output, size_t segment);
TD_API const char *td_result_segment_text(const td_result *result, size_t input, size_t output, size_t segment);
TD_API double td_result_segment_score(const td_result *result, size_t input, size_t output, size_t segment);
/* Source tokens that were cut off because the model takes no more; 0: none. */
TD_API size_t td_result_truncated(const td_result *result, size_t input);

/* ---- Step by step ---- */

/* For a search of your own. td_encode_ids reads a source and starts `rows` hypotheses of it; td_decode_step feeds each
 * row its next token (the first is td_model_decoder_start) and gives the logits of the one after; td_decode_select
 * keeps, repeats and drops rows between steps. After td_encode_ids or td_decode_step failed in its computation, no row is left: begin
 * again with td_encode_ids. */
TD_API td_status td_encode_ids(td_session *session, const int32_t *ids, size_t count, size_t rows, td_error *error);
/* ids [rows] -> *ret_logits [rows, vocabulary], valid until the session is next used. */
TD_API td_status td_decode_step(td_session *session, const int32_t *ids, const float **ret_logits, td_error *error);
/* New row i continues old row parents[i]. */
TD_API td_status td_decode_select(td_session *session, const int32_t *parents, size_t rows, td_error *error);
TD_API int32_t td_model_decoder_start(const td_model *model);
TD_API int32_t td_model_end(const td_model *model); /* the end token; -1: none */

/* Text to source ids, end token included where the model has it. Writes at most `capacity` ids and gives the count
 * needed. */
TD_API td_status td_model_tokenize(const td_model *model, const char *text, int32_t *ids, size_t capacity, size_t *ret_count,
                                   td_error *error);
/* Target ids to text without special tokens, 0-terminated, at most `capacity` bytes; *ret_length is the length needed
 * without the 0: when it is not below `capacity` the text was cut. */
TD_API td_status td_model_detokenize(const td_model *model, const int32_t *ids, size_t count, char *text, size_t capacity,
                                     size_t *ret_length, td_error *error);

#ifdef __cplusplus
}
#endif
#endif
