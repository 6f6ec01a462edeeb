/* CTC without a decoder. Prefixes are nodes of a tree; a frame moves probability from each kept prefix to itself (a blank, or its last
 * label again) and to its children, and the best stay. */
#include "decoding/ctc.h"

#include "base/array.h"
#include "decoding/select.h"

#include <math.h>
#include <string.h>

enum { NONE = -1 };

typedef struct prefix_node {
    int32_t parent, label, child, sibling; /* indices of nodes, NONE without */
    double by_blank, by_label;             /* log-probabilities at this frame, by what ends it */
    double next_by_blank, next_by_label;   /* at the next, if reached */
    size_t reached;                        /* frame + 1 */
} prefix_node;

typedef struct prefix_tree {
    const td_ctc_frames *frames;
    prefix_node *nodes;
    size_t count, capacity;
    int32_t *kept, *next; /* nodes; next grows with what is reached */
    size_t kept_count, next_count, next_capacity, beam;
    td_candidate *labels; /* the frame's best */
    size_t choices;
} prefix_tree;

size_t td_ctc_best_path(const td_ctc_frames *frames, int32_t *ret_ids)
{
    size_t count = 0;
    int32_t previous = NONE;
    for (size_t t = 0; t < frames->count; t++) {
        const td_real *row = frames->log_probabilities + t * frames->words;
        size_t best = 0;
        for (size_t i = 1; i < frames->words; i++)
            best = row[i] > row[best] ? i : best;
        if ((int32_t)best != frames->blank && (int32_t)best != previous)
            ret_ids[count++] = (int32_t)best;
        previous = (int32_t)best;
    }
    return count;
}

static double log_add(double a, double b)
{
    double most = a > b ? a : b, least = a > b ? b : a;
    return least == -INFINITY ? most : most + log1p(exp(least - most));
}

static double total(const prefix_node *node)
{
    return log_add(node->by_blank, node->by_label);
}

/* A new node, or NONE without memory. */
static int32_t add_node(prefix_tree *tree, int32_t parent, int32_t label)
{
    if (tree->count >= INT32_MAX || td_reserve_array(&tree->nodes, &tree->capacity, tree->count + 1, sizeof *tree->nodes, NULL) != TD_OK)
        return NONE;
    int32_t sibling = parent == NONE ? NONE : tree->nodes[parent].child;
    if (parent != NONE)
        tree->nodes[parent].child = (int32_t)tree->count;
    tree->nodes[tree->count] =
        (prefix_node){.parent = parent, .label = label, .child = NONE, .sibling = sibling, .by_blank = -INFINITY, .by_label = -INFINITY};
    return (int32_t)tree->count++;
}

static int32_t child_of(prefix_tree *tree, int32_t parent, int32_t label)
{
    int32_t child = tree->nodes[parent].child;
    while (child != NONE && tree->nodes[child].label != label)
        child = tree->nodes[child].sibling;
    return child != NONE ? child : add_node(tree, parent, label);
}

/* The node, among those that frame t reaches; NULL without memory. */
static prefix_node *reach(prefix_tree *tree, int32_t index, size_t t)
{
    if (index == NONE)
        return NULL;
    prefix_node *node = &tree->nodes[index];
    if (node->reached == t + 1)
        return node;
    if (td_reserve_array(&tree->next, &tree->next_capacity, tree->next_count + 1, sizeof *tree->next, NULL) != TD_OK)
        return NULL;
    tree->next[tree->next_count++] = index;
    node->reached = t + 1;
    node->next_by_blank = node->next_by_label = -INFINITY;
    return node;
}

static bool spread(prefix_tree *tree, int32_t index, size_t t, size_t labels)
{
    const td_ctc_frames *frames = tree->frames;
    const td_real *row = frames->log_probabilities + t * frames->words;
    prefix_node *node = reach(tree, index, t);
    if (!node)
        return false;
    double all = total(node), by_blank = node->by_blank;
    int32_t last = node->label;
    node->next_by_blank = log_add(node->next_by_blank, all + (double)row[frames->blank]);
    if (last != NONE)
        node->next_by_label = log_add(node->next_by_label, node->by_label + (double)row[last]);
    for (size_t i = 0; i < labels; i++) {
        int32_t label = tree->labels[i].id;
        double from = label == last ? by_blank : all;
        if (label == frames->blank || from == -INFINITY)
            continue;
        prefix_node *child = reach(tree, child_of(tree, index, label), t);
        if (!child)
            return false;
        child->next_by_label = log_add(child->next_by_label, from + (double)row[label]);
    }
    return true;
}

/* Of those reached the best stay, best first; equal ones by age. */
static void keep_best(prefix_tree *tree)
{
    tree->kept_count = 0;
    for (size_t i = 0; i < tree->next_count; i++) {
        int32_t index = tree->next[i];
        prefix_node *node = &tree->nodes[index];
        node->by_blank = node->next_by_blank;
        node->by_label = node->next_by_label;
        double score = total(node);
        bool full = tree->kept_count == tree->beam;
        if (score == -INFINITY || (full && !(score > total(&tree->nodes[tree->kept[tree->beam - 1]]))))
            continue;
        size_t at = full ? tree->beam - 1 : tree->kept_count++;
        for (; at > 0 && total(&tree->nodes[tree->kept[at - 1]]) < score; at--)
            tree->kept[at] = tree->kept[at - 1];
        tree->kept[at] = index;
    }
    tree->next_count = 0;
}

static bool run(prefix_tree *tree)
{
    const td_ctc_frames *frames = tree->frames;
    if (add_node(tree, NONE, NONE) == NONE)
        return false;
    tree->nodes[0].by_blank = 0;
    tree->kept[0] = 0;
    tree->kept_count = 1;
    for (size_t t = 0; t < frames->count; t++) {
        size_t labels = td_select_largest(frames->log_probabilities + t * frames->words, frames->words, tree->choices, tree->labels);
        for (size_t i = 0; i < tree->kept_count; i++)
            if (!spread(tree, tree->kept[i], t, labels))
                return false;
        keep_best(tree);
    }
    return true;
}

static bool read_labelling(const prefix_tree *tree, int32_t index, td_ctc_labelling *ret_labelling)
{
    size_t count = 0;
    for (int32_t at = index; at > 0; at = tree->nodes[at].parent)
        count++;
    ret_labelling->ids = td_allocate_array(count ? count : 1, sizeof *ret_labelling->ids);
    if (!ret_labelling->ids)
        return false;
    ret_labelling->count = count;
    ret_labelling->log_probability = total(&tree->nodes[index]);
    for (int32_t at = index; at > 0; at = tree->nodes[at].parent)
        ret_labelling->ids[--count] = tree->nodes[at].label;
    return true;
}

td_status td_ctc_prefix_search(const td_ctc_frames *frames, size_t beam, size_t choices, td_ctc_labelling **ret_labellings,
                               size_t *ret_count, td_error *error)
{
    prefix_tree tree = {.frames = frames, .beam = beam, .choices = choices < frames->words ? choices : frames->words};
    tree.kept = td_allocate_array(beam, sizeof *tree.kept);
    tree.labels = td_allocate_array(tree.choices, sizeof *tree.labels);
    td_ctc_labelling *labellings = td_allocate_array(beam, sizeof *labellings);
    bool done = tree.kept && tree.labels && labellings && run(&tree);
    for (size_t i = 0; done && i < tree.kept_count; i++)
        done = read_labelling(&tree, tree.kept[i], &labellings[i]);
    size_t count = tree.kept_count;
    td_release(tree.kept);
    td_release(tree.next);
    td_release(tree.labels);
    td_release(tree.nodes);
    if (!done) {
        td_ctc_labellings_free(labellings, labellings ? count : 0);
        return td_fail_memory(error, tree.capacity * sizeof *tree.nodes);
    }
    *ret_labellings = labellings;
    *ret_count = count;
    return TD_OK;
}

void td_ctc_labellings_free(td_ctc_labelling *labellings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        td_release(labellings[i].ids);
    td_release(labellings);
}
