#include "result_output.h"

#include <jansson.h>
#include <string.h>

enum { JSON_STYLE = JSON_COMPACT | JSON_REAL_PRECISION(9) };

static void print_text(const char *text, FILE *stream)
{
    size_t length = strcspn(text, "\r\n");
    while (text[length]) {
        fwrite(text, 1, length, stream);
        fputc(' ', stream);
        text += length + 1;
        length = strcspn(text, "\r\n");
    }
    fputs(text, stream);
}

static void print_tokens(const td_model *model, const td_result *result, size_t output, bool pieces, FILE *stream)
{
    size_t count;
    const int32_t *ids = td_result_ids(result, 0, output, &count);
    const char *space = "";
    for (size_t i = 0; i < count; i++) {
        const char *piece = td_result_piece(result, 0, output, i);
        if (pieces && (ids[i] == td_model_end(model) || !piece))
            continue;
        if (pieces)
            fprintf(stream, "%s%s", space, piece);
        else
            fprintf(stream, "%s%d", space, (int)ids[i]);
        space = " ";
    }
}

void result_print_line(const td_model *model, const td_result *result, size_t output, td_input_kind kind, FILE *stream)
{
    if (output < td_result_outputs(result, 0)) {
        if (kind == TD_INPUT_TEXT)
            print_text(td_result_text(result, 0, output), stream);
        else
            print_tokens(model, result, output, kind == TD_INPUT_PIECES, stream);
    }
    fputc('\n', stream);
}

static json_t *json_ids(const int32_t *ids, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static json_t *json_reals(const float *values, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_real((double)values[i]));
    return list;
}

static json_t *json_pieces(const td_result *result, size_t output, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const char *piece = td_result_piece(result, 0, output, i);
        json_t *text = piece ? json_string(piece) : NULL;
        json_array_append_new(list, text ? text : json_null());
    }
    return list;
}

/* The sentences of a line that was cut. */
static json_t *json_segments(const td_result *result, size_t output)
{
    json_t *list = json_array();
    for (size_t i = 0; i < td_result_segments(result, 0, output); i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:f}", "source", td_result_segment_source(result, 0, output, i), "text",
                                              td_result_segment_text(result, 0, output, i), "score",
                                              td_result_segment_score(result, 0, output, i)));
    return list;
}

static json_t *json_output(const td_result *result, size_t output)
{
    size_t count, rows, columns;
    const int32_t *ids = td_result_ids(result, 0, output, &count);
    const float *attention = td_result_attention(result, 0, output, &rows, &columns);
    json_t *object = json_object();
    json_object_set_new(object, "text", json_string(td_result_text(result, 0, output)));
    json_object_set_new(object, "pieces", json_pieces(result, output, count));
    json_object_set_new(object, "ids", json_ids(ids, count));
    json_object_set_new(object, "score", json_real(td_result_score(result, 0, output)));
    json_object_set_new(object, "token_logprobs", json_reals(td_result_token_logprobs(result, 0, output, NULL), count));
    if (td_result_segments(result, 0, output))
        json_object_set_new(object, "segments", json_segments(result, output));
    if (attention) {
        json_t *matrix = json_array();
        for (size_t i = 0; i < rows; i++)
            json_array_append_new(matrix, json_reals(attention + i * columns, columns));
        json_object_set_new(object, "attention", matrix);
    }
    return object;
}

static void print_object(json_t *object, FILE *stream)
{
    json_dumpf(object, stream, JSON_STYLE);
    fputc('\n', stream);
    json_decref(object);
}

void result_print_json(size_t index, const char *source, const td_result *result, const char *problem, FILE *stream)
{
    json_t *object = json_object(), *outputs = json_array(), *text = json_string(source);
    json_object_set_new(object, "index", json_integer((json_int_t)index));
    json_object_set_new(object, "source", text ? text : json_null()); /* a line that is not UTF-8 */
    if (problem)
        json_object_set_new(object, "error", json_string(problem));
    else if (!result)
        json_array_append_new(outputs, json_pack("{s:s,s:[],s:[],s:f,s:[]}", "text", "", "pieces", "ids", "score", 0.0, "token_logprobs"));
    for (size_t i = 0; i < td_result_outputs(result, 0); i++)
        json_array_append_new(outputs, json_output(result, i));
    json_object_set_new(object, "outputs", outputs);
    print_object(object, stream);
}

void result_print_score_json(size_t index, const td_result *result, const char *problem, FILE *stream)
{
    json_t *object = json_object();
    json_object_set_new(object, "index", json_integer((json_int_t)index));
    if (problem) {
        json_object_set_new(object, "error", json_string(problem));
    } else {
        size_t count;
        const int32_t *ids = td_result_ids(result, 0, 0, &count);
        json_object_set_new(object, "score", json_real(td_result_score(result, 0, 0)));
        json_object_set_new(object, "ids", json_ids(ids, count));
        json_object_set_new(object, "token_logprobs", json_reals(td_result_token_logprobs(result, 0, 0, NULL), count));
    }
    print_object(object, stream);
}
