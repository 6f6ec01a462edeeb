/* How far a misspelt name is from a right one. */
#ifndef TD_BASE_SPELLING_H
#define TD_BASE_SPELLING_H

#include <stddef.h>

/* Letters to insert, delete or change (Levenshtein 1966) to make `name` of `word`; of both, what is beyond 64 letters
 * does not count. */
size_t td_edit_distance(const char *word, size_t length, const char *name);

#endif
