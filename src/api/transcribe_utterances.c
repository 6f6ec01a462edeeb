/* Models for utterances: pieces of the recordings, cut at pauses, enter the search as it has room, so that little more than a batch is in
 * memory. */
#include "api/transcribe.h"

#include "audio/voice.h"

#include <string.h>

/* A piece that is being decoded. */
typedef struct piece {
    struct piece *next;
    size_t recording, number; /* of the recording's pieces */
    double start, end;
    td_features features;
    char *text; /* NULL: not done */
    td_ids ids;
    double score;
} piece;

typedef struct utterances {
    td_transcribe_call *call;
    const td_frontend *frontend;
    td_sound_stream *stream; /* of the recording being read */
    td_voice *voice;
    bool whole;             /* the recording being read was taken as features */
    size_t reading, pieces; /* index of that recording; pieces cut from it so far */
    size_t *delivered;      /* [count]: pieces of a recording in its transcript */
    piece *open;            /* cut and not yet delivered */
} utterances;

static void release_piece(piece *one)
{
    td_features_free(&one->features);
    td_ids_free(&one->ids);
    td_release(one->text);
    td_release(one);
}

static void close_recording(utterances *run)
{
    td_voice_close(run->voice);
    td_sound_stream_close(run->stream);
    run->voice = NULL;
    run->stream = NULL;
    run->whole = false;
    run->pieces = 0;
}

static td_status open_recording(utterances *run, td_recording *recording, td_error *error)
{
    const td_frontend_kind *kind = run->frontend->kind;
    size_t rate = kind->sound_rate ? kind->sound_rate(run->frontend->state, recording->raw ? NULL : recording->name) : 0;
    if (rate == 0) {
        run->whole = true;
        return TD_OK;
    }
    TD_TRY(recording->raw ? td_sound_stream_take(recording->raw, rate, &run->stream, error)
                          : td_sound_stream_open(recording->name, NULL, 0, rate, &run->stream, error));
    const td_transcribe_options *options = &run->call->options;
    td_voice_options voice = {options->longest_segment, options->pause, options->padding};
    return td_voice_open(run->stream, &voice, &run->voice, error);
}

/* Features that were made before, in one piece; *ret_given false: they were given. */
static td_status read_whole(utterances *run, td_recording *recording, piece *one, bool *ret_given, td_error *error)
{
    const td_frontend *frontend = run->frontend;
    *ret_given = run->pieces == 0;
    if (!*ret_given)
        return TD_OK;
    if (recording->raw)
        return frontend->kind->take_sound(frontend->state, recording->raw, &one->features, error);
    return frontend->kind->read(frontend->state, recording->name, NULL, 0, &one->features, error);
}

static td_status read_piece(utterances *run, td_recording *recording, piece *one, bool *ret_given, td_error *error)
{
    if (!run->voice && !run->whole)
        TD_TRY(open_recording(run, recording, error));
    if (run->whole)
        return read_whole(run, recording, one, ret_given, error);
    td_voice_segment segment;
    TD_TRY(td_voice_next(run->voice, &segment, error));
    recording->transcript->seconds = td_voice_seconds(run->voice);
    *ret_given = segment.samples != NULL;
    if (!segment.samples)
        return TD_OK;
    one->start = segment.start;
    one->end = segment.end;
    td_raw_sound sound = {segment.samples, segment.count, 1, td_sound_stream_rate(run->stream)};
    td_status status = run->frontend->kind->take_sound(run->frontend->state, &sound, &one->features, error);
    td_release(segment.samples);
    return status;
}

/* The next piece of any recording; NULL when all are read. A recording that cannot be read further fails alone. */
static td_status next_piece(utterances *run, piece **ret_piece, td_error *error)
{
    *ret_piece = NULL;
    while (run->reading < run->call->count) {
        td_recording *recording = &run->call->recordings[run->reading];
        piece *one = td_allocate_array(1, sizeof *one);
        if (!one)
            return td_fail_memory(error, sizeof *one);
        bool given = false;
        one->recording = run->reading;
        one->number = run->pieces;
        td_status status = recording->error.status == TD_OK ? read_piece(run, recording, one, &given, &recording->error) : TD_OK;
        if (status == TD_OK && given) {
            run->pieces++;
            *ret_piece = one;
            return TD_OK;
        }
        release_piece(one);
        close_recording(run);
        run->reading++;
    }
    return TD_OK;
}

/* A piece's name in the search: its random stream must not depend on its company. */
static size_t name_of(const utterances *run, const piece *one)
{
    return (run->call->recordings[one->recording].number << 24) + one->number;
}

static td_status give_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    utterances *run = context;
    piece *one = NULL;
    if (td_transcribe_cancelled(run->call))
        return td_fail(error, TD_ERROR_CANCELLED, "cancelled");
    TD_TRY(next_piece(run, &one, error));
    *ret_given = one != NULL;
    if (!one)
        return TD_OK;
    piece **place = &run->open;
    while (*place)
        place = &(*place)->next;
    *place = one;
    *ret_index = name_of(run, one);
    *ret_source = (td_source){.features = one->features.data, .length = one->features.rows, .width = one->features.width};
    return TD_OK;
}

static td_status deliver(utterances *run, piece *one, td_error *error)
{
    td_transcript *transcript = run->call->recordings[one->recording].transcript;
    td_transcript_segment *segment = NULL;
    TD_TRY(td_transcript_add(transcript, one->start, one->end, one->text, one->ids.data, one->ids.length, &segment, error));
    segment->score = one->score;
    if (*one->text) {
        if (transcript->text.length)
            td_buffer_text_append(&transcript->text, " ");
        td_buffer_text_append(&transcript->text, one->text);
    }
    run->delivered[one->recording]++;
    return td_transcribe_show(run->call, segment, error);
}

/* Gives out what is done, each recording in order of time. */
static td_status deliver_done(utterances *run, td_error *error)
{
    piece **place = &run->open;
    while (*place) {
        piece *one = *place;
        if (!one->text || one->number != run->delivered[one->recording]) {
            place = &one->next;
            continue;
        }
        td_status status = deliver(run, one, error);
        *place = one->next;
        release_piece(one);
        TD_TRY(status);
    }
    return TD_OK;
}

static td_status take_output(void *context, size_t index, const td_output *output, td_error *error)
{
    utterances *run = context;
    piece *one = run->open;
    while (one && (one->text || name_of(run, one) != index))
        one = one->next;
    if (!one)
        return td_fail(error, TD_ERROR_INTERNAL, "a segment came back that was not sent");
    const td_hypothesis *best = &output->hypotheses[0];
    double sum = 0;
    td_buffer text = TD_BUFFER_INIT;
    for (size_t i = 0; i < best->count; i++) {
        sum += (double)best->logprobs[i];
        td_ids_append(&one->ids, best->ids[i]);
    }
    one->score = best->count > best->prefix_count ? sum / (double)(best->count - best->prefix_count) : 0;
    td_features_free(&one->features);
    td_status status = td_model_spell(run->call->request->model, NULL, best->ids, best->count, &text, error);
    one->text = status == TD_OK ? td_copy_string(td_buffer_text(&text)) : NULL;
    if (status == TD_OK && (!one->text || !td_ids_ok(&one->ids) || !td_buffer_ok(&text)))
        status = td_fail_memory(error, text.length);
    td_buffer_free(&text);
    TD_TRY(status);
    return deliver_done(run, error);
}

td_status td_transcribe_utterances(td_transcribe_call *call, td_error *error)
{
    utterances run = {.call = call, .frontend = &call->request->model->frontend};
    run.delivered = td_allocate_array(call->count, sizeof *run.delivered);
    if (!run.delivered)
        return td_fail_memory(error, call->count * sizeof *run.delivered);
    td_generate_callbacks callbacks = {.context = &run, .next = give_source, .finished = take_output};
    td_status status = td_generate(call->search, &call->request->generation, &callbacks, error);
    close_recording(&run);
    while (run.open) {
        piece *one = run.open;
        run.open = one->next;
        release_piece(one);
    }
    td_release(run.delivered);
    return status;
}
