/* What there is to say about a model, each fact with where it comes from. */
#ifndef TD_API_FACTS_H
#define TD_API_FACTS_H

#include "api/model.h"
#include "tandem/tandem.h"

typedef struct td_facts td_facts;
td_status td_facts_collect(const td_model *model, td_facts **ret_facts, td_error *error);
void td_facts_free(td_facts *facts); /* NULL is fine */

#endif
