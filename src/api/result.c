#include "api/result.h"

#include <string.h>

td_status td_result_new(const td_model *model, size_t count, td_result **ret_result, td_error *error)
{
    td_result *result = td_allocate_array(1, sizeof *result);
    td_result_input *inputs = td_allocate_array(count, sizeof *inputs);
    if (!result || !inputs) {
        td_release(result);
        td_release(inputs);
        return td_fail_memory(error, count * sizeof *inputs);
    }
    *result = (td_result){model, inputs, count};
    *ret_result = result;
    return TD_OK;
}

static void free_output(td_result_output *output)
{
    td_release(output->text);
    td_release(output->ids);
    td_release(output->logprobs);
    td_release(output->attention);
    for (size_t i = 0; i < output->segment_count; i++) {
        td_release(output->segments[i].source);
        td_release(output->segments[i].text);
    }
    td_release(output->segments);
}

void td_result_keep(td_result *result, size_t index, size_t count)
{
    td_result_input *input = &result->inputs[index];
    while (input->output_count > count)
        free_output(&input->outputs[--input->output_count]);
}

void td_result_free(td_result *result)
{
    if (!result)
        return;
    for (size_t i = 0; i < result->count; i++) {
        td_result_input *input = &result->inputs[i];
        td_result_keep(result, i, 0);
        td_release(input->outputs);
        td_release(input->source_ids);
        td_features_free(&input->features);
        td_ids_free(&input->prompt);
        td_local_pieces_free(&input->local);
    }
    td_release(result->inputs);
    td_release(result);
}

void td_result_move(td_result *result, size_t to, td_result *source, size_t from)
{
    result->inputs[to] = source->inputs[from];
    source->inputs[from] = (td_result_input){0};
}

static void *copy_block(const void *block, size_t bytes, bool *good)
{
    void *copy = td_allocate(bytes + 1);
    if (copy && bytes)
        memcpy(copy, block, bytes);
    *good = *good && copy;
    return copy;
}

td_status td_result_copy(const td_result *result, td_result **ret_copy, td_error *error)
{
    td_result *copy = NULL;
    const td_result_input *from = &result->inputs[0];
    bool good = true;
    TD_TRY(td_result_new(result->model, 1, &copy, error));
    td_result_input *to = &copy->inputs[0];
    to->source_ids = copy_block(from->source_ids, from->source_count * sizeof *to->source_ids, &good);
    to->source_count = from->source_count;
    to->truncated = from->truncated;
    to->outputs = td_allocate_array(from->output_count + 1, sizeof *to->outputs);
    good = good && to->outputs;
    for (size_t i = 0; good && i < from->output_count; i++) {
        const td_result_output *output = &from->outputs[i];
        td_result_output *place = &to->outputs[to->output_count++];
        place->text = copy_block(output->text, strlen(output->text) + 1, &good);
        place->ids = copy_block(output->ids, output->count * sizeof *output->ids, &good);
        place->logprobs = copy_block(output->logprobs, output->count * sizeof *output->logprobs, &good);
        place->count = output->count;
        place->score = output->score;
    }
    if (!good) {
        td_result_free(copy);
        return td_fail_memory(error, 0);
    }
    *ret_copy = copy;
    return TD_OK;
}

td_status td_model_spell(const td_model *model, const td_local_pieces *local, const int32_t *ids, size_t count, td_buffer *text,
                         td_error *error)
{
    if (!model->tokenizer)
        return TD_OK;
    int32_t *known = td_allocate_array(count, sizeof *known);
    if (!known)
        return td_fail_memory(error, count * sizeof *known);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) /* a projection may be wider than the vocabulary */
        if (td_tokenizer_piece(model->tokenizer, ids[i]) || td_local_pieces_find(local, ids[i]))
            known[kept++] = ids[i];
    td_status status = td_tokenizer_decode_local(model->tokenizer, local, known, kept, true, text, error);
    td_release(known);
    return status;
}

td_source td_result_source(const td_result *result, size_t index)
{
    const td_result_input *input = &result->inputs[index];
    if (input->features.data)
        return (td_source){.features = input->features.data,
                           .length = input->features.rows,
                           .width = input->features.width,
                           .encoded = input->encoded,
                           .prefix = input->prompt.data,
                           .prefix_count = input->prompt.length,
                           .starts = input->prompt.length > 0};
    return (td_source){.ids = input->source_ids, .length = input->source_count};
}

static float *copy_reals(const td_real *from, size_t count)
{
    float *to = td_allocate_array(count, sizeof *to);
    for (size_t i = 0; to && i < count; i++)
        to[i] = (float)from[i];
    return to;
}

static td_status fill_output(const td_model *model, const td_result_input *input, const td_hypothesis *hypothesis, td_result_output *output,
                             td_error *error)
{
    size_t count = hypothesis->count;
    td_buffer text = TD_BUFFER_INIT;
    td_status status = td_model_spell(model, &input->local, hypothesis->ids, count, &text, error);
    output->text = status == TD_OK ? td_copy_string(td_buffer_text(&text)) : NULL;
    td_buffer_free(&text);
    TD_TRY(status);
    output->ids = td_allocate_array(count, sizeof *output->ids);
    output->logprobs = copy_reals(hypothesis->logprobs, count);
    if (hypothesis->attention)
        output->attention = copy_reals(hypothesis->attention, count * input->memory_length);
    if (!output->text || !output->ids || !output->logprobs || (hypothesis->attention && !output->attention))
        return td_fail_memory(error, count * sizeof *output->ids);
    if (count)
        memcpy(output->ids, hypothesis->ids, count * sizeof *output->ids);
    output->count = count;
    output->score = hypothesis->score;
    return TD_OK;
}

td_status td_result_fill(td_result *result, size_t index, const td_output *output, td_error *error)
{
    td_result_input *input = &result->inputs[index];
    input->memory_length = output->source_length;
    td_features_free(&input->features);
    input->outputs = td_allocate_array(output->count, sizeof *input->outputs);
    if (!input->outputs)
        return td_fail_memory(error, output->count * sizeof *input->outputs);
    input->output_count = output->count;
    for (size_t i = 0; i < output->count; i++)
        TD_TRY(fill_output(result->model, input, &output->hypotheses[i], &input->outputs[i], error));
    return TD_OK;
}

static const td_result_input *find_input(const td_result *result, size_t input)
{
    return result && input < result->count ? &result->inputs[input] : NULL;
}

static const td_result_output *find_output(const td_result *result, size_t input, size_t output)
{
    const td_result_input *found = find_input(result, input);
    return found && output < found->output_count ? &found->outputs[output] : NULL;
}

static const char *piece_of(const td_result *result, size_t input, int32_t id)
{
    const char *piece = result->model->tokenizer ? td_tokenizer_piece(result->model->tokenizer, id) : NULL;
    return piece ? piece : td_local_pieces_find(&result->inputs[input].local, id);
}

size_t td_result_inputs(const td_result *result)
{
    return result ? result->count : 0;
}

size_t td_result_outputs(const td_result *result, size_t input)
{
    const td_result_input *found = find_input(result, input);
    return found ? found->output_count : 0;
}

const char *td_result_text(const td_result *result, size_t input, size_t output)
{
    const td_result_output *found = find_output(result, input, output);
    return found ? found->text : NULL;
}

const int32_t *td_result_ids(const td_result *result, size_t input, size_t output, size_t *ret_count)
{
    const td_result_output *found = find_output(result, input, output);
    if (ret_count)
        *ret_count = found ? found->count : 0;
    return found ? found->ids : NULL;
}

const char *td_result_piece(const td_result *result, size_t input, size_t output, size_t position)
{
    const td_result_output *found = find_output(result, input, output);
    return found && position < found->count ? piece_of(result, input, found->ids[position]) : NULL;
}

size_t td_result_segments(const td_result *result, size_t input, size_t output)
{
    const td_result_output *found = find_output(result, input, output);
    return found ? found->segment_count : 0;
}

static const td_result_segment *find_segment(const td_result *result, size_t input, size_t output, size_t segment)
{
    const td_result_output *found = find_output(result, input, output);
    return found && segment < found->segment_count ? &found->segments[segment] : NULL;
}

const char *td_result_segment_source(const td_result *result, size_t input, size_t output, size_t segment)
{
    const td_result_segment *found = find_segment(result, input, output, segment);
    return found ? found->source : NULL;
}

const char *td_result_segment_text(const td_result *result, size_t input, size_t output, size_t segment)
{
    const td_result_segment *found = find_segment(result, input, output, segment);
    return found ? found->text : NULL;
}

double td_result_segment_score(const td_result *result, size_t input, size_t output, size_t segment)
{
    const td_result_segment *found = find_segment(result, input, output, segment);
    return found ? found->score : 0;
}

double td_result_score(const td_result *result, size_t input, size_t output)
{
    const td_result_output *found = find_output(result, input, output);
    return found ? found->score : 0;
}

const float *td_result_token_logprobs(const td_result *result, size_t input, size_t output, size_t *ret_count)
{
    const td_result_output *found = find_output(result, input, output);
    if (ret_count)
        *ret_count = found ? found->count : 0;
    return found ? found->logprobs : NULL;
}

const float *td_result_attention(const td_result *result, size_t input, size_t output, size_t *ret_rows, size_t *ret_columns)
{
    const td_result_output *found = find_output(result, input, output);
    bool held = found && found->attention;
    if (ret_rows)
        *ret_rows = held ? found->count : 0;
    if (ret_columns)
        *ret_columns = held ? result->inputs[input].memory_length : 0;
    return held ? found->attention : NULL;
}

const int32_t *td_result_source_ids(const td_result *result, size_t input, size_t *ret_count)
{
    const td_result_input *found = find_input(result, input);
    if (ret_count)
        *ret_count = found ? found->source_count : 0;
    return found ? found->source_ids : NULL;
}

const char *td_result_source_piece(const td_result *result, size_t input, size_t position)
{
    const td_result_input *found = find_input(result, input);
    return found && position < found->source_count ? piece_of(result, input, found->source_ids[position]) : NULL;
}

size_t td_result_truncated(const td_result *result, size_t input)
{
    const td_result_input *found = find_input(result, input);
    return found ? found->truncated : 0;
}
