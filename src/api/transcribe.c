/* Entry points of transcription: options, and recordings shared out among threads. */
#include "api/transcribe.h"

#include "api/session.h"
#include "audio/frontends.h"
#include "kernels/gemm.h"
#include "platform/cpu.h"
#include "platform/thread.h"

#include <pthread.h>
#include <string.h>

#define TOGETHER 8 /* recordings of one thread at a time */

static td_status copy_options(const td_transcribe_options *options, td_transcribe_options *ret_copy, td_error *error)
{
    td_transcribe_options copy = TD_TRANSCRIBE_OPTIONS_INIT;
    if (options && options->struct_size < sizeof options->struct_size)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: struct_size is %zu; begin with TD_TRANSCRIBE_OPTIONS_INIT",
                       options->struct_size);
    if (options)
        memcpy(&copy, options, options->struct_size < sizeof copy ? options->struct_size : sizeof copy);
    if (copy.task && strcmp(copy.task, "transcribe") != 0 && strcmp(copy.task, "translate") != 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: task \"%s\" is neither transcribe nor translate", copy.task);
    if (copy.temperature_count && !copy.temperatures)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: temperatures is NULL, temperature_count %zu", copy.temperature_count);
    for (size_t i = 0; i < copy.temperature_count; i++)
        if (!(copy.temperatures[i] >= 0 && copy.temperatures[i] <= 100))
            return td_fail(error, TD_ERROR_ARGUMENT, "options: temperature %g is not 0 to 100", copy.temperatures[i]);
    if (copy.generate && copy.generate->nbest > 1)
        return td_fail(error, TD_ERROR_ARGUMENT, "options: a transcript is the best output; nbest %lld can be had from td_generate_texts",
                       (long long)copy.generate->nbest);
    *ret_copy = copy;
    return TD_OK;
}

static bool has_windows(const td_model *model)
{
    return model->frontend.kind == &td_whisper_frontend;
}

/* Options that the model has no use for are mistakes, not hints. */
static td_status check_options(const td_model *model, const td_transcribe_options *options, td_error *error)
{
    const char *name = options->language                                          ? "language"
                       : options->task && strcmp(options->task, "translate") == 0 ? "task translate"
                       : options->word_timestamps > 0                             ? "word_timestamps"
                       : options->prompt                                          ? "prompt"
                                                                                  : NULL;
    if (has_windows(model) || !name)
        return TD_OK;
    return td_fail(error, TD_ERROR_ARGUMENT, "%s is for Whisper checkpoints; this model is of type %s", name,
                   model->network.architecture->model_type);
}

/* What single outputs are told by the options of generation has its own place here. */
static td_status check_generate(const td_generate_options *generate, td_error *error)
{
    bool has_task = generate && generate->struct_size > offsetof(td_generate_options, task) && generate->task;
    if (generate && (generate->source_language || has_task))
        return td_fail(error, TD_ERROR_ARGUMENT,
                       "options: language and task of a transcription are its own options, not those of generate");
    return TD_OK;
}

static td_status prepare(td_model *model, const td_transcribe_options *options, td_transcribe_options *ret_options, td_request *ret_request,
                         td_error *error)
{
    TD_TRY(copy_options(options, ret_options, error));
    if (model->network.architecture->source != TD_AUDIO)
        return td_fail(error, TD_ERROR_ARGUMENT, "the model does not take sound");
    TD_TRY(check_options(model, ret_options, error));
    TD_TRY(check_generate(ret_options->generate, error));
    TD_TRY(td_request_prepare(model, ret_options->generate, ret_options->temperature_count > 0, ret_request, error));
    td_status status = td_request_frontend(ret_request, error);
    if (status != TD_OK)
        td_request_free(ret_request);
    return status;
}

static td_status transcribe(td_transcribe_call *call, td_error *error)
{
    for (size_t i = 0; i < call->count; i++) {
        call->recordings[i].transcript = td_allocate_array(1, sizeof *call->recordings[i].transcript);
        if (!call->recordings[i].transcript)
            return td_fail_memory(error, sizeof *call->recordings[i].transcript);
        call->recordings[i].transcript->text = (td_buffer)TD_BUFFER_INIT;
    }
    TD_TRY((has_windows(call->request->model) ? td_transcribe_windows : td_transcribe_utterances)(call, error));
    for (size_t i = 0; i < call->count; i++)
        if (!td_buffer_ok(&call->recordings[i].transcript->text))
            return td_fail_memory(error, call->recordings[i].transcript->text.length);
    return TD_OK;
}

static td_status transcribe_one(td_session *session, td_recording *recording, const td_transcribe_options *options,
                                td_transcript **ret_transcript, td_error *error)
{
    td_transcribe_call call = {.search = session->search, .recordings = recording, .count = 1};
    td_request request;
    TD_TRY(prepare(session->model, options, &call.options, &request, error));
    call.request = &request;
    td_gemm_thread_setup();
    td_status status = transcribe(&call, error);
    td_request_free(&request);
    if (status == TD_OK && recording->error.status != TD_OK)
        status = td_fail(error, recording->error.status, "%s", recording->error.message);
    if (status != TD_OK) {
        td_transcript_free(recording->transcript);
        return status;
    }
    *ret_transcript = recording->transcript;
    return TD_OK;
}

td_status td_transcribe(td_session *session, const char *path, const td_transcribe_options *options, td_transcript **ret_transcript,
                        td_error *error)
{
    if (!session || !path || !ret_transcript)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_transcribe: session, path and ret_transcript must not be NULL");
    td_recording recording = {.name = path};
    return transcribe_one(session, &recording, options, ret_transcript, error);
}

td_status td_transcribe_samples(td_session *session, const float *samples, size_t frames, size_t channels, size_t rate,
                                const td_transcribe_options *options, td_transcript **ret_transcript, td_error *error)
{
    if (!session || !samples || !ret_transcript || channels == 0 || rate == 0)
        return td_fail(error, TD_ERROR_ARGUMENT,
                       "td_transcribe_samples: session, samples and ret_transcript must not be NULL, channels and rate not 0");
    td_raw_sound sound = {samples, frames, channels, rate};
    td_recording recording = {.name = "sound in memory", .raw = &sound};
    return transcribe_one(session, &recording, options, ret_transcript, error);
}

typedef struct workers {
    const td_request *request;
    td_transcribe_options options;
    td_batch_options batch;
    td_transcript_callback callback;
    void *context;
    size_t together, threads_each; /* recordings of a search; threads of one */
    pthread_mutex_t mutex;         /* guards what follows, and is held during the callback */
    td_recording *recordings;
    bool *done;
    size_t count, taken, delivered;
    td_error error; /* the first failure of the whole */
} workers;

static void fail_all(workers *all, const td_error *error)
{
    pthread_mutex_lock(&all->mutex);
    if (all->error.status == TD_OK)
        all->error = *error;
    pthread_mutex_unlock(&all->mutex);
}

/* Called with the mutex held. */
static void hand_out(workers *all)
{
    for (; all->delivered < all->count && all->done[all->delivered] && all->error.status == TD_OK; all->delivered++) {
        td_recording *recording = &all->recordings[all->delivered];
        bool good = recording->error.status == TD_OK;
        if (!all->callback(all->context, all->batch.first_index + all->delivered, good ? recording->transcript : NULL,
                           good ? NULL : &recording->error))
            td_fail(&all->error, TD_ERROR_CANCELLED, "stopped by the callback");
        td_transcript_free(recording->transcript);
        recording->transcript = NULL;
    }
}

/* The next recordings; their number. */
static size_t take(workers *all, size_t *ret_first)
{
    pthread_mutex_lock(&all->mutex);
    size_t left = all->error.status == TD_OK ? all->count - all->taken : 0, count = left < all->together ? left : all->together;
    *ret_first = all->taken;
    all->taken += count;
    pthread_mutex_unlock(&all->mutex);
    return count;
}

static td_status work(workers *all, td_search *search, td_error *error)
{
    size_t first, count;
    while ((count = take(all, &first)) > 0) {
        if (all->batch.cancel && *all->batch.cancel)
            return td_fail(error, TD_ERROR_CANCELLED, "cancelled");
        td_transcribe_call call = {search, all->request, all->options, all->recordings + first, count, all->batch.cancel};
        TD_TRY(transcribe(&call, error));
        pthread_mutex_lock(&all->mutex);
        for (size_t i = 0; i < count; i++)
            all->done[first + i] = true;
        hand_out(all);
        pthread_mutex_unlock(&all->mutex);
    }
    return TD_OK;
}

static void *run_thread(void *context)
{
    workers *all = context;
    td_search *search = NULL;
    td_error error = {TD_OK, ""};
    td_gemm_thread_setup();
    td_search_options options = {.batch_tokens = all->batch.batch_tokens, .threads = all->threads_each};
    td_status status = td_search_new(&all->request->model->network, &options, &search, &error);
    if (status == TD_OK) {
        TD_PROFILE(td_search_recorder(search), "other");
        status = work(all, search, &error);
    }
    if (status != TD_OK)
        fail_all(all, &error);
    td_search_free(search);
    return NULL;
}

/* The calling thread is one of them; a thread that cannot be started is done without. */
static td_status run_threads(workers *all, size_t searches, td_error *error)
{
    pthread_mutex_init(&all->mutex, NULL);
    td_status status = td_threads_run(searches, run_thread, all, error);
    pthread_mutex_destroy(&all->mutex);
    TD_TRY(status);
    return all->error.status == TD_OK ? TD_OK : td_fail(error, all->error.status, "%s", all->error.message);
}

static td_status run_workers(workers *all, const char *const *paths, td_error *error)
{
    size_t count = all->count, threads = all->batch.threads ? all->batch.threads : (size_t)td_cpu_count();
    size_t searches = threads < count ? threads : count;
    all->together = count / searches < TOGETHER ? count / searches : TOGETHER;
    all->threads_each = threads / searches;
    all->recordings = td_allocate_array(count, sizeof *all->recordings);
    all->done = td_allocate_array(count, sizeof *all->done);
    td_status status = all->recordings && all->done ? TD_OK : td_fail_memory(error, count * sizeof *all->recordings);
    for (size_t i = 0; status == TD_OK && i < count; i++) {
        all->recordings[i].name = paths[i];
        all->recordings[i].number = all->batch.first_index + i;
        if (!paths[i])
            status = td_fail(error, TD_ERROR_ARGUMENT, "td_transcribe_files: path %zu is NULL", i);
    }
    if (status == TD_OK)
        status = run_threads(all, searches, error);
    for (size_t i = 0; all->recordings && i < count; i++)
        td_transcript_free(all->recordings[i].transcript);
    td_release(all->recordings);
    td_release(all->done);
    return status;
}

td_status td_transcribe_files(td_model *model, const char *const *paths, size_t count, const td_transcribe_options *options,
                              const td_batch_options *batch_options, td_transcript_callback callback, void *context, td_error *error)
{
    if (!model || (count && !paths) || !callback)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_transcribe_files: model, paths and callback must not be NULL");
    workers all = {.batch = TD_BATCH_OPTIONS_INIT, .callback = callback, .context = context, .count = count};
    if (batch_options)
        memcpy(&all.batch, batch_options, batch_options->struct_size < sizeof all.batch ? batch_options->struct_size : sizeof all.batch);
    td_request request;
    TD_TRY(prepare(model, options, &all.options, &request, error));
    all.request = &request;
    td_status status = TD_OK;
    if (all.options.on_segment)
        status = td_fail(error, TD_ERROR_ARGUMENT, "td_transcribe_files: on_segment is for one recording at a time");
    else if (count)
        status = run_workers(&all, paths, error);
    td_request_free(&request);
    return status;
}
