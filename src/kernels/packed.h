/* Weights laid out once for the products of inference, and the products with them.
 *
 * Outputs come in panels of TD_PANEL; within a panel the numbers of G neighbouring inputs of one output lie together (G = 1 for
 * float32, 2 for bfloat16, 4 for int8), as the instructions take them: [panels][depth / G][TD_PANEL][G], zeros where there is
 * nothing. A product goes through all rows with one panel before the next, so weights are read from memory once, and while it
 * computes it asks for the next panel.
 *
 * A row's result is the same, to the bit, whichever rows are beside it: float32 and bfloat16 add up the inputs in their order with
 * the same instruction for any number of rows, and sums of integers are exact. */
#ifndef TD_KERNELS_PACKED_H
#define TD_KERNELS_PACKED_H

#include "base/error.h"
#include "kernels/rows.h"

#include <stdbool.h>

typedef enum td_precision { TD_FLOAT32, TD_BFLOAT16, TD_INT8, TD_PRECISIONS } td_precision;

enum { TD_PANEL = 64, TD_INT8_LIMIT = 127 };

typedef struct td_packed {
    td_precision precision;
    size_t outputs, inputs, depth; /* depth: inputs rounded up to what the instructions take at once */
    void *data;                    /* panels, 64-byte aligned */
    float *scales;                 /* int8: [panels * TD_PANEL], value = integer * scale of its output */
    int32_t *offsets;              /* int8: [panels * TD_PANEL], -128 * sum of the output's integers: inputs are shifted by 128 */
    void *owned;                   /* the memory of all three; NULL: somebody else's */
} td_packed;

static inline size_t td_packed_panels(const td_packed *packed)
{
    return (packed->outputs + TD_PANEL - 1) / TD_PANEL;
}

/* Room for weights [outputs, inputs], to be filled panel by panel. */
td_status td_packed_new(td_precision precision, size_t outputs, size_t inputs, td_packed **ret_packed, td_error *error);
/* The same in somebody's memory of td_packed_size bytes, 64-byte aligned; NULL: in its own. */
td_status td_packed_new_in(void *memory, td_precision precision, size_t outputs, size_t inputs, td_packed **ret_packed, td_error *error);
size_t td_packed_size(td_precision precision, size_t outputs, size_t inputs); /* SIZE_MAX: more than there can be */
/* Fills outputs first .. first + count (first a multiple of TD_PANEL, count <= TD_PANEL) from values [count, inputs]; int8: each
 * output's scale is its largest magnitude / 127. */
void td_packed_fill(td_packed *packed, size_t first, size_t count, const float *values);
/* The same from integers and their scales (int8 only). */
void td_packed_fill_int8(td_packed *packed, size_t first, size_t count, const int8_t *values, const float *scales);
/* Rounds one output's weights [count] to integers, |integer| <= 127; returns their scale, NaN when one is not finite. */
float td_quantise_weights(const float *values, size_t count, int8_t *ret_integers);
/* y [inputs] = factor * weights of one output: for embeddings. */
void td_packed_row(const td_packed *packed, size_t output, float factor, float *y);
static inline size_t td_packed_bytes(const td_packed *packed)
{
    return td_packed_size(packed->precision, packed->outputs, packed->inputs);
}
void td_packed_free(td_packed *packed); /* NULL is fine */

/* Inputs in the form that a precision multiplies. */
typedef struct td_packed_input {
    size_t rows, stride;     /* stride in elements of the form in use */
    const float *values;     /* float32 */
    const uint16_t *rounded; /* bfloat16 */
    const uint8_t *shifted;  /* int8: integer + 128 */
    const float *scales;     /* int8: [rows] */
} td_packed_input;

/* y [rows, outputs of the panels] = activation(x w^T + bias) for panels first .. last. */
typedef struct td_packed_job {
    const td_packed *weights;
    td_packed_input input;
    size_t first, last;
    const float *bias;                                              /* [outputs of all panels] or NULL */
    void (*activate)(int kind, float *y, const float *x, size_t n); /* NULL: none */
    int activation;
    float *y; /* column 0 is the first output of panel `first` */
    size_t ldy;
} td_packed_job;

typedef struct td_packed_kernels {
    td_matrix_isa isa;
    void (*product[TD_PRECISIONS])(const td_packed_job *job);
    /* x [rows, inputs] -> integers + 128 at stride depth, and a scale for each row; what is beyond inputs multiplies zeros */
    void (*quantise)(const float *x, size_t ldx, size_t rows, size_t inputs, size_t depth, uint8_t *shifted, float *scales);
} td_packed_kernels;

const td_packed_kernels *td_packed_kernels_get(void);              /* the best for this processor */
const td_packed_kernels *td_packed_kernels_for(td_matrix_isa isa); /* NULL when not compiled in or not supported here */

extern const td_packed_kernels td_packed_plain, td_packed_avx2, td_packed_avx512, td_packed_vnni, td_packed_vnni_bfloat16, td_packed_amx;
extern const td_packed_kernels td_packed_neon, td_packed_dotprod, td_packed_bf16;

#endif
