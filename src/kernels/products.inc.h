/* Products whose rows do not know each other: a row gives the same bits alone and in a batch; part of rows.inc.h. */

/* Weights are turned, a panel of outputs by a block of inputs at a time, so that one number of a row meets neighbouring outputs. A sum
 * goes on in y from block to block: inputs are added in their order, whichever rows are beside the row and however few there are. */
enum {
    PRODUCT_VECTORS = VECTOR_REGISTERS == 32 ? 4 : 2,
    PRODUCT_OUTPUTS = PRODUCT_VECTORS * (int)WIDTH < 16 ? 16 : PRODUCT_VECTORS * (int)WIDTH, /* a panel, as transpose pads it */
    PRODUCT_ROWS = 6,                                                                        /* rows x vectors sums stay in registers */
    PRODUCT_DEPTH = 6144 / PRODUCT_OUTPUTS < 256 ? 6144 / PRODUCT_OUTPUTS : 256, /* a block of a panel lies in the first cache */
    PRODUCT_BLOCK = 252 /* rows that pass over all panels before the next ones: they stay in the second cache */
};

typedef struct product_job {
    const td_real *x, *panel; /* panel [depth, stride] */
    td_real *y;
    size_t ldx, ldy, stride, depth;
    int add;
} product_job;

/* rows and vectors are constants wherever this is inlined, so that the loops over them disappear; `last`: numbers of the last vector */
INLINE void product_tile(const product_job *job, size_t row, size_t first, size_t rows, size_t vectors, size_t last)
{
    const td_real *x = job->x + row * job->ldx, *w = job->panel + first;
    td_real *y = job->y + row * job->ldy + first;
    vector sums[PRODUCT_ROWS][PRODUCT_VECTORS];
    EACH_SUM (rows, vectors) {
        const td_real *from = y + r * job->ldy + v * WIDTH;
        bool whole = v + 1 < vectors || last == WIDTH;
        sums[r][v] = !job->add ? (vector){0} : whole ? load(from) : load_part(from, last, 0);
    }
    for (size_t p = 0; p < job->depth; p++) {
        vector weights[PRODUCT_VECTORS];
        EACH_VECTOR (vectors)
            weights[v] = load(w + p * job->stride + v * WIDTH);
        EACH_ROW (rows) {
            td_real value = x[r * job->ldx + p];
            EACH_VECTOR (vectors)
                sums[r][v] += value * weights[v];
        }
    }
    EACH_SUM (rows, vectors)
        if (v + 1 < vectors || last == WIDTH)
            store(y + r * job->ldy + v * WIDTH, sums[r][v]);
        else
            store_part(y + r * job->ldy + v * WIDTH, sums[r][v], last);
}

INLINE void product_rows(const product_job *job, size_t row, size_t first, size_t rows, size_t vectors, size_t last){
#define TILE(ROWS) product_tile(job, row, first, ROWS, vectors, last)
    WITH_ROWS(rows, TILE)
#undef TILE
}

/* All rows with one block of a panel, in tiles as full as each other; what is left of a panel one vector at a time. */
INLINE void product_panel(const product_job *job, size_t rows, size_t outputs)
{
    const size_t width = PRODUCT_VECTORS * WIDTH;
    size_t tiles = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    for (size_t tile = 0, row = 0, end; tile < tiles; tile++, row = end) {
        size_t first = 0;
        end = rows * (tile + 1) / tiles;
        for (; first + width <= outputs; first += width)
            product_rows(job, row, first, end - row, PRODUCT_VECTORS, WIDTH);
        if (first + width / 2 <= outputs) {
            product_rows(job, row, first, end - row, PRODUCT_VECTORS / 2, WIDTH);
            first += width / 2;
        }
        for (; first < outputs; first += WIDTH)
            product_rows(job, row, first, end - row, 1, outputs - first < WIDTH ? outputs - first : WIDTH);
    }
}

static void product(const td_real *x, size_t ldx, size_t rows, const td_real *w, size_t ldw, size_t outputs, size_t k, int add, td_real *y,
                    size_t ldy)
{
    td_real panel[PRODUCT_DEPTH * PRODUCT_OUTPUTS] __attribute__((aligned(64))) = {0};
    for (size_t row = 0; row < rows; row += PRODUCT_BLOCK)
        for (size_t output = 0; output < outputs; output += PRODUCT_OUTPUTS) {
            size_t count = outputs - output < PRODUCT_OUTPUTS ? outputs - output : PRODUCT_OUTPUTS;
            for (size_t at = 0; at == 0 || at < k; at += PRODUCT_DEPTH) {
                product_job job = {x + row * ldx + at, panel, y + row * ldy + output, ldx, ldy, padded(count), 0, add || at > 0};
                job.depth = k - at < PRODUCT_DEPTH ? k - at : PRODUCT_DEPTH;
                transpose(panel, w + output * ldw + at, ldw, count, job.depth);
                product_panel(&job, rows - row < PRODUCT_BLOCK ? rows - row : PRODUCT_BLOCK, count);
            }
        }
}
