/* What a front end gives: raw sound or a picture becomes rows of features for an encoder. One struct a kind, rows in frontend.c. */
#ifndef TD_FRONTEND_KIND_H
#define TD_FRONTEND_KIND_H

#include "base/error.h"
#include "base/memory.h"
#include "models/architecture.h"

#include <jansson.h>

/* Feature rows of one input: frames by mel bins for sound, pixels (row by row, from the top left) by channels for pictures. */
typedef struct td_features {
    float *data; /* [rows, width]; owned */
    size_t rows, width;
} td_features;

static inline void td_features_free(td_features *features)
{
    td_release(features->data);
    *features = (td_features){0};
}

/* Raw input as a caller has it in memory. */
typedef struct td_raw_sound {
    const float *samples; /* [frames, channels], interleaved, full scale is 1 */
    size_t frames, channels, rate;
} td_raw_sound;

typedef struct td_raw_picture {
    const uint8_t *pixels; /* [height, width, channels]: 1 grey, 3 RGB, 4 RGBA */
    size_t height, width, channels;
} td_raw_picture;

/* A part of a picture, in shares of its width and height; 0, 0, 1, 1 is all of it. Reaches outside where a picture is padded. */
typedef struct td_picture_part {
    double left, top, width, height;
    bool turned; /* clockwise before it was read: cells lie in rows of the turned picture, the part is of the picture as it was */
} td_picture_part;

/* All functions may be called by many threads at once: `state` is not changed after open. */
typedef struct td_frontend_kind {
    td_modality modality;
    /* Every value that is not supported is an error naming file and key. */
    td_status (*open)(const json_t *config, const char *file, void **ret_state, td_error *error);
    void (*close)(void *state);
    size_t (*width)(const void *state); /* columns of the features */
    /* A file; or, with `bytes` not NULL, a file's content, `path` being what messages call it. */
    td_status (*read)(const void *state, const char *path, const void *bytes, size_t length, td_features *ret_features, td_error *error);
    /* A sound file, played `speed` times as fast (see audio/augment.h). NULL where there is no such thing. */
    td_status (*read_at_speed)(const void *state, const char *path, double speed, td_features *ret_features, td_error *error);
    /* Samples or pixels in memory; NULL for the other modality. */
    td_status (*take_sound)(const void *state, const td_raw_sound *sound, td_features *ret_features, td_error *error);
    td_status (*take_picture)(const void *state, const td_raw_picture *picture, td_features *ret_features, td_error *error);
    /* What of a picture of this size the features cover, after cropping. NULL for sound. */
    td_picture_part (*seen)(const void *state, size_t height, size_t width);
    /* Samples a second that sound is taken at; 0 when the file `path` (NULL: samples in memory) is no sound but features. NULL for
     * pictures. */
    size_t (*sound_rate)(const void *state, const char *path);
} td_frontend_kind;

#endif
