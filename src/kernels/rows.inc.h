/* The one body of the row kernels, one file a part. Each rows_<isa>.c defines TD_KERNELS_TABLE and TD_KERNELS_ISA and includes this file
 * under its own compiler flags. Loops are plain C that the compiler vectorises; the products inside attention keep
 * their sums in registers with vector types, which it would not do by itself. */
#include "kernels/rows.h"
#include "kernels/rows_math.h"
#include "kernels/rows_vector.h"
#include "kernels/tile.h"

#include <stdbool.h>

/* In this order: later parts use earlier ones. */
/* clang-format off */
#include "kernels/elementwise.inc.h"
#include "kernels/reductions.inc.h"
#include "kernels/softmax.inc.h"
#include "kernels/activations.inc.h"
#include "kernels/dropout.inc.h"
#include "kernels/layer_norm.inc.h"
#include "kernels/small_products.inc.h"
#include "kernels/transpose.inc.h"
#include "kernels/attention.inc.h"
#include "kernels/scattered_attention.inc.h"
#include "kernels/laid_attention.inc.h"
#include "kernels/attention_backward.inc.h"
#include "kernels/products.inc.h"
#include "kernels/training_rows.inc.h"
/* clang-format on */

const td_kernels TD_KERNELS_TABLE = {
    .isa = TD_KERNELS_ISA,
    .add = add,
    .product = product,
    .add_scaled = add_scaled,
    .add_product = add_product,
    .add_products = add_products,
    .dot = dot,
    .sum_squares = sum_squares,
    .maximum = maximum,
    .exp_sum = exp_sum,
    .exp_total = exp_total,
    .softmax = softmax,
    .activate = activate,
    .activate_backward = activate_backward,
    .dropout = dropout,
    .layer_norm = layer_norm,
    .layer_norm_backward = layer_norm_backward,
    .attention = attention,
    .attend_rows = attend_rows,
    .attend_rounded = attend_rounded,
    .lay_keys = lay_keys,
    .attend_laid = attend_laid,
    .attention_backward = attention_backward,
    .cross_entropy = cross_entropy,
    .adam = adam,
    .to_bfloat16 = to_bfloat16,
    .from_bfloat16 = from_bfloat16,
};
