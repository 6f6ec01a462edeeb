/* What a model family gives to training and search: one struct, one row of the table in architecture.c. */
#ifndef TD_MODELS_ARCHITECTURE_H
#define TD_MODELS_ARCHITECTURE_H

#include "base/buffer.h"
#include "layers/parameters.h"
#include "models/best_blocks.h"
#include "tensor/graph.h"

#include <jansson.h>

typedef enum td_modality { TD_TEXT, TD_AUDIO, TD_IMAGE } td_modality;

/* Sequences laid end to end: ids for text, rows of `width` features for sound and pictures. */
typedef struct td_batch {
    td_ragged ragged;
    const int32_t *ids;      /* [total] or NULL */
    const td_real *features; /* [total, width] or NULL */
    size_t width;
} td_batch;

/* What an encoder leaves: rows for attention, and for recurrent models the final states. Lives in the graph's arena. */
typedef struct td_memory {
    td_ragged ragged;
    td_tensor *states;         /* [total, D] */
    td_tensor *final_state;    /* [count, ...] or NULL; the family knows its layout */
    const int32_t *source_ids; /* [total] or NULL: for copying */
} td_memory;

/* Last product: logits = hidden weight^T * scale + bias. */
typedef struct td_projection {
    const td_parameter *weight; /* [V, D] */
    const td_parameter *bias;   /* [1, V] or NULL */
    td_real scale;              /* 0 means 1 */
} td_projection;

/* Rates that apply while graph->training. */
typedef struct td_dropout_rates {
    td_real dropout, attention, activation, word;
} td_dropout_rates;

typedef struct td_network {
    const struct td_architecture *architecture;
    void *family;                                     /* hyper-parameters and layers of the family; owned */
    td_parameters parameters;                         /* owned */
    td_dropout_rates rates;                           /* from the recipe; the configuration's are not used */
    size_t vocabulary;                                /* target side, rows of the projection */
    int32_t pad_id, eos_id, decoder_start_id, bos_id; /* -1: none */
    bool own_ids;                                     /* these four count whatever generation_config.json says */
    size_t max_positions;                             /* 0: unlimited */
    size_t feature_width;                             /* columns of the source's features; 0: the source is ids */
    size_t frozen_width;                              /* columns of `frozen`'s result; 0: the family has no such part */
    bool copies;                                      /* from the source: see models/copying.h */
    bool keeps_attention;       /* set by training, whose loss looks at it: decode leaves it in td_copying while recording */
    struct td_profile *profile; /* measures what runs; NULL: nothing. Borrowed */
    int32_t unknown_id;         /* when copying: what ids from `vocabulary` on are read as */
} td_network;

/* The decoder's memory between calls: one row per hypothesis. Owned by a session; `rows` counts. */
typedef struct td_decoder_state td_decoder_state;

/* What decode left for copying from the source (See 2017). Lives in the graph's arena. */
typedef struct td_copying {
    td_tensor *weights; /* [T, longest source]: each hidden row's attention over its source, zeros after it; NULL: not kept */
    td_tensor *gate;    /* [T, 1]: logit of the probability of generating rather than copying; NULL: the network does not copy */
} td_copying;

/* Heads of cross-attention whose weights decode is to keep. */
typedef struct td_watched_heads {
    size_t count;
    const int32_t *layer, *head; /* [count] */
    td_real *weights;            /* [count, tokens, memory length] of the state's only row */
} td_watched_heads;

typedef struct td_architecture {
    const char *model_type; /* in config.json */
    td_modality source;
    /* config.json -> family, ids and sizes of the network, parameters declared by name (not filled). Every value that is not
     * supported is an error naming file and key. */
    td_status (*configure)(const json_t *config, const char *file, td_network *network, td_error *error);
    void (*fill_constants)(td_network *network); /* after allocation; NULL when the family has no constants */
    void (*release)(td_network *network);
    td_projection (*projection)(const td_network *network);
    /* source -> memory. Features of `frozen_width` columns are `frozen`'s result already. */
    td_status (*encode)(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory);
    td_status (*state_new)(const td_network *network, td_decoder_state **ret_state, td_error *error);
    void (*state_free)(td_decoder_state *state);
    /* Appends one row per sequence of `memory`. While graph->recording the state only refers to the memory's tensors and
     * is valid for this step; otherwise it copies what it needs and outlives the graph. */
    td_status (*begin)(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state);
    /* Reads any number (>= 1) of target positions per row (the tokens fed, first the decoder start) -> hidden [total, D], to be
     * given to the projection. targets->ragged.count must equal the rows. ret_attention (may be NULL): weights over the
     * source of the last layer, averaged over heads, rows as hidden, each of its memory's length, end to end; NULL if none. */
    td_status (*decode)(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                        td_tensor **ret_hidden, const td_real **ret_attention);
    /* New row i is old row parents[i]; rows not named are dropped (rows = 0 empties the state). Indices only. */
    td_status (*reorder)(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error);
    size_t (*state_rows)(const td_decoder_state *state);
    /* The following calls of decode, of one row each, keep the weights of these; NULL: of none. NULL when the family cannot. */
    void (*watch)(td_decoder_state *state, td_watched_heads *heads);
    /* The part of the encoder that training may leave as it is, so that its result can be kept on disk: features [total,
     * feature_width] -> rows [total', frozen_width], ragged. NULL when frozen_width is 0. */
    td_status (*frozen)(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_features);
    /* The product in front of connectionist temporal classification (Graves 2006): memory states -> logits over the target vocabulary,
     * whose blank is pad_id. NULL when the family has none, or weight NULL when this network has none. */
    td_projection (*ctc)(const td_network *network);
    /* Of the last decode; NULL when the family never copies. */
    td_copying (*copying)(const td_decoder_state *state);
    /* Rows and columns of the cells that a picture becomes; NULL, or zeros: a square of them. */
    void (*cells)(const td_network *network, size_t *ret_rows, size_t *ret_columns);
} td_architecture;

/* The table; NULL when no row has that name. */
const td_architecture *td_architecture_find(const char *model_type);
/* Appends the names of all rows, comma separated, for messages. */
void td_architecture_list(td_buffer *names);

/* config -> network with parameters declared and allocated (not filled). Release with td_network_free. */
td_status td_network_configure(const json_t *config, const char *file, td_network *network, td_error *error);
void td_network_free(td_network *network);

/* hidden [T, D] -> logits [T, V]. */
td_tensor *td_project(const td_network *network, td_graph *graph, td_tensor *hidden);
/* memory states [T, D] -> CTC's logits [T, V]; a failure where the network has none. */
td_tensor *td_project_ctc(const td_network *network, td_graph *graph, td_tensor *states);
static inline bool td_network_has_ctc(const td_network *network)
{
    return network->architecture->ctc && network->architecture->ctc(network).weight;
}

/* Logits with what every search asks of them, found while they are in the cache: of each row the largest of each block of
 * TD_LOGIT_BLOCK, the largest of all, and the logarithm of the sum of exp(logit - largest). */
typedef struct td_logits {
    td_tensor *values; /* [T, V]; NULL: only the best blocks exist */
    size_t blocks;
    td_real *block_maxima;      /* [T, blocks], with values */
    td_best_blocks best;        /* a list for each row, without values */
    td_real *maximum, *log_sum; /* [T] */
} td_logits;
/* most: so many of the best numbers of each row are all that will be asked for, so that nothing else is kept where the product allows it;
 * 0: all. False after a failure (noted in the graph). */
bool td_project_summed(const td_network *network, td_graph *graph, td_tensor *hidden, size_t most, td_logits *ret_logits);

#endif
