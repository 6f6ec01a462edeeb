/* A training recipe: one plain struct, filled from YAML through one table (recipe.c) that also checks, overrides, writes and
 * documents every key. A member is named like its key: `training.learning_rate` is recipe->training.learning_rate. */
#ifndef TD_TRAINING_RECIPE_H
#define TD_TRAINING_RECIPE_H

#include "base/buffer.h"

/* Choices are stored as the position in their list; these names follow the lists' order. */
typedef enum td_recipe_task { TD_TASK_TRANSLATE, TD_TASK_SUMMARIZE, TD_TASK_CAPTION, TD_TASK_TRANSCRIBE } td_recipe_task;
typedef enum td_recipe_vocabulary_kind {
    TD_VOCABULARY_UNIGRAM,
    TD_VOCABULARY_BPE,
    TD_VOCABULARY_CHAR,
    TD_VOCABULARY_WORD
} td_recipe_vocabulary_kind;
typedef enum td_recipe_normalization {
    TD_RECIPE_NMT_NFKC,
    TD_RECIPE_NFKC,
    TD_RECIPE_NFKC_CF,
    TD_RECIPE_NMT_NFKC_CF,
    TD_RECIPE_IDENTITY
} td_recipe_normalization;
typedef enum td_recipe_model_type { TD_RECIPE_TRANSFORMER, TD_RECIPE_LSTM, TD_RECIPE_GRU, TD_RECIPE_RNN } td_recipe_model_type;
typedef enum td_recipe_attention {
    TD_RECIPE_ATTENTION_MULTI_HEAD,
    TD_RECIPE_ATTENTION_NONE, /* one fixed context vector */
    TD_RECIPE_ATTENTION_ADDITIVE,
    TD_RECIPE_ATTENTION_DOT,
    TD_RECIPE_ATTENTION_GENERAL,
    TD_RECIPE_ATTENTION_CONCAT
} td_recipe_attention;
typedef enum td_recipe_norm { TD_RECIPE_NORM_POST, TD_RECIPE_NORM_PRE } td_recipe_norm;
typedef enum td_recipe_positions { TD_RECIPE_SINUSOIDAL, TD_RECIPE_LEARNED } td_recipe_positions;
typedef enum td_recipe_activation { TD_RECIPE_RELU, TD_RECIPE_GELU, TD_RECIPE_SWISH, TD_RECIPE_TANH } td_recipe_activation;
typedef enum td_recipe_tying { TD_RECIPE_TIE_NONE, TD_RECIPE_TIE_TWO_WAY, TD_RECIPE_TIE_THREE_WAY } td_recipe_tying;
typedef enum td_recipe_nonlinearity { TD_RECIPE_CELL_TANH, TD_RECIPE_CELL_RELU } td_recipe_nonlinearity;
typedef enum td_recipe_schedule {
    TD_RECIPE_INVERSE_SQRT,
    TD_RECIPE_LINEAR,
    TD_RECIPE_COSINE,
    TD_RECIPE_CONSTANT,
    TD_RECIPE_PLATEAU
} td_recipe_schedule;
typedef enum td_recipe_optimizer { TD_RECIPE_ADAM, TD_RECIPE_ADAMW, TD_RECIPE_SGD } td_recipe_optimizer;
typedef enum td_recipe_precision { TD_RECIPE_FLOAT32, TD_RECIPE_BFLOAT16 } td_recipe_precision;
typedef enum td_recipe_metric {
    TD_RECIPE_METRIC_LOSS,
    TD_RECIPE_METRIC_BLEU,
    TD_RECIPE_METRIC_ROUGE,
    TD_RECIPE_METRIC_CIDER,
    TD_RECIPE_METRIC_WER,
    TD_RECIPE_METRIC_CER,
    TD_RECIPE_METRIC_EXACT
} td_recipe_metric;
typedef enum td_recipe_audio { TD_RECIPE_FBANK, TD_RECIPE_MFCC, TD_RECIPE_LOG_MEL, TD_RECIPE_FEATURES } td_recipe_audio;
typedef enum td_recipe_feature_norm { TD_RECIPE_NORM_NONE, TD_RECIPE_NORM_UTTERANCE, TD_RECIPE_NORM_GLOBAL } td_recipe_feature_norm;
typedef enum td_recipe_tokenize {
    TD_RECIPE_TOKENIZE_13A,
    TD_RECIPE_TOKENIZE_NONE,
    TD_RECIPE_TOKENIZE_CHAR,
    TD_RECIPE_TOKENIZE_INTL
} td_recipe_tokenize;
typedef enum td_recipe_early_stopping { TD_RECIPE_EARLY_FALSE, TD_RECIPE_EARLY_TRUE, TD_RECIPE_EARLY_NEVER } td_recipe_early_stopping;

typedef struct td_string_list {
    char **items;
    size_t count;
} td_string_list;

/* Parallel corpora; `source` and `target` have the same count. With a jsonl corpus `target` may repeat the file or be empty. */
typedef struct td_recipe_corpus {
    td_string_list source, target;
} td_recipe_corpus;

typedef struct td_recipe_stack {
    int64_t layers, width, heads, feed_forward;
    bool bidirectional; /* from here on: encoder only */
    char *from;
    bool frozen;
    int64_t trained_blocks;
    struct {
        td_string_list channels, strides;
    } cnn;                      /* of a picture encoder trained from scratch */
    td_string_list subsampling; /* strides */
    int64_t pyramid_layers;
} td_recipe_stack;

#define TD_RECIPE_MAX_KEYS 192

/* Strings are never NULL; "" is an unset one. Paths are absolute. */
typedef struct td_recipe {
    int task; /* td_recipe_task; every int member is a choice */
    char *output;
    struct {
        td_recipe_corpus train, validation;
        struct {
            char *source, *target;
        } keys; /* of jsonl objects */
        struct {
            int kind, normalization;
            int64_t size, max_sentences;
            bool shared, byte_fallback;
            double character_coverage;
            char *from;
        } vocabulary;
        char *folder; /* of sounds and pictures */
        struct {
            int kind, normalize;
            int64_t sampling_rate, width;
            bool deltas, speed_perturbation;
        } audio;
        struct {
            int64_t size;
        } image;
        td_string_list languages;                /* of train, one per corpus; empty: none */
        char *source_language, *target_language; /* of a model to start from; "": its own */
        int64_t max_source_length, max_target_length, shuffle_window;
        bool truncate_source;
        double max_length_ratio, bpe_dropout;
    } data;
    struct {
        int type, attention, norm, positions, activation, tie_embeddings, nonlinearity;
        td_recipe_stack encoder, decoder;
        bool scale_embedding, reverse_source, input_feeding, coverage, context_feeding, copy;
        int64_t attention_size;  /* 0: the decoder's width */
        int64_t embedding_width; /* 0: the encoder's or decoder's width */
        char *from;
    } model;
    struct {
        int64_t batch_tokens, shards, accumulation, max_steps, max_epochs, patience, warmup_steps;
        double max_minutes, max_memory, learning_rate, minimum_learning_rate;
        int schedule, optimizer, precision, validation_metric, validation_tokenize;
        double coverage_loss, doubly_stochastic, beta1, beta2, epsilon, momentum, weight_decay, clip_norm;
        double dropout, attention_dropout, activation_dropout, word_dropout;
        double label_smoothing, r_drop, scheduled_sampling, ctc_weight, ema;
        struct {
            int64_t time_masks, time_width, frequency_masks, frequency_width;
        } spec_augment;
        struct {
            double weight;
            int metric;
            int64_t samples;
        } minimum_risk;
        int64_t average_last, keep_checkpoints, seed, threads;
        int64_t validate_every, checkpoint_every, report_every, validation_beam, validation_max_sentences;
    } training;
    struct {
        int64_t beam, min_length, max_length, no_repeat_ngram;
        double length_penalty, repetition_penalty, ctc_weight;
        int early_stopping;
    } generation; /* written to generation_config.json */

    char *path;                    /* of the file; "" when made by td_recipe_new */
    int lines[TD_RECIPE_MAX_KEYS]; /* line each key was given on, by table row; 0: default, -1: td_recipe_set */
} td_recipe;

/* All defaults. */
td_status td_recipe_new(td_recipe **ret_recipe, td_error *error);
/* Reads a YAML file. Relative data, vocabulary and model paths are taken from the file's directory, `output` from the current
 * one; ${NAME} in a path is the environment variable, $$ a dollar sign. Does not call td_recipe_check: overrides come first. */
td_status td_recipe_load(const char *path, td_recipe **ret_recipe, td_error *error);
void td_recipe_free(td_recipe *recipe);
/* Overrides one key with "training.learning_rate=0.002"; the value is YAML (lists as [a, b]), relative paths are taken from the
 * current directory. The recipe is untouched on failure. */
td_status td_recipe_set(td_recipe *recipe, const char *assignment, td_error *error);
/* What spans several keys: required ones, parallel lists, heads that divide widths, attention that fits the model's type. Fills
 * the defaults that depend on other keys. Call once after all overrides, before use. */
td_status td_recipe_check(td_recipe *recipe, td_error *error);
/* False for sound and pictures. */
static inline bool td_recipe_reads_text(const td_recipe *recipe)
{
    return recipe->task == TD_TASK_TRANSLATE || recipe->task == TD_TASK_SUMMARIZE;
}
/* Every key with its value, as YAML that loads back to the same values. */
td_status td_recipe_write(const td_recipe *recipe, const char *path, td_error *error);
/* The reference page in Markdown. */
void td_recipe_reference(td_buffer *buffer);
/* Whether the file or an override says it. */
bool td_recipe_given(const td_recipe *recipe, const char *key);
/* The text of a choice, e.g. td_recipe_choice("model.type", recipe->model.type); NULL for an unknown key or position. */
const char *td_recipe_choice(const char *key, int position);

#endif
