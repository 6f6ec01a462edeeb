/* Porter's stemmer with the extensions of NLTK, which is the one that rouge-score uses. */
#ifndef TD_METRICS_PORTER_H
#define TD_METRICS_PORTER_H

#include <stddef.h>

/* Stems a word of lowercase ASCII letters and digits in place; returns its new length. The word never grows. */
size_t td_porter_stem(char *word, size_t length);

#endif
