/* One text and its references in the form that the measures of corpora take. */
#ifndef TD_METRICS_ONE_SEGMENT_H
#define TD_METRICS_ONE_SEGMENT_H

#include "metrics/sentence_score.h"
#include "metrics/text.h"

typedef struct td_one_segment {
    const char *hypothesis;
    const char *const *rows[TD_MOST_REFERENCES];
    td_segments segments;
} td_one_segment;

/* References beyond TD_MOST_REFERENCES are left out. The texts are borrowed. */
static inline void td_one_segment_set(td_one_segment *one, const char *hypothesis, const char *const *references, size_t count)
{
    count = count < TD_MOST_REFERENCES ? count : TD_MOST_REFERENCES;
    one->hypothesis = hypothesis;
    for (size_t i = 0; i < count; i++)
        one->rows[i] = &references[i];
    one->segments = (td_segments){&one->hypothesis, one->rows, count, 1};
}

#endif
