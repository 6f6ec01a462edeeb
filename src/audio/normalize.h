/* What is done to feature rows after they are computed: deltas, and normalisation over an utterance or with fixed numbers. */
#ifndef TD_AUDIO_NORMALIZE_H
#define TD_AUDIO_NORMALIZE_H

#include "frontend/kind.h"

/* Per column over the rows: subtracts the mean, divides by the (population) standard deviation. A column that does not
 * vary becomes 0 rather than a division by zero. */
void td_normalize_utterance(td_features *features, bool means, bool deviations);
/* (x - mean) / deviation per column. */
void td_normalize_global(td_features *features, const float *mean, const float *deviation);
/* Appends first and second differences in time, each the slope of a line through 5 frames (Kaldi's and HTK's formula, the
 * edge frames repeated): width becomes three times as much. */
td_status td_append_deltas(td_features *features, td_error *error);

#endif
