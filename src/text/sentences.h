/* Paragraphs into sentences: Unicode's sentence boundaries (UAX 29), less those after abbreviations, initials and ordinal numbers. */
#ifndef TD_TEXT_SENTENCES_H
#define TD_TEXT_SENTENCES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct td_span {
    size_t begin, end; /* bytes */
} td_span;

/* UTF-8 `text` -> its sentences in order, without the whitespace between them, which is what lies between the spans. *ret_spans
 * [*ret_count] is to be released; text of whitespace alone has none. */
td_status td_sentences_cut(const char *text, size_t length, td_span **ret_spans, size_t *ret_count, td_error *error);

#endif
