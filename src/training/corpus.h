/* A corpus on disk: pairs read once from text, checked, filtered, turned into ids and written to one record file and one index, which
 * are then mapped. Memory does not grow with the corpus. */
#ifndef TD_TRAINING_CORPUS_H
#define TD_TRAINING_CORPUS_H

#include "frontend/kind.h"
#include "platform/file.h"
#include "platform/thread.h"
#include "text/tokenizer.h"
#include "training/recipe.h"

#include <signal.h>

typedef struct td_corpus {
    td_mapped_file records, index;
    size_t count;
    size_t feature_width; /* 0: sources are ids */
    uint64_t source_tokens, target_tokens;
} td_corpus;

/* Why pairs were left out. */
typedef struct td_corpus_report {
    uint64_t read, kept, empty, too_long, bad_ratio;
    uint64_t cut; /* sources made shorter; these were kept */
} td_corpus_report;

typedef struct td_pair {
    const int32_t *source, *target; /* end tokens included; source NULL when it is features */
    const float *features;          /* [source_length, feature_width] or NULL */
    size_t source_length, target_length;
    const char *source_text, *target_text; /* only when kept with text; not terminated. Of features, the name of their file */
    size_t source_bytes, target_bytes;
    uint64_t source_offset; /* equal for pairs of one sound or picture */
} td_pair;

/* What someone waiting sees and says while files are read, which may take minutes. All members may be NULL. */
typedef struct td_corpus_watch {
    const volatile sig_atomic_t *stop;              /* not 0: reading ends with TD_ERROR_CANCELLED */
    void (*progress)(void *context, uint64_t read); /* files of sound or pictures, pairs of text */
    void *context;
} td_corpus_watch;

static inline bool td_corpus_stopped(const td_corpus_watch *watch)
{
    return watch->stop && *watch->stop;
}

enum { TD_CORPUS_MAX_SPEEDS = 4 };

/* Makes features of the sound or picture a source names; several threads ask at once. */
typedef struct td_feature_reader {
    void *context;
    size_t width;
    /* All that the features follow from beside the file itself: part of what decides whether a corpus on disk can be kept. */
    const char *signature;
    /* speed: how many times as fast sound is played; 1: as it is */
    td_status (*read)(void *context, const char *path, double speed, size_t thread, td_features *ret_features, td_error *error);
    td_pool *pool; /* on whose threads */
} td_feature_reader;

typedef struct td_corpus_options {
    const td_recipe_corpus *files;
    const td_string_list *languages;               /* target language of each file pair, or empty */
    const char *source_language, *target_language; /* that the tokenizer was set to; "": its own */
    const char *source_key, *target_key;           /* for .jsonl */
    const td_feature_reader *features;             /* NULL: sources are text; else they are names of files */
    const char *folder;                            /* that names are relative to; "": that of the file they stand in */
    double speeds[TD_CORPUS_MAX_SPEEDS];           /* every recording becomes one at each of these */
    size_t speed_count;                            /* 0: each as it is */
    size_t max_source_length, max_target_length;
    double max_length_ratio; /* 0: off */
    bool cut_sources;        /* to max_source_length, instead of leaving their pairs out */
    bool copy;               /* pieces outside the vocabulary get ids, see models/copying.h */
    td_corpus_watch watch;
    bool keep_text; /* for sampled segmentation and for references */
} td_corpus_options;

/* Reads the files, writes directory/name.records and name.index, and maps them. */
td_status td_corpus_build(const td_corpus_options *options, const td_tokenizer *tokenizer, const char *directory, const char *name,
                          td_corpus *ret_corpus, td_corpus_report *ret_report, td_error *error);
/* Maps what td_corpus_build wrote. */
td_status td_corpus_open(const char *directory, const char *name, size_t feature_width, td_corpus *ret_corpus, td_error *error);
void td_corpus_close(td_corpus *corpus);
td_pair td_corpus_get(const td_corpus *corpus, size_t index);
/* Whether pair `index` is another target of the sound or picture before it. */
bool td_corpus_continues(const td_corpus *corpus, size_t index);
/* Tokens of pair `index` without touching its record. */
void td_corpus_lengths(const td_corpus *corpus, size_t index, size_t *ret_source, size_t *ret_target);

/* The raw text of a corpus, one side or both, for vocabulary training. */
typedef struct td_corpus_text td_corpus_text;
td_status td_corpus_text_open(const td_corpus_options *options, bool source, bool target, td_corpus_text **ret_text, td_error *error);
/* Gives only `keep` of the corpus's `total` pairs, at even distances. */
void td_corpus_text_thin_out(td_corpus_text *text, uint64_t total, uint64_t keep);
td_sentences td_corpus_text_sentences(td_corpus_text *text);
void td_corpus_text_close(td_corpus_text *text);

#endif
