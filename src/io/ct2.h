/* CTranslate2's model.bin, versions 1 to 6: named variables, of which Transformers of text are understood. Their weights appear under
 * the names that the BART line of Hugging Face has for them (td_ct2_read_shard in io/weights.h); the rest becomes a configuration. */
#ifndef TD_IO_CT2_H
#define TD_IO_CT2_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* True when directory/model.bin is there and the weights are not there in another format. */
bool td_ct2_recognise(const char *directory);
/* The sizes and kinds of layers of directory/model.bin as config.json of a "tandem-transformer", without ids of tokens. */
td_status td_ct2_configure(const char *directory, json_t **ret_config, td_error *error);

#endif
