/* The frame of products whose sums stay in registers, a tile of a few rows by a few vectors at a time. What a tile computes is each
 * kernel's own; inside it the counts of rows and vectors are constants, so that the loops over them disappear. */
#ifndef TD_KERNELS_TILE_H
#define TD_KERNELS_TILE_H

#include <stddef.h>

/* Loops over row r and vector v of a tile. */
#define EACH_ROW(rows) _Pragma("GCC unroll 6") for (size_t r = 0; r < (rows); r++)
#define EACH_VECTOR(vectors) _Pragma("GCC unroll 8") for (size_t v = 0; v < (vectors); v++)
#define EACH_SUM(rows, vectors)                                                                                                            \
    EACH_ROW (rows)                                                                                                                        \
        EACH_VECTOR (vectors)

/* TILE(n) where n is the constant, from 1 to 6, that `rows` is. */
#define WITH_ROWS(rows, TILE)                                                                                                              \
    switch (rows) {                                                                                                                        \
    case 6:                                                                                                                                \
        TILE(6);                                                                                                                           \
        break;                                                                                                                             \
    case 5:                                                                                                                                \
        TILE(5);                                                                                                                           \
        break;                                                                                                                             \
    case 4:                                                                                                                                \
        TILE(4);                                                                                                                           \
        break;                                                                                                                             \
    case 3:                                                                                                                                \
        TILE(3);                                                                                                                           \
        break;                                                                                                                             \
    case 2:                                                                                                                                \
        TILE(2);                                                                                                                           \
        break;                                                                                                                             \
    default:                                                                                                                               \
        TILE(1);                                                                                                                           \
        break;                                                                                                                             \
    }

#endif
