/* Row kernels of recurrent cells and of additive attention: nonlinearities between the matrix products. One body
 * (gates.inc.h), compiled for each instruction set like the other row kernels. n is the width of the state unless said
 * otherwise. */
#ifndef TD_KERNELS_GATES_H
#define TD_KERNELS_GATES_H

#include "platform/cpu.h"
#include "tensor/real.h"

#include <stddef.h>

typedef struct td_gate_kernels {
    /* gates [4 n] (i, f, g, o as sums) become their values; c = f c_previous + i g, h = o tanh(c) (Hochreiter 1997,
     * Gers 2000) */
    void (*lstm)(td_real *gates, const td_real *c_previous, td_real *c, td_real *h, size_t n);
    /* gates [4 n] become the gradients of their sums; dc is that of c on entry and of c_previous on return */
    void (*lstm_backward)(td_real *gates, const td_real *c_previous, const td_real *c, const td_real *dh, td_real *dc, size_t n);
    /* gates [3 n] (r, z, n as sums over the input), hidden [3 n] (the same over the state):
     * n = tanh(gates_n + r hidden_n), h = (1 - z) n + z h_previous (Cho 2014 as cuDNN and PyTorch have it) */
    void (*gru)(td_real *gates, const td_real *hidden, const td_real *h_previous, td_real *h, size_t n);
    /* gates and hidden become the gradients of their sums; dh is that of h on entry, and on return the part of
     * h_previous's that does not pass through `hidden` */
    void (*gru_backward)(td_real *gates, td_real *hidden, const td_real *h_previous, td_real *dh, size_t n);
    void (*rnn)(td_real *h, const td_real *sum, int relu, size_t n);
    void (*rnn_backward)(td_real *dsum, const td_real *h, const td_real *dh, int relu, size_t n);
    /* sum of v tanh(q + k + coverage w) ; w may be NULL (Bahdanau 2015; See 2017 for coverage) */
    td_real (*additive_score)(const td_real *q, const td_real *k, const td_real *v, const td_real *w, td_real coverage, size_t n);
    /* adds to the gradients (dw is used with w only), returns that of coverage */
    td_real (*additive_score_backward)(const td_real *q, const td_real *k, const td_real *v, const td_real *w, td_real coverage,
                                       td_real dscore, td_real *dq, td_real *dk, td_real *dv, td_real *dw, size_t n);
} td_gate_kernels;

/* NULL when not compiled in. */
const td_gate_kernels *td_gate_kernels_for(td_isa isa);

#endif
