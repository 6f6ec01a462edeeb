/* Search: from sources to hypotheses over any architecture. A queue of sources is decoded together; a sentence that
 * ends leaves the batch and a waiting one takes its place. What a source gets depends on nothing but the network, the
 * options and itself.
 *
 * Options, and what they do, are those of `generation_config.json` (transformers 5), so that a directory gives the same
 * text here. */
#ifndef TD_DECODING_GENERATE_H
#define TD_DECODING_GENERATE_H

#include "base/error.h"
#include "tensor/profile.h"
#include "tensor/real.h"

#include <jansson.h>
#include <stdbool.h>

struct td_arena;
struct td_graph;
struct td_network;

typedef enum td_early_stopping { TD_EARLY_STOPPING_FALSE, TD_EARLY_STOPPING_TRUE, TD_EARLY_STOPPING_NEVER } td_early_stopping;

typedef struct td_id_list {
    int32_t *ids; /* owned; NULL when empty */
    size_t count;
} td_id_list;

/* Lengths count decoder positions: max_length and min_length with the start token and the prefix, the `new_tokens`
 * without. */
typedef struct td_generation {
    size_t num_beams;            /* 1: greedy, or sampling with do_sample */
    size_t num_return_sequences; /* at most num_beams unless sampling */
    double length_penalty;
    td_early_stopping early_stopping;
    size_t max_length;     /* 0: not set */
    size_t max_new_tokens; /* 0: not set; goes before max_length */
    size_t min_length, min_new_tokens;
    double repetition_penalty;
    size_t no_repeat_ngram_size;         /* 0: off */
    size_t encoder_no_repeat_ngram_size; /* 0: off; n-grams of the source may not be written */
    bool renormalize_logits;
    bool do_sample;
    double temperature;
    size_t top_k; /* 0: all */
    double top_p; /* 1: all */
    double min_p; /* 0: off */
    uint64_t seed;
    int32_t forced_bos_token_id;    /* -1: none */
    td_id_list forced_eos_token_id; /* at the last position */
    td_id_list suppress_tokens, begin_suppress_tokens;
    td_id_list *bad_words; /* "bad_words_ids": sequences that may not be written; owned */
    size_t bad_words_count;
    int32_t decoder_start_token_id;      /* -1: the network's */
    int32_t pad_token_id;                /* -1: the network's */
    int32_t bos_token_id;                /* -1: the network's */
    td_id_list eos_token_id;             /* empty: the network's */
    td_id_list prefix;                   /* "prefix_ids": fed after the start token; hypotheses begin with them */
    bool return_timestamps;              /* Whisper's rules for time stamps; needs no_timestamps_token_id */
    int32_t no_timestamps_token_id;      /* time stamps are the ids after it; -1: none */
    int32_t max_initial_timestamp_index; /* the first time stamp is at most this one; -1: any */
    bool processed_logprobs;             /* greedy search and sampling give log-probabilities after the processors, as Whisper judges by;
                                            one sequence a source */
    bool output_attentions;              /* hypotheses carry the attention over the source */
    double ctc_weight;                   /* of CTC's scores beside the decoder's (Watanabe 2017). 1: CTC alone, by its best path or, with
                                            num_beams, over prefixes; scores are log-probabilities of the whole then, not divided */
} td_generation;

/* The values transformers has when no file says otherwise (num_beams 1, top_k 50), but for the length: unset, it is
 * TD_DEFAULT_NEW_TOKENS and not 20, which cuts most sentences. Free with td_generation_free. */
#define TD_DEFAULT_NEW_TOKENS 256
td_generation td_generation_default(void);
void td_generation_free(td_generation *generation);
td_status td_generation_copy(const td_generation *from, td_generation *ret_copy, td_error *error);
/* Overlays what a generation_config.json (or a legacy config.json) says; keys that are no generation fields are left
 * alone, a field that is known to transformers and not supported here is an error unless its value is neutral. `file`:
 * for messages. On failure `generation` is unchanged. */
td_status td_generation_load(td_generation *generation, const json_t *object, const char *file, td_error *error);
/* A new reference to an object ready for generation_config.json; NULL when out of memory. */
json_t *td_generation_save(const td_generation *generation);
/* "field=VALUE" with a JSON value (a bare word counts as a string). An unknown field is an error that names the nearest
 * one. */
td_status td_generation_set(td_generation *generation, const char *assignment, td_error *error);

/* One source: ids for text, rows of features for sound and pictures. Must stay valid until its result was delivered. */
typedef struct td_source {
    const int32_t *ids;      /* [length] or NULL */
    const td_real *features; /* [length, width] or NULL */
    size_t length, width;
    bool encoded;          /* the features are what the encoder made of the source: rows of its memory */
    const int32_t *prefix; /* NULL: that of the options */
    size_t prefix_count;
    bool starts; /* the prefix begins with the start token, in place of that of the options; for td_generate */
} td_source;

typedef struct td_hypothesis {
    const int32_t *ids; /* [count]: start token excluded; prefix, and end token if produced, included */
    size_t count, prefix_count;
    double score;             /* sum of log-probabilities / (count - prefix_count) ^ length_penalty */
    const td_real *logprobs;  /* [count]; 0 for the prefix. Beam search: as ranked by, after the processors; else the network's, unless
                                 processed_logprobs */
    const td_real *attention; /* [count, source_length of the output] or NULL */
    bool ended;               /* an end token was produced, rather than the length limit met */
} td_hypothesis;

/* Best first; samples in their order. Valid during the callback. */
typedef struct td_output {
    size_t count;
    const td_hypothesis *hypotheses;
    size_t source_length; /* columns of `attention`: rows the encoder made of the source */
} td_output;

/* `index` is the caller's name of a source: it keys the random stream and comes back with the result. Results come in
 * the order in which sentences end. Several searches on several threads may share callbacks if those lock. */
typedef struct td_generate_callbacks {
    void *context;
    /* Sets *ret_given to false when no source is left (it may be asked again later). */
    td_status (*next)(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error);
    td_status (*finished)(void *context, size_t index, const td_output *output, td_error *error);
    /* May be NULL. Called for greedy search and sampling (num_beams 1) as each token is chosen; false ends that
     * hypothesis after this token. `sample` counts num_return_sequences. */
    bool (*token)(void *context, size_t index, size_t sample, int32_t id, td_real logprob);
} td_generate_callbacks;

typedef struct td_search_options {
    size_t batch_tokens;            /* source tokens times beams decoded together; 0: the default */
    size_t threads;                 /* that share single products; 0: the calling one alone */
    struct td_gemm_cache *products; /* as in td_graph: not NULL for products in bfloat16; borrowed */
} td_search_options;

/* The mutable side of decoding: arena, decoder state, beams. One thread at a time; keeps its memory between calls. */
typedef struct td_search td_search;
td_status td_search_new(const struct td_network *network, const td_search_options *options, td_search **ret_search, td_error *error);
void td_search_free(td_search *search);
td_recorder *td_search_recorder(const td_search *search); /* of what is measured; NULL: nothing is */
/* A graph for what is computed beside the search, with its threads; the arena is emptied. */
void td_search_begin_graph(const td_search *search, struct td_arena *arena, struct td_graph *ret_graph);

/* Decodes until `next` gives none and all is delivered. A failure of a callback ends it with that status. */
td_status td_generate(td_search *search, const td_generation *generation, const td_generate_callbacks *callbacks, td_error *error);

/* Log-probabilities of given targets (teacher forcing). */
typedef struct td_score_request {
    td_source source;
    const int32_t *target; /* [target_count]; without the start token, with the end token if it is to count */
    size_t target_count;
    td_real *logprobs; /* [target_count], filled */
} td_score_request;
/* generation: for the start token and the prefix; NULL: the network's and none. */
td_status td_score(td_search *search, const td_generation *generation, const td_score_request *requests, size_t count, td_error *error);

#endif
