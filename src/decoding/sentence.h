/* One source being decoded: its open paths, its finished ones, and the rule by which they grow and end. Knows no
 * network. */
#ifndef TD_DECODING_SENTENCE_H
#define TD_DECODING_SENTENCE_H

#include "decoding/ctc.h"
#include "decoding/rules.h"
#include "decoding/select.h"

/* Start token, prefix and what was chosen. */
typedef struct td_path {
    td_token *tokens;
    size_t count;
    float score;   /* sum of log-probabilities; of a finished one divided by the length penalty */
    size_t sample; /* which of num_return_sequences */
    bool ended;    /* by an end token */
} td_path;

typedef struct td_sentence {
    size_t index;
    td_source source;
    const int32_t *prefix;
    int32_t start; /* the token before it */
    td_lengths lengths;
    size_t width;         /* paths at most: beams, or samples */
    size_t rows;          /* of the decoder state; 1 at first, then one for each running path */
    size_t ids;           /* the network's, and those its source extends them by */
    size_t memory_length; /* rows that attention runs over */
    size_t cost;          /* share of the batch's budget */
    bool fresh;           /* its prompt was not read yet */
    bool done;
    td_path *running, *next, *finished; /* [width] each */
    size_t running_count, finished_count;
    td_token *storage;
    size_t storage_width, capacity; /* tokens a path can hold */
    td_real *attention;             /* [position][row][memory length] */
    size_t attention_capacity, attention_positions;
    td_ctc_scorer *ctc; /* NULL without */
} td_sentence;

/* Takes a source; keeps whatever memory the sentence has. */
td_status td_sentence_start(td_sentence *sentence, const td_rules *rules, size_t index, const td_source *source, td_error *error);
void td_sentence_free(td_sentence *sentence);
/* Makes room for one more token on each path. */
td_status td_sentence_reserve(td_sentence *sentence, td_error *error);
/* Makes room for `positions` more positions of attention and returns where they go. */
td_status td_sentence_attention(td_sentence *sentence, size_t positions, td_real **ret_place, td_error *error);

/* Beam search. candidates: the best continuations over all paths in falling order of key; value is the sum of
 * log-probabilities with the new token's, `parents` the running path each continues, `logprobs` the new token's share.
 * Fills ret_parents with the row each running path now continues; their count is running_count, 0 when done. */
void td_sentence_extend_beams(td_sentence *sentence, const td_rules *rules, const td_candidate *candidates, const int32_t *parents,
                              const td_real *logprobs, size_t count, int32_t *ret_parents);
/* Greedy search and sampling: path `which` gets a token; ended by it, by length or by `stop`, it moves to the finished.
 * Compacts nothing: call td_sentence_compact when all running paths have theirs. */
void td_sentence_append(td_sentence *sentence, const td_rules *rules, size_t which, int32_t id, td_real logprob, bool stop);
void td_sentence_compact(td_sentence *sentence, int32_t *ret_parents);

#endif
