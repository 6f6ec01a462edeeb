/* Copying from the source: what is written is a word of the vocabulary or a piece of the source, known or not.
 *
 * A source piece that has no id in the vocabulary of V gets one for this sentence: V, V + 1, ... in the order of first appearance. Such
 * extended ids are all there is to copying outside the model: they stand in sources, in targets that name the same piece, and in what is
 * searched; models read them as the unknown. */
#ifndef TD_MODELS_COPYING_H
#define TD_MODELS_COPYING_H

#include "models/architecture.h"
#include "ops/ops.h"

/* Reads "tandem": {"copy": true, "unk_token_id": N} into the network; call once the vocabulary is known. */
td_status td_copying_configure(const json_t *config, const char *file, size_t source_words, td_network *network, td_error *error);
/* The ids as models read them; `ids` itself when nothing has to change. */
const int32_t *td_known_ids(const td_network *network, td_graph *graph, const int32_t *ids, size_t count);
/* How many extended ids a source makes possible: one more than the highest is above the vocabulary; 0 when the network does not copy. */
size_t td_extended_count(const td_network *network, const td_copy_source *source);
/* Extended ids of a target that its source (cut short, say) does not hold become the unknown. */
void td_forget_absent(const int32_t *source, size_t source_count, int32_t *target, size_t count, int32_t first, int32_t unknown);
/* What the last decode left; empty when the network does not copy. */
td_copying td_network_copying(const td_network *network, const td_decoder_state *state);

/* Scores of the next token for hidden rows index[0 .. count), rows [count, V + extended] whose softmax is the distribution: plain logits
 * when the network does not copy; else log-probabilities over the union of vocabulary and source, with minus infinity for extended ids
 * that a row's own source lacks. sources [count] and `copying` matter only then; `extended` is the most among the sources. */
td_tensor *td_next_scores(const td_network *network, td_graph *graph, td_tensor *hidden, const td_copying *copying, const int32_t *index,
                          size_t count, const td_copy_source *sources, size_t extended);

#endif
