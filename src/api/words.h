/* Tokens grouped to words as transformers groups Whisper's: at spaces and signs, or in languages without spaces at every character;
 * punctuation belongs to the word beside it. */
#ifndef TD_API_WORDS_H
#define TD_API_WORDS_H

#include "api/model.h"

typedef struct td_word_span {
    size_t first, end;     /* tokens */
    size_t text, text_end; /* bytes of the text of all */
} td_word_span;

typedef struct td_words {
    td_buffer text;
    td_word_span *spans; /* [count] */
    size_t count;
} td_words;

/* ids: of text alone. language: as Whisper names it ("en"), or NULL. */
td_status td_words_of(const td_model *model, const int32_t *ids, size_t id_count, const char *language, td_words *ret_words,
                      td_error *error);
void td_words_free(td_words *words);

#endif
