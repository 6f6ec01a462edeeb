#include "api/split.h"

#include "base/array.h"
#include "base/utf8.h"
#include "text/sentences.h"

#include <string.h>

enum { WELL_READ = 100 }; /* tokens: what translation models have seen in training is seldom longer */

void td_split_free(td_split *split)
{
    for (size_t i = 0; i < split->parts_count; i++) {
        td_release(split->parts[i]);
        td_release(split->gaps[i]);
    }
    td_release(split->texts);
    td_release(split->parts);
    td_release(split->gaps);
    *split = (td_split){0};
}

/* ---- cutting ---- */

static td_status add_part(td_split *split, const char *text, size_t gap_begin, size_t begin, size_t end, td_error *error)
{
    size_t capacity = split->capacity, wanted = split->parts_count + 1;
    TD_TRY(td_reserve_array(&split->parts, &capacity, wanted, sizeof *split->parts, error));
    TD_TRY(td_reserve_array(&split->gaps, &split->capacity, wanted, sizeof *split->gaps, error));
    char *part = td_copy_bytes(text + begin, end - begin), *gap = td_copy_bytes(text + gap_begin, begin - gap_begin);
    if (!part || !gap) {
        td_release(part);
        td_release(gap);
        return td_fail_memory(error, end - gap_begin);
    }
    split->parts[split->parts_count] = part;
    split->gaps[split->parts_count++] = gap;
    return TD_OK;
}

static td_status is_long(const td_request *request, const char *text, size_t length, bool *ret_long, td_error *error)
{
    size_t limit = request->model->max_source;
    limit = limit && limit < WELL_READ ? limit : WELL_READ;
    *ret_long = false;
    if (length + request->around.length <= limit)
        return TD_OK;
    td_ids ids = TD_IDS_INIT;
    td_status status = td_tokenizer_encode(request->tokenizer, TD_SOURCE, text, length, &ids, error);
    *ret_long = ids.length > limit;
    td_ids_free(&ids);
    return status;
}

static td_status split_text(const td_request *request, const char *text, td_split *split, td_error *error)
{
    size_t length = strlen(text), count = 0, at = 0;
    bool too_long = false;
    td_span *spans = NULL;
    if (td_utf8_valid_prefix(text, length) == length) /* else the reader of whole texts says why not */
        TD_TRY(is_long(request, text, length, &too_long, error));
    if (too_long)
        TD_TRY(td_sentences_cut(text, length, &spans, &count, error));
    td_status status = TD_OK;
    for (size_t i = 0; count > 1 && status == TD_OK && i < count; i++) {
        status = add_part(split, text, at, spans[i].begin, spans[i].end, error);
        at = spans[i].end;
    }
    split->any = split->any || count > 1;
    td_release(spans);
    return status == TD_OK && count < 2 ? add_part(split, text, 0, 0, length, error) : status;
}

static bool wants_split(const td_request *request)
{
    const td_generate_options *options = &request->options;
    return options->split == TD_SPLIT_SENTENCES && options->input == TD_INPUT_TEXT && !options->on_text && !options->prefix &&
           !options->attention && request->model->network.architecture->source == TD_TEXT && !request->model->network.copies;
}

td_status td_split_texts(const td_request *request, const char *const *texts, size_t count, td_split *ret_split, td_error *error)
{
    td_split split = {.count = count};
    td_status status = TD_OK;
    if (wants_split(request) && count) {
        split.texts = td_allocate_array(count, sizeof *split.texts);
        if (!split.texts)
            return td_fail_memory(error, count * sizeof *split.texts);
        for (size_t i = 0; status == TD_OK && i < count; i++) {
            split.texts[i] = (td_split_text){texts[i], split.parts_count, 0};
            if (!texts[i])
                status = td_fail(error, TD_ERROR_ARGUMENT, "input %zu is NULL", i);
            else
                status = split_text(request, texts[i], &split, error);
            split.texts[i].count = split.parts_count - split.texts[i].first;
        }
    }
    if (status != TD_OK) {
        td_split_free(&split);
        return status;
    }
    *ret_split = split;
    return TD_OK;
}

/* ---- joining ---- */

static td_status join_sources(td_result *const *parts, size_t count, td_result_input *input, td_error *error)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < count; i++) {
        total += parts[i]->inputs[0].source_count;
        input->truncated += parts[i]->inputs[0].truncated;
    }
    input->source_ids = td_allocate_array(total + 1, sizeof *input->source_ids);
    if (!input->source_ids)
        return td_fail_memory(error, total * sizeof *input->source_ids);
    for (size_t i = 0; i < count; i++) {
        const td_result_input *part = &parts[i]->inputs[0];
        memcpy(input->source_ids + at, part->source_ids, part->source_count * sizeof *part->source_ids);
        at += part->source_count;
    }
    input->source_count = total;
    return TD_OK;
}

static td_status join_tokens(td_result *const *parts, size_t count, size_t rank, td_result_output *output, td_error *error)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i]->inputs[0].outputs[rank].count;
    output->ids = td_allocate_array(total + 1, sizeof *output->ids);
    output->logprobs = td_allocate_array(total + 1, sizeof *output->logprobs);
    if (!output->ids || !output->logprobs)
        return td_fail_memory(error, total * sizeof *output->ids);
    for (size_t i = 0; i < count; i++) {
        const td_result_output *part = &parts[i]->inputs[0].outputs[rank];
        memcpy(output->ids + at, part->ids, part->count * sizeof *part->ids);
        memcpy(output->logprobs + at, part->logprobs, part->count * sizeof *part->logprobs);
        at += part->count;
        output->score += part->score;
    }
    output->count = total;
    return TD_OK;
}

static td_status join_output(const td_split *split, const td_split_text *text, td_result *const *parts, size_t rank,
                             td_result_output *output, td_error *error)
{
    td_buffer joined = TD_BUFFER_INIT;
    output->segments = td_allocate_array(text->count, sizeof *output->segments);
    if (!output->segments)
        return td_fail_memory(error, text->count * sizeof *output->segments);
    for (size_t i = 0; i < text->count; i++) {
        const td_result_output *part = &parts[i]->inputs[0].outputs[rank];
        td_result_segment *segment = &output->segments[output->segment_count++];
        td_buffer_text_append(&joined, split->gaps[text->first + i]);
        td_buffer_text_append(&joined, part->text);
        segment->source = td_copy_string(split->parts[text->first + i]);
        segment->text = td_copy_string(part->text);
        segment->score = part->score;
        if (!segment->source || !segment->text)
            joined.failed = true;
    }
    output->text = td_buffer_ok(&joined) ? td_copy_string(td_buffer_text(&joined)) : NULL;
    td_status status = output->text ? join_tokens(parts, text->count, rank, output, error) : td_fail_memory(error, joined.length);
    td_buffer_free(&joined);
    return status;
}

td_status td_split_join(const td_split *split, size_t text, td_result *const *parts, td_result **ret_result, td_error *error)
{
    const td_split_text *whole = &split->texts[text];
    td_result *result = NULL;
    size_t outputs = SIZE_MAX;
    for (size_t i = 0; i < whole->count; i++)
        outputs = parts[i]->inputs[0].output_count < outputs ? parts[i]->inputs[0].output_count : outputs;
    TD_TRY(td_result_new(parts[0]->model, 1, &result, error));
    td_result_input *input = &result->inputs[0];
    td_status status = join_sources(parts, whole->count, input, error);
    input->outputs = status == TD_OK ? td_allocate_array(outputs + 1, sizeof *input->outputs) : NULL;
    if (status == TD_OK && !input->outputs)
        status = td_fail_memory(error, outputs * sizeof *input->outputs);
    while (status == TD_OK && input->output_count < outputs) {
        size_t rank = input->output_count++;
        status = join_output(split, whole, parts, rank, &input->outputs[rank], error);
    }
    if (status != TD_OK) {
        td_result_free(result);
        return status;
    }
    *ret_result = result;
    return TD_OK;
}
