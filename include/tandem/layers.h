/* Recurrent layers for people who build their own models: an LSTM, GRU or plain recurrent network over [batch, time, features],
 * with the semantics, the order of gates and the names of weights of PyTorch's nn.LSTM, nn.GRU and nn.RNN. */
#ifndef TANDEM_LAYERS_H
#define TANDEM_LAYERS_H

#include <tandem/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_layer td_layer; /* for one thread at a time */
typedef td_layer td_lstm;
typedef td_layer td_gru;
typedef td_layer td_rnn;

typedef struct td_layer_options {
    size_t struct_size;
    size_t input_size, hidden_size; /* required */
    size_t num_layers;
    int bias;
    int batch_first; /* input and output [batch, time, ...]; 0: [time, batch, ...] */
    int bidirectional;
    double dropout;           /* between layers, while training; in [0, 1) */
    const char *nonlinearity; /* td_rnn: "tanh" or "relu" */
    uint64_t seed;            /* of the starting weights (uniform in +-1 / sqrt(hidden_size)) and of dropout */
} td_layer_options;
#define TD_LAYER_OPTIONS_INIT                                                                                                              \
    {                                                                                                                                      \
        sizeof(td_layer_options), 0, 0, 1, 1, 1, 0, 0.0, "tanh", 1                                                                         \
    }

TD_API td_status td_lstm_new(const td_layer_options *options, td_lstm **ret_layer, td_error *error);
TD_API td_status td_gru_new(const td_layer_options *options, td_gru **ret_layer, td_error *error);
TD_API td_status td_rnn_new(const td_layer_options *options, td_rnn **ret_layer, td_error *error);
TD_API void td_layer_free(td_layer *layer);

/* Training (the start): forward keeps what backward needs, dropout is active. */
TD_API void td_layer_set_training(td_layer *layer, int training);

/* Weights by PyTorch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, weight_ih_l1, ...
 * Row-major [rows, columns]; a bias has 1 row. */
TD_API size_t td_layer_weight_count(const td_layer *layer);
TD_API const char *td_layer_weight_name(const td_layer *layer, size_t index); /* NULL past the end */
/* Read or write through the pointer; NULL when there is no such weight. ret_rows and ret_columns may be NULL. */
TD_API float *td_layer_weight(td_layer *layer, const char *name, size_t *ret_rows, size_t *ret_columns);
TD_API td_status td_layer_set_weight(td_layer *layer, const char *name, const float *values, size_t count, td_error *error);
/* The weight's gradient, to which every backward adds; NULL when there is no such weight. */
TD_API const float *td_layer_gradient(const td_layer *layer, const char *name);
TD_API void td_layer_zero_gradients(td_layer *layer);

/* input [batch, time, input_size] -> output [batch, time, D * hidden_size], h_n and c_n [num_layers * D, batch, hidden_size], D = 2
 * when bidirectional, else 1. lengths [batch], each at most `time`, or NULL: all are `time` long; rows past a sequence's length are
 * neither read nor computed, and their output is 0 (what packing and padding give in PyTorch). h0 and c0 as h_n, or NULL: zeros.
 * c0 and c_n are the LSTM's. h_n and c_n may be NULL. */
TD_API td_status td_layer_forward(td_layer *layer, const float *input, size_t batch, size_t time, const size_t *lengths, const float *h0,
                                  const float *c0, float *output, float *h_n, float *c_n, td_error *error);
/* Gradients of what the last forward returned (each may be NULL: zero) -> of what it took (each may be NULL: not wanted); those of
 * the weights are added to. Once per forward. */
TD_API td_status td_layer_backward(td_layer *layer, const float *doutput, const float *dh_n, const float *dc_n, float *dinput, float *dh0,
                                   float *dc0, td_error *error);

#ifdef __cplusplus
}
#endif
#endif
