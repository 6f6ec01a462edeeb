/* Results as lines of text, pieces, ids or JSON. */
#ifndef TANDEM_RESULT_OUTPUT_H
#define TANDEM_RESULT_OUTPUT_H

#include <stdio.h>
#include <tandem/tandem.h>

/* One output as a line: kind text (line ends in it become spaces), pieces (end token left out) or ids. */
void result_print_line(const td_model *model, const td_result *result, size_t output, td_input_kind kind, FILE *stream);
/* {"index":..,"source":..,"outputs":[..]} and a line end. result NULL: an empty output, or with `problem` none but
 * "error". */
void result_print_json(size_t index, const char *source, const td_result *result, const char *problem, FILE *stream);
/* {"index":..,"score":..,"ids":[..],"token_logprobs":[..]} and a line end; with `problem` "error" instead of the rest.
 */
void result_print_score_json(size_t index, const td_result *result, const char *problem, FILE *stream);

#endif
