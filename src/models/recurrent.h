/* What the files of the recurrent family share: hyper-parameters, weights, and the decoder's state. */
#ifndef TD_MODELS_RECURRENT_H
#define TD_MODELS_RECURRENT_H

#include "layers/recurrent.h"
#include "models/copying.h"

typedef enum td_rnn_attention {
    TD_RNN_NONE,     /* one fixed vector (Sutskever 2014; Cho 2014 with context_feeding) */
    TD_RNN_ADDITIVE, /* before the cell, from the previous state (Bahdanau 2015) */
    TD_RNN_DOT,      /* these three after the cell (Luong 2015) */
    TD_RNN_GENERAL,
    TD_RNN_CONCAT
} td_rnn_attention;

typedef struct td_rnn_linear {
    const td_parameter *weight, *bias; /* NULL: absent */
} td_rnn_linear;

enum { TD_RNN_MAX_CONVOLUTIONS = 4 };

/* What stands before or in place of the recurrent encoder where the source is sound or a picture. */
typedef struct td_rnn_front {
    size_t convolutions, kernel, channels; /* sound: convolutions over time, each with its stride */
    size_t strides[TD_RNN_MAX_CONVOLUTIONS];
    td_rnn_linear convolution[TD_RNN_MAX_CONVOLUTIONS]; /* [channels, inputs * kernel] */
    struct td_cnn *cnn;                                 /* picture: what makes its cells, or NULL; owned */
    size_t cell_width;
    td_rnn_linear projection; /* cells -> memory */
} td_rnn_front;

typedef struct td_rnn_network {
    td_rnn_attention attention;
    bool input_feeding, coverage, context_feeding;
    size_t embedding, memory; /* widths; memory: of an encoder state, both directions */
    size_t attention_width;   /* of additive and concat */
    size_t readout_width;     /* of the attentional hidden state */
    size_t feed, state;       /* what is fed beside the embedding; a row of decoder state: all h, all c, the fed vector */
    td_recurrent_stack encoder, decoder;
    const td_parameter *source_embedding, *target_embedding;
    td_rnn_linear *bridge_h, *bridge_c; /* [decoder layers], weights NULL: states are passed as they are */
    td_rnn_linear query, key;           /* projections of attention; key's bias serves both */
    const td_parameter *concat;         /* [A, H + M], whose columns are query and key of "concat" */
    const td_parameter *v, *coverage_weight;
    td_rnn_linear readout; /* [R, H + M (+ E for additive)] */
    td_rnn_linear gate;    /* of copying [1, as the readout]; absent without */
    td_rnn_linear reduce;  /* to the embedding's width when the output is tied and the decoder is wider */
    td_projection projection;
    td_rnn_front front;
    td_projection ctc; /* weight NULL without */
} td_rnn_network;

static inline size_t td_rnn_states(const td_rnn_network *model)
{
    return model->decoder.kind == TD_CELL_LSTM ? 2 : 1;
}

/* Memory that was begun together, shared by rows. */
typedef struct td_rnn_memory {
    size_t references; /* rows; 0: free for the next begin */
    td_real *keys, *values;
    size_t keys_capacity, values_capacity;
} td_rnn_memory;

typedef struct td_rnn_row {
    td_memory_segment segment;
    size_t memory; /* index; SIZE_MAX while recording */
} td_rnn_row;

struct td_decoder_state {
    const td_rnn_network *model;
    size_t rows, capacity;
    td_rnn_row *row, *spare_row;        /* [capacity] */
    td_real *values, *spare_values;     /* [capacity, model->state] */
    td_real *coverage, *spare_coverage; /* [capacity, longest] */
    size_t longest, coverage_capacity;  /* of a memory among the rows; elements of the two above */
    td_rnn_memory *memories;
    size_t memory_count;
    td_copying copying; /* of the last decode */
    /* While recording. */
    td_rnn_row *recorded_row; /* in the step's arena */
    td_tensor *recorded, *recorded_coverage, *keys, *memory_values;
};

/* Declares NAME.weight and NAME.bias. */
td_rnn_linear td_rnn_declare_linear(td_parameters *parameters, size_t outputs, size_t inputs, const char *name);
/* What sound and pictures have in place of a vocabulary: its sizes (after cells were read; sets encoder.inputs and memory), then its
 * weights. Nothing for text. */
td_status td_rnn_front_read(const json_t *config, const char *file, td_network *network, td_error *error);
td_status td_rnn_front_declare(const json_t *config, const char *file, td_network *network, td_error *error);

td_status td_rnn_configure(const json_t *config, const char *file, td_network *network, td_error *error);
void td_rnn_release(td_network *network);

td_status td_rnn_state_new(const td_network *network, td_decoder_state **ret_state, td_error *error);
void td_rnn_state_free(td_decoder_state *state);
/* Appends rows with these starting values [count, state] and memories (keys may be `values`; both NULL without attention). */
td_rnn_row *td_rnn_state_row(td_decoder_state *state); /* those in use */
td_status td_rnn_state_append(td_decoder_state *state, td_graph *graph, td_ragged memory, td_tensor *start, td_tensor *keys,
                              td_tensor *values);
/* The present rows as tensors, and back. coverage: NULL without. */
td_tensor *td_rnn_state_values(td_decoder_state *state, td_graph *graph);
td_tensor *td_rnn_state_coverage(td_decoder_state *state, td_graph *graph);
void td_rnn_state_store(td_decoder_state *state, td_graph *graph, td_tensor *values, td_tensor *coverage);
td_status td_rnn_state_reorder(td_decoder_state *state, const int32_t *parents, size_t rows, td_error *error);
td_copying td_rnn_copying(const td_decoder_state *state);

/* x weight^T + bias */
td_tensor *td_rnn_apply(td_graph *graph, td_rnn_linear linear, td_tensor *x);
/* Embeddings of ids, with dropout. */
td_tensor *td_rnn_embed(const td_network *network, td_graph *graph, const td_parameter *table, const int32_t *ids, size_t count);
td_status td_rnn_decode(const td_network *network, td_graph *graph, td_decoder_state *state, const td_batch *targets,
                        td_tensor **ret_hidden, const td_real **ret_attention);

/* What all rows of the family share; see recurrent.c. */
td_projection td_rnn_projection(const td_network *network);
td_status td_rnn_begin(const td_network *network, td_graph *graph, const td_memory *memory, td_decoder_state *state);
size_t td_rnn_state_rows(const td_decoder_state *state);

#endif
