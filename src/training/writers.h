/* The model's own texts for pairs of a corpus, searched for on all threads: to validate by and to learn from. */
#ifndef TD_TRAINING_WRITERS_H
#define TD_TRAINING_WRITERS_H

#include "decoding/generate.h"
#include "platform/thread.h"
#include "training/corpus.h"

typedef struct td_writers td_writers;

/* `corpus` has its text where the network copies. All of them must stay where they are. */
td_status td_writers_new(const td_network *network, const td_tokenizer *tokenizer, const td_corpus *corpus, td_pool *pool,
                         const td_search_options *options, td_writers **ret_writers, td_error *error);
void td_writers_free(td_writers *writers); /* NULL is fine */

/* What was written for pairs[place]: texts [output->count], one for each hypothesis. Called on several threads, in no order; both are valid
 * during the call. A failure ends the run with it. */
typedef td_status (*td_written)(void *context, size_t place, const td_output *output, const char *const *texts, td_error *error);

/* Writes for all pairs [count]; the same for each on any number of threads. */
td_status td_writers_run(td_writers *writers, const td_generation *generation, const uint64_t *pairs, size_t count, td_written written,
                         void *context, td_error *error);

#endif
