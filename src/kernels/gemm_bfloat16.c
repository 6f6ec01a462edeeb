/* bfloat16 matrix products: our own in panels where they are ahead, else oneDNN's matmul primitives (API 2 and 3), kept
 * in a hash table by shape. */
#include "base/memory.h"
#include "kernels/gemm.h"
#include "kernels/panels.h"
#include "platform/cpu.h"

#include <string.h>

#ifdef TD_DOUBLE

bool td_gemm_bfloat16_supported(void)
{
    return false;
}

td_status td_gemm_cache_create(td_gemm_cache **ret_cache, td_error *error)
{
    (void)ret_cache;
    return td_fail(error, TD_ERROR_UNSUPPORTED, "no bfloat16 products in the double build");
}

void td_gemm_cache_free(td_gemm_cache *cache)
{
    (void)cache;
}

const td_panel_kernels *td_gemm_cache_panels(const td_gemm_cache *cache)
{
    (void)cache;
    return NULL;
}

td_status td_gemm_bfloat16(td_gemm_cache *cache, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const uint16_t *a,
                           size_t lda, const uint16_t *b, size_t ldb, bool accumulate, td_real *c, size_t ldc, td_error *error)
{
    (void)cache, (void)transpose_a, (void)transpose_b, (void)m, (void)n, (void)k, (void)a, (void)lda;
    (void)b, (void)ldb, (void)accumulate, (void)c, (void)ldc;
    return td_fail(error, TD_ERROR_UNSUPPORTED, "no bfloat16 products in the double build");
}

#else

#include <oneapi/dnnl/dnnl.h>

enum { SOURCE, WEIGHTS, RESULT, SCRATCHPAD, MEMORY_COUNT };

typedef struct product_key {
    size_t m, n, k, lda, ldb, ldc;
    uint64_t flags; /* 1: transpose a, 2: transpose b, 4: accumulate */
} product_key;

typedef struct product {
    product_key key;
    dnnl_primitive_t primitive; /* NULL: free slot */
    dnnl_memory_t memory[MEMORY_COUNT];
} product;

enum { FIRST_SLOTS = 64, MOST_PRODUCTS = 4096 };

struct td_gemm_cache {
    const td_panel_kernels *panels; /* NULL: all products are the library's */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    product *slots; /* open addressing; a power of two, at most half full */
    size_t slot_count, used;
    void *scratchpad; /* shared by all products: one runs at a time */
    size_t scratchpad_bytes;
};

bool td_gemm_bfloat16_supported(void)
{
    return td_cpu_has_bfloat16();
}

static td_status check(dnnl_status_t status, const char *what, td_error *error)
{
    if (status == dnnl_success)
        return TD_OK;
    if (status == dnnl_out_of_memory)
        return td_fail(error, TD_ERROR_MEMORY, "oneDNN is out of memory for a bfloat16 product (%s)", what);
    if (status == dnnl_unimplemented)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "oneDNN has no bfloat16 products for this processor (%s); use float32", what);
    return td_fail(error, TD_ERROR_INTERNAL, "oneDNN failed with status %d in a bfloat16 product (%s)", (int)status, what);
}

td_status td_gemm_cache_create(td_gemm_cache **ret_cache, td_error *error)
{
    td_gemm_cache *cache = td_allocate_array(1, sizeof *cache);
    if (!cache)
        return td_fail_memory(error, sizeof *cache);
    cache->slots = td_allocate_array(FIRST_SLOTS, sizeof *cache->slots);
    cache->slot_count = FIRST_SLOTS;
    cache->panels = td_panels_bfloat16();
    td_status status = cache->slots ? TD_OK : td_fail_memory(error, FIRST_SLOTS * sizeof *cache->slots);
    if (status == TD_OK)
        status = check(dnnl_engine_create(&cache->engine, dnnl_cpu, 0), "engine", error);
    if (status == TD_OK)
        status = check(dnnl_stream_create(&cache->stream, cache->engine, dnnl_stream_default_flags), "stream", error);
    if (status == TD_OK)
        *ret_cache = cache;
    else
        td_gemm_cache_free(cache);
    return status;
}

static void product_free(product *p)
{
    for (int i = 0; i < MEMORY_COUNT; i++)
        if (p->memory[i])
            dnnl_memory_destroy(p->memory[i]);
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    memset(p, 0, sizeof *p);
}

static void forget_products(td_gemm_cache *cache)
{
    for (size_t i = 0; cache->slots && i < cache->slot_count; i++)
        product_free(&cache->slots[i]);
    cache->used = 0;
}

void td_gemm_cache_free(td_gemm_cache *cache)
{
    if (!cache)
        return;
    forget_products(cache);
    if (cache->stream)
        dnnl_stream_destroy(cache->stream);
    if (cache->engine)
        dnnl_engine_destroy(cache->engine);
    td_release(cache->slots);
    td_release_aligned(cache->scratchpad);
    td_release(cache);
}

const td_panel_kernels *td_gemm_cache_panels(const td_gemm_cache *cache)
{
    return cache ? cache->panels : NULL;
}

static td_status grow_scratchpad(td_gemm_cache *cache, size_t bytes, td_error *error)
{
    if (bytes <= cache->scratchpad_bytes)
        return TD_OK;
    void *block = td_allocate_aligned(bytes);
    if (!block)
        return td_fail_memory(error, bytes);
    td_release_aligned(cache->scratchpad);
    cache->scratchpad = block;
    cache->scratchpad_bytes = bytes;
    return TD_OK;
}

/* ---- the two APIs of oneDNN ---- */

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t description;

static dnnl_status_t describe(description *ret, size_t rows, size_t columns, size_t row_stride, size_t column_stride, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
    const dnnl_dims_t strides = {(dnnl_dim_t)row_stride, (dnnl_dim_t)column_stride};
    return dnnl_memory_desc_create_with_strides(ret, 2, dims, type, strides);
}

static void describe_end(description *d)
{
    if (*d)
        dnnl_memory_desc_destroy(*d);
}

static const_dnnl_memory_desc_t described(const description *d)
{
    return *d;
}

static dnnl_status_t append_sum(dnnl_post_ops_t operations)
{
    return dnnl_post_ops_append_sum(operations, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t describe_product(dnnl_primitive_desc_t *ret, dnnl_engine_t engine, const description *d,
                                      const_dnnl_primitive_attr_t attributes)
{
    return dnnl_matmul_primitive_desc_create(ret, engine, d[SOURCE], d[WEIGHTS], NULL, d[RESULT], attributes);
}

typedef const_dnnl_memory_desc_t queried_description;

#else

typedef dnnl_memory_desc_t description;

static dnnl_status_t describe(description *ret, size_t rows, size_t columns, size_t row_stride, size_t column_stride, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
    const dnnl_dims_t strides = {(dnnl_dim_t)row_stride, (dnnl_dim_t)column_stride};
    return dnnl_memory_desc_init_by_strides(ret, 2, dims, type, strides);
}

static void describe_end(description *d)
{
    (void)d;
}

static const dnnl_memory_desc_t *described(const description *d)
{
    return d;
}

static dnnl_status_t append_sum(dnnl_post_ops_t operations)
{
    return dnnl_post_ops_append_sum(operations, 1.0f);
}

static dnnl_status_t describe_product(dnnl_primitive_desc_t *ret, dnnl_engine_t engine, const description *d,
                                      const_dnnl_primitive_attr_t attributes)
{
    dnnl_matmul_desc_t product_description;
    dnnl_status_t status = dnnl_matmul_desc_init(&product_description, &d[SOURCE], &d[WEIGHTS], NULL, &d[RESULT]);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(ret, &product_description, attributes, engine, NULL);
}

typedef const dnnl_memory_desc_t *queried_description;

#endif

/* ---- creating a product ---- */

/* The scratchpad is ours: oneDNN's own belongs to the thread that creates, and another one may run the product. */
static dnnl_status_t create_attributes(bool accumulate, dnnl_primitive_attr_t *ret_attributes)
{
    dnnl_post_ops_t operations = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(ret_attributes);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*ret_attributes, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !accumulate)
        return status;
    status = dnnl_post_ops_create(&operations);
    if (status == dnnl_success)
        status = append_sum(operations);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*ret_attributes, operations);
    if (operations)
        dnnl_post_ops_destroy(operations);
    return status;
}

static dnnl_status_t describe_all(const product_key *key, description *d)
{
    bool a = key->flags & 1, b = key->flags & 2;
    dnnl_status_t status = describe(&d[SOURCE], key->m, key->k, a ? 1 : key->lda, a ? key->lda : 1, dnnl_bf16);
    if (status == dnnl_success)
        status = describe(&d[WEIGHTS], key->k, key->n, b ? 1 : key->ldb, b ? key->ldb : 1, dnnl_bf16);
    if (status == dnnl_success)
        status = describe(&d[RESULT], key->m, key->n, key->ldc, 1, dnnl_f32);
    return status;
}

static dnnl_status_t create_memory(product *p, const description *d, const_dnnl_primitive_desc_t primitive_description,
                                   dnnl_engine_t engine)
{
    dnnl_status_t status = dnnl_success;
    for (int i = SOURCE; i <= RESULT && status == dnnl_success; i++)
        status = dnnl_memory_create(&p->memory[i], described(&d[i]), engine, DNNL_MEMORY_NONE);
    queried_description scratchpad = dnnl_primitive_desc_query_md(primitive_description, dnnl_query_scratchpad_md, 0);
    if (status == dnnl_success)
        status = scratchpad ? dnnl_memory_create(&p->memory[SCRATCHPAD], scratchpad, engine, DNNL_MEMORY_NONE) : dnnl_runtime_error;
    return status;
}

static td_status reserve_scratchpad(td_gemm_cache *cache, const product *p, td_error *error)
{
#if DNNL_VERSION_MAJOR >= 3
    const_dnnl_memory_desc_t d = NULL;
#else
    const dnnl_memory_desc_t *d = NULL;
#endif
    TD_TRY(check(dnnl_memory_get_memory_desc(p->memory[SCRATCHPAD], &d), "scratchpad", error));
    return grow_scratchpad(cache, dnnl_memory_desc_get_size(d), error);
}

static td_status product_create(td_gemm_cache *cache, const product_key *key, product *ret_product, td_error *error)
{
    product p = {.key = *key};
    description d[MEMORY_COUNT];
    memset(d, 0, sizeof d);
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t primitive_description = NULL;
    dnnl_status_t status = create_attributes(key->flags & 4, &attributes);
    if (status == dnnl_success)
        status = describe_all(key, d);
    if (status == dnnl_success)
        status = describe_product(&primitive_description, cache->engine, d, attributes);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&p.primitive, primitive_description);
    if (status == dnnl_success)
        status = create_memory(&p, d, primitive_description, cache->engine);
    if (primitive_description)
        dnnl_primitive_desc_destroy(primitive_description);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    for (int i = SOURCE; i <= RESULT; i++)
        describe_end(&d[i]);
    td_status result = check(status, "creation", error);
    if (result == TD_OK)
        result = reserve_scratchpad(cache, &p, error);
    if (result == TD_OK)
        *ret_product = p;
    else
        product_free(&p);
    return result;
}

/* ---- the table ---- */

static uint64_t hash_key(const product_key *key)
{
    const size_t fields[] = {key->m, key->n, key->k, key->lda, key->ldb, key->ldc, (size_t)key->flags};
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        hash = (hash ^ fields[i]) * 0x9e3779b97f4a7c15u;
    return hash >> 20;
}

static product *find_slot(product *slots, size_t count, const product_key *key)
{
    size_t i = (size_t)hash_key(key) & (count - 1);
    while (slots[i].primitive && memcmp(&slots[i].key, key, sizeof *key) != 0)
        i = (i + 1) & (count - 1);
    return &slots[i];
}

static td_status make_room(td_gemm_cache *cache, td_error *error)
{
    if (cache->used * 2 < cache->slot_count)
        return TD_OK;
    if (cache->used >= MOST_PRODUCTS) { /* a caller with endless shapes: start over */
        forget_products(cache);
        return TD_OK;
    }
    size_t count = cache->slot_count * 2;
    product *slots = td_allocate_array(count, sizeof *slots);
    if (!slots)
        return td_fail_memory(error, count * sizeof *slots);
    for (size_t i = 0; i < cache->slot_count; i++)
        if (cache->slots[i].primitive)
            *find_slot(slots, count, &cache->slots[i].key) = cache->slots[i];
    td_release(cache->slots);
    cache->slots = slots;
    cache->slot_count = count;
    return TD_OK;
}

static td_status get_product(td_gemm_cache *cache, const product_key *key, const product **ret_product, td_error *error)
{
    product *slot = find_slot(cache->slots, cache->slot_count, key);
    if (!slot->primitive) {
        TD_TRY(make_room(cache, error));
        slot = find_slot(cache->slots, cache->slot_count, key);
        TD_TRY(product_create(cache, key, slot, error));
        cache->used++;
    }
    *ret_product = slot;
    return TD_OK;
}

static td_status run(td_gemm_cache *cache, const product_key *key, const uint16_t *a, const uint16_t *b, float *c, td_error *error)
{
    const product *p = NULL;
    TD_TRY(get_product(cache, key, &p, error));
    void *data[MEMORY_COUNT] = {(void *)a, (void *)b, c, cache->scratchpad};
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < MEMORY_COUNT && status == dnnl_success; i++)
        status = dnnl_memory_set_data_handle(p->memory[i], data[i]);
    const dnnl_exec_arg_t arguments[MEMORY_COUNT] = {{DNNL_ARG_SRC, p->memory[SOURCE]},
                                                     {DNNL_ARG_WEIGHTS, p->memory[WEIGHTS]},
                                                     {DNNL_ARG_DST, p->memory[RESULT]},
                                                     {DNNL_ARG_SCRATCHPAD, p->memory[SCRATCHPAD]}};
    if (status == dnnl_success)
        status = dnnl_primitive_execute(p->primitive, cache->stream, MEMORY_COUNT, arguments);
    return check(status, "run", error);
}

/* The next block of a dimension of which `left` remain: powers of two from 2048 to 16, then what is left. */
static size_t next_block(size_t left)
{
    size_t block = 2048;
    while (block > left && block >= 16)
        block /= 2;
    return block >= 16 ? block : left;
}

/* The panels' products take pairs along the inner dimension; two rows of a pair may lie apart only where both operands
 * have rows. */
static bool fits_panels(const td_gemm_cache *cache, bool transpose_a, bool transpose_b, size_t k)
{
    return cache->panels && (transpose_a ? !transpose_b : k % cache->panels->group == 0);
}

td_status td_gemm_bfloat16(td_gemm_cache *cache, bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, const uint16_t *a,
                           size_t lda, const uint16_t *b, size_t ldb, bool accumulate, td_real *c, size_t ldc, td_error *error)
{
    if (m == 0 || n == 0)
        return TD_OK;
    if (k == 0) {
        for (size_t i = 0; i < m && !accumulate; i++)
            memset(c + i * ldc, 0, n * sizeof *c);
        return TD_OK;
    }
    if (fits_panels(cache, transpose_a, transpose_b, k)) {
        TD_TRY(grow_scratchpad(cache, cache->panels->room(transpose_a, n, k), error));
        cache->panels->product((td_panel_matrix){a, lda, transpose_a}, (td_panel_matrix){b, ldb, transpose_b}, m, n, k, cache->scratchpad,
                               (td_panel_start){accumulate ? c : NULL, ldc}, c, ldc);
        return TD_OK;
    }
    product_key key = {m, n, k, lda, ldb, ldc, (transpose_a ? 1u : 0u) | (transpose_b ? 2u : 0u) | (accumulate ? 4u : 0u)};
    size_t *cut = transpose_a ? &key.k : &key.m, total = *cut;
    for (size_t done = 0; done < total; done += *cut) {
        *cut = next_block(total - done);
        if (transpose_a && done > 0)
            key.flags |= 4u;
        const uint16_t *b_part = !transpose_a ? b : transpose_b ? b + done : b + done * ldb;
        TD_TRY(run(cache, &key, a + done * lda, b_part, transpose_a ? c : c + done * ldc, error));
    }
    return TD_OK;
}

#endif
