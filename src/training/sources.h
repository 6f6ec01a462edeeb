/* Sound and pictures on their way into a corpus: the front end, and where the picture encoder is left as it is, that encoder too. */
#ifndef TD_TRAINING_SOURCES_H
#define TD_TRAINING_SOURCES_H

#include "frontend/frontend.h"
#include "training/corpus.h"

typedef struct td_sources {
    td_frontend frontend;
    const td_network *network; /* whose frozen part computes what is kept; NULL: the front end's features are kept */
    td_arena *arenas;          /* [threads] */
    size_t threads;
    td_buffer signature;
    td_feature_reader reader; /* for td_corpus_options; borrows all of the above */
} td_sources;

/* Writes output/preprocessor_config.json as the recipe says, measuring mean and deviation of the training data where they are wanted, and
 * opens the front end. */
td_status td_sources_open(const td_recipe *recipe, td_pool *pool, const td_corpus_watch *watch, td_sources *ret_sources, td_error *error);
/* From now on what is kept is the result of the network's frozen part. `sources` must stay where it is. */
td_status td_sources_use_frozen(td_sources *sources, const td_recipe *recipe, const td_network *network, td_error *error);
void td_sources_close(td_sources *sources);
/* Columns of the front end's features. */
size_t td_sources_width(const td_sources *sources);

#endif
