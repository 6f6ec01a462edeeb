/* Features that were computed elsewhere: Sphinx `.mfc` (an int32 count, then so many float32, of either byte order) and
 * NumPy's `.npy` (two dimensions, float32 or float64, C order). */
#ifndef TD_AUDIO_FEATURE_FILE_H
#define TD_AUDIO_FEATURE_FILE_H

#include "frontend/kind.h"

typedef enum td_feature_format { TD_NOT_FEATURES, TD_MFC, TD_NPY } td_feature_format;

/* By the name's end, otherwise by the content's first bytes; `size` is the whole file's. */
td_feature_format td_feature_format_of(const char *name, const uint8_t *head, size_t head_length, size_t size);
/* Rows must have `width` columns; a value that is not finite is an error. `name` is what messages call the file. */
td_status td_feature_file_parse(td_feature_format format, const char *name, const uint8_t *bytes, size_t length, size_t width,
                                td_features *ret_features, td_error *error);

#endif
