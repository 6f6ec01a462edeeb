/* SentencePiece (Kudo, Richardson 2018) behind a C interface: no exception crosses it, and sampling draws from a td_random
 * because the library's own generator cannot be seeded per call. */
#ifndef TD_TEXT_SENTENCEPIECE_H
#define TD_TEXT_SENTENCEPIECE_H

#include "base/buffer.h"
#include "base/random.h"

#include <signal.h>

typedef struct td_sentencepiece td_sentencepiece; /* immutable: threads may share it */

td_status td_sentencepiece_open(const char *path, td_sentencepiece **ret_model, td_error *error);
/* From a serialized model; `name` stands for the path in errors. */
td_status td_sentencepiece_parse(const void *data, size_t length, const char *name, td_sentencepiece **ret_model, td_error *error);
void td_sentencepiece_free(td_sentencepiece *model); /* NULL is fine */

/* Takes one piece: its text (not terminated; for an unknown stretch the normalized text itself) and its id in the model. */
typedef td_status (*td_piece_visit)(void *context, const char *piece, size_t length, int32_t id, td_error *error);

/* Segments UTF-8 text as the library does; malformed bytes become U+FFFD. Stops at the first failure of `visit`. */
td_status td_sentencepiece_encode(const td_sentencepiece *model, const char *text, size_t length, td_piece_visit visit, void *context,
                                  td_error *error);
/* Draws a segmentation; a function of text, alpha and *random alone. bpe: every merge is left out with probability alpha
 * (BPE-dropout, Provilkov et al. 2020). unigram: drawn from the lattice with probabilities to the power alpha (Kudo 2018, 3.3).
 * Other kinds, and alpha <= 0, give the one best segmentation. */
td_status td_sentencepiece_sample(const td_sentencepiece *model, const char *text, size_t length, double alpha, td_random *random,
                                  td_piece_visit visit, void *context, td_error *error);
/* Appends the text that `count` pieces spell. Unknown pieces stand for themselves. */
td_status td_sentencepiece_decode(const td_sentencepiece *model, const char *const *pieces, size_t count, td_buffer *text, td_error *error);

size_t td_sentencepiece_size(const td_sentencepiece *model);
const char *td_sentencepiece_piece(const td_sentencepiece *model, int32_t id); /* NULL when out of range */
/* The unknown id when there is no such piece. */
int32_t td_sentencepiece_id(const td_sentencepiece *model, const char *piece, size_t length);
bool td_sentencepiece_is_unknown(const td_sentencepiece *model, int32_t id);
bool td_sentencepiece_is_control(const td_sentencepiece *model, int32_t id);
bool td_sentencepiece_is_byte(const td_sentencepiece *model, int32_t id);

typedef struct td_sentencepiece_options {
    const char *kind;                /* "unigram", "bpe", "char", "word" */
    size_t size;                     /* pieces, <unk> included */
    double character_coverage;       /* share of the characters that get a piece of their own */
    bool byte_fallback;              /* 256 byte pieces, so that nothing is unknown */
    const char *normalization;       /* "nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity" */
    const char *const *user_symbols; /* pieces that are never cut */
    size_t user_symbol_count;
    bool exact_size;                   /* fail when the text does not give `size` pieces; else take what it gives */
    const volatile sig_atomic_t *stop; /* ends the training once it is set; NULL: nothing does */
} td_sentencepiece_options;

#define TD_SENTENCEPIECE_OPTIONS_INIT                                                                                                      \
    {                                                                                                                                      \
        "unigram", 8000, 1.0, false, "nmt_nfkc", NULL, 0, false, NULL                                                                      \
    }

/* Gives the next sentence; *ret_text = NULL at the end. The text must stay valid until the next call. */
typedef struct td_sentences {
    td_status (*next)(void *context, const char **ret_text, size_t *ret_length, td_error *error);
    void *context;
} td_sentences;

/* Appends the serialized model to *model. The only special piece in it is <unk>, id 0. Equal sentences and options give equal
 * bytes on any number of processors. The library cannot be interrupted: with `stop`, a child process reads and trains. */
td_status td_sentencepiece_train(const td_sentencepiece_options *options, const td_sentences *sentences, td_buffer *model, td_error *error);

#endif
