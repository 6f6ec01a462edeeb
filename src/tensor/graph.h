/* Tensors, ragged batches and the tape.
 *
 * A tensor is rows of `columns` numbers, `stride` apart. Sequences of a batch lie end to end as rows; a td_ragged says where each
 * begins. A graph runs one step: its ops allocate their outputs in the step arena and, while recording, note how to go back.
 * Errors are sticky: after a failure every op returns NULL at once and takes NULL inputs, so a layer is written without checks and
 * the caller looks at graph->error once. */
#ifndef TD_TENSOR_GRAPH_H
#define TD_TENSOR_GRAPH_H

#include "base/arena.h"
#include "base/random.h"
#include "kernels/rows.h"
#include "tensor/profile.h"
#include "tensor/real.h"

typedef struct td_ragged {
    size_t count;           /* sequences */
    const int32_t *offsets; /* [count + 1]; sequence i is rows offsets[i] .. offsets[i + 1] */
} td_ragged;

static inline size_t td_ragged_total(td_ragged ragged)
{
    return (size_t)ragged.offsets[ragged.count];
}
static inline size_t td_ragged_length(td_ragged ragged, size_t i)
{
    return (size_t)(ragged.offsets[i + 1] - ragged.offsets[i]);
}

/* A named weight. Its gradient lies at `offset` of the flat gradient buffer of whichever graph uses it. */
typedef struct td_parameter {
    const char *name;
    size_t shape[4], rank;
    size_t rows, columns;     /* shape as a matrix: first dimension, product of the others (a vector is one row) */
    td_real *data;            /* [rows, columns] */
    size_t offset;            /* into the flat parameter, gradient and optimiser buffers */
    size_t index;             /* of all weights */
    size_t joined;            /* so many that follow it are rows of this one too: several multiplied as one */
    bool constant;            /* not trained */
    bool statistic;           /* constant, but follows the batches: see td_parameters_statistic */
    struct td_packed *packed; /* weights repacked for products, or NULL; see kernels/packed.h */
} td_parameter;

typedef struct td_tensor td_tensor;
struct td_tensor {
    td_real *data;
    td_real *gradient; /* as data, same stride; NULL until backward first adds to it */
    size_t rows, columns, stride;
    bool requires_gradient;
    size_t born;                   /* nodes on the tape when it was made: only those from this one on know it */
    const td_parameter *parameter; /* when this is a weight */
    td_tensor *base;               /* when this is a view: columns first_column.. of base */
    size_t first_column;
};

typedef struct td_graph td_graph;

typedef struct td_node {
    struct td_node *previous;
    size_t index; /* of the tape, from 0 */
    void (*backward)(td_graph *graph, void *operation);
    void *operation;          /* in the arena */
    const char *name;         /* for the profile, or NULL */
    td_arena_mark begin, end; /* of the arena: between them lies what was made since the node before */
} td_node;

/* Where graphs that run at the same time add up the gradients of their weights. Each weight has its turns, in the order of the graphs,
 * so that sums are the same, to the bit, on any number of threads. */
typedef struct td_gradient_sums {
    td_real *sums;
    size_t weights;
    const size_t *offsets;  /* [weights + 1] of each in sums; a constant takes nothing there */
    struct td_turns *turns; /* a place for each weight */
} td_gradient_sums;

struct td_graph {
    td_arena *arena;
    const td_kernels *kernels;
    const struct td_packed_kernels *packed_kernels;   /* products with packed weights */
    bool recording;                                   /* a tape is kept: backward is possible */
    bool training;                                    /* dropout is active */
    const struct td_rounded_weights *rounded_weights; /* the weights in bfloat16 already, or NULL */
    const struct td_laid_weight *laid_weight;         /* a weight in panels already, or NULL */
    struct td_pool *pool;                             /* threads that share one product; NULL: the calling one alone */
    struct td_gemm_cache *products;                   /* weight products in bfloat16 with float32 sums; NULL: all in float32 */
    uint64_t dropout_key;
    uint64_t dropout_calls;
    td_real *gradients;           /* flat, all parameters; needed when recording without sums. With them: the statistics */
    size_t gradients_begin;       /* the parameters' offset at which `gradients` begins */
    const td_gradient_sums *sums; /* see td_graph_sum_begin */
    size_t turn;
    struct td_weight_use *uses; /* of each weight, with sums */
    td_real share;              /* of the step's examples, those in this graph: weighs what it adds to statistics; 0: adds nothing */
    td_node *tape;
    size_t nodes;                          /* noted so far */
    struct td_gradient_block *live, *idle; /* memory of gradients that are needed, and that served and may serve again */
    struct td_gradient_block *spare;       /* headers of no block */
    td_arena_mark fresh;                   /* what was made since the last node begins here */
    bool going_back;
    bool nested;           /* see td_graph_nest */
    td_recorder *recorder; /* measures the operations; NULL: off */
    td_error error;        /* sticky */
};

/* Prepares a graph over an arena (which the caller resets between steps). */
void td_graph_begin(td_graph *graph, td_arena *arena, bool recording);
static inline bool td_graph_ok(const td_graph *graph)
{
    return graph->error.status == TD_OK;
}
/* A graph for a piece of what an operation of `graph` does, with a tape of its own, in the same arena: what it took may be released once
 * the piece has gone back. It reads weights and inputs of `graph` as they are, whose gradients must exist before the piece goes back, and
 * goes back into the memory of its results. A failure is the caller's to pass on. */
void td_graph_nest(const td_graph *graph, bool recording, td_graph *ret_piece);
/* Records the failure unless one is held already; always returns NULL. */
td_tensor *td_graph_fail(td_graph *graph, td_status status, const char *format, ...) TD_PRINTF(3, 4);

/* Threads that share the graph's operations: 1 without a pool. */
size_t td_graph_threads(const td_graph *graph);
/* Runs tasks 0 .. count - 1 on them. */
void td_graph_run(td_graph *graph, size_t count, void (*task)(void *context, size_t index, size_t thread), void *context);
/* The same on the calling thread alone, in order, unless `shared`: where handing over takes longer than the work. */
void td_graph_run_if(td_graph *graph, bool shared, size_t count, void (*task)(void *context, size_t index, size_t thread), void *context);
/* Into how many parts so many numbers, of some operations each, are worth cutting. */
size_t td_graph_parts(const td_graph *graph, size_t numbers);

/* A new uninitialised (or zeroed) tensor; NULL after a failure. Requires a gradient iff recording and `requires_gradient`. */
td_tensor *td_tensor_new(td_graph *graph, size_t rows, size_t columns, bool requires_gradient);
td_tensor *td_tensor_zeroed(td_graph *graph, size_t rows, size_t columns, bool requires_gradient);
/* A tensor over memory that outlives the step (an input, a state). No gradient. */
td_tensor *td_tensor_of(td_graph *graph, td_real *data, size_t rows, size_t columns);
/* The weight as a tensor of this graph. */
td_tensor *td_graph_parameter(td_graph *graph, const td_parameter *parameter);
/* Columns first .. first + columns of `tensor`, sharing its memory and gradient. */
td_tensor *td_tensor_columns(td_graph *graph, td_tensor *tensor, size_t first, size_t columns);
/* Arena memory for an op; records TD_ERROR_MEMORY and returns NULL when there is none. */
void *td_graph_allocate(td_graph *graph, size_t count, size_t size);

/* The gradient of `tensor`, zeroed when first asked for; NULL when it needs none (or memory is out). When backward has passed all the
 * operations noted since the tensor was made, nobody asks for it any more, and its memory serves another. */
td_real *td_gradient(td_graph *graph, td_tensor *tensor);
/* The same for an operation that adds to few rows of a weight: where the graph has sums and reads the weight once, these are the sums. */
td_real *td_gradient_of_few_rows(td_graph *graph, td_tensor *tensor);
/* The gradients of weights go to `sums`, where this graph is number `turn`: call after td_graph_begin. Each weight's is added when
 * backward is done with it, and backward then also uses the memory of results that it has passed: only weights and what is older than
 * the first operation may be read after it. */
void td_graph_sum_begin(td_graph *graph, const td_gradient_sums *sums, size_t turn);
/* Adds what is left and lets the next graph pass; needed after a failure too. */
void td_graph_sum_finish(td_graph *graph);
/* Notes an operation for backward. `operation` lives in the arena. No effect unless recording. */
void td_record(td_graph *graph, void (*backward)(td_graph *, void *), void *operation);
/* Runs the tape from `output` (one element or more; its gradient is set to `seed` everywhere; NULL: gradients are set already). */
td_status td_backward(td_graph *graph, td_tensor *output, td_real seed, td_error *error);

static inline bool td_needs_gradient(const td_tensor *tensor)
{
    return tensor && tensor->requires_gradient;
}

#endif
