#include "api/task.h"

#include "api/whisper.h"
#include "audio/frontends.h"

#include <string.h>

static td_transcribe_options options_of(const td_request *request)
{
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    options.language = request->options.source_language;
    options.task = request->options.task;
    return options;
}

static td_status check(const td_request *request, bool whisper, td_error *error)
{
    const td_generate_options *options = &request->options;
    const char *type = request->model->network.architecture->model_type;
    if (options->task && strcmp(options->task, "transcribe") != 0 && strcmp(options->task, "translate") != 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: task \"%s\" is neither transcribe nor translate", options->task);
    if (options->task && !whisper)
        return td_fail(error, TD_ERROR_ARGUMENT, "task is for Whisper checkpoints; this model is of type %s", type);
    if (options->target_language && whisper)
        return td_fail(error, TD_ERROR_ARGUMENT,
                       "Whisper writes the language spoken or, with the task translate, English; there is no target language to choose");
    return TD_OK;
}

td_status td_task_open(td_request *request, td_error *error)
{
    bool whisper = request->model->frontend.kind == &td_whisper_frontend;
    TD_TRY(check(request, whisper, error));
    if (!whisper || !(request->options.task || request->options.source_language))
        return TD_OK;
    td_transcribe_options options = options_of(request);
    request->whisper = td_allocate_array(1, sizeof *request->whisper);
    if (!request->whisper)
        return td_fail_memory(error, sizeof *request->whisper);
    td_status status = td_whisper_open(request->model, &request->generation, &options, request->whisper, error);
    if (status != TD_OK) {
        td_release(request->whisper);
        request->whisper = NULL;
        return status;
    }
    return td_whisper_language(request->whisper, &options, &request->language, error);
}

void td_task_close(td_request *request)
{
    if (request->whisper)
        td_whisper_close(request->whisper);
    td_release(request->whisper);
    request->whisper = NULL;
}

/* The language the decoder takes the sound for; what the encoder made of it is kept for the search. */
static td_status detect(const td_request *request, td_search *search, td_result_input *input, int32_t *ret_language, td_error *error)
{
    const float *logits = NULL;
    td_features memory = {0};
    td_arena arena;
    td_arena_init(&arena);
    td_status status = td_window_read(request->model, search, &arena, &input->features, &memory, error);
    if (status == TD_OK) {
        td_features_free(&input->features);
        input->features = memory;
        input->encoded = true;
        status = td_window_probe(request->model, search, &arena, &memory, &request->whisper->start, 1, &logits, error);
    }
    if (status == TD_OK)
        *ret_language = td_whisper_detect(request->whisper, logits);
    td_arena_free(&arena);
    return status;
}

td_status td_task_begin(const td_request *request, td_search *search, td_result_input *input, td_error *error)
{
    if (!request->whisper)
        return TD_OK;
    td_transcribe_options options = options_of(request);
    int32_t language = request->language;
    if (language == TD_WHISPER_DETECT)
        TD_TRY(detect(request, search, input, &language, error));
    TD_TRY(td_whisper_prompt(request->whisper, &options, language, request->generation.return_timestamps, &input->prompt, error));
    const td_id_list *given = &request->generation.prefix;
    for (size_t i = 0; i < given->count; i++)
        td_ids_append(&input->prompt, given->ids[i]);
    return td_ids_ok(&input->prompt) ? TD_OK : td_fail_memory(error, input->prompt.length * sizeof *input->prompt.data);
}
