/* CTC's forward-backward in log space and double precision, one sequence at a time, over the states blank, label, blank, label, ...,
 * blank. What a state's paths weigh at a frame, alpha beta / p, is the gradient's only term beside the softmax. */
#include "ops/ctc.h"

#include <math.h>
#include <string.h>

typedef struct ctc_pass {
    td_graph *graph;
    const td_tensor *logits;
    td_real *gradient; /* of the logits, or NULL */
    td_ctc_options options;
    td_real *scratch; /* [V] */
    double *log_sums; /* [longest frames]: log sum exp of each frame's logits */
    double *alpha;    /* [longest frames, longest states] */
    double *beta;     /* [2, longest states]: of two frames */
    /* of the sequence in hand */
    size_t first, frames, states;
    const int32_t *targets;
} ctc_pass;

size_t td_ctc_least_frames(const int32_t *targets, size_t count)
{
    size_t frames = count;
    for (size_t i = 1; i < count; i++)
        frames += targets[i] == targets[i - 1];
    return frames;
}

static double log_add(double a, double b)
{
    if (a < b) {
        double swapped = a;
        a = b;
        b = swapped;
    }
    return b == -INFINITY ? a : a + log1p(exp(b - a));
}

static int32_t label(const ctc_pass *pass, size_t state)
{
    return state % 2 ? pass->targets[state / 2] : pass->options.blank;
}

/* Whether a path may come to `state` from two before: over a blank, to another label. */
static bool can_skip(const ctc_pass *pass, size_t state)
{
    return state % 2 && state >= 2 && label(pass, state) != label(pass, state - 2);
}

static double log_probability(const ctc_pass *pass, size_t frame, size_t state)
{
    const td_real *row = pass->logits->data + (pass->first + frame) * pass->logits->stride;
    return (double)row[label(pass, state)] - pass->log_sums[frame];
}

static void sum_frames(ctc_pass *pass)
{
    const td_kernels *kernels = pass->graph->kernels;
    for (size_t t = 0; t < pass->frames; t++) {
        const td_real *row = pass->logits->data + (pass->first + t) * pass->logits->stride;
        td_real shift = kernels->maximum(row, pass->logits->columns);
        pass->log_sums[t] = (double)shift + log((double)kernels->exp_sum(pass->scratch, row, shift, pass->logits->columns));
    }
}

/* alpha[t][s]: of all beginnings that are in state s after frame t. Returns log p(targets). */
static double run_forward(ctc_pass *pass)
{
    size_t n = pass->states;
    for (size_t t = 0; t < pass->frames; t++) {
        double *now = pass->alpha + t * n, *before = now - n;
        for (size_t s = 0; s < n; s++) {
            double sum = t ? before[s] : s < 2 ? 0 : -INFINITY;
            if (t && s >= 1)
                sum = log_add(sum, before[s - 1]);
            if (t && can_skip(pass, s))
                sum = log_add(sum, before[s - 2]);
            now[s] = sum == -INFINITY ? sum : sum + log_probability(pass, t, s);
        }
    }
    if (!pass->frames)
        return n == 1 ? 0 : -INFINITY;
    const double *last = pass->alpha + (pass->frames - 1) * n;
    return n == 1 ? last[0] : log_add(last[n - 1], last[n - 2]);
}

/* beta[s]: of all endings after frame t that leave from state s. */
static void step_back(const ctc_pass *pass, size_t t, const double *after, double *beta)
{
    size_t n = pass->states;
    for (size_t s = 0; s < n; s++) {
        if (t + 1 == pass->frames) {
            beta[s] = s + 2 >= n ? 0 : -INFINITY;
            continue;
        }
        beta[s] = after[s] + log_probability(pass, t + 1, s);
        if (s + 1 < n)
            beta[s] = log_add(beta[s], after[s + 1] + log_probability(pass, t + 1, s + 1));
        if (s + 2 < n && can_skip(pass, s + 2))
            beta[s] = log_add(beta[s], after[s + 2] + log_probability(pass, t + 1, s + 2));
    }
}

static void add_gradient(ctc_pass *pass, double log_p)
{
    size_t n = pass->states, words = pass->logits->columns;
    double *beta = pass->beta, *after = pass->beta + n, scale = (double)pass->options.gradient_scale;
    for (size_t t = pass->frames; t-- > 0;) {
        const td_real *row = pass->logits->data + (pass->first + t) * pass->logits->stride;
        td_real *gradient = pass->gradient + (pass->first + t) * pass->logits->stride;
        double *swapped = after;
        after = beta;
        beta = swapped;
        step_back(pass, t, after, beta);
        pass->graph->kernels->exp_sum(pass->scratch, row, (td_real)pass->log_sums[t], words);
        pass->graph->kernels->add_scaled(gradient, pass->scratch, pass->options.gradient_scale, words);
        for (size_t s = 0; s < n; s++)
            gradient[label(pass, s)] -= (td_real)(scale * exp(pass->alpha[t * n + s] + beta[s] - log_p));
    }
}

static double run_sequence(ctc_pass *pass)
{
    if (td_ctc_least_frames(pass->targets, pass->states / 2) > pass->frames)
        return INFINITY;
    sum_frames(pass);
    double log_p = run_forward(pass);
    if (pass->gradient && log_p > -INFINITY)
        add_gradient(pass, log_p);
    return -log_p;
}

static bool arguments_fit(td_graph *graph, const td_tensor *logits, td_ragged frames, const int32_t *targets, td_ragged labels,
                          int32_t blank)
{
    if (frames.count != labels.count || td_ragged_total(frames) != logits->rows)
        td_graph_fail(graph, TD_ERROR_INTERNAL, "ctc: %zu rows of logits for %zu, %zu targets of %zu sequences", logits->rows,
                      td_ragged_total(frames), labels.count, frames.count);
    if (blank < 0 || (size_t)blank >= logits->columns)
        td_graph_fail(graph, TD_ERROR_ARGUMENT, "ctc: the blank, id %d, is outside 0 to %zu", blank, logits->columns - 1);
    for (size_t i = 0; td_graph_ok(graph) && i < td_ragged_total(labels); i++)
        if (targets[i] < 0 || (size_t)targets[i] >= logits->columns || targets[i] == blank)
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "ctc: target id %d is outside 0 to %zu, or the blank", targets[i], logits->columns - 1);
    return td_graph_ok(graph);
}

static bool allocate(ctc_pass *pass, td_ragged frames, td_ragged labels)
{
    size_t longest = 0, states = 1, cells;
    for (size_t i = 0; i < frames.count; i++) {
        longest = td_ragged_length(frames, i) > longest ? td_ragged_length(frames, i) : longest;
        states = 2 * td_ragged_length(labels, i) + 1 > states ? 2 * td_ragged_length(labels, i) + 1 : states;
    }
    if (td_multiply_overflows(longest, states, &cells))
        cells = SIZE_MAX;
    pass->scratch = td_graph_allocate(pass->graph, pass->logits->columns, sizeof *pass->scratch);
    pass->log_sums = td_graph_allocate(pass->graph, longest, sizeof *pass->log_sums);
    pass->alpha = td_graph_allocate(pass->graph, cells, sizeof *pass->alpha);
    pass->beta = td_graph_allocate(pass->graph, 2 * states, sizeof *pass->beta);
    return td_graph_ok(pass->graph);
}

td_tensor *td_ctc_loss(td_graph *graph, td_tensor *logits, td_ragged frames, const int32_t *targets, td_ragged labels,
                       const td_ctc_options *options, double *ret_losses)
{
    TD_PROFILE(graph->recorder, "ctc");
    if (!logits || !arguments_fit(graph, logits, frames, targets, labels, options->blank))
        return NULL;
    ctc_pass pass = {.graph = graph, .logits = logits, .gradient = td_gradient(graph, logits), .options = *options};
    td_tensor *loss = td_tensor_new(graph, 1, 1, false);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    if (!loss || !allocate(&pass, frames, labels))
        return NULL;
    double total = 0;
    for (size_t i = 0; i < frames.count; i++) {
        pass.first = (size_t)frames.offsets[i];
        pass.frames = td_ragged_length(frames, i);
        pass.targets = targets + labels.offsets[i];
        pass.states = 2 * td_ragged_length(labels, i) + 1;
        double sequence = run_sequence(&pass);
        if (ret_losses)
            ret_losses[i] = sequence;
        if (sequence != INFINITY)
            total += sequence;
    }
    td_arena_release_to(graph->arena, mark);
    loss->data[0] = (td_real)total;
    return loss;
}
