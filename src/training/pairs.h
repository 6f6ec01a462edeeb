/* Pairs of lines from parallel files (plain, .gz) or from .jsonl objects, corpus after corpus. */
#ifndef TD_TRAINING_PAIRS_H
#define TD_TRAINING_PAIRS_H

#include "training/corpus.h"

typedef struct td_pairs td_pairs;

typedef struct td_text_pair {
    const char *source, *target; /* NULL source: the end */
    size_t source_bytes, target_bytes;
    size_t corpus; /* which file pair */
} td_text_pair;

td_status td_pairs_open(const td_corpus_options *options, td_pairs **ret_pairs, td_error *error);
td_status td_pairs_next(td_pairs *pairs, td_text_pair *ret_pair, td_error *error);
/* Prefixes `error` with the place of the pair last given. */
td_status td_pairs_where(const td_pairs *pairs, td_error *error);
/* The file that a pair's source names, to be released; NULL when out of memory. The source must end in 0. */
char *td_source_path(const td_corpus_options *options, const td_text_pair *pair);
/* What td_pairs_next returns once options->watch.stop is set. */
td_status td_pairs_stop(td_error *error);
void td_pairs_close(td_pairs *pairs);

#endif
