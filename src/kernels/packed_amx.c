/* Products with packed weights for processors with AMX: 16 rows by 16 outputs in a tile register. Few rows of int8 go through VNNI,
 * which gives the same integers; bfloat16 always goes through tiles, whose roundings are their own. */
#include "kernels/packed.h"

#if defined(__AMX_INT8__) && !defined(TD_DOUBLE)
#define TD_PACKED_TABLE td_packed_amx
#define TD_PACKED_ISA TD_MATRIX_AMX
#define TD_PACKED_TILES
#define TD_PACKED_BFLOAT16
#include "kernels/packed_ahead.h"
#include "kernels/packed_vnni.inc.h"

static void product_bfloat16(const td_packed_job *job);
static void product_int8(const td_packed_job *job);
INLINE void bfloat16_tile(const td_packed_job *job, const uint16_t *w, size_t row, size_t rows, size_t first, ahead next,
                          float (*y)[TD_PANEL])
{
    (void)job, (void)w, (void)row, (void)rows, (void)first, (void)next, (void)y;
}

#include "kernels/packed.inc.h"

enum { TILE = 16, PAIR = 2 * TILE, FEW = 4 };

typedef struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* Tiles 0 to 3 are sums: two blocks of rows by two of outputs; 4 and 5 rows; 6 and 7 weights. */
static void set_tiles(size_t upper, size_t lower)
{
    tile_shapes shapes = {.palette = 1};
    for (size_t i = 0; i < 8; i++)
        shapes.bytes[i] = 64;
    shapes.rows[0] = shapes.rows[1] = shapes.rows[4] = (uint8_t)upper;
    shapes.rows[2] = shapes.rows[3] = shapes.rows[5] = (uint8_t)(lower ? lower : 1);
    shapes.rows[6] = shapes.rows[7] = TILE;
    _tile_loadconfig(&shapes);
}

typedef union tile_sums {
    float values[PAIR][TD_PANEL];
    int32_t integers[PAIR][TD_PANEL];
} tile_sums;

/* up to 32 rows times 32 outputs; x and w in bytes, steps of 64 bytes of x against 16 rows of 256 bytes of the panel */
#define TILE_PRODUCT(name, multiply)                                                                                                       \
    INLINE void name(const char *x, size_t stride, size_t depth, const char *w, bool lower, int32_t *y)                                    \
    {                                                                                                                                      \
        _tile_zero(0);                                                                                                                     \
        _tile_zero(1);                                                                                                                     \
        _tile_zero(2);                                                                                                                     \
        _tile_zero(3);                                                                                                                     \
        for (size_t k = 0; k < depth; k += 64, x += 64, w += 64 * TD_PANEL) {                                                              \
            _tile_loadd(6, w, 4 * TD_PANEL);                                                                                               \
            _tile_loadd(4, x, stride);                                                                                                     \
            _tile_loadd(7, w + 64, 4 * TD_PANEL);                                                                                          \
            multiply(0, 4, 6);                                                                                                             \
            multiply(1, 4, 7);                                                                                                             \
            if (lower) {                                                                                                                   \
                _tile_loadd(5, x + TILE * stride, stride);                                                                                 \
                multiply(2, 5, 6);                                                                                                         \
                multiply(3, 5, 7);                                                                                                         \
            }                                                                                                                              \
        }                                                                                                                                  \
        _tile_stored(0, y, 4 * TD_PANEL);                                                                                                  \
        _tile_stored(1, y + TILE, 4 * TD_PANEL);                                                                                           \
        if (lower) {                                                                                                                       \
            _tile_stored(2, y + TILE * TD_PANEL, 4 * TD_PANEL);                                                                            \
            _tile_stored(3, y + TILE * TD_PANEL + TILE, 4 * TD_PANEL);                                                                     \
        }                                                                                                                                  \
    }
TILE_PRODUCT(multiply_bytes, _tile_dpbusd)
TILE_PRODUCT(multiply_bfloat16, _tile_dpbf16ps)

INLINE void panel_block(const td_packed_job *job, size_t panel, size_t row, size_t rows, bool lower, bool bytes)
{
    const td_packed *packed = job->weights;
    size_t size = bytes ? 1 : 2, depth = packed->depth * size, stride = job->input.stride * size;
    const char *w = (const char *)packed->data + panel * TD_PANEL * depth;
    const char *x = bytes ? (const char *)job->input.shifted : (const char *)job->input.rounded;
    tile_sums sums __attribute__((aligned(64)));
    x += row * stride;
    for (size_t first = 0; first < TD_PANEL; first += PAIR) {
        if (bytes)
            multiply_bytes(x, stride, depth, w + 4 * first, lower, sums.integers[0] + first);
        else
            multiply_bfloat16(x, stride, depth, w + 4 * first, lower, sums.integers[0] + first);
    }
    if (bytes)
        finish_integers(job, panel, row, rows, sums.integers);
    else
        finish(job, panel, row, rows, sums.values);
}

/* Rows in blocks of 32 with every panel; the rows of a block that is not full come last, so that tiles are shaped twice. */
INLINE void tile_product(const td_packed_job *job, bool bytes)
{
    enum { BLOCK = 8 * PAIR };
    size_t rows = job->input.rows;
    for (size_t start = 0; start < rows; start += BLOCK) {
        size_t end = rows - start < BLOCK ? rows : start + BLOCK, whole = start + (end - start) / PAIR * PAIR, rest = end - whole;
        set_tiles(TILE, TILE);
        for (size_t panel = job->first; whole > start && panel < job->last; panel++)
            for (size_t row = start; row < whole; row += PAIR)
                panel_block(job, panel, row, PAIR, true, bytes);
        if (rest == 0)
            continue;
        set_tiles(rest < TILE ? rest : TILE, rest > TILE ? rest - TILE : 0);
        for (size_t panel = job->first; panel < job->last; panel++)
            if (rest > TILE)
                panel_block(job, panel, whole, rest, true, bytes);
            else
                panel_block(job, panel, whole, rest, false, bytes);
    }
    _tile_release();
}

static void product_bfloat16(const td_packed_job *job)
{
    tile_product(job, false);
}

static void product_int8(const td_packed_job *job)
{
    if (job->input.rows <= FEW)
        product(job, TD_INT8);
    else
        tile_product(job, true);
}
#endif
