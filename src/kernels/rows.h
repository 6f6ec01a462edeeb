/* Row kernels: the loops between the matrix products. One body (rows.inc.h), compiled for each instruction set; the
 * table is chosen once by what the processor offers. n is a count of elements unless said otherwise. */
#ifndef TD_KERNELS_ROWS_H
#define TD_KERNELS_ROWS_H

#include "platform/cpu.h"
#include "tensor/real.h"

#include <stddef.h>
#include <stdint.h>

typedef enum td_activation { TD_IDENTITY, TD_RELU, TD_GELU, TD_SWISH, TD_TANH, TD_SIGMOID, TD_GELU_TANH, TD_RELU6 } td_activation;

/* hash32(index + first, key) below `threshold` (of 2^32) drops the element; kept ones are multiplied by `scale`.
 * Threshold 0: all are kept and `scale` is not applied. The same elements drop on every processor. */
typedef struct td_dropout_mask {
    uint32_t key, threshold;
    td_real scale;
} td_dropout_mask;

typedef struct td_adam_step {
    td_real learning_rate, beta1, beta2, epsilon, weight_decay; /* decay is decoupled: times learning_rate (AdamW) */
    td_real correction1, correction2;                           /* 1 - beta^step */
    td_real gradient_scale;                                     /* from clipping */
} td_adam_step;

/* Laid out, keys come in panels of so many; attend_laid takes so many queries at once. */
enum { TD_KEY_PANEL = 16, TD_LAID_ROWS = 6 };
static inline size_t td_laid_keys(size_t nk)
{
    return (nk + TD_KEY_PANEL - 1) / TD_KEY_PANEL * TD_KEY_PANEL;
}
/* Below so many keys laying them out costs more than it saves. */
enum { TD_LAID_LEAST = 64 };
static inline int td_worth_laying(size_t nk, size_t d)
{
    return nk >= TD_LAID_LEAST && d % TD_KEY_PANEL == 0;
}

/* Two rows that are multiplied element by element. */
typedef struct td_factors {
    const td_real *a, *b;
} td_factors;

typedef struct td_kernels {
    td_isa isa;
    void (*add)(td_real *y, const td_real *x, size_t n); /* y += x */
    /* y [rows, outputs] (+)= x [rows, k] w^T, w [outputs, k]. Every sum is taken in an order that depends on k alone: a row's
     * result is the same, to the bit, whichever rows are beside it, which the product library does not promise. */
    void (*product)(const td_real *x, size_t ldx, size_t rows, const td_real *w, size_t ldw, size_t outputs, size_t k, int add, td_real *y,
                    size_t ldy);
    void (*add_scaled)(td_real *y, const td_real *x, td_real a, size_t n);         /* y += a x */
    void (*add_product)(td_real *y, const td_real *a, const td_real *b, size_t n); /* y += a b */
    /* y += factors[0].a factors[0].b + ..., in that order, with y in registers */
    void (*add_products)(td_real *y, const td_factors *factors, size_t count, size_t n);
    td_real (*dot)(const td_real *a, const td_real *b, size_t n);
    double (*sum_squares)(const td_real *x, size_t n);
    td_real (*maximum)(const td_real *x, size_t n);
    /* y = exp(x - shift), returns the sum */
    td_real (*exp_sum)(td_real *y, const td_real *x, td_real shift, size_t n);
    /* The sum alone, of x <= shift; NaN when one of them is. */
    td_real (*exp_total)(const td_real *x, td_real shift, size_t n);
    void (*softmax)(td_real *x, size_t n); /* in place */
    /* y = activation(x), kind as td_activation; dx += dy * activation'(x) */
    void (*activate)(int kind, td_real *y, const td_real *x, size_t n);
    void (*activate_backward)(int kind, td_real *dx, const td_real *x, const td_real *dy, size_t n);
    /* y = (add ? y : 0) + masked x; y may be x when not adding; first: index of x[0] in the mask's stream */
    void (*dropout)(td_real *y, const td_real *x, size_t n, uint32_t first, td_dropout_mask mask, int add);
    /* one row; saves mean and 1 / deviation */
    void (*layer_norm)(td_real *y, const td_real *x, const td_real *weight, const td_real *bias, td_real epsilon, size_t n,
                       td_real *ret_mean, td_real *ret_inverse);
    void (*layer_norm_backward)(td_real *dx, td_real *dweight, td_real *dbias, const td_real *x, const td_real *dy, const td_real *weight,
                                td_real mean, td_real inverse, size_t n);
    /* One head of one sequence: q [nq, ldq], k, v [nk, ldk], out [nq, ldo]; p [nq, nk] receives the probabilities
     * before dropout. causal: query i sees the first nk - nq + i + 1 keys. Probability p[i][j] has index first + i * nk
     * + j in the mask's stream. scratch: [d, nk rounded up to 16]. bias (NULL: none): bias[i * bias_step + j] is added to
     * score i, j; the step may be negative. */
    void (*attention)(const td_real *q, size_t ldq, const td_real *k, size_t ldk, const td_real *v, size_t ldv, td_real *out, size_t ldo,
                      td_real *p, td_real *scratch, size_t nq, size_t nk, size_t d, td_real scale, int causal, const td_real *bias,
                      ptrdiff_t bias_step, td_dropout_mask mask, uint32_t first);
    /* All heads of one query [heads * d] over nk rows, each keys and then values [2 * heads * d], that lie anywhere: out [heads * d],
     * p [heads, nk] receives the probabilities. bias (NULL: none): bias[h * bias_step + j] is added to head h's score of row j. */
    void (*attend_rows)(const td_real *q, const td_real *const *rows, size_t nk, size_t heads, size_t d, td_real scale, const td_real *bias,
                        size_t bias_step, td_real *out, td_real *p);
    /* The same over rows in bfloat16. */
    void (*attend_rounded)(const td_real *q, const uint16_t *const *rows, size_t nk, size_t heads, size_t d, td_real scale,
                           const td_real *bias, size_t bias_step, td_real *out, td_real *p);
    /* Keys and values [nk, d] of one head, d a multiple of TD_KEY_PANEL, laid out for attend_laid: [td_laid_keys(nk) * 2 * d] */
    void (*lay_keys)(const td_real *k, size_t ldk, const td_real *v, size_t ldv, size_t nk, size_t d, td_real *laid);
    /* One head of any queries over all of the laid keys: out [nq, ldo], p [nq, td_laid_keys(nk)] receives the probabilities. A row's
     * result is the same, to the bit, whichever rows are beside it. */
    void (*attend_laid)(const td_real *q, size_t ldq, size_t nq, const td_real *laid, size_t nk, size_t d, td_real scale, td_real *out,
                        size_t ldo, td_real *p);
    /* dq, dk, dv, dbias are added to (any may be NULL), in rows as q, k, v, bias; scratch: [d + 1, nk rounded up to 16] */
    void (*attention_backward)(const td_real *q, size_t ldq, const td_real *k, size_t ldk, const td_real *v, size_t ldv, const td_real *p,
                               const td_real *dout, size_t ldo, td_real *dq, td_real *dk, td_real *dv, td_real *scratch, size_t nq,
                               size_t nk, size_t d, td_real scale, int causal, td_real *dbias, ptrdiff_t bias_step, td_dropout_mask mask,
                               uint32_t first);
    /* One row of logits -> its loss; logits become the gradient times `scale`. Returns the plain nll in ret_nll. */
    td_real (*cross_entropy)(td_real *logits, size_t n, size_t target, td_real smoothing, td_real scale, td_real *ret_nll);
    void (*adam)(td_real *w, const td_real *g, td_real *m, td_real *v, size_t n, const td_adam_step *step);
    void (*to_bfloat16)(uint16_t *y, const td_real *x, size_t n);
    void (*from_bfloat16)(td_real *y, const uint16_t *x, size_t n);
} td_kernels;

const td_kernels *td_kernels_get(void);       /* the best for this processor */
const td_kernels *td_kernels_for(td_isa isa); /* NULL when not compiled in or not supported here */

/* The tables themselves; only td_kernels_for names them. */
extern const td_kernels td_kernels_plain, td_kernels_avx2, td_kernels_avx512, td_kernels_neon;

/* The mask of one dropout call. rate in [0, 1). */
static inline td_dropout_mask td_dropout_mask_of(td_real rate, uint64_t key)
{
    td_dropout_mask mask = {(uint32_t)(key ^ (key >> 32)), (uint32_t)((double)rate * 4294967296.0), (td_real)1 / ((td_real)1 - rate)};
    return mask;
}

#endif
