/* What the families of tokenizer.json share: functions of a td_tokenizer_kind. */
#ifndef TD_TEXT_TOKENIZER_JSON_H
#define TD_TEXT_TOKENIZER_JSON_H

#include "text/tokenizer_kind.h"

#include <jansson.h>

bool td_tokenizer_json_recognize(const char *directory);
td_status td_tokenizer_json_open(td_tokenizer *tokenizer, const char *directory, td_error *error);
/* The same from what the file would hold; `file` stands for it in messages. */
td_status td_tokenizer_json_open_root(td_tokenizer *tokenizer, const char *directory, const json_t *root, const char *file,
                                      td_error *error);
td_status td_tokenizer_json_encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first,
                                   const td_sampling *sampling, td_ids *ids, td_error *error);
td_status td_tokenizer_json_decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error);
void td_tokenizer_json_free(void *state);

#endif
