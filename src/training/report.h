/* What a run leaves behind while it goes: log.jsonl, TensorBoard events, and a progress line. */
#ifndef TD_TRAINING_REPORT_H
#define TD_TRAINING_REPORT_H

#include "base/buffer.h"

#include <jansson.h>

/* log.jsonl: one JSON object a line, each with an integer "step", each on disk before the call returns. */
typedef struct td_log td_log;
/* Opens `path` for appending. Lines with a step above `last_step`, the one of averaged weights that ends a run at
 * `last_step`, and a line cut short by a crash, are removed first: 0 keeps none of an earlier run's steps, INT64_MAX keeps all. */
td_status td_log_open(const char *path, int64_t last_step, td_log **ret_log, td_error *error);
td_status td_log_append(td_log *log, const json_t *object, td_error *error);
void td_log_close(td_log *log);

/* A TensorBoard event file (TFRecord framing, tensorflow.Event messages holding scalar summaries). */
typedef struct td_events td_events;
/* Creates directory/events.out.tfevents.SECONDS.tandem[.N], a fresh file each time; `first_step` above 0 makes TensorBoard hide
 * points of earlier files from that step on. */
td_status td_events_open(const char *directory, double wall_seconds, int64_t first_step, td_events **ret_events, td_error *error);
td_status td_events_scalar(td_events *events, double wall_seconds, int64_t step, const char *tag, float value, td_error *error);
td_status td_events_flush(td_events *events, td_error *error);
void td_events_close(td_events *events);

/* Where a run is; zero in a `total` means unknown. */
typedef struct td_progress {
    int64_t step, total_steps;
    int64_t first_step;   /* where this process began, for the time left */
    double elapsed;       /* seconds since first_step */
    double total_seconds; /* the run's time limit */
    double tokens_per_second;
    double loss;
    int64_t epoch;
} td_progress;
/* Appends one line of at most `columns` characters, without a line end:
 * "[#########.....]  62% step 5000/8000, epoch 12, loss 2.314, 15.2k tokens/s, 3m12s left". */
void td_progress_render(const td_progress *progress, size_t columns, td_buffer *buffer);

#endif
