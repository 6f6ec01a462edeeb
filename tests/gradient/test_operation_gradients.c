/* Every operation in double precision: the gradients of all inputs against central differences; that they are added to what is there,
 * and that an input which needs none changes nothing for the others. A case is a row of the table at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "ops/groups.h"
#include "ops/ops.h"
#include "ops/recurrent.h"
#include "ops/picture.h"

enum { MAX_INPUTS = 5, MAX_ELEMENTS = 1024 };

struct run;
typedef td_tensor *forward_function(struct run *run);

typedef struct test_case {
    const char *name;
    forward_function *forward;
    size_t shapes[MAX_INPUTS][2]; /* rows, columns; rows 0 ends the list */
    int activation;
    double rate, smoothing, r_drop;
    bool weighed; /* rows of a loss, some by less than nothing */
    size_t heads;
    bool causal;
    const int32_t *queries, *keys; /* offsets */
    size_t sequences;
} test_case;

typedef struct run {
    const test_case *test;
    td_arena arena;
    td_graph graph;
    td_parameter inputs[MAX_INPUTS];
    double values[MAX_INPUTS][MAX_ELEMENTS], gradients[MAX_INPUTS * MAX_ELEMENTS];
    size_t count;
    double loss, loss_scale; /* of an operation that is its own loss */
} run;

/* Spread over about -1.2 .. 1.2, never close enough to 0 for a difference to straddle a kink there. */
static double wave(size_t i)
{
    double x = sin(1.7 * (double)i + 0.3) * 0.9 + 0.3 * cos(5.1 * (double)i);
    return fabs(x) < 0.01 ? x + 0.05 : x;
}

static td_tensor *input(run *it, size_t index)
{
    return index < it->count ? td_graph_parameter(&it->graph, &it->inputs[index]) : NULL;
}

/* The weighed sum of the output (or the operation's own loss); with `backward` also fills the gradients. */
static double evaluate(run *it, bool backward)
{
    td_arena_reset(&it->arena);
    td_graph_begin(&it->graph, &it->arena, true);
    it->graph.training = true;
    it->graph.dropout_key = 77;
    for (size_t i = 0; i < MAX_INPUTS * MAX_ELEMENTS; i++)
        it->gradients[i] = 0.5;
    it->graph.gradients = it->gradients;
    it->loss_scale = 0;
    td_tensor *output = it->test->forward(it);
    assert_string_equal(it->graph.error.message, "");
    assert_non_null(output);
    double sum = it->loss_scale != 0 ? it->loss * it->loss_scale : 0;
    td_real *gradient = backward && it->loss_scale == 0 ? td_gradient(&it->graph, output) : NULL;
    for (size_t i = 0; it->loss_scale == 0 && i < output->rows * output->columns; i++) {
        double weight = wave(i + 11);
        sum += weight * output->data[i];
        if (gradient)
            gradient[i] += weight;
    }
    if (backward)
        assert_int_equal(td_backward(&it->graph, NULL, 0, NULL), TD_OK);
    return sum;
}

static void prepare(run *it, const test_case *test)
{
    memset(it, 0, sizeof *it);
    it->test = test;
    td_arena_init(&it->arena);
    for (size_t k = 0; k < MAX_INPUTS && test->shapes[k][0]; k++, it->count++) {
        size_t rows = test->shapes[k][0], columns = test->shapes[k][1];
        assert_true(rows * columns <= MAX_ELEMENTS);
        for (size_t i = 0; i < rows * columns; i++)
            it->values[k][i] = wave(i + 137 * k);
        it->inputs[k] =
            (td_parameter){.name = "input", .rows = rows, .columns = columns, .data = it->values[k], .offset = k * MAX_ELEMENTS};
    }
}

/* Five points: the error is of the fourth power of a step large enough for rounding not to matter. */
static double difference(run *it, double *value)
{
    static const double factors[4] = {1, -8, 8, -1};
    static const int places[4] = {-2, -1, 1, 2};
    double kept = *value, step = 1e-3, sum = 0;
    for (size_t i = 0; i < 4; i++) {
        *value = kept + places[i] * step;
        sum += factors[i] * evaluate(it, false);
    }
    *value = kept;
    return sum / (12 * step);
}

static void check_differences(run *it, const double *exact)
{
    double largest = 0;
    for (size_t k = 0; k < it->count; k++) {
        double largest_of_input = 0;
        for (size_t i = 0; i < it->inputs[k].rows * it->inputs[k].columns; i++) {
            double numeric = difference(it, &it->values[k][i]), analytic = exact[k * MAX_ELEMENTS + i] - 0.5;
            double size = fmax(fmax(fabs(numeric), fabs(analytic)), 1e-3);
            largest_of_input = fmax(largest_of_input, fabs(analytic));
            largest = fmax(largest, fabs(numeric - analytic) / size);
            if (fabs(numeric - analytic) > 1e-6 * size)
                fail_msg("%s: input %zu, element %zu: %.10g by backward, %.10g by differences", it->test->name, k, i, analytic, numeric);
        }
        if (largest_of_input < 1e-3)
            fail_msg("%s: input %zu has no gradient to speak of: nothing was checked", it->test->name, k);
    }
    print_message("%-40s largest relative error %.1e\n", it->test->name, largest);
}

/* With input k constant the others' gradients are the very same numbers and its own are left alone. */
static void check_constant(run *it, const double *exact, size_t k)
{
    it->inputs[k].constant = true;
    evaluate(it, true);
    it->inputs[k].constant = false;
    for (size_t j = 0; j < it->count; j++)
        for (size_t i = 0; i < it->inputs[j].rows * it->inputs[j].columns; i++) {
            double wanted = j == k ? 0.5 : exact[j * MAX_ELEMENTS + i], got = it->gradients[j * MAX_ELEMENTS + i];
            if (fabs(wanted - got) > 1e-13 * fmax(1, fabs(wanted)))
                fail_msg("%s: input %zu changes when input %zu is constant: %.10g, %.10g", it->test->name, j, k, wanted, got);
        }
}

static void check_case(const test_case *test)
{
    static run it;
    static double exact[MAX_INPUTS * MAX_ELEMENTS];
    prepare(&it, test);
    evaluate(&it, true);
    memcpy(exact, it.gradients, sizeof exact);
    check_differences(&it, exact);
    for (size_t k = 0; k < it.count; k++)
        check_constant(&it, exact, k);
    td_arena_free(&it.arena);
}

/* ---- the operations ---- */

static td_tensor *linear(run *it)
{
    return td_linear(&it->graph, input(it, 0), input(it, 1), input(it, 2));
}

/* Columns 2.. of a wider tensor, which itself is used once more whole. */
static td_tensor *linear_of_view(run *it)
{
    td_tensor *x = input(it, 0), *parts[2];
    parts[0] = td_linear(&it->graph, td_tensor_columns(&it->graph, x, 2, x->columns - 3), input(it, 1), input(it, 2));
    parts[1] = x;
    return td_concatenate(&it->graph, parts, 2);
}

/* The same, with a base that is computed: its gradient is created by whoever comes first. */
static td_tensor *linear_of_computed_view(run *it)
{
    td_tensor *x = td_scale(&it->graph, input(it, 0), 1.5), *parts[3];
    td_tensor *view = td_tensor_columns(&it->graph, x, 2, x->columns - 3);
    parts[0] = td_linear(&it->graph, view, input(it, 1), input(it, 2));
    parts[1] = td_tensor_columns(&it->graph, x, 0, 4);
    parts[2] = td_linear(&it->graph, td_tensor_columns(&it->graph, view, 0, view->columns), input(it, 1), NULL);
    return td_concatenate(&it->graph, parts, 3);
}

static td_tensor *embedding(run *it)
{
    int32_t ids[] = {3, 0, 3, 6, 1, 3}; /* rows 2, 4 and 5 are never read */
    td_tensor *y = td_embedding(&it->graph, input(it, 0), ids, 6, 2.5);
    memset(ids, 0, sizeof ids); /* the operation must have kept its own */
    return y;
}

static td_tensor *positions(run *it)
{
    int32_t at[] = {2, 3, 2, 5};
    td_tensor *y = td_add_positions(&it->graph, input(it, 0), input(it, 1), at);
    memset(at, 0, sizeof at);
    return y;
}

static td_tensor *add(run *it)
{
    return td_add(&it->graph, input(it, 0), input(it, 1));
}
static td_tensor *add_twice(run *it)
{
    return td_add(&it->graph, input(it, 0), input(it, 0));
}
static td_tensor *scale(run *it)
{
    return td_scale(&it->graph, input(it, 0), -0.7);
}
static td_tensor *dropout(run *it)
{
    return td_dropout(&it->graph, input(it, 0), it->test->rate);
}
static td_tensor *dropout_after_dropout(run *it)
{
    return td_add(&it->graph, td_dropout(&it->graph, input(it, 0), it->test->rate), td_dropout(&it->graph, input(it, 1), 0.2));
}
static td_tensor *add_dropout(run *it)
{
    return td_add_dropout(&it->graph, input(it, 0), input(it, 1), it->test->rate);
}
static td_tensor *add_dropout_to_itself(run *it)
{
    td_tensor *x = td_scale(&it->graph, input(it, 0), 3);
    return td_add_dropout(&it->graph, x, x, it->test->rate);
}
static td_tensor *activate(run *it)
{
    return td_activate(&it->graph, td_scale(&it->graph, input(it, 0), 3), (td_activation)it->test->activation, it->test->rate);
}
static td_tensor *layer_norm(run *it)
{
    return td_layer_norm(&it->graph, input(it, 0), input(it, 1), input(it, 2), 1e-5);
}
static td_tensor *layer_norm_residual(run *it)
{
    td_tensor *x = td_scale(&it->graph, input(it, 0), 2);
    return td_add(&it->graph, x, td_layer_norm(&it->graph, x, input(it, 1), input(it, 2), 0.1));
}
static td_tensor *rms_norm(run *it)
{
    return td_rms_norm(&it->graph, input(it, 0), input(it, 1), 1e-6);
}
static td_tensor *rms_norm_residual(run *it)
{
    td_tensor *x = td_scale(&it->graph, input(it, 0), 2);
    return td_add(&it->graph, x, td_rms_norm(&it->graph, x, input(it, 1), 0.1));
}
static td_tensor *relative_bias(run *it)
{
    int32_t buckets[] = {3, 1, 1, 0, 2, 3};
    td_tensor *y = td_relative_bias(&it->graph, input(it, 0), buckets, 6);
    memset(buckets, 0, sizeof buckets);
    return y;
}
static td_tensor *concatenate(run *it)
{
    td_tensor *parts[] = {input(it, 0), input(it, 1), td_tensor_columns(&it->graph, input(it, 2), 1, 2), input(it, 0)};
    return td_concatenate(&it->graph, parts, 4);
}
static td_tensor *gather_rows(run *it)
{
    int32_t index[] = {4, -1, 0, 4, 2, -7, 4};
    td_tensor *y = td_gather_rows(&it->graph, input(it, 0), index, 7);
    memset(index, 0, sizeof index);
    return y;
}
static td_tensor *gather_rows_of_view(run *it)
{
    int32_t index[] = {1, 3, 1, -1};
    return td_gather_rows(&it->graph, td_tensor_columns(&it->graph, input(it, 0), 2, 3), index, 4);
}

/* Input 3, where there is one: a table of buckets, by distances -9 to 12. */
static td_attention_bias distance_bias(run *it, const size_t *of_sequence)
{
    int32_t buckets[22];
    for (int32_t i = 0; i < 22; i++)
        buckets[i] = i * 5 / 22;
    td_attention_bias bias = {td_relative_bias(&it->graph, input(it, 3), buckets, 22), 22, 9, -1, of_sequence};
    memset(buckets, 0, sizeof buckets);
    return bias;
}

static td_tensor *attend(run *it, const size_t *of_sequence)
{
    const test_case *test = it->test;
    td_attention_options options = {.heads = test->heads, .causal = test->causal, .scale = test->smoothing, .dropout = test->rate};
    options.bias = distance_bias(it, of_sequence);
    const td_real *probabilities;
    int32_t queries[8], keys[8];
    memcpy(queries, test->queries, (test->sequences + 1) * sizeof *queries);
    memcpy(keys, test->keys, (test->sequences + 1) * sizeof *keys);
    td_tensor *y = td_attention(&it->graph, td_scale(&it->graph, input(it, 0), 2), (td_ragged){test->sequences, queries}, input(it, 1),
                                input(it, 2), (td_ragged){test->sequences, keys}, &options, &probabilities);
    memset(queries, 0, sizeof queries);
    memset(keys, 0, sizeof keys);
    assert_true(probabilities[0] > 0 && probabilities[0] <= 1);
    return y;
}

static td_tensor *attention(run *it)
{
    return attend(it, NULL);
}

static td_tensor *attention_of_windows(run *it)
{
    static const size_t of_sequence[] = {0, 3, 1, 2};
    return attend(it, of_sequence);
}

/* Keys, values and queries are columns of one tensor, as the layers have it. */
static td_tensor *attention_of_views(run *it)
{
    const test_case *test = it->test;
    td_attention_options options = {.heads = test->heads, .causal = test->causal, .dropout = test->rate};
    td_ragged ragged = {test->sequences, test->queries};
    td_tensor *kvq = td_scale(&it->graph, input(it, 0), 1.3);
    size_t width = kvq->columns / 3;
    return td_attention(&it->graph, td_tensor_columns(&it->graph, kvq, 2 * width, width), ragged,
                        td_tensor_columns(&it->graph, kvq, 0, width), td_tensor_columns(&it->graph, kvq, width, width), ragged, &options,
                        NULL);
}

/* heads: the stride; smoothing: the padding. The kernel follows from the weight's columns. */
static td_tensor *convolution(run *it)
{
    const test_case *test = it->test;
    td_tensor *x = input(it, 0), *weight = input(it, 1);
    td_convolution_options options = {weight->columns / x->columns, test->heads, (size_t)test->smoothing};
    int32_t offsets[8];
    memcpy(offsets, test->queries, (test->sequences + 1) * sizeof *offsets);
    td_ragged output;
    td_tensor *y = td_conv_time(&it->graph, x, (td_ragged){test->sequences, offsets}, weight, input(it, 2), options, &output);
    memset(offsets, 0, sizeof offsets);
    for (size_t i = 0; y && i < test->sequences; i++)
        assert_int_equal(td_ragged_length(output, i), td_conv_time_length((size_t)(test->queries[i + 1] - test->queries[i]), options));
    return y;
}
static td_tensor *convolution_of_view(run *it)
{
    const test_case *test = it->test;
    td_tensor *x = td_tensor_columns(&it->graph, td_scale(&it->graph, input(it, 0), 2), 1, 3);
    td_ragged output;
    return td_conv_time(&it->graph, x, (td_ragged){test->sequences, test->queries}, input(it, 1), input(it, 2),
                        (td_convolution_options){3, 2, 1}, &output);
}
static td_tensor *sequence_norm(run *it)
{
    int32_t offsets[] = {0, 1, 4, 4, 10};
    td_tensor *y =
        td_sequence_norm(&it->graph, td_scale(&it->graph, input(it, 0), 2), (td_ragged){4, offsets}, input(it, 1), input(it, 2), 0.1);
    memset(offsets, 0, sizeof offsets);
    return y;
}

/* Heads of 5, of which 4 columns turn; head 1 does not. */
static td_tensor *rotary(run *it)
{
    static const int32_t positions[] = {0, 7, 1, 2, 30};
    td_rotary_options options = {td_rotary_angles(&it->graph, positions, 5, 4, 50), 2, 5, 1, 1};
    return td_rotary(&it->graph, td_scale(&it->graph, input(it, 0), 2), &options);
}

static td_tensor *gated_linear(run *it)
{
    return td_gated_linear(&it->graph, input(it, 0), (td_activation)it->test->activation);
}
static td_tensor *gated_linear_of_view(run *it)
{
    return td_gated_linear(&it->graph, td_tensor_columns(&it->graph, input(it, 0), 1, 6), TD_SIGMOID);
}

static const td_real *row_weights(const run *it)
{
    static const td_real weights[] = {1, -0.5, 2, 0, -1.25, 0.75};
    return it->test->weighed ? weights : NULL;
}

static td_tensor *cross_entropy(run *it)
{
    int32_t targets[256];
    td_tensor *hidden = td_scale(&it->graph, input(it, 0), 1.7), *weight = input(it, 1);
    size_t period = it->test->r_drop > 0 ? hidden->rows / 2 : hidden->rows; /* r_drop: both halves are the same positions */
    for (size_t i = 0; i < hidden->rows; i++)
        targets[i] = (int32_t)((i % period * 5 + 2) % weight->rows);
    td_cross_entropy_options options = {it->test->smoothing, 0.25, it->test->r_drop, NULL, row_weights(it)};
    double nll;
    td_tensor *loss = td_projected_cross_entropy(&it->graph, hidden, weight, input(it, 2), targets, &options, &nll);
    if (loss) {
        it->loss = loss->data[0];
        it->loss_scale = options.gradient_scale;
        assert_true(nll > 0 && (it->test->smoothing > 0 || it->test->r_drop > 0 || it->test->weighed || fabs(nll - it->loss) < 1e-9));
    }
    return loss;
}

/* Inputs: hidden, weight, scores that become attention over four source positions by a softmax, gate. Two rows may copy words outside the
 * vocabulary, one a word that stands twice in its source. */
static td_tensor *copy_cross_entropy(run *it)
{
    static const int32_t sources[3][4] = {{2, 7, 2, 9}, {10, 3, 9, 10}, {1, 0, 4, 11}}, targets[] = {2, 9, 10, 3, 4, 7};
    td_tensor *attention;
    td_copy_source rows[6];
    static const td_real zeros[4] = {0};
    td_memory_segment *segments = td_graph_allocate(&it->graph, 6, sizeof *segments);
    for (size_t i = 0; segments && i < 6; i++) {
        rows[i] = (td_copy_source){sources[i / 2 % 3], i == 5 ? 3 : 4};
        segments[i] = (td_memory_segment){it->inputs[2].data, zeros, rows[i].length};
    }
    td_recurrent_attention_options options = {.key_stride = 4, .value_stride = 0, .value_width = 1, .longest = 4};
    td_tensor *query = td_scale(&it->graph, input(it, 0), 1.7);
    if (!td_recurrent_attention(&it->graph, query, segments, &options, input(it, 2), NULL, NULL, NULL, NULL, &attention))
        return NULL;
    td_copy_loss copy = {attention, input(it, 3), rows};
    td_cross_entropy_options loss_options = {
        .label_smoothing = it->test->smoothing, .gradient_scale = 0.25, .copy = &copy, .weights = row_weights(it)};
    double nll;
    td_tensor *loss = td_projected_cross_entropy(&it->graph, query, input(it, 1), input(it, 4), targets, &loss_options, &nll);
    if (loss) {
        it->loss = loss->data[0];
        it->loss_scale = loss_options.gradient_scale;
        assert_true(nll > 0 && (it->test->smoothing > 0 || it->test->weighed || fabs(nll - it->loss) < 1e-9));
    }
    return loss;
}

static td_tensor *coverage_loss(run *it)
{
    static const int32_t offsets[] = {0, 3, 4, 9};
    td_tensor *loss = td_coverage_loss(&it->graph, td_scale(&it->graph, input(it, 0), 1.3), (td_ragged){3, offsets}, 0.25);
    if (loss) {
        it->loss = loss->data[0];
        it->loss_scale = 0.25;
    }
    return loss;
}

/* The second sequence attends to four parts only: what lies after them counts for nothing. */
static td_tensor *doubly_stochastic_loss(run *it)
{
    static const int32_t offsets[] = {0, 3, 4, 9}, sources[] = {0, 5, 9, 14};
    td_tensor *weights = td_scale(&it->graph, input(it, 0), 1.3);
    td_tensor *loss = td_doubly_stochastic_loss(&it->graph, weights, (td_ragged){3, offsets}, (td_ragged){3, sources}, 0.25);
    if (loss) {
        it->loss = loss->data[0];
        it->loss_scale = 0.25;
    }
    return loss;
}

/* ---- pictures ---- */

static td_tensor *relu6(run *it)
{
    return td_activate(&it->graph, td_scale(&it->graph, input(it, 0), 8), TD_RELU6, 0);
}

/* Two pictures of 5 x 4. */
static const td_grid small_grid = {2, 5, 4};
static const td_window padded_window = {3, 3, 2, 1, 1, 1, 1}, uneven_window = {2, 3, 1, 0, 1, 1, 0}, point_window = {1, 1, 2, 0, 0, 0, 0};

static td_tensor *conv2d_of(run *it, td_window window)
{
    td_grid output;
    return td_conv2d(&it->graph, td_scale(&it->graph, input(it, 0), 1.5), small_grid, input(it, 1), input(it, 2), window, &output);
}
static td_tensor *conv2d(run *it)
{
    return conv2d_of(it, padded_window);
}
static td_tensor *conv2d_uneven(run *it)
{
    return conv2d_of(it, uneven_window);
}
static td_tensor *conv2d_same(run *it)
{
    return conv2d_of(it, td_window_same(3, 2, small_grid));
}
static td_tensor *conv2d_point(run *it)
{
    return conv2d_of(it, point_window);
}
static td_tensor *conv2d_linear(run *it)
{
    return conv2d_of(it, td_window_square(1, 1, 0));
}

static td_tensor *depthwise_of(run *it, td_window window)
{
    td_grid output;
    return td_conv2d_depthwise(&it->graph, input(it, 0), small_grid, input(it, 1), input(it, 2), window, &output);
}
static td_tensor *depthwise(run *it)
{
    return depthwise_of(it, padded_window);
}
static td_tensor *depthwise_same(run *it)
{
    return depthwise_of(it, td_window_same(3, 2, small_grid));
}

static td_tensor *max_pool(run *it)
{
    td_grid output;
    return td_max_pool(&it->graph, input(it, 0), small_grid, padded_window, &output);
}
static td_tensor *average_pool(run *it)
{
    td_grid output;
    return td_average_pool(&it->graph, input(it, 0), small_grid, uneven_window, &output);
}
static td_tensor *global_average_pool(run *it)
{
    return td_global_average_pool(&it->graph, input(it, 0), small_grid);
}

static td_tensor *batch_norm_of(run *it, bool from_batch)
{
    static td_real mean[] = {0.3, -0.2, 0.1}, variance[] = {0.5, 1.5, 0.8};
    td_tensor *x = td_scale(&it->graph, input(it, 0), 1.3);
    td_batch_norm_weights norm = {input(it, 1), input(it, 2), td_tensor_of(&it->graph, mean, 1, 3),
                                  td_tensor_of(&it->graph, variance, 1, 3), 0.01};
    return td_add(&it->graph, x, td_batch_norm(&it->graph, x, &norm, from_batch));
}
static td_tensor *batch_norm(run *it)
{
    return batch_norm_of(it, true);
}
static td_tensor *batch_norm_running(run *it)
{
    return batch_norm_of(it, false);
}

/* The norm inside the weight [3, 4] and in the bias of a product. */
static td_tensor *folded(run *it)
{
    static td_real mean[] = {0.3, -0.2, 0.1}, variance[] = {0.5, 1.5, 0.8};
    td_batch_norm_weights norm = {input(it, 2), input(it, 3), td_tensor_of(&it->graph, mean, 1, 3),
                                  td_tensor_of(&it->graph, variance, 1, 3), 0.01};
    td_tensor *weight = input(it, 1), *bias = NULL;
    return td_batch_norm_fold(&it->graph, &norm, &weight, &bias) ? td_linear(&it->graph, input(it, 0), weight, bias) : NULL;
}

static td_tensor *relu6_in_place(run *it)
{
    return td_activate_in_place(&it->graph, td_scale(&it->graph, input(it, 0), 8), TD_RELU6);
}
static td_tensor *relu_in_place(run *it)
{
    return td_activate_in_place(&it->graph, td_scale(&it->graph, input(it, 0), 8), TD_RELU);
}
static td_tensor *gelu_in_place(run *it)
{
    return td_activate_in_place(&it->graph, td_scale(&it->graph, input(it, 0), 2), TD_GELU);
}
static td_tensor *add_in_place(run *it)
{
    td_tensor *sum = td_add_in_place(&it->graph, td_scale(&it->graph, input(it, 0), 2), input(it, 1));
    return td_activate_in_place(&it->graph, sum, TD_RELU);
}
/* Only the second needs a gradient: the first's memory cannot take it. */
static td_tensor *add_to_constant(run *it)
{
    static td_real data[] = {1, -2, 3, 0.5, 2, -1};
    return td_add_in_place(&it->graph, td_tensor_of(&it->graph, data, 2, 3), input(it, 0));
}

/* ---- groups ---- */

/* Two rows of an item become one: relu of their product with a weight, side by side. */
static td_tensor *item_rows(void *context, td_graph *graph, td_tensor *x, size_t items)
{
    td_tensor **weights = context;
    td_tensor *y = td_activate(graph, td_linear(graph, x, weights[0], weights[1]), TD_RELU, 0);
    td_tensor *both = y ? td_tensor_of(graph, y->data, items, 2 * y->columns) : NULL;
    if (!both)
        return NULL;
    both->requires_gradient = y->requires_gradient;
    both->gradient = td_gradient(graph, y);
    td_tensor *first = td_tensor_columns(graph, both, 0, y->columns), *second = td_tensor_columns(graph, both, y->columns, y->columns);
    return td_concatenate(graph, (td_tensor *[]){second, first}, 2);
}
static td_tensor *in_groups(run *it)
{
    td_tensor *x = td_scale(&it->graph, input(it, 0), 1.2), **weights = td_graph_allocate(&it->graph, 2, sizeof *weights);
    weights[0] = td_scale(&it->graph, input(it, 1), 0.7);
    weights[1] = input(it, 2);
    td_groups groups = {.count = x->rows / 2,
                        .group = 2,
                        .keep = it->test->causal,
                        .input_rows = 2,
                        .output_rows = 1,
                        .run = item_rows,
                        .context = weights,
                        .weights = weights,
                        .weight_count = 2};
    td_tensor *y = td_tensor_new(&it->graph, groups.count, 2 * weights[0]->rows, true);
    return td_in_groups(&it->graph, x, &groups, y) ? td_add(&it->graph, y, y) : NULL;
}

/* ---- the table ---- */

static const int32_t mixed_queries[] = {0, 1, 4, 9, 10}, mixed_keys[] = {0, 3, 4, 9, 11}, one[] = {0, 1};
static const int32_t later_keys[] = {0, 3, 8, 14, 15}; /* at least as many keys as queries: a causal step after some past */

#define ATTENTION .queries = mixed_queries, .sequences = 4, .heads
static const test_case cases[] = {
    {.name = "linear", .forward = linear, .shapes = {{5, 3}, {4, 3}}},
    {.name = "linear with bias", .forward = linear, .shapes = {{5, 3}, {4, 3}, {1, 4}}},
    {.name = "linear of one row", .forward = linear, .shapes = {{1, 7}, {4, 7}, {1, 4}}},
    {.name = "linear of more than a block", .forward = linear, .shapes = {{3, 70}, {6, 70}, {1, 6}}},
    {.name = "linear of columns", .forward = linear_of_view, .shapes = {{5, 8}, {4, 5}, {1, 4}}},
    {.name = "linear of columns without bias", .forward = linear_of_view, .shapes = {{5, 8}, {4, 5}}},
    {.name = "linear of computed columns", .forward = linear_of_computed_view, .shapes = {{5, 8}, {4, 5}, {1, 4}}},
    {.name = "embedding", .forward = embedding, .shapes = {{7, 5}}},
    {.name = "learned positions", .forward = positions, .shapes = {{4, 5}, {6, 5}}},
    {.name = "add", .forward = add, .shapes = {{4, 5}, {4, 5}}},
    {.name = "add to itself", .forward = add_twice, .shapes = {{4, 5}}},
    {.name = "scale", .forward = scale, .shapes = {{4, 5}}},
    {.name = "dropout", .forward = dropout, .shapes = {{6, 7}}, .rate = 0.3},
    {.name = "dropout of rate 0", .forward = dropout, .shapes = {{6, 7}}},
    {.name = "two dropouts", .forward = dropout_after_dropout, .shapes = {{6, 7}, {6, 7}}, .rate = 0.5},
    {.name = "add_dropout", .forward = add_dropout, .shapes = {{6, 7}, {6, 7}}, .rate = 0.3},
    {.name = "add_dropout of rate 0", .forward = add_dropout, .shapes = {{6, 7}, {6, 7}}},
    {.name = "add_dropout to itself", .forward = add_dropout_to_itself, .shapes = {{6, 7}}, .rate = 0.3},
#define ACTIVATIONS(kind)                                                                                                                  \
    {.name = #kind, .forward = activate, .shapes = {{4, 17}}, .activation = kind},                                                         \
    {                                                                                                                                      \
        .name = #kind " with dropout", .forward = activate, .shapes = {{4, 17}}, .activation = kind, .rate = 0.4                           \
    }
    ACTIVATIONS(TD_IDENTITY),
    ACTIVATIONS(TD_RELU),
    ACTIVATIONS(TD_GELU),
    ACTIVATIONS(TD_SWISH),
    ACTIVATIONS(TD_TANH),
    ACTIVATIONS(TD_SIGMOID),
    ACTIVATIONS(TD_GELU_TANH),
    {.name = "layer_norm", .forward = layer_norm, .shapes = {{5, 8}, {1, 8}, {1, 8}}},
    {.name = "layer_norm of odd width", .forward = layer_norm, .shapes = {{3, 19}, {1, 19}, {1, 19}}},
    {.name = "layer_norm in a residual", .forward = layer_norm_residual, .shapes = {{4, 6}, {1, 6}, {1, 6}}},
    {.name = "rms_norm", .forward = rms_norm, .shapes = {{5, 8}, {1, 8}}},
    {.name = "rms_norm of odd width", .forward = rms_norm, .shapes = {{3, 19}, {1, 19}}},
    {.name = "rms_norm in a residual", .forward = rms_norm_residual, .shapes = {{4, 6}, {1, 6}}},
    {.name = "relative_bias", .forward = relative_bias, .shapes = {{4, 3}}},
    {.name = "concatenate", .forward = concatenate, .shapes = {{4, 2}, {4, 3}, {4, 4}}},
    {.name = "gather_rows", .forward = gather_rows, .shapes = {{5, 4}}},
    {.name = "gather_rows of columns", .forward = gather_rows_of_view, .shapes = {{4, 6}}},
    {.name = "attention", .forward = attention, .shapes = {{10, 4}, {11, 4}, {11, 4}}, .keys = mixed_keys, ATTENTION = 1},
    {.name = "attention, 2 heads", .forward = attention, .shapes = {{10, 6}, {11, 6}, {11, 6}}, .keys = mixed_keys, ATTENTION = 2},
    {.name = "attention, heads of 1", .forward = attention, .shapes = {{10, 3}, {11, 3}, {11, 3}}, .keys = mixed_keys, ATTENTION = 3},
    {.name = "attention, heads of 16", .forward = attention, .shapes = {{10, 32}, {11, 32}, {11, 32}}, .keys = mixed_keys, ATTENTION = 2},
    {.name = "attention, given scale",
     .forward = attention,
     .shapes = {{10, 4}, {11, 4}, {11, 4}},
     .keys = mixed_keys,
     ATTENTION = 2,
     .smoothing = 0.9},
    {.name = "attention with dropout",
     .forward = attention,
     .shapes = {{10, 6}, {11, 6}, {11, 6}},
     .keys = mixed_keys,
     ATTENTION = 2,
     .rate = 0.3},
    {.name = "attention, heads of 16, with dropout",
     .forward = attention,
     .shapes = {{10, 32}, {11, 32}, {11, 32}},
     .keys = mixed_keys,
     ATTENTION = 2,
     .rate = 0.3},
    {.name = "causal attention",
     .forward = attention,
     .shapes = {{10, 6}, {10, 6}, {10, 6}},
     .keys = mixed_queries,
     ATTENTION = 2,
     .causal = true},
    {.name = "causal attention after a past",
     .forward = attention,
     .shapes = {{10, 6}, {15, 6}, {15, 6}},
     .keys = later_keys,
     ATTENTION = 2,
     .causal = true},
    {.name = "causal attention with dropout",
     .forward = attention,
     .shapes = {{10, 6}, {10, 6}, {10, 6}},
     .keys = mixed_queries,
     ATTENTION = 2,
     .causal = true,
     .rate = 0.3},
    {.name = "causal attention of columns", .forward = attention_of_views, .shapes = {{10, 18}}, .causal = true, ATTENTION = 2},
    {.name = "attention of columns with dropout", .forward = attention_of_views, .shapes = {{10, 18}}, ATTENTION = 2, .rate = 0.2},
    {.name = "causal attention of columns with dropout",
     .forward = attention_of_views,
     .shapes = {{10, 18}},
     .causal = true,
     ATTENTION = 3,
     .rate = 0.2},
#define CONVOLUTION .forward = convolution, .queries = mixed_queries, .sequences = 4, .heads
    {.name = "convolution", .shapes = {{10, 3}, {4, 9}, {1, 4}}, CONVOLUTION = 1, .smoothing = 1},
    {.name = "convolution without bias", .shapes = {{10, 3}, {4, 9}}, CONVOLUTION = 1, .smoothing = 1},
    {.name = "convolution of stride 2", .shapes = {{10, 2}, {3, 10}, {1, 3}}, CONVOLUTION = 2, .smoothing = 2},
    {.name = "convolution without padding", .shapes = {{10, 2}, {3, 6}, {1, 3}}, CONVOLUTION = 1},
    {.name = "convolution with more padding than kernel", .shapes = {{10, 2}, {3, 4}, {1, 3}}, CONVOLUTION = 3, .smoothing = 3},
    {.name = "convolution of columns",
     .forward = convolution_of_view,
     .shapes = {{10, 5}, {4, 9}, {1, 4}},
     .queries = mixed_queries,
     .sequences = 4},
    {.name = "gated linear unit", .forward = gated_linear, .shapes = {{5, 8}}, .activation = TD_SIGMOID},
    {.name = "gated linear unit of swish", .forward = gated_linear, .shapes = {{5, 8}}, .activation = TD_SWISH},
    {.name = "sequence_norm", .forward = sequence_norm, .shapes = {{10, 3}, {1, 3}, {1, 3}}},
    {.name = "rotary positions", .forward = rotary, .shapes = {{5, 20}}},
    {.name = "gated linear unit of columns", .forward = gated_linear_of_view, .shapes = {{5, 8}}},
    {.name = "relu6", .forward = relu6, .shapes = {{4, 17}}},
    {.name = "conv2d", .forward = conv2d, .shapes = {{40, 3}, {4, 27}, {1, 4}}},
    {.name = "conv2d without bias", .forward = conv2d, .shapes = {{40, 2}, {3, 18}}},
    {.name = "conv2d, uneven window and padding", .forward = conv2d_uneven, .shapes = {{40, 3}, {4, 18}, {1, 4}}},
    {.name = "conv2d, SAME padding", .forward = conv2d_same, .shapes = {{40, 3}, {4, 27}, {1, 4}}},
    {.name = "conv2d, every other place", .forward = conv2d_point, .shapes = {{40, 3}, {4, 3}, {1, 4}}},
    {.name = "conv2d that is a linear", .forward = conv2d_linear, .shapes = {{40, 3}, {4, 3}, {1, 4}}},
    {.name = "conv2d_depthwise", .forward = depthwise, .shapes = {{40, 5}, {5, 9}, {1, 5}}},
    {.name = "conv2d_depthwise, SAME padding, no bias", .forward = depthwise_same, .shapes = {{40, 5}, {5, 9}}},
    {.name = "max_pool", .forward = max_pool, .shapes = {{40, 3}}},
    {.name = "average_pool", .forward = average_pool, .shapes = {{40, 3}}},
    {.name = "global_average_pool", .forward = global_average_pool, .shapes = {{40, 3}}},
    {.name = "batch_norm", .forward = batch_norm, .shapes = {{11, 3}, {1, 3}, {1, 3}}},
    {.name = "batch_norm of many rows", .forward = batch_norm, .shapes = {{300, 3}, {1, 3}, {1, 3}}},
    {.name = "batch_norm by running statistics", .forward = batch_norm_running, .shapes = {{11, 3}, {1, 3}, {1, 3}}},
    {.name = "attention with bias",
     .forward = attention,
     .shapes = {{10, 6}, {11, 6}, {11, 6}, {5, 2}},
     .keys = mixed_keys,
     ATTENTION = 2,
     .rate = 0.2},
    {.name = "attention with bias, given scale",
     .forward = attention,
     .shapes = {{10, 6}, {11, 6}, {11, 6}, {5, 2}},
     .keys = mixed_keys,
     ATTENTION = 2,
     .smoothing = 0.5},
    {.name = "attention with a bias for each sequence",
     .forward = attention_of_windows,
     .shapes = {{10, 6}, {11, 6}, {11, 6}, {5, 2}},
     .keys = mixed_keys,
     ATTENTION = 2},
    {.name = "causal attention with bias after a past",
     .forward = attention,
     .shapes = {{10, 6}, {15, 6}, {15, 6}, {5, 2}},
     .keys = later_keys,
     ATTENTION = 2,
     .causal = true},
    {.name = "cross_entropy", .forward = cross_entropy, .shapes = {{5, 4}, {9, 4}}},
    {.name = "cross_entropy with bias", .forward = cross_entropy, .shapes = {{5, 4}, {9, 4}, {1, 9}}},
    {.name = "cross_entropy, smoothed", .forward = cross_entropy, .shapes = {{5, 4}, {9, 4}, {1, 9}}, .smoothing = 0.1},
    {.name = "cross_entropy of many rows", .forward = cross_entropy, .shapes = {{150, 3}, {7, 3}, {1, 7}}, .smoothing = 0.2},
    {.name = "cross_entropy, weighed", .forward = cross_entropy, .shapes = {{6, 4}, {9, 4}, {1, 9}}, .weighed = true},
    {.name = "cross_entropy, weighed and smoothed",
     .forward = cross_entropy,
     .shapes = {{5, 4}, {9, 4}},
     .smoothing = 0.1,
     .weighed = true},
    {.name = "copying, weighed", .forward = copy_cross_entropy, .shapes = {{6, 4}, {8, 4}, {4, 4}, {6, 1}, {1, 8}}, .weighed = true},
    {.name = "copying", .forward = copy_cross_entropy, .shapes = {{6, 4}, {8, 4}, {4, 4}, {6, 1}, {1, 8}}},
    {.name = "copying, smoothed, no bias", .forward = copy_cross_entropy, .shapes = {{6, 4}, {8, 4}, {4, 4}, {6, 1}}, .smoothing = 0.2},
    {.name = "batch norm folded into a weight", .forward = folded, .shapes = {{5, 4}, {3, 4}, {1, 3}, {1, 3}}},
    {.name = "relu in place", .forward = relu_in_place, .shapes = {{31, 33}}},
    {.name = "relu6 in place", .forward = relu6_in_place, .shapes = {{5, 4}}},
    {.name = "gelu, not in place", .forward = gelu_in_place, .shapes = {{5, 4}}},
    {.name = "add in place", .forward = add_in_place, .shapes = {{5, 4}, {5, 4}}},
    {.name = "add to a constant", .forward = add_to_constant, .shapes = {{2, 3}}},
    {.name = "groups, made again", .forward = in_groups, .shapes = {{10, 3}, {4, 3}, {1, 4}}},
    {.name = "groups, kept", .forward = in_groups, .shapes = {{10, 3}, {4, 3}, {1, 4}}, .causal = true},
    {.name = "coverage loss", .forward = coverage_loss, .shapes = {{9, 5}}},
    {.name = "doubly stochastic loss", .forward = doubly_stochastic_loss, .shapes = {{9, 5}}},
    {.name = "r_drop", .forward = cross_entropy, .shapes = {{6, 4}, {9, 4}, {1, 9}}, .r_drop = 0.7},
    {.name = "r_drop, smoothed, no bias", .forward = cross_entropy, .shapes = {{6, 4}, {9, 4}}, .r_drop = 2.5, .smoothing = 0.1},
    {.name = "r_drop of many rows", .forward = cross_entropy, .shapes = {{150, 3}, {7, 3}, {1, 7}}, .r_drop = 1.5, .smoothing = 0.1},
};

/* With one query and one key neither has a gradient, which the table's check for vanishing gradients would refuse. */
static void single_key(void **state)
{
    (void)state;
    static run it;
    static const test_case test = {.name = "one query, one key",
                                   .forward = attention,
                                   .shapes = {{1, 4}, {1, 4}, {1, 4}},
                                   .queries = one,
                                   .keys = one,
                                   .sequences = 1,
                                   .heads = 2};
    prepare(&it, &test);
    evaluate(&it, true);
    for (size_t i = 0; i < 4; i++) {
        assert_true(fabs(it.gradients[i] - 0.5) < 1e-15);
        assert_true(fabs(it.gradients[MAX_ELEMENTS + i] - 0.5) < 1e-15);
        assert_true(fabs(it.gradients[2 * MAX_ELEMENTS + i] - 0.5 - wave(i + 11)) < 1e-15);
    }
    td_arena_free(&it.arena);
}

static void all_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases), cmocka_unit_test(single_key)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
