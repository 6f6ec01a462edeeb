/* A recording's present window, and what is asked about one. */
#ifndef TD_API_WINDOWS_H
#define TD_API_WINDOWS_H

#include "api/model.h"
#include "audio/whisper_sound.h"
#include "decoding/generate.h"
#include "text/ids.h"

typedef struct td_window {
    td_whisper_sound *sound; /* NULL: the recording failed */
    size_t seek, end;        /* rows of the spectrogram: where the window begins, and the recording ends */
    size_t frames;           /* of the recording in the window */
    size_t number;           /* of windows so far */
    bool timestamps;
    bool tell;          /* the text before belongs in front of the prompt */
    bool wanted;        /* it is to be decoded */
    bool skip;          /* it holds no speech */
    td_features memory; /* what the encoder makes of the window that begins at `encoded`; no rows: not yet */
    size_t encoded;
    td_ids prompt;      /* from the start token on */
    td_ids fed;         /* the text before and the prompt */
    size_t start_at;    /* the start token's place in `fed` */
    td_ids written;     /* what the decoder made of it */
    td_ids before, all; /* of all windows so far: to be told, and for the text */
    double score, temperature;
    double *times; /* [written.length]: seconds from the window's beginning at which tokens were said; NULL: not asked for */
    double said;   /* when the last token of earlier segments was said, from the recording's beginning */
} td_window;

/* Heads of the decoder that follow the sound. */
typedef struct td_alignment_heads {
    td_ids layer, head;
    size_t median; /* width of the filter over frames */
} td_alignment_heads;

void td_window_close(td_window *window);
/* What the encoder makes of a window's features. */
td_status td_window_read(const td_model *model, td_search *search, td_arena *arena, const td_features *features, td_features *ret_memory,
                         td_error *error);
/* Has `memory` hold what the encoder makes of the window at `seek`. */
td_status td_window_encode(const td_model *model, td_search *search, td_arena *arena, td_window *window, td_error *error);
/* The logits after `ids` of a decoder that looks at `memory`; they live in the arena. */
td_status td_window_probe(const td_model *model, td_search *search, td_arena *arena, const td_features *memory, const int32_t *ids,
                          size_t count, const float **ret_logits, td_error *error);
/* Fills `times`: what the heads looked at while they read `fed` and `written`. frames: of the encoder's that hold sound. */
td_status td_window_align(const td_model *model, td_search *search, td_arena *arena, td_window *window, const td_alignment_heads *heads,
                          size_t frames, double precision, td_error *error);
/* Softmax of one logit. */
double td_window_probability(const float *logits, size_t count, int32_t id);
/* How much shorter zlib makes the tokens: text that repeats itself compresses well. */
td_status td_window_compression(const td_ids *ids, size_t vocabulary, double *ret_ratio, td_error *error);
/* Appends the text of ids without time stamps and special tokens. */
td_status td_window_spell(const td_model *model, const int32_t *ids, size_t count, int32_t first_timestamp, td_buffer *text,
                          td_error *error);

#endif
