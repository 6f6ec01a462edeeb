/* Whisper over recordings of any length (Radford 2022, sections 3.8 and 4.5; transformers' sequential long form). All recordings at hand
 * go forward a window at a time, their windows in one batch; those that came out badly are decoded anew at the next temperature. */
#include "api/transcribe.h"
#include "api/whisper.h"
#include "api/windows.h"
#include "api/words.h"

#include "audio/whisper_sound.h"
#include "base/random.h"

#include <math.h>
#include <string.h>

/* Rows of the spectrogram to one position of the encoder. */
#define STRIDE 2

typedef struct windows_run {
    td_transcribe_call *call;
    const td_whisper_settings *settings;
    td_whisper whisper;
    td_generation generation; /* shares what it points at with the request's */
    double precision;         /* seconds of a time stamp's step */
    size_t positions;         /* of the decoder */
    td_window *windows;       /* [count of recordings] */
    td_alignment_heads heads; /* none: times of words are not asked for */
    td_arena arena;           /* of single passes through the network */
    double temperature;
    bool timestamps; /* which windows the search is at */
    size_t next;
} windows_run;

static bool in_play(const td_window *window)
{
    return window->sound && window->seek < window->end;
}

static void fail_window(windows_run *run, td_window *window, td_status status)
{
    td_error *error = &run->call->recordings[window - run->windows].error;
    error->status = error->status == TD_OK ? status : error->status;
    td_window_close(window);
}

static td_status open_window(windows_run *run, size_t index, td_error *error)
{
    const td_recording *recording = &run->call->recordings[index];
    const td_transcribe_options *options = &run->call->options;
    td_window *window = &run->windows[index];
    TD_TRY(td_whisper_sound_open(run->settings, recording->name, recording->raw, &window->sound, error));
    window->end = td_whisper_sound_frames(window->sound);
    recording->transcript->seconds = td_whisper_sound_seconds(window->sound);
    size_t frames = td_whisper_window_frames(run->settings);
    window->timestamps = options->timestamps >= 0 ? options->timestamps != 0 : run->whisper.return_timestamps || window->end > frames;
    window->timestamps = window->timestamps || options->word_timestamps > 0;
    window->end = window->end > frames ? window->end : frames; /* a short recording is a whole window, its end silent */
    window->tell = run->whisper.condition_on_previous;
    for (size_t i = 0; window->tell && i < run->whisper.told.length; i++)
        td_ids_append(&window->before, run->whisper.told.data[i]);
    const td_id_list *given = &run->generation.prefix;
    if (given->count) { /* a prompt of the caller's own */
        td_ids_append(&window->prompt, run->whisper.start);
        for (size_t i = 0; i < given->count; i++)
            td_ids_append(&window->prompt, given->ids[i]);
        window->timestamps = given->ids[given->count - 1] != run->whisper.no_timestamps;
        return td_ids_ok(&window->prompt) ? TD_OK : td_fail_memory(error, 0);
    }
    if (window->timestamps && run->whisper.no_timestamps < 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"no_timestamps_token_id\" is missing: the model writes no time stamps",
                       run->whisper.file);
    int32_t language;
    TD_TRY(td_whisper_language(&run->whisper, options, &language, error));
    if (language == TD_WHISPER_DETECT) {
        const float *logits;
        const td_model *model = run->call->request->model;
        TD_TRY(td_window_encode(model, run->call->search, &run->arena, window, error));
        TD_TRY(td_window_probe(model, run->call->search, &run->arena, &window->memory, &run->whisper.start, 1, &logits, error));
        language = td_whisper_detect(&run->whisper, logits);
    }
    TD_TRY(td_whisper_prompt(&run->whisper, options, language, window->timestamps, &window->prompt, error));
    int32_t named = window->prompt.length > 1 ? window->prompt.data[1] : -1;
    recording->transcript->language = td_whisper_language_name(&run->whisper, named);
    return TD_OK;
}

/* The text before, or what the caller tells, after its mark; then the prompt. */
static td_status write_prompt(const windows_run *run, td_window *window, td_error *error)
{
    const td_ids *told = window->tell && window->before.length ? &window->before : &run->whisper.told;
    size_t most = run->positions / 2 - 1, count = told->length;
    td_ids_clear(&window->fed);
    if (count > 0) {
        td_ids_append(&window->fed, run->whisper.previous);
        for (size_t i = count > most ? count - most : 0; i < count; i++)
            td_ids_append(&window->fed, told->data[i]);
    }
    window->start_at = window->fed.length;
    for (size_t i = 0; i < window->prompt.length; i++)
        td_ids_append(&window->fed, window->prompt.data[i]);
    return td_ids_ok(&window->fed) ? TD_OK : td_fail_memory(error, window->fed.length * sizeof *window->fed.data);
}

static td_status begin_window(windows_run *run, td_window *window, td_error *error)
{
    size_t frames = td_whisper_window_frames(run->settings), left = window->end - window->seek;
    window->frames = left < frames ? left : frames;
    window->number++;
    window->wanted = true;
    TD_TRY(write_prompt(run, window, error));
    return td_window_encode(run->call->request->model, run->call->search, &run->arena, window, error);
}

/* Random streams depend on the recording and the window, not on their company. */
static size_t name_of(const windows_run *run, const td_window *window)
{
    return (run->call->recordings[window - run->windows].number << 24) + window->number;
}

static td_status give_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    windows_run *run = context;
    if (td_transcribe_cancelled(run->call))
        return td_fail(error, TD_ERROR_CANCELLED, "cancelled");
    *ret_given = false;
    while (run->next < run->call->count && !*ret_given) {
        td_window *window = &run->windows[run->next++];
        if (!window->wanted || window->timestamps != run->timestamps)
            continue;
        *ret_index = name_of(run, window);
        *ret_source = (td_source){.features = window->memory.data,
                                  .length = window->memory.rows,
                                  .width = window->memory.width,
                                  .encoded = true,
                                  .prefix = window->fed.data,
                                  .prefix_count = window->fed.length,
                                  .starts = true};
        *ret_given = true;
    }
    return TD_OK;
}

static td_status take_output(void *context, size_t index, const td_output *output, td_error *error)
{
    windows_run *run = context;
    td_window *window = NULL;
    for (size_t i = 0; i < run->call->count && !window; i++)
        if (run->windows[i].wanted && name_of(run, &run->windows[i]) == index)
            window = &run->windows[i];
    if (!window)
        return td_fail(error, TD_ERROR_INTERNAL, "a window came back that was not sent");
    const td_hypothesis *best = &output->hypotheses[0];
    size_t room = run->positions > window->fed.length ? run->positions - window->fed.length : 0; /* positions in all */
    double sum = 0;
    td_ids_clear(&window->written);
    for (size_t i = best->prefix_count; i < best->count && window->written.length < room; i++) {
        td_ids_append(&window->written, best->ids[i]);
        sum += (double)best->logprobs[i];
    }
    size_t count = window->written.length;
    bool beams = run->generation.num_beams > 1 && !run->generation.do_sample;
    window->score = beams ? best->score : count ? sum / (double)count : 0;
    window->temperature = run->temperature;
    return td_ids_ok(&window->written) ? TD_OK : td_fail_memory(error, count * sizeof *best->ids);
}

/* Decodes the windows that are wanted. */
static td_status decode(windows_run *run, double temperature, td_error *error)
{
    td_generation generation = run->generation;
    if (temperature > 0) {
        generation.do_sample = true;
        generation.num_beams = 1;
        generation.temperature = temperature;
        generation.seed = td_random_key(generation.seed, (uint64_t)(temperature * 1e6), 0);
    }
    generation.prefix = (td_id_list){NULL, 0};
    run->temperature = temperature;
    for (int timestamps = 0; timestamps < 2; timestamps++) {
        bool any = false;
        for (size_t i = 0; i < run->call->count; i++)
            any = any || (run->windows[i].wanted && run->windows[i].timestamps == (timestamps != 0));
        run->timestamps = generation.return_timestamps = timestamps != 0;
        run->next = 0;
        td_generate_callbacks callbacks = {.context = run, .next = give_source, .finished = take_output};
        if (any)
            TD_TRY(td_generate(run->call->search, &generation, &callbacks, error));
    }
    return TD_OK;
}

/* The window holds no speech, by the probability of the token for that right after the start token. */
static td_status is_silent(windows_run *run, const td_window *window, bool *ret_silent, td_error *error)
{
    const float *logits;
    const td_model *model = run->call->request->model;
    TD_TRY(td_window_probe(model, run->call->search, &run->arena, &window->memory, window->fed.data, window->start_at + 1, &logits, error));
    *ret_silent = td_window_probability(logits, model->network.vocabulary, run->whisper.no_timestamps - 1) > run->whisper.no_speech;
    return TD_OK;
}

/* Sets which windows are to be decoded again. */
static td_status judge(windows_run *run, bool *ret_any, td_error *error)
{
    const td_whisper *whisper = &run->whisper;
    *ret_any = false;
    for (size_t i = 0; i < run->call->count; i++) {
        td_window *window = &run->windows[i];
        if (!window->wanted)
            continue;
        bool unsure = whisper->thresholds[1] && window->score < whisper->log_probability;
        double ratio = 0;
        if (whisper->thresholds[0])
            TD_TRY(td_window_compression(&window->written, run->call->request->model->network.vocabulary, &ratio, error));
        window->wanted = unsure || ratio > whisper->compression_ratio;
        window->skip = false;
        if (unsure && whisper->thresholds[2] && whisper->no_timestamps > 0)
            TD_TRY(is_silent(run, window, &window->skip, error));
        window->wanted = window->wanted && !window->skip;
        *ret_any = *ret_any || window->wanted;
    }
    return TD_OK;
}

static td_status decode_with_fallback(windows_run *run, td_error *error)
{
    static const double greedy = 0;
    const td_transcribe_options *options = &run->call->options;
    const double *temperatures = options->temperature_count ? options->temperatures : &greedy;
    size_t count = options->temperature_count ? options->temperature_count : 1;
    bool any = true;
    for (size_t i = 0; i < count && any; i++) {
        TD_TRY(decode(run, temperatures[i], error));
        TD_TRY(judge(run, &any, error));
    }
    return TD_OK;
}

/* Where the window begins in the recording. */
static double seconds_at(const windows_run *run, const td_window *window)
{
    return (double)window->seek * run->precision / STRIDE;
}

/* Hundredths, as transformers gives times of words. */
static double rounded(double seconds)
{
    return round(seconds * 100) / 100;
}

/* Gives the segment its words: tokens [first, end) of what was written, the window beginning at `offset`. */
static td_status add_words(windows_run *run, td_window *window, size_t first, size_t end, double offset, const char *language,
                           td_transcript_segment *segment, td_error *error)
{
    const td_model *model = run->call->request->model;
    size_t count = 0;
    int32_t *ids = td_allocate_array(end - first, sizeof *ids);
    double *times = td_allocate_array(2 * (end - first), sizeof *times);
    td_status status = ids && times ? TD_OK : td_fail_memory(error, (end - first) * 2 * sizeof *times);
    for (size_t i = first; status == TD_OK && i < end; i++) {
        int32_t id = window->written.data[i];
        double said = rounded(window->times[i] + offset);
        if (id < run->whisper.first_timestamp && !td_tokenizer_is_special(model->tokenizer, id)) {
            times[2 * count] = window->said;
            times[2 * count + 1] = said;
            ids[count++] = id;
        }
        window->said = said;
    }
    td_words words = {.text = TD_BUFFER_INIT};
    if (status == TD_OK && count > 0)
        status = td_words_of(model, ids, count, language, &words, error);
    if (status == TD_OK)
        status = td_transcript_add_words(segment, &words, times, error);
    td_words_free(&words);
    td_release(ids);
    td_release(times);
    return status;
}

/* A segment of the window: tokens [first, end) of what was written. */
static td_status add_segment(windows_run *run, td_window *window, size_t first, size_t end, double from, double to, td_error *error)
{
    const td_recording *recording = &run->call->recordings[window - run->windows];
    const int32_t *ids = window->written.data + first;
    td_buffer text = TD_BUFFER_INIT;
    td_transcript_segment *segment = NULL;
    TD_TRY(td_window_spell(run->call->request->model, ids, end - first, run->whisper.first_timestamp, &text, error));
    td_status status = td_transcript_add(recording->transcript, from, to, td_buffer_text(&text), ids, end - first, &segment, error);
    td_buffer_free(&text);
    TD_TRY(status);
    segment->score = window->score;
    if (window->times)
        TD_TRY(add_words(run, window, first, end, seconds_at(run, window), recording->transcript->language, segment, error));
    for (size_t i = first; i < end; i++) {
        td_ids_append(&window->all, window->written.data[i]);
        if (i + 1 < end || !(end - first > 2 && window->written.data[end - 2] >= run->whisper.first_timestamp))
            td_ids_append(&window->before, window->written.data[i]);
    }
    return td_transcribe_show(run->call, segment, error);
}

/* Cuts what was written at its pairs of time stamps and moves on to the last of them. */
static td_status cut_segments(windows_run *run, td_window *window, td_error *error)
{
    const int32_t *ids = window->written.data, zero = run->whisper.first_timestamp;
    size_t count = window->written.length, first = 0;
    double offset = seconds_at(run, window);
    bool single_end = count >= 2 && ids[count - 1] >= zero && ids[count - 2] < zero;
    size_t pairs = 0, last = 0;
    for (size_t i = 0; i + 1 < count; i++)
        if (ids[i] >= zero && ids[i + 1] >= zero) {
            pairs++;
            last = i + 1;
        }
    if (pairs == 0) {
        size_t stamp = count;
        while (stamp > 0 && ids[stamp - 1] < zero)
            stamp--;
        bool stamped = stamp > 0 && ids[stamp - 1] > zero;
        double length = stamped ? (double)(ids[stamp - 1] - zero) : (double)(window->frames / STRIDE);
        TD_TRY(add_segment(run, window, 0, count, offset, offset + length * run->precision, error));
        window->seek += window->frames;
        return TD_OK;
    }
    for (size_t i = 0; i + 1 < count; i++) {
        if (!(ids[i] >= zero && ids[i + 1] >= zero))
            continue;
        size_t end = i + 1 == last && !single_end ? i + 2 : i + 1;
        double from = (double)(ids[first] - zero), to = (double)(ids[i] - zero);
        TD_TRY(add_segment(run, window, first, end, offset + from * run->precision, offset + to * run->precision, error));
        first = i + 1;
    }
    if (single_end) {
        double from = (double)(ids[first] - zero), to = (double)(ids[count - 1] - zero);
        TD_TRY(add_segment(run, window, first, count, offset + from * run->precision, offset + to * run->precision, error));
        window->seek += window->frames;
        return TD_OK;
    }
    size_t step = (size_t)(ids[last - 1] - zero) * STRIDE; /* what is behind is heard again */
    window->seek += step ? step : window->frames;
    return TD_OK;
}

static td_status finish_window(windows_run *run, td_window *window, td_error *error)
{
    window->wanted = false;
    if (window->skip) {
        window->seek += window->frames;
        return TD_OK;
    }
    size_t count = window->written.length, sound = td_whisper_sound_filled(window->sound);
    if (run->heads.layer.length && count)
        TD_TRY(td_window_align(run->call->request->model, run->call->search, &run->arena, window, &run->heads,
                               sound > window->seek ? (sound - window->seek) / STRIDE : 0, run->precision, error));
    int32_t end = run->generation.eos_token_id.count ? run->generation.eos_token_id.ids[0] : run->call->request->model->network.eos_id;
    if (count && window->written.data[count - 1] == end)
        window->written.length--;
    window->tell = run->whisper.condition_on_previous && window->temperature < 0.5;
    if (window->written.length == 0) {
        window->seek += window->frames;
        return TD_OK;
    }
    return cut_segments(run, window, error);
}

static td_status finish_recording(windows_run *run, size_t index, td_error *error)
{
    td_window *window = &run->windows[index];
    td_buffer *text = &run->call->recordings[index].transcript->text;
    return td_window_spell(run->call->request->model, window->all.data, window->all.length, run->whisper.first_timestamp, text, error);
}

/* Takes every recording one window further. */
static td_status advance(windows_run *run, bool *ret_any, td_error *error)
{
    *ret_any = false;
    for (size_t i = 0; i < run->call->count; i++) {
        td_window *window = &run->windows[i];
        td_status status = in_play(window) ? begin_window(run, window, &run->call->recordings[i].error) : TD_OK;
        if (status != TD_OK)
            fail_window(run, window, status);
        *ret_any = *ret_any || in_play(window);
    }
    if (!*ret_any)
        return TD_OK;
    TD_TRY(decode_with_fallback(run, error));
    for (size_t i = 0; i < run->call->count; i++)
        if (in_play(&run->windows[i]))
            TD_TRY(finish_window(run, &run->windows[i], error));
    return TD_OK;
}

static td_status run_windows(windows_run *run, td_error *error)
{
    const td_model *model = run->call->request->model;
    run->generation = run->call->request->generation;
    run->generation.processed_logprobs = true;
    run->generation.num_return_sequences = 1;
    run->positions = model->network.max_positions;
    if (run->generation.max_new_tokens == 0) {
        if (run->generation.max_length == 0 || run->generation.max_length >= run->positions)
            run->generation.max_length = run->positions;
        else
            run->generation.max_new_tokens = run->generation.max_length;
    }
    if (run->call->request->options.prefix)
        return td_fail(error, TD_ERROR_ARGUMENT, "Whisper's output cannot be made to begin with a text");
    run->precision = STRIDE * (double)run->settings->spectrum.options.shift / (double)run->settings->rate;
    TD_TRY(td_whisper_open(model, &run->generation, &run->call->options, &run->whisper, error));
    if (run->call->options.word_timestamps > 0)
        TD_TRY(td_whisper_heads(&run->whisper, &run->heads, error));
    for (size_t i = 0; i < run->call->count; i++) {
        td_status status = open_window(run, i, &run->call->recordings[i].error);
        if (status != TD_OK)
            fail_window(run, &run->windows[i], status);
    }
    for (bool any = true; any;)
        TD_TRY(advance(run, &any, error));
    for (size_t i = 0; i < run->call->count; i++)
        TD_TRY(finish_recording(run, i, error));
    return TD_OK;
}

td_status td_transcribe_windows(td_transcribe_call *call, td_error *error)
{
    windows_run run = {.call = call, .settings = call->request->model->frontend.state};
    run.windows = td_allocate_array(call->count, sizeof *run.windows);
    if (!run.windows)
        return td_fail_memory(error, call->count * sizeof *run.windows);
    td_arena_init(&run.arena);
    td_status status = run_windows(&run, error);
    for (size_t i = 0; i < call->count; i++)
        td_window_close(&run.windows[i]);
    td_release(run.windows);
    td_ids_free(&run.heads.layer);
    td_ids_free(&run.heads.head);
    td_arena_free(&run.arena);
    td_whisper_close(&run.whisper);
    return status;
}
