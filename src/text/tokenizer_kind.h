/* What a kind of tokenizer fills in, and the pieces its file may use. Only tokenizer*.c include this. */
#ifndef TD_TEXT_TOKENIZER_KIND_H
#define TD_TEXT_TOKENIZER_KIND_H

#include "text/tokenizer.h"
#include "text/vocabulary.h"

typedef struct td_sampling {
    double dropout;
    td_random *random;
    td_local_pieces *local; /* for pieces outside the vocabulary, or NULL */
} td_sampling;

typedef struct td_tokenizer_kind {
    const char *name;
    const char *files; /* what a directory of this kind holds, for error messages */
    bool (*recognize)(const char *directory);
    /* Fills an otherwise zeroed tokenizer; what it leaves behind on failure is freed by the caller. */
    td_status (*open)(td_tokenizer *tokenizer, const char *directory, td_error *error);
    /* Appends the ids of a stretch of text that holds no special token. `first`: it is the beginning of the whole text. */
    td_status (*encode)(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first,
                        const td_sampling *sampling, td_ids *ids, td_error *error);
    td_status (*decode)(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error);
    /* Sets prefix and suffix for these languages; NULL: the kind has no languages. */
    td_status (*set_languages)(td_tokenizer *tokenizer, const char *source, const char *target, td_error *error);
    void (*free_state)(void *state); /* may be NULL */
    td_language_use language_use;
    bool keeps_space; /* whitespace before a special token in the text gives a lone U+2581, as transformers' fast tokenizers do */
} td_tokenizer_kind;

/* A token that is found in text before anything else is done with it. */
typedef struct td_special {
    char *text;
    size_t length;
    int32_t id;
    bool strip_left, strip_right; /* takes the whitespace on that side with it */
} td_special;

struct td_tokenizer {
    const td_tokenizer_kind *kind;
    td_vocabulary vocabulary;
    td_special *specials; /* by first byte, longest first */
    size_t special_count;
    size_t special_begin[257]; /* where each first byte's tokens begin */
    bool *hidden;              /* by id: left out of decoded text when special tokens are skipped */
    size_t hidden_count;
    td_sentencepiece *models[2]; /* by side; the same pointer when shared */
    td_ids prefix[2], suffix[2]; /* by side: ids around every text */
    int32_t unknown, bos, eos, pad;
    int32_t language_begin, language_end; /* ids of languages, where they follow one another */
    const td_local_pieces *local;         /* while ids of one text are spelt */
    void *state;                          /* the kind's own */
};

/* Declares a special token; found in text, and hidden when decoding if `hide`. */
td_status td_tokenizer_add_special(td_tokenizer *tokenizer, const char *text, int32_t id, bool strip_left, bool strip_right, bool hide,
                                   td_error *error);
/* Reads a named token ("eos_token") from the directory's special_tokens_map.json or tokenizer_config.json, else takes `fallback` (may be
 * NULL), looks it up in the vocabulary and declares it. *ret_id is -1 when there is none. */
td_status td_tokenizer_named_special(td_tokenizer *tokenizer, const char *directory, const char *name, const char *fallback, bool strip,
                                     int32_t *ret_id, td_error *error);
/* The piece of an id, also of one that stands for this text alone. */
const char *td_tokenizer_piece_here(const td_tokenizer *tokenizer, int32_t id);
/* Cuts text by the side's SentencePiece model and numbers the pieces by the vocabulary. Unless `any_piece`, text that happens to spell an
 * unknown or control piece is not that piece. */
td_status td_tokenizer_encode_pieces(const td_tokenizer *tokenizer, td_text_side side, bool any_piece, const char *text, size_t length,
                                     const td_sampling *sampling, td_ids *ids, td_error *error);
/* The text of a named token in those two files, copied; NULL when they have none. */
td_status td_tokenizer_special_text(const char *directory, const char *name, char **ret_text, td_error *error);
/* For set_languages: the language's token after the text and its end token (mBART), or before the text (NLLB, mBART-50). */
td_status td_languages_after(td_tokenizer *tokenizer, const char *source, const char *target, td_error *error);
td_status td_languages_before(td_tokenizer *tokenizer, const char *source, const char *target, td_error *error);
/* True when the directory holds all the files, whose names are separated by spaces. */
bool td_directory_holds(const char *directory, const char *files);
td_status td_tokenizer_open_model(const char *directory, const char *name, td_sentencepiece **ret_model, td_error *error);
/* Joins pieces through SentencePiece between special tokens, which are followed by `separator`. */
td_status td_tokenizer_join_pieces(const td_tokenizer *tokenizer, const td_sentencepiece *model, const int32_t *ids, size_t count,
                                   const char *separator, td_buffer *text, td_error *error);
/* Removes whitespace at both ends of what was appended after `start`. */
void td_buffer_strip(td_buffer *text, size_t start);

/* True when tokenizer_config.json's "tokenizer_class" is one of `classes`, or, where that says nothing, config.json's "model_type" is one
 * of `types`. Both lists separate names by spaces; "Fast" after a class is ignored. */
bool td_directory_is(const char *directory, const char *classes, const char *types);
/* A string of tokenizer_config.json, copied; *ret_text is NULL when it has none. */
td_status td_tokenizer_setting(const char *directory, const char *key, char **ret_text, td_error *error);

/* Byte-level BPE: the pattern that cuts words, and the printable character that stands for a byte. */
extern const char td_byte_level_pattern[];
uint32_t td_byte_character(unsigned byte);
int td_character_byte(uint32_t code); /* -1: the character stands for none */
/* Appends bytes as UTF-8, each maximal part of a broken character as one U+FFFD. */
void td_append_repaired(td_buffer *text, const td_buffer *bytes);

extern const td_tokenizer_kind td_tokenizer_marian, td_tokenizer_t5, td_tokenizer_pegasus, td_tokenizer_mbart, td_tokenizer_nllb,
    td_tokenizer_speech_to_text;
extern const td_tokenizer_kind td_tokenizer_bart, td_tokenizer_gpt2, td_tokenizer_whisper;
extern const td_tokenizer_kind td_tokenizer_mbart50, td_tokenizer_m2m100;
extern const td_tokenizer_kind td_tokenizer_json, td_tokenizer_json_mbart, td_tokenizer_json_nllb, td_tokenizer_json_whisper,
    td_tokenizer_json_gpt2;
extern const td_tokenizer_kind td_tokenizer_bert, td_tokenizer_byt5, td_tokenizer_words;

#endif
