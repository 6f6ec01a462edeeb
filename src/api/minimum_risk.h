/* Minimum Bayes risk decoding (Kumar and Byrne 2004): of a source's candidates the one that agrees best with all of them. */
#ifndef TD_API_MINIMUM_RISK_H
#define TD_API_MINIMUM_RISK_H

#include "api/request.h"

/* Whether a metric has this name: bleu, chrf, rouge, wer, cer. */
bool td_minimum_risk_known(const char *metric);
/* Orders the outputs of result->inputs[index] by how well each agrees with the others, as the request's metric sees it, and keeps as many
 * as were asked for. Nothing happens unless the request names a metric. */
td_status td_minimum_risk_choose(const td_request *request, td_result *result, size_t index, td_error *error);

#endif
