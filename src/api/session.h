/* The working memory of one thread. */
#ifndef TD_API_SESSION_H
#define TD_API_SESSION_H

#include "api/request.h"

struct td_session {
    td_model *model;
    td_search *search;
    /* For td_encode_ids and what follows; made when first used. */
    td_arena arena, encoder_arena;
    td_decoder_state *state;
    td_ids source; /* what was encoded, for models that copy from it */
};

#endif
