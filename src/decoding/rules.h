/* What may be written next: the options resolved for one sentence, and the changes they make to a row of scores. */
#ifndef TD_DECODING_RULES_H
#define TD_DECODING_RULES_H

#include "decoding/generate.h"
#include "models/architecture.h"

/* A written position: its token, what it cost, and the row of its sentence that it was read from. */
typedef struct td_token {
    int32_t id;
    td_real logprob;
    int32_t origin;
} td_token;

/* Options with the network's ids filled in. */
typedef struct td_rules {
    const td_generation *generation;
    const int32_t *eos;
    size_t eos_count;
    int32_t default_eos; /* storage behind `eos` when it is the network's */
    int32_t start;
    size_t vocabulary; /* ids of the row in hand: with what its source extends the vocabulary by */
    size_t max_positions;
    bool beams;       /* scores are log-probabilities, not logits */
    bool active;      /* some row may be changed */
    uint32_t *stamps; /* [stamp_count]: ids already seen in this pass; owned by the search */
    uint32_t stamp;
    size_t stamp_count;
} td_rules;

/* Lengths of one sentence, all counting the start token. */
typedef struct td_lengths {
    size_t prompt; /* start token and prefix */
    size_t minimum, maximum;
} td_lengths;

/* Checks every option and id against the network. */
td_status td_rules_init(td_rules *rules, const td_generation *generation, const td_network *network, td_error *error);
td_status td_rules_lengths(const td_rules *rules, size_t prefix_count, td_lengths *ret_lengths, td_error *error);
bool td_rules_ends(const td_rules *rules, int32_t id);

/* True when td_rules_apply would at most set numbers of the row at position `count` to minus infinity: then it makes no difference
 * whether they are logits or log-probabilities. */
bool td_rules_only_ban(const td_rules *rules, const td_lengths *lengths, size_t count);

/* Of how many ids it would do that at most; the vocabulary's number where it looks at all of the row. */
size_t td_rules_most_banned(const td_rules *rules, const td_lengths *lengths, const td_source *source, size_t count);

/* Applies the processors in transformers' order to row [vocabulary]; tokens [count] is what was written, start token
 * first. */
void td_rules_apply(td_rules *rules, const td_lengths *lengths, const td_source *source, const td_token *tokens, size_t count,
                    td_real *row);

#endif
