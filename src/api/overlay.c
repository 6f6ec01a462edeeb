/* Where a captioner looked: attention over the cells of a picture, gathered from tokens to words and drawn. */
#include "vision/overlay.h"
#include "api/model.h"
#include "api/result.h"

#include <stdio.h>
#include <string.h>

#define SPACE_MARK "\xe2\x96\x81" /* begins a word's first piece */

typedef struct word_list {
    td_buffer *words; /* [tokens] the first `count` are used */
    const char **texts;
    float *weights; /* [tokens, cells] sums over a word's tokens */
    size_t count;
} word_list;

/* Cells of a picture, and how many of its tokens stand in front of them (ViT's class token, DeiT's two). */
typedef struct cell_grid {
    size_t rows, columns, others;
} cell_grid;

/* As the model says, or a square; no rows where it is none. */
static cell_grid grid_of(const td_network *network, size_t places)
{
    cell_grid grid = {0};
    if (network->architecture->cells)
        network->architecture->cells(network, &grid.rows, &grid.columns);
    if (grid.rows)
        return grid.rows * grid.columns == places ? grid : (cell_grid){0};
    for (size_t others = 0; others <= 2 && others < places; others++) {
        size_t side = 1;
        while (side * side < places - others)
            side++;
        if (side * side == places - others)
            return (cell_grid){side, side, others};
    }
    return grid;
}

/* A piece with the mark begins a word; in a vocabulary without marks each piece is one. */
static void add_piece(word_list *list, const char *piece, const float *weights, size_t cells, bool marked)
{
    bool begins = strncmp(piece, SPACE_MARK, strlen(SPACE_MARK)) == 0;
    if (begins || !marked || list->count == 0)
        list->count++;
    td_buffer_text_append(&list->words[list->count - 1], begins ? piece + strlen(SPACE_MARK) : piece);
    for (size_t i = 0; i < cells; i++)
        list->weights[(list->count - 1) * cells + i] += weights[i];
}

static td_status gather(const td_result *result, size_t input, size_t output, size_t tokens, size_t cells, size_t others,
                        const float *weights, word_list *list, td_error *error)
{
    const int32_t *ids = td_result_ids(result, input, output, NULL);
    int32_t end = result->model->network.eos_id;
    bool marked = false, whole = true;
    for (size_t t = 0; t < tokens; t++) {
        const char *piece = td_result_piece(result, input, output, t);
        marked |= piece && strncmp(piece, SPACE_MARK, strlen(SPACE_MARK)) == 0;
    }
    for (size_t t = 0; t < tokens; t++) {
        const char *piece = td_result_piece(result, input, output, t);
        char number[16];
        snprintf(number, sizeof number, "%d", (int)ids[t]);
        if (ids[t] != end)
            add_piece(list, piece ? piece : number, weights + t * (cells + others) + others, cells, marked);
    }
    for (size_t i = 0; i < list->count; i++) {
        whole &= td_buffer_ok(&list->words[i]);
        list->texts[i] = td_buffer_text(&list->words[i]);
    }
    return whole ? TD_OK : td_fail_memory(error, 0);
}

static void free_words(word_list *list, size_t tokens)
{
    for (size_t i = 0; list->words && i < tokens; i++)
        td_buffer_free(&list->words[i]);
    td_release(list->words);
    td_release(list->texts);
    td_release(list->weights);
}

td_status td_picture_overlay(const td_result *result, size_t input, size_t output, const char *picture, const char *svg_path,
                             td_error *error)
{
    size_t tokens, places;
    if (!result || !picture || !svg_path)
        return td_fail(error, TD_ERROR_ARGUMENT, "a result, the picture's file and a file to write are needed");
    if (result->model->network.architecture->source != TD_IMAGE)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "attention is drawn over pictures; this model reads none");
    const float *weights = td_result_attention(result, input, output, &tokens, &places);
    if (!weights)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "this model has no attention to draw, or it was not asked for");
    cell_grid grid = grid_of(&result->model->network, places);
    size_t cells = grid.rows * grid.columns;
    if (!cells)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "attention over %zu places, which are no square grid", places);
    word_list list = {.words = td_allocate_array(tokens + 1, sizeof *list.words),
                      .texts = td_allocate_array(tokens + 1, sizeof *list.texts)};
    list.weights = td_allocate_array(tokens + 1, cells * sizeof *list.weights);
    td_status status = list.words && list.texts && list.weights ? TD_OK : td_fail_memory(error, tokens * cells * sizeof *list.weights);
    if (status == TD_OK)
        status = gather(result, input, output, tokens, cells, grid.others, weights, &list, error);
    if (status == TD_OK)
        status = td_overlay_write(svg_path, picture, list.texts, list.weights, list.count, grid.rows, grid.columns,
                                  result->model->frontend.kind, result->model->frontend.state, error);
    free_words(&list, tokens + 1);
    return status;
}
