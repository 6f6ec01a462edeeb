#include "models/picture_encoder.h"

#include "io/json.h"
#include "ops/recurrent.h"

enum { PIXEL = 3, MOST_BLOCKS = 1000 };

td_status td_picture_encoder_configure(const json_t *config, const char *file, td_network *network, td_cnn **ret_cnn, size_t *ret_width,
                                       td_error *error)
{
    json_t *encoder;
    bool frozen;
    int64_t width, trained_blocks;
    TD_TRY(td_json_get_object(config, file, "encoder", &encoder, error));
    TD_TRY(td_json_get_bool(config, file, "encoder_frozen", true, &frozen, error));
    if (encoder) {
        TD_TRY(td_json_get_integer(config, file, "encoder_trained_blocks", 0, &trained_blocks, error));
        if (trained_blocks < 0 || trained_blocks > MOST_BLOCKS)
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"encoder_trained_blocks\" must be an integer from 0 to %d", file, MOST_BLOCKS);
        TD_TRY(td_cnn_configure(encoder, file, "encoder.cnn.", frozen ? (size_t)trained_blocks : TD_CNN_ALL, &network->parameters, ret_cnn,
                                error));
        network->feature_width = PIXEL;
        network->frozen_width = td_cnn_frozen_channels(*ret_cnn);
        *ret_width = td_cnn_channels(*ret_cnn);
        return TD_OK;
    }
    TD_TRY(td_json_get_integer(config, file, "feature_size", -1, &width, error));
    if (width < 1 || width > 1 << 16)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"feature_size\" must be an integer from 1 to %d, unless there is an \"encoder\"", file,
                       1 << 16);
    network->feature_width = *ret_width = (size_t)width;
    return TD_OK;
}

/* The side of a square of so many pixels; 0 when it is none. */
static size_t side_of(size_t pixels)
{
    size_t side = 0;
    while ((side + 1) * (side + 1) <= pixels)
        side++;
    return side * side == pixels ? side : 0;
}

typedef td_tensor *(*cnn_part)(const td_cnn *, td_graph *, td_tensor *, td_grid, td_grid *);

/* Pictures first .. first + count, all of one size, as pixels or as what some of the network made of them. */
static td_tensor *run_cnn(const td_cnn *cnn, cnn_part part, td_graph *graph, const td_batch *source, size_t first, size_t count,
                          size_t *ret_cells)
{
    size_t row = (size_t)source->ragged.offsets[first], places = td_ragged_length(source->ragged, first), side = side_of(places);
    td_grid map = {0};
    if (!side)
        return td_graph_fail(graph, TD_ERROR_ARGUMENT, "a picture of %zu pixels is not square", places);
    td_real *data = (td_real *)(uintptr_t)source->features + row * source->width;
    td_tensor *x = td_tensor_of(graph, data, count * places, source->width),
              *cells = part(cnn, graph, x, (td_grid){count, side, side}, &map);
    *ret_cells = map.height * map.width;
    return cells;
}

/* Runs of pictures of one size go through together: training from scratch normalises over them. */
static td_tensor *encode_pictures(const td_cnn *cnn, cnn_part part, td_graph *graph, const td_batch *source, td_ragged *ret_ragged)
{
    size_t count = source->ragged.count, runs = 0;
    int32_t *offsets = td_graph_allocate(graph, count + 1, sizeof *offsets);
    td_tensor **cells = td_graph_allocate(graph, count + 1, sizeof *cells);
    if (!offsets || !cells)
        return NULL;
    offsets[0] = 0;
    for (size_t first = 0, end; first < count; first = end) {
        size_t each = 0;
        for (end = first + 1; end < count && td_ragged_length(source->ragged, end) == td_ragged_length(source->ragged, first);)
            end++;
        cells[runs] = run_cnn(cnn, part, graph, source, first, end - first, &each);
        if (!cells[runs++])
            return NULL;
        for (size_t i = first; i < end; i++)
            offsets[i + 1] = offsets[i] + (int32_t)each;
    }
    *ret_ragged = (td_ragged){count, offsets};
    return runs == 1 ? cells[0] : td_stack_rows(graph, cells, runs);
}

td_tensor *td_picture_cells(const td_network *network, const td_cnn *cnn, td_graph *graph, const td_batch *source, td_ragged *ret_ragged)
{
    size_t wanted = cnn ? network->frozen_width : network->feature_width;
    if (!source->features)
        return td_graph_fail(graph, TD_ERROR_UNSUPPORTED, "%s reads features, not token ids", network->architecture->model_type);
    if (cnn && source->width == PIXEL)
        return encode_pictures(cnn, td_cnn_forward, graph, source, ret_ragged);
    if (source->width != wanted)
        return td_graph_fail(graph, TD_ERROR_ARGUMENT, "features of %zu columns for a model that reads %zu", source->width, wanted);
    if (cnn)
        return encode_pictures(cnn, td_cnn_trained, graph, source, ret_ragged);
    *ret_ragged = source->ragged;
    return td_tensor_of(graph, (td_real *)(uintptr_t)source->features, td_ragged_total(source->ragged), source->width);
}

td_status td_picture_frozen(const td_cnn *cnn, td_graph *graph, const td_batch *source, td_memory *ret_features)
{
    td_memory features = {0};
    if (!cnn || source->width != PIXEL)
        td_graph_fail(graph, TD_ERROR_ARGUMENT, "features of pixels (%d columns) and an \"encoder\" are needed", PIXEL);
    else
        features.states = encode_pictures(cnn, td_cnn_frozen, graph, source, &features.ragged);
    if (td_graph_ok(graph))
        *ret_features = features;
    return graph->error.status;
}
