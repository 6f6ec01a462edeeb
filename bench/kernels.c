/* The kernels by themselves, on one thread: matrix products as a share of the fastest of them, and row kernels for each
 * instruction set. */
#include "bench.h"

#include <base/memory.h>
#include <kernels/gemm.h>
#include <kernels/packed.h>
#include <kernels/rows.h>
#include <platform/pages.h>
#include <stdio.h>
#include <string.h>

enum { LEAST_REPEATS = 3 };
static const double LEAST_SECONDS = 0.2;

/* Numbers in -0.5 .. 0.5. */
static void fill(td_real *x, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (td_real)(state >> 8) / (td_real)(1 << 24) - (td_real)0.5;
    }
}

/* ---- products ---- */

typedef struct product_shape {
    size_t m, n, k;
    bool transpose_a, transpose_b;
} product_shape;

/* A large square one, then widths of 128 to 512: forward, weight gradient, vocabulary, a single row. */
static const product_shape shapes[] = {
    {1024, 1024, 1024, false, true}, {1024, 128, 128, false, true}, {1024, 256, 128, false, true},
    {1024, 128, 256, false, true},   {128, 256, 1024, true, false}, {64, 10000, 128, false, true},
    {1024, 2048, 512, false, true},  {64, 2048, 512, false, true},  {1, 512, 512, false, true},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct product_operands {
    td_real *a, *b, *c;
    uint16_t *rounded_a, *rounded_b;
    td_gemm_cache *cache;
} product_operands;

static td_status multiply(const product_operands *operands, const product_shape *s, td_error *error)
{
    size_t lda = s->transpose_a ? s->m : s->k, ldb = s->transpose_b ? s->k : s->n;
    if (operands->cache)
        return td_gemm_bfloat16(operands->cache, s->transpose_a, s->transpose_b, s->m, s->n, s->k, operands->rounded_a, lda,
                                operands->rounded_b, ldb, false, operands->c, s->n, error);
    td_gemm(s->transpose_a, s->transpose_b, s->m, s->n, s->k, operands->a, lda, operands->b, ldb, false, operands->c, s->n);
    return TD_OK;
}

/* Gflop/s, the best of some rounds. */
static double speed_of(const product_operands *operands, const product_shape *shape, bench_result *result)
{
    td_error error;
    double best = 1e30, start = bench_seconds();
    size_t inner = 1 + (size_t)(2e7 / (double)(2 * shape->m * shape->n * shape->k));
    for (int round = 0; round < LEAST_REPEATS || bench_seconds() - start < LEAST_SECONDS; round++) {
        double before = bench_seconds();
        for (size_t i = 0; i < inner; i++)
            if (multiply(operands, shape, &error) != TD_OK) {
                bench_fail(result, "%s", error.message);
                return 0;
            }
        double seconds = (bench_seconds() - before) / (double)inner;
        best = seconds < best ? seconds : best;
    }
    return 2e-9 * (double)(shape->m * shape->n * shape->k) / best;
}

void bench_products(const bench_settings *settings, const char *precision, bench_result *result)
{
    (void)settings;
    enum { LARGEST = 2048 * 1024 };
    bool rounded = strcmp(precision, "bfloat16") == 0;
    product_operands operands = {td_allocate_array(LARGEST, sizeof(td_real)),
                                 td_allocate_array(LARGEST, sizeof(td_real)),
                                 td_allocate_array(LARGEST, sizeof(td_real)),
                                 td_allocate_array(LARGEST, 2),
                                 td_allocate_array(LARGEST, 2),
                                 NULL};
    if (!operands.a || !operands.b || !operands.c || !operands.rounded_a || !operands.rounded_b)
        return bench_fail(result, "out of memory");
    if (rounded && !td_gemm_bfloat16_supported())
        return bench_fail(result, "this processor has no bfloat16 products");
    td_gemm_thread_setup();
    fill(operands.a, LARGEST);
    fill(operands.b, LARGEST);
    td_kernels_get()->to_bfloat16(operands.rounded_a, operands.a, LARGEST);
    td_kernels_get()->to_bfloat16(operands.rounded_b, operands.b, LARGEST);
    if (rounded && td_gemm_cache_create(&operands.cache, NULL) != TD_OK)
        return bench_fail(result, "out of memory");
    double speeds[SHAPES] = {0}, peak = 0;
    for (size_t i = 0; i < SHAPES && !*result->failure; i++) {
        speeds[i] = speed_of(&operands, &shapes[i], result);
        peak = speeds[i] > peak ? speeds[i] : peak;
    }
    for (size_t i = 0; i < SHAPES && !*result->failure; i++)
        bench_add(result, "Gflop/s", speeds[i], "%zu x %zu x %zu%s, %.0f %% of the best", shapes[i].m, shapes[i].n, shapes[i].k,
                  shapes[i].transpose_a ? " (a^T b)" : "", 100 * speeds[i] / peak);
}

/* ---- products with packed weights ---- */

/* inputs, outputs: attention, feed-forward, the vocabularies of the opus, tiny and Multi30k shapes */
static const size_t packed_shapes[][2] = {{512, 512}, {512, 2048}, {2048, 512}, {256, 1536}, {128, 256}, {128, 10000}, {512, 58101}};
static const size_t packed_rows[] = {1, 2, 4, 8, 16, 32, 64, 128, 256};
enum { MOST_ROWS = 256, WIDEST = 2048, MOST_OUTPUTS = 58101, SECOND_CACHE = 1 << 19, MEMORY = 1 << 27 };

typedef struct packed_operands {
    float *x, *y, *scales;
    uint16_t *rounded;
    uint8_t *shifted;
} packed_operands;

static size_t panel_bytes(const td_packed *packed)
{
    size_t size = packed->precision == TD_FLOAT32 ? 4 : packed->precision == TD_BFLOAT16 ? 2 : 1;
    return td_packed_panels(packed) * TD_PANEL * packed->depth * size;
}

/* Random weights, panel by panel. */
static td_packed *random_packed(td_precision precision, size_t inputs, size_t outputs)
{
    td_packed *packed = NULL;
    float *panel = td_allocate_array(TD_PANEL * inputs, sizeof *panel);
    if (!panel || td_packed_new(precision, outputs, inputs, &packed, NULL) != TD_OK)
        return NULL;
    td_pages_prefer_large(packed->data, panel_bytes(packed)); /* as models have them */
    fill(panel, TD_PANEL * inputs);
    for (size_t first = 0; first < outputs; first += TD_PANEL)
        td_packed_fill(packed, first, outputs - first < TD_PANEL ? outputs - first : TD_PANEL, panel);
    td_release(panel);
    return packed;
}

/* Gop/s of the product alone, its inputs already in the form it takes; the best of some rounds. */
static double packed_speed(const packed_operands *operands, const td_packed *packed, size_t rows)
{
    const td_packed_kernels *kernels = td_packed_kernels_get();
    td_packed_job job = {.weights = packed,
                         .input = {rows, packed->depth, operands->x, operands->rounded, operands->shifted, operands->scales},
                         .last = td_packed_panels(packed),
                         .y = operands->y,
                         .ldy = packed->outputs};
    double best = 1e30, start = bench_seconds(), work = 2 * (double)(rows * packed->inputs * packed->outputs);
    size_t inner = 1 + (size_t)(2e7 / work);
    for (int round = 0; round < LEAST_REPEATS || bench_seconds() - start < LEAST_SECONDS / 4; round++) {
        double before = bench_thread_seconds();
        for (size_t i = 0; i < inner; i++)
            kernels->product[packed->precision](&job);
        double seconds = (bench_thread_seconds() - before) / (double)inner;
        best = seconds < best ? seconds : best;
    }
    return 1e-9 * work / best;
}

static bool new_packed_operands(packed_operands *operands)
{
    enum { INPUTS = MOST_ROWS * WIDEST };
    *operands = (packed_operands){td_allocate_array(INPUTS, 4), td_allocate_array((size_t)MOST_ROWS * MOST_OUTPUTS, 4),
                                  td_allocate_array(MOST_ROWS, 4), td_allocate_array(INPUTS, 2), td_allocate_array(INPUTS, 1)};
    if (!operands->x || !operands->y || !operands->scales || !operands->rounded || !operands->shifted)
        return false;
    fill(operands->x, INPUTS);
    td_kernels_get()->to_bfloat16(operands->rounded, operands->x, INPUTS);
    td_packed_kernels_get()->quantise(operands->x, WIDEST, MOST_ROWS, WIDEST, WIDEST, operands->shifted, operands->scales);
    return true;
}

void bench_packed(const bench_settings *settings, const char *precision, bench_result *result)
{
    (void)settings;
    td_precision which = strcmp(precision, "int8") == 0 ? TD_INT8 : strcmp(precision, "bfloat16") == 0 ? TD_BFLOAT16 : TD_FLOAT32;
    packed_operands operands;
    const char *instruction = "";
    if (!new_packed_operands(&operands))
        return bench_fail(result, "out of memory");
    double peak = bench_peak(which, td_packed_kernels_get()->isa, &instruction);
    bench_add(result, "Gop/s", peak, "peak: %s", peak > 0 ? instruction : "not measured");
    bench_add(result, "GB/s", bench_bandwidth(SECOND_CACHE), "read in order, second cache");
    bench_add(result, "GB/s", bench_bandwidth(MEMORY), "read in order, memory");
    for (size_t s = 0; s < sizeof packed_shapes / sizeof *packed_shapes; s++) {
        td_packed *packed = random_packed(which, packed_shapes[s][0], packed_shapes[s][1]);
        if (!packed)
            return bench_fail(result, "out of memory");
        for (size_t i = 0; i < sizeof packed_rows / sizeof *packed_rows; i++) {
            double speed = packed_speed(&operands, packed, packed_rows[i]);
            double read = speed / 2 / (double)(packed_rows[i] * packed->inputs * packed->outputs) * (double)panel_bytes(packed);
            bench_add(result, "Gop/s", speed, "%zu x %zu x %zu, %.0f %%, %.0f GB/s", packed_rows[i], packed->inputs, packed->outputs,
                      peak > 0 ? 100 * speed / peak : 0, read);
        }
        td_packed_free(packed);
    }
}

/* ---- products of weights as they are, each row by itself ---- */

/* rows, inputs, outputs: a picture's places in MobileNetV2, the steps of an LSTM */
static const size_t plain_shapes[][3] = {{12544, 32, 16}, {12544, 16, 96}, {3136, 24, 144}, {784, 192, 32},
                                         {784, 32, 192},  {196, 384, 64},  {196, 576, 96},  {49, 960, 160},
                                         {49, 320, 1280}, {1, 512, 2048},  {4, 512, 2048},  {32, 512, 2048}};

void bench_unpacked(const bench_settings *settings, const char *variant, bench_result *result)
{
    (void)settings, (void)variant;
    enum { LARGEST = 1 << 21 };
    const td_kernels *kernels = td_kernels_get();
    td_real *x = td_allocate_array(LARGEST, sizeof *x), *w = td_allocate_array(LARGEST, sizeof *w),
            *y = td_allocate_array(LARGEST, sizeof *y);
    const char *instruction = "";
    if (!x || !w || !y)
        return bench_fail(result, "out of memory");
    fill(x, LARGEST);
    fill(w, LARGEST);
    double peak = bench_peak(TD_FLOAT32, td_packed_kernels_get()->isa, &instruction);
    for (size_t i = 0; i < sizeof plain_shapes / sizeof *plain_shapes; i++) {
        size_t rows = plain_shapes[i][0], inputs = plain_shapes[i][1], outputs = plain_shapes[i][2];
        double best = 1e30, start = bench_seconds(), work = 2 * (double)(rows * inputs * outputs);
        size_t inner = 1 + (size_t)(1e7 / work);
        for (int round = 0; round < LEAST_REPEATS || bench_seconds() - start < LEAST_SECONDS / 4; round++) {
            double before = bench_thread_seconds();
            for (size_t k = 0; k < inner; k++)
                kernels->product(x, inputs, rows, w, inputs, outputs, inputs, 0, y, outputs);
            double seconds = (bench_thread_seconds() - before) / (double)inner;
            best = seconds < best ? seconds : best;
        }
        bench_add(result, "Gop/s", 1e-9 * work / best, "%zu x %zu x %zu, %.0f %%", rows, inputs, outputs,
                  peak > 0 ? 1e-7 * work / best / peak : 0);
    }
    td_release(x);
    td_release(w);
    td_release(y);
}

/* ---- rows ---- */

enum { ROWS = 1000, WIDTH = 128, WORDS = 10000, HEADS = 4, POSITIONS = 16 };

typedef struct row_data {
    const td_kernels *kernels;
    td_real *x, *y, *m, *v, *weight, *p, *scratch;
} row_data;

static size_t softmax(row_data *d)
{
    for (size_t i = 0; i < ROWS; i++)
        d->kernels->softmax(d->x + i * WIDTH, WIDTH);
    return ROWS * WIDTH;
}

static size_t layer_norm(row_data *d)
{
    td_real mean, inverse;
    for (size_t i = 0; i < ROWS; i++)
        d->kernels->layer_norm(d->y + i * WIDTH, d->x + i * WIDTH, d->weight, d->weight, (td_real)1e-5, WIDTH, &mean, &inverse);
    return ROWS * WIDTH;
}

static size_t activate(row_data *d)
{
    d->kernels->activate(TD_GELU, d->y, d->x, ROWS * WIDTH);
    return ROWS * WIDTH;
}

static size_t dropout(row_data *d)
{
    d->kernels->dropout(d->y, d->x, ROWS * WIDTH, 0, td_dropout_mask_of((td_real)0.1, 7), 0);
    return ROWS * WIDTH;
}

static size_t cross_entropy(row_data *d)
{
    td_real nll;
    memcpy(d->y, d->x, WORDS * sizeof *d->y);
    d->kernels->cross_entropy(d->y, WORDS, 17, (td_real)0.1, 1, &nll);
    return WORDS;
}

static size_t attention(row_data *d)
{
    const size_t depth = WIDTH / HEADS;
    for (size_t head = 0; head < HEADS; head++)
        d->kernels->attention(d->x + head * depth, WIDTH, d->m + head * depth, WIDTH, d->v + head * depth, WIDTH, d->y + head * depth,
                              WIDTH, d->p, d->scratch, POSITIONS, POSITIONS, depth, (td_real)0.2, 1, NULL, 0, td_dropout_mask_of(0, 0), 0);
    return POSITIONS * WIDTH;
}

static size_t adam(row_data *d)
{
    td_adam_step step = {(td_real)1e-3, (td_real)0.9, (td_real)0.98, (td_real)1e-9, 0, (td_real)0.1, (td_real)0.02, 1};
    d->kernels->adam(d->y, d->x, d->m, d->v, ROWS * WIDTH, &step);
    return ROWS * WIDTH;
}

void bench_rows(const bench_settings *settings, const char *isa, bench_result *result)
{
    static const struct {
        const char *name;
        size_t (*run)(row_data *data); /* returns how many elements it made */
    } kernels[] = {{"softmax, rows of 128", softmax},
                   {"layer normalisation, rows of 128", layer_norm},
                   {"gelu", activate},
                   {"dropout", dropout},
                   {"cross-entropy, 10000 words", cross_entropy},
                   {"causal attention, 16 positions, 4 x 32", attention},
                   {"adam", adam}};
    (void)settings;
    td_isa which = strcmp(isa, "avx512") == 0 ? TD_ISA_AVX512 : strcmp(isa, "avx2") == 0 ? TD_ISA_AVX2 : TD_ISA_PLAIN;
    td_real *blocks[7];
    row_data data = {.kernels = td_kernels_for(which)};
    if (!data.kernels)
        return bench_fail(result, "this processor does not have it");
    for (size_t i = 0; i < 7; i++) {
        blocks[i] = td_allocate_array(ROWS * WIDTH, sizeof(td_real));
        if (!blocks[i])
            return bench_fail(result, "out of memory");
        fill(blocks[i], ROWS * WIDTH);
    }
    data.x = blocks[0], data.y = blocks[1], data.m = blocks[2], data.v = blocks[3];
    data.weight = blocks[4], data.p = blocks[5], data.scratch = blocks[6];
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        data.v[i] *= data.v[i]; /* second moments */
    for (size_t kernel = 0; kernel < sizeof kernels / sizeof *kernels; kernel++) {
        double best = 0, start = bench_seconds();
        while (bench_seconds() - start < LEAST_SECONDS) {
            double before = bench_seconds();
            size_t elements = 0;
            for (int i = 0; i < 20; i++)
                elements += kernels[kernel].run(&data);
            double speed = 1e-9 * (double)elements / (bench_seconds() - before);
            best = speed > best ? speed : best;
        }
        bench_add(result, "G/s", best, "%s", kernels[kernel].name);
    }
}
