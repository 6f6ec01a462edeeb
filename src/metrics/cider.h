/* CIDEr-D of single texts: what td_cider does of a corpus, with the frequencies of n-grams counted apart. */
#ifndef TD_METRICS_CIDER_H
#define TD_METRICS_CIDER_H

#include "tandem/metrics.h"

/* In how many documents each n-gram is, a document being the references of one source. Not for several threads at once. */
typedef struct td_cider_index td_cider_index;

td_status td_cider_index_new(const td_cider_options *options, td_cider_index **ret_index, td_error *error);
void td_cider_index_free(td_cider_index *index); /* NULL is fine */
/* Counts the references of a source. */
td_status td_cider_index_add(td_cider_index *cider, const char *const *references, size_t count, td_error *error);
/* A text against its references, 0 to 10. */
td_status td_cider_index_score(td_cider_index *cider, const char *text, const char *const *references, size_t count, double *ret_score,
                               td_error *error);

#endif
