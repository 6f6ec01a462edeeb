/* Of rows of logits that come a part at a time, the blocks with the largest numbers: what a search reads of them. A row
 * of a vocabulary takes hundreds of kilobytes, these few of them. */
#ifndef TD_MODELS_BEST_BLOCKS_H
#define TD_MODELS_BEST_BLOCKS_H

#include "tensor/graph.h"

/* So many numbers are a block; the last one of a row may have fewer. */
enum { TD_LOGIT_BLOCK = 64 };

/* Lists of at most `most` blocks each. Among a list's blocks are as many of the largest numbers that were offered, ties by lower place,
 * as it has room for blocks. */
typedef struct td_best_blocks {
    size_t most;
    int32_t *count;     /* [lists] */
    int32_t *block;     /* [lists, most]: which of the row */
    td_real *maximum;   /* [lists, most] */
    td_real *values;    /* [lists, most, TD_LOGIT_BLOCK] */
    td_real *threshold; /* [lists]: what is less is not among them; of the last one when a list is full */
    int32_t *last;      /* [lists]: the one that goes first */
} td_best_blocks;

/* Empty lists, in the graph's arena. False after a failure (noted in the graph). */
bool td_best_blocks_new(td_graph *graph, size_t lists, size_t most, td_best_blocks *ret_best);
void td_best_blocks_take(td_best_blocks *best, size_t list, int32_t block, td_real maximum, const td_real *values, size_t count);
/* Offers a block: values [count], none above `maximum`. */
static inline void td_best_blocks_offer(td_best_blocks *best, size_t list, int32_t block, td_real maximum, const td_real *values,
                                        size_t count)
{
    if (maximum >= best->threshold[list])
        td_best_blocks_take(best, list, block, maximum, values, count);
}
/* Offers all of another list's blocks, each of a row of n numbers. */
void td_best_blocks_join(td_best_blocks *best, size_t list, size_t other, size_t n);
/* Puts a list's blocks where they belong in a row of n numbers, whose others stay as they are, and the list in the order of places. */
void td_best_blocks_place(td_best_blocks *best, size_t list, size_t n, td_real *row);

#endif
