#include "api/alignment.h"

#include "base/memory.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Weights of a head at one frame -> mean 0, deviation 1 over the tokens. */
static void standardise(const td_alignment_weights *alignment, td_real *head)
{
    size_t tokens = alignment->tokens;
    for (size_t frame = 0; frame < alignment->frames; frame++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < tokens; i++)
            sum += (double)head[i * alignment->stride + frame];
        double mean = sum / (double)tokens;
        for (size_t i = 0; i < tokens; i++) {
            double difference = (double)head[i * alignment->stride + frame] - mean;
            squares += difference * difference;
        }
        double deviation = sqrt(squares / (double)tokens);
        for (size_t i = 0; i < tokens; i++)
            head[i * alignment->stride + frame] = (td_real)(((double)head[i * alignment->stride + frame] - mean) / deviation);
    }
}

/* What is no number counts as largest: a frame that no token looks at has no deviation. */
static bool is_before(td_real a, td_real b)
{
    return a < b || (isnan(b) && !isnan(a));
}

static td_real median_of(td_real *values, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        td_real value = values[i];
        size_t at = i;
        for (; at > 0 && is_before(value, values[at - 1]); at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
    return values[count / 2];
}

/* sums += the row smoothed; at its ends it is mirrored. window [width] */
static void add_smoothed(const td_real *row, size_t frames, size_t width, td_real *window, td_real *sums)
{
    size_t half = width / 2;
    for (size_t frame = 0; frame < frames; frame++) {
        if (frames <= half) {
            sums[frame] += row[frame];
            continue;
        }
        for (size_t i = 0; i < width; i++) {
            ptrdiff_t at = (ptrdiff_t)(frame + i) - (ptrdiff_t)half, last = (ptrdiff_t)frames - 1;
            at = at < 0 ? -at : at;
            window[i] = row[at > last ? 2 * last - at : at];
        }
        sums[frame] += median_of(window, width);
    }
}

enum { BOTH, TOKEN, FRAME }; /* where a step of the path came from: one token and one frame back, a token, a frame */

/* Costs in single precision, ties as the reference decides them. costs [2][tokens + 1]; trace [frames + 1][tokens + 1] */
static void find_costs(const td_real *matrix, size_t tokens, size_t frames, float *costs, uint8_t *trace)
{
    float *before = costs, *now = costs + tokens + 1;
    for (size_t i = 0; i <= tokens; i++)
        before[i] = i == 0 ? 0 : INFINITY;
    for (size_t frame = 1; frame <= frames; frame++) {
        now[0] = INFINITY;
        for (size_t i = 1; i <= tokens; i++) {
            float both = before[i - 1], token = now[i - 1], same = before[i], least = same;
            uint8_t step = FRAME;
            if (both < token && both < same) {
                least = both;
                step = BOTH;
            } else if (token < both && token < same) {
                least = token;
                step = TOKEN;
            }
            now[i] = (float)((double)least - (double)matrix[(i - 1) * frames + frame - 1]);
            trace[frame * (tokens + 1) + i] = step;
        }
        float *swapped = before;
        before = now;
        now = swapped;
    }
}

static void follow_path(const uint8_t *trace, size_t tokens, size_t frames, size_t *ret_frames)
{
    memset(ret_frames, 0, tokens * sizeof *ret_frames);
    for (size_t i = tokens, frame = frames; i > 0;) {
        ret_frames[i - 1] = frame > 0 ? frame - 1 : 0;
        uint8_t step = frame == 0 ? TOKEN : trace[frame * (tokens + 1) + i];
        i -= step != FRAME;
        frame -= step != TOKEN;
    }
}

td_status td_align(const td_alignment_weights *alignment, size_t *ret_frames, td_error *error)
{
    size_t tokens = alignment->tokens, frames = alignment->frames;
    td_real *matrix = td_allocate_array(tokens, frames * sizeof *matrix), *window = td_allocate_array(alignment->median, sizeof *window);
    float *costs = td_allocate_array(2 * (tokens + 1), sizeof *costs);
    uint8_t *trace = td_allocate_array(frames + 1, tokens + 1);
    td_status status = matrix && window && costs && trace ? TD_OK : td_fail_memory(error, tokens * frames * sizeof *matrix);
    for (size_t head = 0; status == TD_OK && head < alignment->heads; head++) {
        td_real *weights = alignment->weights + head * alignment->head_stride;
        standardise(alignment, weights);
        for (size_t i = 0; i < tokens; i++)
            add_smoothed(weights + i * alignment->stride, frames, alignment->median, window, matrix + i * frames);
    }
    for (size_t i = 0; status == TD_OK && i < tokens * frames; i++)
        matrix[i] /= (td_real)alignment->heads;
    if (status == TD_OK) {
        find_costs(matrix, tokens, frames, costs, trace);
        follow_path(trace, tokens, frames, ret_frames);
    }
    void *blocks[] = {matrix, window, costs, trace};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        td_release(blocks[i]);
    return status;
}
