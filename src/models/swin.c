#include "models/swin.h"

#include "io/json.h"
#include "models/configuration.h"
#include "models/patch_encoder.h"
#include "ops/recurrent.h"

#include <stdio.h>
#include <string.h>

enum { MAX_STAGES = 8, LAST_ROW = 1, LAST_COLUMN = 2, PLACES = 4 };

typedef struct swin_stage {
    td_transformer_stack stack;
    td_parameter **distances; /* [layers] of [(2 window - 1)^2, heads]; owned */
    size_t height, width;     /* in cells */
    td_norm_layer merge_norm; /* from here on: to the next stage, or NULL */
    td_parameter *merge_weight;
} swin_stage;

struct td_swin {
    size_t height, width, patch, channels, window; /* the first two in pixels */
    size_t stages;
    swin_stage stage[MAX_STAGES];
    td_parameter *patch_weight, *patch_bias, *positions; /* positions: or NULL */
    td_norm_layer patch_norm, final_norm;                /* final: Donut has none */
};

static const td_real plain_epsilon = (td_real)1e-5; /* of norms that "layer_norm_eps" says nothing about */

static const td_layer_names swin_layer = {
    .query = {"attention.self.query"},
    .key = {"attention.self.key"},
    .value = {"attention.self.value"},
    .output = {"attention.output.dense"},
    .norm = {"layernorm_before"},
    .fc1 = "intermediate.dense",
    .fc2 = "output.dense",
    .final_norm = "layernorm_after",
};

/* ---- configuration ---- */

bool td_swin_is(const char *model_type)
{
    return strcmp(model_type, "swin") == 0 || strcmp(model_type, "donut-swin") == 0;
}

/* One number for both sides, or [height, width]. */
static td_status read_sides(const json_t *config, const char *file, const char *key, size_t fallback, size_t *ret_height, size_t *ret_width,
                            td_error *error)
{
    const json_t *value = json_object_get(config, key);
    bool pair = json_array_size(value) == 2;
    json_int_t sides[2];
    for (size_t i = 0; i < 2; i++) {
        const json_t *side = pair ? json_array_get(value, i) : value;
        sides[i] = side ? json_integer_value(side) : (json_int_t)fallback;
        if (sides[i] < 1 || sides[i] > 1 << 13)
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be an integer from 1 to %d, or two of them", file, key, 1 << 13);
    }
    *ret_height = (size_t)sides[0];
    *ret_width = (size_t)sides[1];
    return TD_OK;
}

/* "depths" and "num_heads" have one entry for each stage. */
static td_status read_stages(const json_t *config, const char *file, td_swin *swin, td_error *error)
{
    const json_t *depths = json_object_get(config, "depths"), *heads = json_object_get(config, "num_heads");
    swin->stages = json_array_size(depths);
    if (swin->stages < 1 || swin->stages > MAX_STAGES)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"depths\" must be a list of 1 to %d numbers", file, MAX_STAGES);
    if (json_array_size(heads) != swin->stages)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"num_heads\" must be a list of %zu numbers, as \"depths\" is", file, swin->stages);
    for (size_t i = 0; i < swin->stages; i++) {
        json_int_t depth = json_integer_value(json_array_get(depths, i)), head = json_integer_value(json_array_get(heads, i));
        if (depth < 1 || depth > 1024 || head < 1 || head > 1 << 12)
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"depths\" and \"num_heads\" must be integers from 1 to 1024", file);
        swin->stage[i].stack.layers = (size_t)depth;
        swin->stage[i].stack.heads = (size_t)head;
    }
    return TD_OK;
}

/* Windows that are larger than a stage would leave part of the table of distances without meaning; transformers fails
 * on them too. */
static td_status place_stages(const char *file, td_swin *swin, td_error *error)
{
    size_t height = (swin->height + swin->patch - 1) / swin->patch, width = (swin->width + swin->patch - 1) / swin->patch;
    for (size_t i = 0; i < swin->stages; i++) {
        swin->stage[i].height = height;
        swin->stage[i].width = width;
        if (swin->window > (height < width ? height : width))
            return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"window_size\" %zu is more than the %zu x %zu cells of stage %zu", file,
                           swin->window, height, width, i);
        height = (height + 1) / 2;
        width = (width + 1) / 2;
    }
    return TD_OK;
}

static td_status read_layers(const json_t *config, const char *file, td_swin *swin, size_t width, td_error *error)
{
    td_transformer_stack common = {.pre_norm = true, .names = &swin_layer};
    bool biased;
    double ratio;
    TD_TRY(td_config_activation(config, file, "hidden_act", "gelu", &common.activation, error));
    TD_TRY(td_config_real(config, file, "layer_norm_eps", 1e-5, &common.epsilon, error));
    TD_TRY(td_json_get_bool(config, file, "qkv_bias", true, &biased, error));
    TD_TRY(td_json_get_real(config, file, "mlp_ratio", 4, &ratio, error));
    for (size_t i = 0; i < swin->stages; i++, width *= 2) {
        td_transformer_stack *stack = &swin->stage[i].stack;
        if (!(ratio * (double)width >= 1 && ratio * (double)width < 1 << 20))
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"mlp_ratio\" %g makes no layer of a width of %zu", file, ratio, width);
        common.layers = stack->layers;
        common.heads = stack->heads;
        common.missing_bias = !biased;
        common.width = width;
        common.feed_forward = (size_t)(ratio * (double)width);
        *stack = common;
        TD_TRY(td_stack_check(stack, file, "embed_dim", error));
    }
    return TD_OK;
}

static td_status read_sizes(const json_t *config, const char *file, td_swin *swin, td_error *error)
{
    size_t width, other = 0;
    TD_TRY(read_sides(config, file, "image_size", 224, &swin->height, &swin->width, error));
    TD_TRY(read_sides(config, file, "patch_size", 4, &swin->patch, &other, error));
    if (other != swin->patch)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"patch_size\" must be square", file);
    TD_TRY(td_config_size_or(config, file, "num_channels", 64, 3, &swin->channels, error));
    TD_TRY(td_config_size_or(config, file, "embed_dim", 1 << 12, 96, &width, error));
    TD_TRY(td_config_size_or(config, file, "window_size", 1 << 8, 7, &swin->window, error));
    TD_TRY(read_stages(config, file, swin, error));
    TD_TRY(place_stages(file, swin, error));
    return read_layers(config, file, swin, width, error);
}

static td_status declare_stage(td_parameters *parameters, const td_swin *swin, swin_stage *stage, bool last, const char *prefix,
                               td_error *error)
{
    char blocks[160];
    size_t distances = 2 * swin->window - 1, width = stage->stack.width;
    snprintf(blocks, sizeof blocks, "%s.blocks", prefix);
    TD_TRY(td_stack_declare(parameters, &stage->stack, blocks, error));
    stage->distances = td_allocate_array(stage->stack.layers, sizeof *stage->distances);
    if (!stage->distances)
        return td_fail_memory(error, stage->stack.layers * sizeof *stage->distances);
    for (size_t i = 0; i < stage->stack.layers; i++)
        stage->distances[i] = td_parameters_declare(parameters, distances * distances, stage->stack.heads, TD_INIT_NORMAL, 0.02,
                                                    "%s.%zu.attention.self.relative_position_bias_table", blocks, i);
    if (last)
        return TD_OK;
    stage->merge_norm = td_norm_declare(parameters, 4 * width, "%s.downsample.norm", prefix);
    stage->merge_weight =
        td_parameters_declare(parameters, 2 * width, 4 * width, TD_INIT_XAVIER, 1, "%s.downsample.reduction.weight", prefix);
    td_parameters_product(parameters);
    return TD_OK;
}

static td_status declare(const json_t *config, const char *file, const char *prefix, td_parameters *parameters, td_swin *swin,
                         td_error *error)
{
    size_t width = swin->stage[0].stack.width, cells = swin->stage[0].height * swin->stage[0].width;
    bool positions;
    TD_TRY(td_json_get_bool(config, file, "use_absolute_embeddings", false, &positions, error));
    if (positions && (swin->height % swin->patch || swin->width % swin->patch))
        return td_fail(error, TD_ERROR_UNSUPPORTED,
                       "%s: \"image_size\" must be a multiple of \"patch_size\" with \"use_absolute_embeddings\"", file);
    if (positions) {
        swin->positions =
            td_parameters_declare(parameters, cells, width, TD_INIT_NORMAL, 0.02, "%s.embeddings.position_embeddings", prefix);
        td_parameters_shape(parameters, (size_t[]){1, cells, width}, 3);
    }
    swin->patch_weight = td_parameters_declare(parameters, width, swin->channels * swin->patch * swin->patch, TD_INIT_XAVIER, 1,
                                               "%s.embeddings.patch_embeddings.projection.weight", prefix);
    td_parameters_shape(parameters, (size_t[]){width, swin->channels, swin->patch, swin->patch}, 4);
    swin->patch_bias =
        td_parameters_declare(parameters, width, 0, TD_INIT_ZERO, 0, "%s.embeddings.patch_embeddings.projection.bias", prefix);
    swin->patch_norm = td_norm_declare(parameters, width, "%s.embeddings.norm", prefix);
    for (size_t i = 0; i < swin->stages; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s.encoder.layers.%zu", prefix, i);
        TD_TRY(declare_stage(parameters, swin, &swin->stage[i], i + 1 == swin->stages, name, error));
    }
    if (strcmp(json_string_value(json_object_get(config, "model_type")), "swin") == 0)
        swin->final_norm = td_norm_declare(parameters, td_swin_width(swin), "%s.layernorm", prefix);
    return TD_OK;
}

td_status td_swin_configure(const json_t *config, const char *file, const char *prefix, td_parameters *parameters, td_swin **ret_swin,
                            td_error *error)
{
    td_swin *swin = *ret_swin = td_allocate_array(1, sizeof *swin); /* freed with the network, also after a failure */
    if (!swin)
        return td_fail_memory(error, sizeof *swin);
    TD_TRY(read_sizes(config, file, swin, error));
    return declare(config, file, prefix, parameters, swin, error);
}

void td_swin_free(td_swin *swin)
{
    for (size_t i = 0; swin && i < swin->stages; i++) {
        td_release(swin->stage[i].stack.layer);
        td_release(swin->stage[i].distances);
    }
    td_release(swin);
}

size_t td_swin_width(const td_swin *swin)
{
    return swin->stage[swin->stages - 1].stack.width;
}

size_t td_swin_channels(const td_swin *swin)
{
    return swin->channels;
}

/* ---- windows ---- */

/* A stage's cells cut into windows. Where the cells do not fill them, there are cells of zeros on the right and below;
 * a shift of the windows wraps around. Windows that hold cells from both ends of the picture keep these apart. */
typedef struct window_cut {
    size_t window, shift, down, across, pictures;
    size_t cells;     /* of all windows */
    int32_t *from;    /* [cells] which row of the stage, or -1 */
    int32_t *to;      /* [rows of the stage] where it is among the windows' cells */
    td_ragged ragged; /* a window each */
    size_t *bias;     /* [windows] where its biases begin */
    td_real *apart;   /* [PLACES * area * area] what is added to scores, by where the window lies; NULL: nothing */
} window_cut;

static void fill_windows(const swin_stage *stage, const window_cut *cut)
{
    size_t window = cut->window, height = cut->down * window, width = cut->across * window, at = 0;
    for (size_t i = 0; i < cut->pictures * cut->down * cut->across; i++) {
        size_t picture = i / (cut->down * cut->across), top = i / cut->across % cut->down * window, left = i % cut->across * window;
        for (size_t cell = 0; cell < window * window; cell++, at++) {
            size_t y = (top + cell / window + cut->shift) % height, x = (left + cell % window + cut->shift) % width;
            size_t row = (picture * stage->height + y) * stage->width + x;
            bool inside = y < stage->height && x < stage->width;
            cut->from[at] = inside ? (int32_t)row : -1;
            if (inside)
                cut->to[row] = (int32_t)at;
        }
    }
}

/* Cells of one window that were not neighbours before the shift wrapped them around. -100 is the authors' minus
 * infinity. */
static void fill_apart(const window_cut *cut)
{
    size_t window = cut->window, area = window * window, edge = window - cut->shift;
    for (size_t place = 0; place < PLACES; place++)
        for (size_t i = 0; i < area; i++)
            for (size_t j = 0; j < area; j++) {
                bool rows = place & LAST_ROW && (i / window < edge) != (j / window < edge);
                bool columns = place & LAST_COLUMN && (i % window < edge) != (j % window < edge);
                cut->apart[(place * area + i) * area + j] = rows || columns ? -100 : 0;
            }
}

static bool cut_windows(const td_swin *swin, const swin_stage *stage, td_graph *graph, size_t pictures, bool shifted, window_cut *cut)
{
    size_t window = swin->window, area = window * window;
    bool whole = window >= (stage->height < stage->width ? stage->height : stage->width); /* no room to shift */
    *cut = (window_cut){.window = window, .shift = shifted && !whole ? window / 2 : 0, .pictures = pictures};
    cut->down = (stage->height + window - 1) / window;
    cut->across = (stage->width + window - 1) / window;
    size_t windows = pictures * cut->down * cut->across;
    cut->cells = windows * area;
    int32_t *offsets = td_graph_allocate(graph, windows + 1, sizeof *offsets);
    cut->from = td_graph_allocate(graph, cut->cells, sizeof *cut->from);
    cut->to = td_graph_allocate(graph, pictures * stage->height * stage->width, sizeof *cut->to);
    cut->bias = td_graph_allocate(graph, windows, sizeof *cut->bias);
    cut->apart = cut->shift ? td_graph_allocate(graph, PLACES * area * area, sizeof *cut->apart) : NULL;
    if (!td_graph_ok(graph))
        return false;
    for (size_t i = 0; i <= windows; i++)
        offsets[i] = (int32_t)(i * area);
    for (size_t i = 0; i < windows; i++) {
        bool bottom = i / cut->across % cut->down + 1 == cut->down, right = i % cut->across + 1 == cut->across;
        cut->bias[i] = cut->shift ? ((bottom ? LAST_ROW : 0) + (right ? LAST_COLUMN : 0)) * area * area : 0;
    }
    cut->ragged = (td_ragged){windows, offsets};
    fill_windows(stage, cut);
    if (cut->shift)
        fill_apart(cut);
    return true;
}

/* [heads, places * area * area]: a learned number for each distance of two cells of a window, and what keeps cells
 * apart. */
static td_tensor *window_biases(td_graph *graph, const td_parameter *distances, const window_cut *cut)
{
    size_t window = cut->window, area = window * window, span = 2 * window - 1, count = (cut->apart ? PLACES : 1) * area * area;
    int32_t *buckets = td_graph_allocate(graph, count, sizeof *buckets);
    for (size_t n = 0; buckets && n < count; n++) {
        size_t i = n / area % area, j = n % area;
        buckets[n] = (int32_t)((i / window + window - 1 - j / window) * span + i % window + window - 1 - j % window);
    }
    td_tensor *values = buckets ? td_relative_bias(graph, td_graph_parameter(graph, distances), buckets, count) : NULL;
    if (!values || !cut->apart)
        return values;
    td_tensor *apart = td_tensor_new(graph, values->rows, count, false);
    for (size_t head = 0; apart && head < values->rows; head++)
        memcpy(apart->data + head * count, cut->apart, count * sizeof *apart->data);
    return td_add(graph, values, apart);
}

/* ---- encoding ---- */

/* Windows first .. end over themselves: normed cells in, what is added to them out, in the windows' order. */
static td_tensor *attend(const swin_stage *stage, const td_network *network, td_graph *graph, size_t index, const window_cut *cut,
                         td_tensor *bias, size_t first, size_t end, td_tensor *normed)
{
    const td_attention_layer *attention = &stage->stack.layer[index].self;
    size_t width = stage->stack.width, area = cut->window * cut->window;
    td_ragged ragged = {end - first, cut->ragged.offsets}; /* all windows are alike */
    td_tensor *cells = td_gather_rows(graph, normed, cut->from + first * area, (end - first) * area);
    td_tensor *kvq =
        td_linear_several(graph, cells, (const td_parameter *const *)attention->weight, (const td_parameter *const *)attention->bias, 3);
    if (!kvq || !bias)
        return NULL;
    td_attention_options options = {.heads = stage->stack.heads,
                                    .dropout = network->rates.attention,
                                    .bias = {bias, bias->columns, 0, (ptrdiff_t)area, cut->bias + first}};
    td_tensor *mixed = td_attention(graph, td_tensor_columns(graph, kvq, 2 * width, width), ragged, td_tensor_columns(graph, kvq, 0, width),
                                    td_tensor_columns(graph, kvq, width, width), ragged, &options, NULL);
    return td_linear_apply(graph, mixed, attention->output_weight, attention->output_bias);
}

static td_tensor *feed_forward(const td_transformer_stack *stack, const td_network *network, td_graph *graph, size_t index, td_tensor *x)
{
    const td_transformer_layer *layer = &stack->layer[index];
    td_tensor *hidden =
        td_linear_activate(graph, td_norm_apply(graph, x, layer->norm, stack->epsilon), td_graph_parameter(graph, layer->fc1_weight),
                           td_graph_parameter(graph, layer->fc1_bias), stack->activation, network->rates.activation);
    return td_linear_apply(graph, hidden, layer->fc2_weight, layer->fc2_bias);
}

static td_tensor *run_layer(const td_swin *swin, const swin_stage *stage, const td_network *network, td_graph *graph, size_t pictures,
                            size_t index, td_tensor *x)
{
    const td_transformer_stack *stack = &stage->stack;
    window_cut cut;
    if (!x || !cut_windows(swin, stage, graph, pictures, index % 2 == 1, &cut))
        return NULL;
    td_tensor *normed = td_norm_apply(graph, x, stack->layer[index].self.norm, stack->epsilon);
    td_tensor *bias = window_biases(graph, stage->distances[index], &cut);
    td_tensor *mixed =
        td_gather_rows(graph, attend(stage, network, graph, index, &cut, bias, 0, cut.ragged.count, normed), cut.to, x->rows);
    x = td_add_dropout(graph, x, mixed, network->rates.dropout);
    return td_add_dropout(graph, x, feed_forward(stack, network, graph, index, x), network->rates.dropout);
}

/* The same while nothing is recorded, in place and some rows at a time: a page has 300,000 cells, whose keys, values, queries and hidden
 * layer would be gigabytes. */
static void run_layer_in_place(const td_swin *swin, const swin_stage *stage, const td_network *network, td_graph *graph, size_t pictures,
                               size_t index, td_tensor *x)
{
    enum { NUMBERS = 1 << 20 }; /* of x in the rows taken together */
    const td_transformer_stack *stack = &stage->stack;
    size_t area = swin->window * swin->window, rows = NUMBERS / stack->width + 1, windows = rows / area + 1;
    window_cut cut;
    if (!cut_windows(swin, stage, graph, pictures, index % 2 == 1, &cut))
        return;
    td_tensor *normed = td_norm_apply(graph, x, stack->layer[index].self.norm, stack->epsilon);
    td_tensor *bias = window_biases(graph, stage->distances[index], &cut);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    for (size_t first = 0; first < cut.ragged.count; first += windows) {
        size_t end = first + windows < cut.ragged.count ? first + windows : cut.ragged.count;
        const td_tensor *mixed = attend(stage, network, graph, index, &cut, bias, first, end, normed);
        for (size_t i = 0; mixed && i < mixed->rows; i++)
            if (cut.from[first * area + i] >= 0)
                graph->kernels->add(x->data + (size_t)cut.from[first * area + i] * x->stride, mixed->data + i * mixed->stride, x->columns);
        td_arena_release_to(graph->arena, mark);
    }
    for (size_t first = 0; first < x->rows; first += rows) {
        size_t count = first + rows < x->rows ? rows : x->rows - first;
        const td_tensor *sum = feed_forward(stack, network, graph, index, td_tensor_rows(graph, x, first, count));
        for (size_t i = 0; sum && i < count; i++)
            graph->kernels->add(x->data + (first + i) * x->stride, sum->data + i * sum->stride, x->columns);
        td_arena_release_to(graph->arena, mark);
    }
}

/* Squares of four cells become one of twice the width: columns of the left two, then of the right two, each from the
 * top. */
static td_tensor *merge(const swin_stage *stage, td_graph *graph, size_t pictures, td_tensor *x)
{
    size_t height = (stage->height + 1) / 2, width = (stage->width + 1) / 2, count = pictures * height * width;
    td_tensor *parts[4];
    int32_t *index = td_graph_allocate(graph, count, sizeof *index);
    for (size_t part = 0; index && part < 4; part++) {
        for (size_t i = 0; i < count; i++) {
            size_t y = 2 * (i / width % height) + part % 2, column = 2 * (i % width) + part / 2;
            bool inside = y < stage->height && column < stage->width;
            index[i] = inside ? (int32_t)((i / (width * height) * stage->height + y) * stage->width + column) : -1;
        }
        parts[part] = td_gather_rows(graph, x, index, count);
    }
    x = index ? td_concatenate(graph, parts, 4) : NULL;
    return td_linear_apply(graph, td_norm_apply(graph, x, stage->merge_norm, plain_epsilon), stage->merge_weight, NULL);
}

/* Without the memory that merging takes. */
static td_tensor *merge_alone(const swin_stage *stage, td_graph *graph, size_t pictures, td_tensor *x)
{
    size_t rows = pictures * ((stage->height + 1) / 2) * ((stage->width + 1) / 2);
    td_tensor *kept = td_tensor_new(graph, rows, stage->merge_weight->rows, false);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    const td_tensor *merged = merge(stage, graph, pictures, x);
    if (kept && merged)
        memcpy(kept->data, merged->data, rows * merged->columns * sizeof *kept->data);
    td_arena_release_to(graph->arena, mark);
    return td_graph_ok(graph) ? kept : NULL;
}

static td_tensor *run_stage(const td_swin *swin, const swin_stage *stage, const td_network *network, td_graph *graph, size_t pictures,
                            td_tensor *x)
{
    bool in_place = !graph->recording && !graph->training;
    for (size_t i = 0; i < stage->stack.layers && x && td_graph_ok(graph); i++) {
        td_arena_mark mark = td_arena_get_mark(graph->arena);
        if (in_place) {
            run_layer_in_place(swin, stage, network, graph, pictures, i, x);
            td_arena_release_to(graph->arena, mark);
        } else {
            x = run_layer(swin, stage, network, graph, pictures, i, x);
        }
    }
    if (!stage->merge_weight)
        return x;
    return in_place ? merge_alone(stage, graph, pictures, x) : merge(stage, graph, pictures, x);
}

void td_swin_cells(const td_swin *swin, size_t *ret_rows, size_t *ret_columns)
{
    *ret_rows = swin->stage[swin->stages - 1].height;
    *ret_columns = swin->stage[swin->stages - 1].width;
}

static bool check_pictures(const td_swin *swin, td_graph *graph, const td_batch *source)
{
    if (!source->features || source->width != swin->channels)
        td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: this model reads pixels of %zu channels", swin->channels);
    for (size_t i = 0; i < source->ragged.count; i++)
        if (td_ragged_length(source->ragged, i) != swin->height * swin->width)
            td_graph_fail(graph, TD_ERROR_ARGUMENT, "source: a picture of %zu pixels; this model reads %zu x %zu",
                          td_ragged_length(source->ragged, i), swin->width, swin->height);
    return td_graph_ok(graph);
}

static td_tensor *embed(const td_swin *swin, td_graph *graph, const td_batch *source)
{
    td_tensor *x = td_patch_rows(graph, source, swin->height, swin->width, swin->patch);
    x = td_norm_apply(graph, td_linear_apply(graph, x, swin->patch_weight, swin->patch_bias), swin->patch_norm, plain_epsilon);
    if (!swin->positions || !x)
        return x;
    int32_t *positions = td_graph_allocate(graph, x->rows, sizeof *positions);
    for (size_t i = 0; positions && i < x->rows; i++)
        positions[i] = (int32_t)(i % swin->positions->rows);
    return positions ? td_add_positions(graph, x, td_graph_parameter(graph, swin->positions), positions) : NULL;
}

td_tensor *td_swin_encode(const td_swin *swin, const td_network *network, td_graph *graph, const td_batch *source, td_ragged *ret_ragged)
{
    size_t pictures = source->ragged.count;
    const swin_stage *last = &swin->stage[swin->stages - 1];
    int32_t *offsets = check_pictures(swin, graph, source) ? td_graph_allocate(graph, pictures + 1, sizeof *offsets) : NULL;
    if (!offsets)
        return NULL;
    for (size_t i = 0; i <= pictures; i++)
        offsets[i] = (int32_t)(i * last->height * last->width);
    *ret_ragged = (td_ragged){pictures, offsets};
    td_tensor *x = td_dropout(graph, embed(swin, graph, source), network->rates.dropout);
    for (size_t i = 0; i < swin->stages; i++)
        x = run_stage(swin, &swin->stage[i], network, graph, pictures, x);
    return swin->final_norm.weight ? td_norm_apply(graph, x, swin->final_norm, last->stack.epsilon) : x;
}
