/* What tokenizers ask of Unicode: classes of characters, letter case, normal forms and grapheme clusters. */
#ifndef TD_TEXT_UNICODE_H
#define TD_TEXT_UNICODE_H

#include "base/buffer.h"

bool td_unicode_is_space(uint32_t code); /* White_Space */
/* Text as patterns are to see it: PCRE2 counts U+180E among the spaces, which it has not been since Unicode 6.3; a format character of as
 * many bytes stands in its place. Returns `text` where there is none, else *ret_copy, which is to be released; NULL without memory. */
const char *td_unicode_for_patterns(const char *text, size_t length, char **ret_copy);
bool td_unicode_is_punctuation(uint32_t code);     /* P*, and every sign of ASCII */
bool td_unicode_is_numeric(uint32_t code);         /* N* */
bool td_unicode_is_mark(uint32_t code);            /* M* */
bool td_unicode_is_mark_nonspacing(uint32_t code); /* Mn */
bool td_unicode_is_word(uint32_t code);            /* letters, marks, digits, connectors, joiners: \w of Unicode, annex 18 */
bool td_unicode_is_other(uint32_t code);           /* C*, but for unassigned ones */
/* Appends each character's lower case, whatever stands beside it. */
void td_unicode_append_lower(td_buffer *out, const char *text, size_t length);

typedef enum td_normal_form { TD_NFC, TD_NFD, TD_NFKC, TD_NFKD } td_normal_form;
/* `text` is UTF-8 without errors. */
td_status td_unicode_normalize(td_normal_form form, const char *text, size_t length, td_buffer *out, td_error *error);

/* Calls `visit` with each grapheme cluster in turn. */
typedef void (*td_grapheme_visit)(void *context, const char *text, size_t length);
td_status td_unicode_graphemes(const char *text, size_t length, td_grapheme_visit visit, void *context, td_error *error);

#endif
