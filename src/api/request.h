/* One call's options, checked and merged with the model's; and inputs turned into ids under them. */
#ifndef TD_API_REQUEST_H
#define TD_API_REQUEST_H

#include "api/result.h"
#include "text/ids.h"

struct td_whisper;

typedef struct td_request {
    td_model *model;
    td_generate_options options;   /* complete, whatever the size of the caller's */
    td_generation generation;      /* owned */
    const td_tokenizer *tokenizer; /* for the languages asked for; NULL with ids */
    td_ids around;                 /* ids that go around every source: the first `before` of them in front */
    size_t before;
    struct td_whisper *whisper; /* where outputs begin with a language and a task; else NULL. Owned */
    int32_t language;           /* spoken: as td_whisper_language gives it */
} td_request;

/* options may be NULL. Settings of sampling where nothing is sampled are an error unless `may_sample`. */
td_status td_request_prepare(td_model *model, const td_generate_options *options, bool may_sample, td_request *ret_request,
                             td_error *error);
void td_request_free(td_request *request);
/* Appends the ids of one input as the options say it is written. local: for pieces outside the vocabulary when the
 * model copies; the source fills it, the target may name what is there. */
td_status td_request_encode(const td_request *request, td_text_side side, const char *input, td_local_pieces *local, td_ids *ids,
                            td_error *error);
/* Fails with the reason when the model takes no sound or pictures. */
td_status td_request_frontend(const td_request *request, td_error *error);
/* Encodes a source (text, or the name of a file of sound or a picture) into result->inputs[input], cut to what the model takes. */
td_status td_request_source(const td_request *request, const char *input, td_result *result, size_t index, td_error *error);

#endif
