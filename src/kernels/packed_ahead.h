/* What a tile of a product asks for ahead of time: its part of the next panel, so that the memory works while the tile
 * computes. */
#ifndef TD_KERNELS_PACKED_AHEAD_H
#define TD_KERNELS_PACKED_AHEAD_H

#include "kernels/rows_vector.h"

typedef struct ahead {
    const char *at;
    size_t part;  /* bytes, of the panel, that one tile asks for */
    size_t step;  /* bytes from one step of the tile to the next: a step takes one group of inputs */
    size_t lines; /* of 64 bytes that a step asks for: 0 to 4 */
} ahead;

INLINE void look_ahead(ahead *next)
{
    if (next->lines > 0)
        __builtin_prefetch(next->at, 0, 2);
    if (next->lines > 1)
        __builtin_prefetch(next->at + 64, 0, 2);
    if (next->lines > 2) {
        __builtin_prefetch(next->at + 128, 0, 2);
        __builtin_prefetch(next->at + 192, 0, 2);
    }
    next->at += next->step;
}

#endif
