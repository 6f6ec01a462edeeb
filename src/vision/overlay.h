/* Where a model looked: an SVG with one panel a word, the picture bright where the word's attention was (Xu et al. 2015, figure 2). */
#ifndef TD_VISION_OVERLAY_H
#define TD_VISION_OVERLAY_H

#include "frontend/kind.h"

/* weights [count, rows * columns], not negative: of each word over a grid, from the top left. The grid covers what the front end sees
 * of a picture, and what lies outside is dark; kind NULL: it covers all. The picture's own
 * bytes are embedded, so the file stands alone. */
td_status td_overlay_write(const char *path, const char *picture_path, const char *const *words, const float *weights, size_t count,
                           size_t rows, size_t columns, const td_frontend_kind *kind, const void *state, td_error *error);

#endif
