/* Recordings of any length to text with times: a model that was trained here, or a Whisper checkpoint.
 *
 *     td_transcript *transcript = NULL;
 *     if (td_transcribe(session, "talk.flac", NULL, &transcript, &error) == TD_OK)
 *         for (size_t i = 0; i < td_transcript_segments(transcript); i++) {
 *             const td_transcript_segment *segment = td_transcript_segment_at(transcript, i);
 *             printf("%.2f %.2f %s\n", segment->start, segment->end, segment->text);
 *         }
 *
 * Models for utterances read the recording cut at its pauses (by energy), several pieces in one batch. Whisper reads windows (30 s in
 * published checkpoints), each beginning where the last time stamp of the one before says; prompts, rules and what is done with time
 * stamps are those of transformers' generate. Memory stays bounded, however long the recording. */
#ifndef TANDEM_TRANSCRIBE_H
#define TANDEM_TRANSCRIBE_H

#include <tandem/tandem.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_transcript td_transcript;

typedef struct td_transcript_word {
    double start, end; /* seconds from the beginning of the recording */
    const char *text;  /* with the space before it, if there is one, and the punctuation beside it */
} td_transcript_word;

typedef struct td_transcript_segment {
    double start, end; /* seconds from the beginning of the recording */
    const char *text;
    double score;       /* mean log-probability of the tokens; Whisper: of all tokens of the window */
    const int32_t *ids; /* [id_count]; time stamps included */
    size_t id_count;
    const td_transcript_word *words; /* [word_count]; of word_timestamps, else none */
    size_t word_count;
} td_transcript_segment;

typedef struct td_transcribe_options {
    size_t struct_size;
    const td_generate_options *generate; /* how a segment is decoded: beam, lengths, settings; NULL: as the model says */
    /* Receives each segment, in order, as soon as it is done; returning false ends the transcription with TD_ERROR_CANCELLED. For one
     * recording at a time only: td_transcribe and td_transcribe_samples. */
    bool (*on_segment)(void *context, const td_transcript_segment *segment);
    void *context;
    /* Models for utterances. */
    double longest_segment; /* seconds; speech without a pause is cut at its quietest point */
    double pause;           /* seconds of quiet that end a segment */
    double padding;         /* seconds kept around speech */
    /* Whisper. TD_UNSET and TD_UNSET_REAL: what generation_config.json says, else off. */
    const char *language;          /* "en", "de", ...; "auto": detected in the first window; NULL: as the model says, else detected */
    const char *task;              /* "transcribe" or "translate" (to English); NULL: as the model says */
    int64_t timestamps;            /* 1: on, 0: off; TD_UNSET: on when the recording is longer than a window */
    int64_t condition_on_previous; /* 1: a window is told the text before it */
    double compression_ratio;      /* a window whose tokens compress better than this is decoded anew at the next temperature; 2.4 */
    double log_probability;        /* so is one whose mean log-probability lies below; -1 */
    double no_speech;              /* but not if it probably holds no speech; then it is skipped; 0.6 */
    const double *temperatures;    /* [temperature_count]; 0 is the search asked for, above samples; NULL: 0 alone */
    size_t temperature_count;
    int64_t word_timestamps; /* 1: segments carry the times of their words, found in what the decoder looked at; 0 or TD_UNSET: not */
    const char *prompt;      /* a text the model takes for what was said before: names, spelling, style; NULL: none */
} td_transcribe_options;
#define TD_TRANSCRIBE_OPTIONS_INIT                                                                                                         \
    {                                                                                                                                      \
        sizeof(td_transcribe_options), NULL, NULL, NULL, 20.0, 0.5, 0.2, NULL, NULL, TD_UNSET, TD_UNSET, TD_UNSET_REAL, TD_UNSET_REAL,     \
            TD_UNSET_REAL, NULL, 0, TD_UNSET, NULL                                                                                         \
    }

/* options may be NULL. */
TD_API td_status td_transcribe(td_session *session, const char *path, const td_transcribe_options *options, td_transcript **ret_transcript,
                               td_error *error);
/* samples [frames, channels], full scale 1. */
TD_API td_status td_transcribe_samples(td_session *session, const float *samples, size_t frames, size_t channels, size_t rate,
                                       const td_transcribe_options *options, td_transcript **ret_transcript, td_error *error);

/* Receives recording `index`, or NULL and why. Calls come one at a time and in order of index, from any thread. The transcript is only
 * valid during the call. Returning false ends the whole with TD_ERROR_CANCELLED. */
typedef bool (*td_transcript_callback)(void *context, size_t index, const td_transcript *transcript, const td_error *error);
/* Many recordings on several threads, segments of several in one batch. What a recording gets does not depend on the others. */
TD_API td_status td_transcribe_files(td_model *model, const char *const *paths, size_t count, const td_transcribe_options *options,
                                     const td_batch_options *batch_options, td_transcript_callback callback, void *context,
                                     td_error *error);

TD_API void td_transcript_free(td_transcript *transcript);
/* All that was said. */
TD_API const char *td_transcript_text(const td_transcript *transcript);
/* As the model names it ("en"); NULL: the model does not say. */
TD_API const char *td_transcript_language(const td_transcript *transcript);
/* Length of the recording in seconds; 0: not known (ready-made features). */
TD_API double td_transcript_seconds(const td_transcript *transcript);
TD_API size_t td_transcript_segments(const td_transcript *transcript);
TD_API const td_transcript_segment *td_transcript_segment_at(const td_transcript *transcript, size_t index); /* NULL past the last */

#ifdef __cplusplus
}
#endif
#endif
