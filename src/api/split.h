/* Long texts as several short ones: the sentences of each are generated for by themselves, and their outputs joined with what stood between
 * the sentences. */
#ifndef TD_API_SPLIT_H
#define TD_API_SPLIT_H

#include "api/request.h"

typedef struct td_split_text {
    const char *text;    /* the caller's */
    size_t first, count; /* of the parts */
} td_split_text;

typedef struct td_split {
    td_split_text *texts; /* [count] */
    char **parts;         /* [parts_count]; owned */
    char **gaps;          /* [parts_count]: what stands before each part; owned */
    size_t count, parts_count, capacity;
    bool any; /* a text was cut */
} td_split;

/* Cuts texts that are longer than the model reads well; others, and all when the options do not ask for it, stay whole. */
td_status td_split_texts(const td_request *request, const char *const *texts, size_t count, td_split *ret_split, td_error *error);
void td_split_free(td_split *split);
/* The results of one text's parts, in order -> a result of one input. */
td_status td_split_join(const td_split *split, size_t text, td_result *const *parts, td_result **ret_result, td_error *error);

#endif
