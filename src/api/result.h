/* What a td_result holds. */
#ifndef TD_API_RESULT_H
#define TD_API_RESULT_H

#include "api/model.h"
#include "tandem/tandem.h"
#include "text/local_pieces.h"

/* A sentence of a text that was cut. */
typedef struct td_result_segment {
    char *source, *text;
    double score;
} td_result_segment;

typedef struct td_result_output {
    char *text;
    int32_t *ids;     /* [count] */
    float *logprobs;  /* [count] */
    float *attention; /* [count, source_count] or NULL */
    size_t count;
    double score;
    td_result_segment *segments; /* [segment_count]; NULL: the text was taken whole */
    size_t segment_count;
} td_result_output;

typedef struct td_result_input {
    int32_t *source_ids; /* [source_count] or NULL */
    size_t source_count, truncated;
    td_features features;  /* of sound and pictures; given up once read */
    bool encoded;          /* the features are rows of the encoder's memory */
    td_ids prompt;         /* what the decoder is told first, from the start token on; empty: what the options say */
    size_t memory_length;  /* rows the encoder made of the source: columns of attention */
    td_local_pieces local; /* of a copying model: source pieces outside the vocabulary */
    td_result_output *outputs;
    size_t output_count;
} td_result_input;

struct td_result {
    const td_model *model;
    td_result_input *inputs;
    size_t count;
};

td_status td_result_new(const td_model *model, size_t count, td_result **ret_result, td_error *error);
/* Input `from` of `source` moves to input `to`, which is empty. */
void td_result_move(td_result *result, size_t to, td_result *source, size_t from);
/* Of a result of one input: what joining looks at (ids, texts, log-probabilities, scores). */
td_status td_result_copy(const td_result *result, td_result **ret_copy, td_error *error);
/* The input as the search takes it. */
td_source td_result_source(const td_result *result, size_t input);
/* Copies the outputs of a search into input `input`. */
td_status td_result_fill(td_result *result, size_t input, const td_output *output, td_error *error);
/* Leaves input `input` its first `count` outputs. */
void td_result_keep(td_result *result, size_t input, size_t count);
/* Appends the text of ids, special tokens and ids without a token left out. local: of the input, or NULL. */
td_status td_model_spell(const td_model *model, const td_local_pieces *local, const int32_t *ids, size_t count, td_buffer *text,
                         td_error *error);

#endif
