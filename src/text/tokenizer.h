/* Text to token ids and back, whatever files a model directory brings. Everything that makes a kind of tokenizer differ is a row
 * of the table in tokenizer.c; models and search know only this header. */
#ifndef TD_TEXT_TOKENIZER_H
#define TD_TEXT_TOKENIZER_H

#include "base/buffer.h"
#include "base/random.h"
#include "text/ids.h"
#include "text/local_pieces.h"
#include "text/sentencepiece.h"

/* Which language's rules: some directories have one model for each side. */
typedef enum td_text_side { TD_SOURCE, TD_TARGET } td_text_side;

typedef struct td_tokenizer td_tokenizer; /* read-only once set up: threads may share it */

/* Looks at what the directory holds and opens that kind. */
td_status td_tokenizer_open(const char *model_directory, td_tokenizer **ret_tokenizer, td_error *error);
void td_tokenizer_free(td_tokenizer *tokenizer);                   /* NULL is fine */
const char *td_tokenizer_kind_name(const td_tokenizer *tokenizer); /* "marian", ... */

/* Appends the ids of UTF-8 `text` with the special tokens the model was trained with (an end token; a language token where there is
 * one) but without the decoder's start token. Special tokens spelt out in the text are taken as such, as transformers does.
 * Ids already in the list stay, also on failure. */
td_status td_tokenizer_encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, td_ids *ids,
                              td_error *error);
/* Draws a segmentation (td_sentencepiece_sample has the meaning of `dropout`); `random` alone decides which. 0 is td_tokenizer_encode. */
td_status td_tokenizer_encode_sampled(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, double dropout,
                                      td_random *random, td_ids *ids, td_error *error);
/* As td_tokenizer_encode_sampled (random may be NULL when dropout is 0); pieces outside the vocabulary get the ids of `local` instead of
 * the unknown one. */
td_status td_tokenizer_encode_local(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, double dropout,
                                    td_random *random, td_local_pieces *local, td_ids *ids, td_error *error);
/* Appends the text of target ids. Ids without a token are an error. */
td_status td_tokenizer_decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special, td_buffer *text,
                              td_error *error);

/* As td_tokenizer_decode; the ids of `local` (may be NULL) are spelt as its pieces. */
td_status td_tokenizer_decode_local(const td_tokenizer *tokenizer, const td_local_pieces *local, const int32_t *ids, size_t count,
                                    bool skip_special, td_buffer *text, td_error *error);

size_t td_tokenizer_size(const td_tokenizer *tokenizer);                   /* highest id + 1 */
const char *td_tokenizer_piece(const td_tokenizer *tokenizer, int32_t id); /* NULL when the id has no token */
int32_t td_tokenizer_id(const td_tokenizer *tokenizer, const char *piece); /* -1 when there is no such token */
bool td_tokenizer_is_special(const td_tokenizer *tokenizer, int32_t id);
/* -1 where the kind has none. */
int32_t td_tokenizer_unknown_id(const td_tokenizer *tokenizer);
int32_t td_tokenizer_eos_id(const td_tokenizer *tokenizer);
int32_t td_tokenizer_pad_id(const td_tokenizer *tokenizer);

/* The token of a language: "de" finds ">>de<<", "de_DE" or "deu_Latn" itself, ...; -1 when the model does not know it. */
int32_t td_tokenizer_language_id(const td_tokenizer *tokenizer, const char *language);
/* What the target language changes. */
typedef enum td_language_use {
    TD_LANGUAGE_UNUSED,
    TD_LANGUAGE_IN_SOURCE,   /* the encoder reads its token (Marian) */
    TD_LANGUAGE_STARTS,      /* the decoder starts with its token (mBART) */
    TD_LANGUAGE_FORCED_FIRST /* its token is the first that the decoder is made to write (NLLB) */
} td_language_use;
td_language_use td_tokenizer_language_use(const td_tokenizer *tokenizer);
bool td_tokenizer_is_language(const td_tokenizer *tokenizer, int32_t id);
/* For multilingual models, before the tokenizer is shared; NULL leaves a side as it is. Marian: the target language's ">>xx<<" goes
 * before every source text that does not begin with such a token itself. */
td_status td_tokenizer_set_languages(td_tokenizer *tokenizer, const char *source, const char *target, td_error *error);

/* How td_tokenizer_train_marian makes a vocabulary. */
typedef struct td_vocabulary_options {
    const char *kind;          /* "unigram", "bpe", "char", "word" */
    size_t size;               /* tokens in all if shared, else of each side; special ones included */
    bool shared;               /* one model for both sides */
    const char *normalization; /* as td_sentencepiece_options */
    double character_coverage;
    bool byte_fallback;
    const char *const *languages; /* "de", ...: target languages, each gets a token ">>de<<" */
    size_t language_count;
    const volatile sig_atomic_t *stop; /* as td_sentencepiece_options */
} td_vocabulary_options;

#define TD_VOCABULARY_OPTIONS_INIT                                                                                                         \
    {                                                                                                                                      \
        "unigram", 8000, true, "nmt_nfkc", 1.0, false, NULL, 0, NULL                                                                       \
    }

/* Writes source.spm, target.spm, vocab.json, special_tokens_map.json and tokenizer_config.json into `directory` (created when absent),
 * in the layout of Marian models: </s> is 0, <unk> 1, then the pieces, the languages, and <pad> last. */
td_status td_tokenizer_train_marian(const char *directory, const td_vocabulary_options *options, const td_sentences *source,
                                    const td_sentences *target, td_error *error);

#endif
