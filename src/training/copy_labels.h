/* What copying adds to training data: ids for source pieces outside the vocabulary, and where each target row may copy from. */
#ifndef TD_TRAINING_COPY_LABELS_H
#define TD_TRAINING_COPY_LABELS_H

#include "models/copying.h"
#include "text/tokenizer.h"

/* Appends the ids of a pair's two texts; a target piece outside the vocabulary has the id of the same piece in the source. `local` is
 * cleared first. Sources longer than `limit` (0: none) lose what stands before their end token, and *ret_cut says how many. */
td_status td_copy_encode_pair(const td_tokenizer *tokenizer, const char *source_text, size_t source_bytes, const char *target_text,
                              size_t target_bytes, double dropout, td_random *random, td_local_pieces *local, size_t limit, td_ids *source,
                              td_ids *target, size_t *ret_cut, td_error *error);
/* Cuts a source to `limit` tokens, the end token kept; returns how many went. */
size_t td_cut_source(td_ids *source, size_t limit);
/* One entry for each target row; in the arena. */
td_copy_source *td_copy_rows(td_graph *graph, const int32_t *source, td_ragged sources, td_ragged targets);

#endif
