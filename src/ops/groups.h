/* Many independent items (pictures) that are taken in groups, so that memory is that of a group instead of all: where gradients are wanted,
 * only what goes in and what comes out is kept, and a group's operations are done once more on the way back (Chen 2016, "Training Deep Nets
 * with Sublinear Memory Cost"). */
#ifndef TD_OPS_GROUPS_H
#define TD_OPS_GROUPS_H

#include "tensor/graph.h"

typedef struct td_groups {
    size_t count, group;            /* items, and how many of them go together */
    bool keep;                      /* every group's results stay until its way back: no work twice, the memory of all. The same bits */
    size_t input_rows, output_rows; /* of an item */
    /* Rows of some items -> their results. Reads weights of the outer graph, those in `weights`; draws no random numbers. */
    td_tensor *(*run)(void *context, td_graph *graph, td_tensor *x, size_t items);
    void *context; /* as `weights`, in the arena */
    td_tensor **weights;
    size_t weight_count;
} td_groups;

/* x [count * input_rows, I] -> y [count * output_rows, O], a tensor of the graph that requires a gradient if that is wanted. Sums of
 * gradients are taken from the last group to the first. False after a failure. */
bool td_in_groups(td_graph *graph, td_tensor *x, const td_groups *groups, td_tensor *y);

#endif
