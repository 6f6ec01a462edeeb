/* Changes that make one training sound into many: SpecAugment's masks (Park et al. 2019) and other speeds (Ko et al. 2015).
 * Everything random comes from the caller's keyed stream, so that a run can be repeated and resumed. */
#ifndef TD_AUDIO_AUGMENT_H
#define TD_AUDIO_AUGMENT_H

#include "base/random.h"
#include "frontend/kind.h"

typedef struct td_mask_policy {
    size_t time_masks, time_width; /* widths are drawn from 0 ... time_width frames */
    double time_fraction;          /* a time mask covers at most this part of the frames; 0: no such bound */
    size_t frequency_masks, frequency_width;
    bool fill_mean; /* with the column's mean over the utterance; otherwise with 0 */
} td_mask_policy;

/* Masks rows in place. Draws two numbers a mask, whatever the size, so that a stream's position does not depend on the data. */
td_status td_mask_features(const td_mask_policy *policy, td_random *random, td_features *features, td_error *error);

/* Plays samples `factor` times as fast: count / factor samples come out, and pitch moves too. */
td_status td_speed_samples(const float *samples, size_t count, double factor, float **ret_samples, size_t *ret_count, td_error *error);
/* The same for feature rows, by straight lines between frames; the pitch stays. Replaces *features. */
td_status td_speed_features(td_features *features, double factor, td_error *error);

#endif
