/* The parts of a tokenizer.json that turn strings into strings: normalizers, pre-tokenizers and decoders. Each is a step, read from an
 * object with a "type"; what differs is a row of the table of its sort. */
#ifndef TD_TEXT_STEPS_H
#define TD_TEXT_STEPS_H

#include "text/strings.h"

#include <jansson.h>

typedef struct td_step td_step;

typedef enum td_step_sort { TD_NORMALIZER, TD_PRE_TOKENIZER, TD_DECODER } td_step_sort;

/* What becomes of the matches when a string is split. */
typedef enum td_split { TD_SPLIT_REMOVED, TD_SPLIT_ISOLATED, TD_SPLIT_WITH_PREVIOUS, TD_SPLIT_WITH_NEXT, TD_SPLIT_CONTIGUOUS } td_split;

typedef struct td_step_kind {
    const char *type;
    td_status (*read)(td_step *step, const json_t *object, const char *file, td_error *error); /* NULL: nothing to read */
    td_status (*apply)(const td_step *step, const td_strings *in, td_strings *out, td_error *error);
} td_step_kind;

struct td_step {
    const td_step_kind *kind;
    char *text;    /* what is put in, taken out, ... */
    size_t length; /* of text */
    void *pattern; /* compiled, or NULL */
    bool flags[4];
    size_t counts[2];
    td_split split;
    td_buffer data;
    td_step *steps; /* of a sequence */
    size_t step_count;
};

/* null (no steps), one step or a Sequence. `name` is the object's key, for messages. An unknown type is an error that names it. */
td_status td_step_read(td_step_sort sort, const json_t *object, const char *file, const char *name, td_step *ret_step, td_error *error);
/* Replaces the strings by what the step makes of them. */
td_status td_step_apply(const td_step *step, td_strings *strings, td_error *error);
void td_step_free(td_step *step);

/* For the kinds. */
td_status td_step_read_text(td_step *step, const json_t *object, const char *file, const char *key, const char *fallback, td_error *error);
/* "pattern": {"String": ...} or {"Regex": ...} */
td_status td_step_read_pattern(td_step *step, const json_t *object, const char *file, td_error *error);
td_status td_step_compile(td_step *step, const char *expression, size_t length, bool literal, const char *file, td_error *error);
td_status td_step_read_split(td_step *step, const json_t *object, const char *file, const char *fallback, td_error *error);

/* Where a string matches: fills begin and end from `at` on; false when there is no more. */
typedef bool td_match(const td_step *step, const char *text, size_t length, size_t at, size_t *ret_begin, size_t *ret_end);
td_match td_step_match; /* by the step's pattern */
/* Splits every string at its matches (flags[0]: at what does not match), by step->split. */
td_status td_step_split(const td_step *step, td_split split, td_match *match, const td_strings *in, td_strings *out, td_error *error);
/* Replaces matches of the pattern by the step's text. */
td_status td_step_replace(const td_step *step, const td_strings *in, td_strings *out, td_error *error);

/* Metaspace is both: text is the visible character; counts[0] is 0 where none is put before the text. */
td_status td_metaspace_read(td_step *step, const json_t *object, const char *file, td_error *error);

/* Closes up, after `start`, what English sets apart: " .", " n't", ...; contract: also " do not". */
void td_clean_up(td_buffer *text, size_t start, bool contract);

/* Tables, ended by a row without a type. */
extern const td_step_kind td_normalizer_kinds[], td_pre_tokenizer_kinds[], td_decoder_kinds[];

#endif
