/* The list of blocks of a CNN: building, sizes, and the pass over them. */
#include "models/cnn_kind.h"

#include "base/array.h"
#include "base/buffer.h"
#include "io/json.h"
#include "ops/groups.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

struct td_cnn {
    td_cnn_layer *layers;
    td_cnn_block *blocks;
    size_t layer_count, layer_capacity, block_count, block_capacity;
    size_t first_trained; /* block; block_count: none */
    size_t group_bytes, kept_bytes;
    bool statistics, same_padding;
    td_real epsilon;
};

enum { LAYER_PARAMETERS = 5 }; /* weights that a convolution declares */
enum { GROUP_BYTES = 64 << 20, KEPT_BYTES = 256 << 20 };

static const td_cnn_kind *const kinds[] = {&td_cnn_mobilenet_v2, &td_cnn_resnet, &td_cnn_tandem};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- configuration ---- */

td_status td_cnn_get_sizes(const json_t *config, const char *file, const char *key, size_t limit, size_t sizes[TD_CNN_MAX_STAGES],
                           size_t *ret_count, td_error *error)
{
    const json_t *list = json_object_get(config, key);
    size_t count = json_array_size(list);
    bool fits = json_is_array(list) && count >= 1 && count <= TD_CNN_MAX_STAGES;
    for (size_t i = 0; fits && i < count; i++) {
        json_int_t value = json_integer_value(json_array_get(list, i));
        fits = value >= 1 && (uint64_t)value <= limit;
        sizes[i] = (size_t)value;
    }
    if (!fits)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a list of 1 to %d integers from 1 to %zu", file, key, TD_CNN_MAX_STAGES,
                       limit);
    *ret_count = count;
    return TD_OK;
}

static td_status find_kind(const json_t *config, const char *file, const td_cnn_kind **ret_kind, td_error *error)
{
    const char *name;
    TD_TRY(td_json_get_string(config, file, "model_type", "", &name, error));
    td_buffer names = TD_BUFFER_INIT;
    *ret_kind = NULL;
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i]->name, name) == 0)
            *ret_kind = kinds[i];
        td_buffer_format(&names, "%s%s", i ? ", " : "", kinds[i]->name);
    }
    td_status status = *ret_kind ? TD_OK
                                 : td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"model_type\": \"%s\" is no picture encoder known here (%s)",
                                           file, name, td_buffer_text(&names));
    td_buffer_free(&names);
    return status;
}

static size_t layers_before(const td_cnn *cnn, size_t block)
{
    size_t layers = 0;
    for (size_t i = 0; i < block; i++)
        layers += cnn->blocks[i].count + (cnn->blocks[i].residual == TD_CNN_SHORTCUT);
    return layers;
}

/* All but the last `trained_blocks` stay as they are. */
static td_status leave_blocks(td_cnn *cnn, const char *file, size_t trained_blocks, td_parameters *parameters, size_t first_parameter,
                              td_error *error)
{
    if (trained_blocks != TD_CNN_ALL && trained_blocks > cnn->block_count)
        return td_fail(error, TD_ERROR_FORMAT, "%s: the picture encoder has %zu blocks, of which %zu cannot be trained", file,
                       cnn->block_count, trained_blocks);
    cnn->first_trained = trained_blocks == TD_CNN_ALL ? 0 : cnn->block_count - trained_blocks;
    td_parameters_keep_range(parameters, first_parameter, first_parameter + LAYER_PARAMETERS * layers_before(cnn, cnn->first_trained));
    return TD_OK;
}

td_status td_cnn_configure(const json_t *config, const char *file, const char *prefix, size_t trained_blocks, td_parameters *parameters,
                           td_cnn **ret_cnn, td_error *error)
{
    const td_cnn_kind *kind;
    size_t channels = 3;
    TD_TRY(find_kind(config, file, &kind, error));
    TD_TRY(td_config_size_or(config, file, "num_channels", 1 << 16, 3, &channels, error));
    if (channels != 3)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"num_channels\": pictures have 3 channels here, not %zu", file, channels);
    td_cnn *cnn = td_allocate_array(1, sizeof *cnn);
    if (!cnn)
        return td_fail_memory(error, sizeof *cnn);
    td_cnn_builder builder = {.cnn = cnn,
                              .parameters = parameters,
                              .prefix = prefix,
                              .own_prefix = kind->own_prefix,
                              .statistics = kind->statistics && trained_blocks > 0,
                              .epsilon = 1e-5};
    size_t first_parameter = parameters->count;
    td_status status = kind->build(&builder, config, file, error);
    if (status == TD_OK && parameters->error.status != TD_OK) {
        status = parameters->error.status;
        if (error)
            *error = parameters->error;
    }
    if (status == TD_OK)
        status = leave_blocks(cnn, file, trained_blocks, parameters, first_parameter, error);
    if (status != TD_OK) {
        td_cnn_free(cnn);
        return status;
    }
    cnn->statistics = builder.statistics;
    cnn->same_padding = builder.same_padding;
    cnn->epsilon = (td_real)builder.epsilon;
    td_cnn_set_memory(cnn, GROUP_BYTES, KEPT_BYTES);
    *ret_cnn = cnn;
    return TD_OK;
}

void td_cnn_free(td_cnn *cnn)
{
    if (!cnn)
        return;
    td_release(cnn->layers);
    td_release(cnn->blocks);
    td_release(cnn);
}

void td_cnn_set_memory(td_cnn *cnn, size_t group, size_t kept)
{
    cnn->group_bytes = group;
    cnn->kept_bytes = kept;
}

static size_t channels_after(const td_cnn *cnn, size_t blocks)
{
    while (blocks > 0 && cnn->blocks[blocks - 1].max_pool)
        blocks--;
    const td_cnn_block *last = blocks > 0 ? &cnn->blocks[blocks - 1] : NULL;
    return last ? cnn->layers[last->first + last->count - 1].outputs : cnn->layers[0].inputs;
}

size_t td_cnn_channels(const td_cnn *cnn)
{
    return channels_after(cnn, cnn->block_count);
}

size_t td_cnn_frozen_channels(const td_cnn *cnn)
{
    return cnn->first_trained > 0 ? channels_after(cnn, cnn->first_trained) : 0;
}

/* ---- building ---- */

static td_parameter *declare(td_cnn_builder *builder, size_t rows, size_t columns, td_initialiser initialiser, double spread,
                             const char *name, const char *part)
{
    td_parameters *parameters = builder->parameters;
    td_parameter *parameter = td_parameters_declare(parameters, rows, columns, initialiser, spread, "%s%s.%s", builder->prefix, name, part);
    if (builder->own_prefix[0])
        td_parameters_alias(parameters, "%s%s.%s", builder->own_prefix, name, part);
    if (builder->prefix[0])
        td_parameters_alias(parameters, "%s.%s", name, part);
    return parameter;
}

static const td_parameter *declare_statistic(td_cnn_builder *builder, size_t count, td_initialiser initialiser, const char *name,
                                             const char *part)
{
    const td_parameter *parameter = declare(builder, count, 0, initialiser, 0, name, part);
    if (builder->statistics)
        td_parameters_statistic(builder->parameters);
    else
        td_parameters_keep(builder->parameters);
    return parameter;
}

void td_cnn_convolution(td_cnn_builder *builder, td_cnn_layer layer, const char *name)
{
    td_cnn *cnn = builder->cnn;
    td_error *error = &builder->parameters->error;
    if (error->status != TD_OK || td_reserve_array(&cnn->layers, &cnn->layer_capacity, cnn->layer_count + 1, sizeof layer, error) != TD_OK)
        return;
    size_t inputs = layer.depthwise ? 1 : layer.inputs, places = layer.size * layer.size;
    double spread = sqrt(2.0 / (double)((layer.depthwise ? 1 : layer.outputs) * places)); /* He 2015, by what leaves */
    layer.weight = declare(builder, layer.outputs, inputs * places, TD_INIT_NORMAL, spread, name, "convolution.weight");
    td_parameters_shape(builder->parameters, (size_t[]){layer.outputs, inputs, layer.size, layer.size}, 4);
    layer.norm_weight = declare(builder, layer.outputs, 0, TD_INIT_ONE, 0, name, "normalization.weight");
    layer.norm_bias = declare(builder, layer.outputs, 0, TD_INIT_ZERO, 0, name, "normalization.bias");
    layer.mean = declare_statistic(builder, layer.outputs, TD_INIT_ZERO, name, "normalization.running_mean");
    layer.variance = declare_statistic(builder, layer.outputs, TD_INIT_ONE, name, "normalization.running_var");
    cnn->layers[cnn->layer_count++] = layer;
}

static void add_block(td_cnn_builder *builder, td_cnn_block block)
{
    td_cnn *cnn = builder->cnn;
    td_error *error = &builder->parameters->error;
    if (error->status == TD_OK && td_reserve_array(&cnn->blocks, &cnn->block_capacity, cnn->block_count + 1, sizeof block, error) == TD_OK)
        cnn->blocks[cnn->block_count++] = block;
}

void td_cnn_end_block(td_cnn_builder *builder, td_cnn_residual residual, td_activation activation)
{
    const td_cnn *cnn = builder->cnn;
    size_t first = layers_before(cnn, cnn->block_count);
    size_t count = cnn->layer_count - first - (residual == TD_CNN_SHORTCUT);
    add_block(builder, (td_cnn_block){.first = first, .count = count, .residual = residual, .activation = activation});
}

void td_cnn_max_pool(td_cnn_builder *builder)
{
    add_block(builder, (td_cnn_block){.first = builder->cnn->layer_count, .max_pool = true});
}

/* ---- sizes ---- */

static const td_window pool_window = {3, 3, 2, 1, 1, 1, 1};

static td_window window_of(const td_cnn *cnn, const td_cnn_layer *layer, td_grid grid)
{
    return cnn->same_padding ? td_window_same(layer->size, layer->stride, grid)
                             : td_window_square(layer->size, layer->stride, layer->size / 2);
}

/* Size of what blocks first .. end make of it. */
static td_status output_of(const td_cnn *cnn, size_t first, size_t end, td_grid pictures, td_grid *ret_map, td_error *error)
{
    td_grid grid = pictures;
    bool fits = grid.height > 0 && grid.width > 0;
    for (size_t i = first; fits && i < end; i++) {
        const td_cnn_block *block = &cnn->blocks[i];
        if (block->max_pool)
            fits = td_window_output(pool_window, grid, &grid);
        for (size_t k = 0; fits && k < block->count; k++)
            fits = td_window_output(window_of(cnn, &cnn->layers[block->first + k], grid), grid, &grid);
    }
    if (!fits)
        return td_fail(error, TD_ERROR_ARGUMENT, "a picture of %zu x %zu is too small for this encoder", pictures.height, pictures.width);
    *ret_map = grid;
    return TD_OK;
}

td_status td_cnn_output(const td_cnn *cnn, td_grid pictures, td_grid *ret_map, td_error *error)
{
    return output_of(cnn, 0, cnn->block_count, pictures, ret_map, error);
}

/* ---- the pass ---- */

/* Batch norms of running statistics are folded into the convolutions, in training too; those of the batch are operations of their own. */
typedef struct cnn_pass {
    const td_cnn *cnn;
    size_t first, end;             /* blocks */
    td_grid one;                   /* picture */
    td_tensor **weights, **biases; /* [layers] with the norms inside, arranged; NULL when the norms are the batch's */
} cnn_pass;

static td_batch_norm_weights norm_of(const td_cnn *cnn, td_graph *graph, const td_cnn_layer *layer)
{
    return (td_batch_norm_weights){td_graph_parameter(graph, layer->norm_weight), td_graph_parameter(graph, layer->norm_bias),
                                   td_graph_parameter(graph, layer->mean), td_graph_parameter(graph, layer->variance), cnn->epsilon};
}

static bool fold(cnn_pass *pass, td_graph *graph)
{
    const td_cnn *cnn = pass->cnn;
    pass->weights = td_graph_allocate(graph, cnn->layer_count, sizeof *pass->weights);
    pass->biases = td_graph_allocate(graph, cnn->layer_count, sizeof *pass->biases);
    for (size_t i = layers_before(cnn, pass->first); i < layers_before(cnn, pass->end) && td_graph_ok(graph); i++) {
        const td_cnn_layer *layer = &cnn->layers[i];
        td_batch_norm_weights norm = norm_of(cnn, graph, layer);
        pass->weights[i] = td_graph_parameter(graph, layer->weight);
        if (!layer->depthwise && layer->size > 1)
            pass->weights[i] = td_conv2d_arrange(graph, pass->weights[i], td_window_square(layer->size, 1, 0));
        td_batch_norm_fold(graph, &norm, &pass->weights[i], &pass->biases[i]);
    }
    return td_graph_ok(graph);
}

static td_tensor *activate(const cnn_pass *pass, td_graph *graph, td_tensor *x, td_activation activation)
{
    if (pass->weights || activation == TD_IDENTITY)
        return td_activate_in_place(graph, x, activation);
    return td_activate(graph, x, activation, 0);
}

static td_tensor *convolve(const cnn_pass *pass, td_graph *graph, size_t index, td_tensor *x, td_grid *grid)
{
    const td_cnn *cnn = pass->cnn;
    const td_cnn_layer *layer = &cnn->layers[index];
    td_window window = window_of(cnn, layer, *grid);
    td_grid input = *grid;
    if (pass->weights) {
        td_tensor *weight = pass->weights[index], *bias = pass->biases[index];
        x = layer->depthwise ? td_conv2d_depthwise(graph, x, input, weight, bias, window, grid)
                             : td_conv2d_arranged(graph, x, input, weight, bias, window, grid);
        return activate(pass, graph, x, layer->activation);
    }
    td_tensor *weight = td_graph_parameter(graph, layer->weight);
    td_batch_norm_weights norm = norm_of(cnn, graph, layer);
    x = layer->depthwise ? td_conv2d_depthwise(graph, x, input, weight, NULL, window, grid)
                         : td_conv2d(graph, x, input, weight, NULL, window, grid);
    x = td_batch_norm(graph, x, &norm, true);
    return activate(pass, graph, x, layer->activation);
}

/* An activated result is what goes back through its activation, and stays. */
static td_tensor *add(const cnn_pass *pass, td_graph *graph, const td_cnn_block *block, td_tensor *x, td_tensor *residual)
{
    bool activated = pass->cnn->layers[block->first + block->count - 1].activation != TD_IDENTITY;
    return pass->weights && !activated ? td_add_in_place(graph, x, residual) : td_add(graph, x, residual);
}

static td_tensor *run_block(const cnn_pass *pass, td_graph *graph, const td_cnn_block *block, td_tensor *x, td_grid *grid)
{
    if (block->max_pool)
        return td_max_pool(graph, x, *grid, pool_window, grid);
    td_tensor *residual = x;
    td_grid input = *grid;
    for (size_t i = 0; i < block->count; i++)
        x = convolve(pass, graph, block->first + i, x, grid);
    if (block->residual == TD_CNN_SHORTCUT)
        residual = convolve(pass, graph, block->first + block->count, residual, &input);
    if (block->residual != TD_CNN_PLAIN)
        x = add(pass, graph, block, x, residual);
    return activate(pass, graph, x, block->activation);
}

static td_tensor *run(void *context, td_graph *graph, td_tensor *x, size_t pictures)
{
    const cnn_pass *pass = context;
    td_grid grid = {pictures, pass->one.height, pass->one.width};
    for (size_t i = pass->first; i < pass->end && x; i++)
        x = run_block(pass, graph, &pass->cnn->blocks[i], x, &grid);
    return x;
}

/* ---- in groups ---- */

/* Bytes of results of one picture that go back needs. */
static size_t bytes_of_picture(const cnn_pass *pass)
{
    const td_cnn *cnn = pass->cnn;
    td_grid grid = pass->one;
    size_t numbers = 0;
    for (size_t i = pass->first; i < pass->end; i++) {
        const td_cnn_block *block = &cnn->blocks[i];
        if (block->max_pool)
            td_window_output(pool_window, grid, &grid);
        for (size_t k = block->first; k < block->first + block->count; k++) {
            td_window_output(window_of(cnn, &cnn->layers[k], grid), grid, &grid);
            numbers += td_grid_rows(grid) * cnn->layers[k].outputs;
        }
        if (block->residual == TD_CNN_SHORTCUT || block->max_pool)
            numbers += td_grid_rows(grid) * channels_after(cnn, i + 1);
    }
    return numbers * sizeof(td_real);
}

/* How many pictures go together follows from their size alone, whether they stay from how many there are. */
static td_groups groups_of(cnn_pass *pass, td_graph *graph, td_grid pictures, td_grid map, bool training)
{
    size_t layers = pass->cnn->layer_count, bytes = bytes_of_picture(pass);
    size_t fitting = pass->cnn->group_bytes / (bytes ? bytes : 1), kept = pass->cnn->kept_bytes / (bytes ? bytes : 1);
    td_groups groups = {.count = pictures.count,
                        .group = training && fitting > 1 ? fitting : 1,
                        .keep = pictures.count <= kept,
                        .input_rows = pictures.height * pictures.width,
                        .output_rows = map.height * map.width,
                        .run = run,
                        .context = td_graph_allocate(graph, 1, sizeof *pass),
                        .weights = td_graph_allocate(graph, 2 * layers, sizeof *groups.weights)};
    size_t first = layers_before(pass->cnn, pass->first), end = layers_before(pass->cnn, pass->end);
    if (!td_graph_ok(graph))
        return groups;
    *(cnn_pass *)groups.context = *pass;
    for (size_t i = first; i < end; i++) {
        groups.weights[groups.weight_count++] = pass->weights[i];
        groups.weights[groups.weight_count++] = pass->biases[i];
    }
    return groups;
}

/* Pictures do not depend on each other. Where nothing needs a gradient they are done one by one, each with the result it has alone, and
 * what the arena keeps is the map. */
static td_tensor *run_apart(cnn_pass *pass, td_graph *graph, td_tensor *x, td_grid pictures, td_grid map)
{
    bool trains = graph->recording && pass->end > pass->cnn->first_trained && (graph->gradients || graph->sums);
    bool needed = trains || (graph->recording && td_needs_gradient(x));
    td_tensor *y = td_tensor_new(graph, td_grid_rows(map), channels_after(pass->cnn, pass->end), needed);
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    if (!y || !fold(pass, graph))
        return NULL;
    td_groups groups = groups_of(pass, graph, pictures, map, needed);
    if (!td_in_groups(graph, x, &groups, y))
        return NULL;
    if (!needed)
        td_arena_release_to(graph->arena, mark);
    return y;
}

/* Blocks first .. end of x, with gradients where the graph records and there is something to train. */
static td_tensor *run_part(const td_cnn *cnn, td_graph *graph, size_t first, size_t end, td_tensor *x, td_grid pictures, td_grid *ret_map)
{
    cnn_pass pass = {cnn, first, end, {1, pictures.height, pictures.width}, NULL, NULL};
    td_grid map;
    td_error error = {0};
    if (!x)
        return NULL;
    if (x->columns != channels_after(cnn, first) || x->stride != x->columns || x->rows != td_grid_rows(pictures))
        return td_graph_fail(graph, TD_ERROR_INTERNAL, "cnn: [%zu, %zu] are not %zu pictures of %zu x %zu with %zu channels", x->rows,
                             x->columns, pictures.count, pictures.height, pictures.width, channels_after(cnn, first));
    if (output_of(cnn, first, end, pictures, &map, &error) != TD_OK)
        return td_graph_fail(graph, error.status, "%s", error.message);
    bool together = graph->recording && graph->training && cnn->statistics && end > cnn->first_trained;
    td_tensor *y = together ? run(&pass, graph, x, pictures.count) : run_apart(&pass, graph, x, pictures, map);
    if (y)
        *ret_map = map;
    return y;
}

td_tensor *td_cnn_forward(const td_cnn *cnn, td_graph *graph, td_tensor *pixels, td_grid pictures, td_grid *ret_map)
{
    bool whole = !graph->recording || !pixels || td_needs_gradient(pixels) || cnn->first_trained == cnn->block_count;
    if (whole || cnn->first_trained == 0)
        return run_part(cnn, graph, 0, cnn->block_count, pixels, pictures, ret_map);
    td_grid middle = {0};
    td_tensor *x = td_cnn_frozen(cnn, graph, pixels, pictures, &middle);
    return td_cnn_trained(cnn, graph, x, middle, ret_map);
}

td_tensor *td_cnn_frozen(const td_cnn *cnn, td_graph *graph, td_tensor *pixels, td_grid pictures, td_grid *ret_map)
{
    return run_part(cnn, graph, 0, cnn->first_trained, pixels, pictures, ret_map);
}

td_tensor *td_cnn_trained(const td_cnn *cnn, td_graph *graph, td_tensor *x, td_grid pictures, td_grid *ret_map)
{
    if (cnn->first_trained < cnn->block_count)
        return run_part(cnn, graph, cnn->first_trained, cnn->block_count, x, pictures, ret_map);
    *ret_map = pictures;
    return x;
}
