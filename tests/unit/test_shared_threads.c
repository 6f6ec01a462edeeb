/* A lone request on several threads: single products are cut into parts, and every bit stays as it is on one thread. Also run under
 * the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/model.h"
#include "api/queue.h"
#include "io/json.h"
#include "layers/parameters.h"
#include "models/architecture.h"
#include "ops/packed_linear.h"
#include "platform/file.h"
#include "platform/thread.h"
#include "tandem/tandem.h"

/* ---- products ---- */

enum { ROWS = 9, OUTPUTS = 700, INPUTS = 300, WEIGHTS = 3 };

static td_packed *pack(td_precision precision, size_t outputs, float step)
{
    td_packed *packed = NULL;
    float values[TD_PANEL * INPUTS];
    assert_int_equal(td_packed_new(precision, outputs, INPUTS, &packed, NULL), TD_OK);
    for (size_t first = 0; first < outputs; first += TD_PANEL) {
        size_t count = outputs - first < TD_PANEL ? outputs - first : TD_PANEL;
        for (size_t i = 0; i < count * INPUTS; i++)
            values[i] = sinf(step * (float)(first * INPUTS + i));
        td_packed_fill(packed, first, count, values);
    }
    return packed;
}

/* y [rows, outputs of all]; `pool` may be NULL. */
static void multiply(td_pool *pool, const td_packed *const *weights, size_t rows, float *y)
{
    static float x[ROWS * INPUTS];
    td_arena arena;
    td_graph graph;
    for (size_t i = 0; i < rows * INPUTS; i++)
        x[i] = cosf(0.3f * (float)i);
    td_arena_init(&arena);
    td_graph_begin(&graph, &arena, false);
    graph.pool = pool;
    td_tensor *product = td_packed_linear(&graph, td_tensor_of(&graph, x, rows, INPUTS), weights, NULL, WEIGHTS, TD_RELU);
    assert_non_null(product);
    memcpy(y, product->data, rows * product->columns * sizeof *y);
    td_arena_free(&arena);
}

static void shared_products_have_the_same_bits(void **state)
{
    (void)state;
    static float alone[ROWS * WEIGHTS * OUTPUTS], shared[ROWS * WEIGHTS * OUTPUTS];
    for (int precision = 0; precision < TD_PRECISIONS; precision++) {
        td_packed *packed[WEIGHTS] = {pack((td_precision)precision, OUTPUTS, 0.7f), pack((td_precision)precision, 65, 0.9f),
                                      pack((td_precision)precision, OUTPUTS, 1.1f)};
        for (size_t threads = 2; threads <= 5; threads++) {
            td_pool *pool = NULL;
            td_graph graph = {.pool = NULL};
            assert_int_equal(td_pool_new(threads, NULL, &pool, NULL), TD_OK);
            assert_int_equal(td_packed_parts(&graph, packed[0], 1, 11), 1);
            graph.pool = pool;
            assert_int_equal(td_packed_parts(&graph, packed[0], 1, 11), threads); /* else nothing is tried here */
            assert_int_equal(td_packed_parts(&graph, packed[0], 1, 1), 1);
            for (size_t rows = 1; rows <= ROWS; rows += 4) {
                memset(alone, 0, sizeof alone);
                memset(shared, 0, sizeof shared);
                multiply(NULL, (const td_packed *const *)packed, rows, alone);
                multiply(pool, (const td_packed *const *)packed, rows, shared);
                assert_memory_equal(alone, shared, sizeof alone);
            }
            td_pool_free(pool);
        }
        for (size_t i = 0; i < WEIGHTS; i++)
            td_packed_free(packed[i]);
    }
}

/* ---- a whole request ---- */

static char directory[] = "/tmp/tandem-shared-XXXXXX";

static int write_model(void **state)
{
    (void)state;
    static const char text[] =
        "{\"model_type\": \"marian\", \"d_model\": 128, \"encoder_layers\": 1, \"decoder_layers\": 2, \"encoder_ffn_dim\": 1024, "
        "\"decoder_ffn_dim\": 1024, \"encoder_attention_heads\": 4, \"decoder_attention_heads\": 4, \"activation_function\": \"relu\", "
        "\"static_position_embeddings\": true, \"max_position_embeddings\": 64, \"vocab_size\": 2500, \"decoder_vocab_size\": 2500, "
        "\"share_encoder_decoder_embeddings\": true, \"pad_token_id\": 2499, \"decoder_start_token_id\": 2499, \"eos_token_id\": 0, "
        "\"bos_token_id\": 0}";
    char path[64];
    json_t *config = NULL;
    td_network network = {0};
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/config.json", directory);
    if (td_file_write(path, text, sizeof text - 1, NULL) || td_json_load_file(path, &config, NULL) ||
        td_network_configure(config, path, &network, NULL))
        return -1;
    td_parameters_initialise(&network.parameters, 1);
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    td_status status = td_parameters_save(&network.parameters, NULL, path, NULL);
    td_network_free(&network);
    json_decref(config);
    return (int)status;
}

static int remove_model(void **state)
{
    (void)state;
    return (int)td_directory_remove(directory, NULL);
}

static td_result *answer(td_model *model, size_t threads, int64_t beam, const char *ids)
{
    td_session *session = NULL;
    td_result *result = NULL;
    td_error error = {0};
    td_session_options shared = TD_SESSION_OPTIONS_INIT;
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    shared.threads = threads;
    options.input = TD_INPUT_IDS;
    options.beam = options.nbest = beam;
    options.max_length = 24;
    assert_int_equal(td_session_new(model, &shared, &session, NULL), TD_OK);
    for (int turn = 0; turn < 3; turn++) { /* the second thread sleeps in between */
        td_result_free(result);
        result = NULL;
        usleep(turn == 1 ? 5000 : 0);
        td_generate_text(session, ids, &options, &result, &error);
        assert_string_equal(error.message, "");
    }
    td_session_free(session);
    return result;
}

static void assert_same(const td_result *a, const td_result *b)
{
    assert_int_equal(td_result_outputs(a, 0), td_result_outputs(b, 0));
    for (size_t output = 0; output < td_result_outputs(a, 0); output++) {
        size_t count, other;
        const int32_t *ids = td_result_ids(a, 0, output, &count);
        const int32_t *other_ids = td_result_ids(b, 0, output, &other);
        assert_int_equal(count, other);
        assert_memory_equal(ids, other_ids, count * sizeof *ids);
        const float *logprobs = td_result_token_logprobs(a, 0, output, &count);
        assert_memory_equal(logprobs, td_result_token_logprobs(b, 0, output, &other), count * sizeof *logprobs);
        assert_true(td_result_score(a, 0, output) == td_result_score(b, 0, output));
    }
}

static void a_lone_request_gets_the_same_bits_on_all_threads(void **state)
{
    (void)state;
    static const char *const precisions[] = {"float32", "bfloat16", "int8"};
    static const char *const sources[] = {"17 4 900 0", "5 9 2 88 1203 44 8 3 19 2222 61 7 7 12 0"};
    for (size_t p = 0; p < 3; p++) {
        td_model *model = NULL;
        td_model_options options = TD_MODEL_OPTIONS_INIT;
        options.precision = precisions[p];
        assert_int_equal(td_model_open(directory, &options, &model, NULL), TD_OK);
        for (size_t s = 0; s < 2; s++)
            for (int64_t beam = 1; beam <= 4; beam += 3) {
                td_result *alone = answer(model, 0, beam, sources[s]), *shared = answer(model, SIZE_MAX, beam, sources[s]);
                assert_same(alone, shared);
                td_result_free(alone);
                td_result_free(shared);
            }
        td_model_close(model);
    }
}

static bool keep_result(void *context, size_t index, const td_result *result, const td_error *error)
{
    (void)error;
    float *sums = context;
    size_t count;
    const float *logprobs = td_result_token_logprobs(result, 0, 0, &count);
    for (size_t i = 0; i < count; i++)
        sums[index] += logprobs[i];
    return true;
}

/* Three inputs on 1 to 8 threads: threads share a search's products where inputs are fewer. */
static void few_inputs_on_many_threads(void **state)
{
    (void)state;
    static const char *const sources[] = {"17 4 900 0", "5 9 2 88 1203 44 8 3 0", "3 0"};
    float expected[3] = {0};
    td_model *model = NULL;
    assert_int_equal(td_model_open(directory, NULL, &model, NULL), TD_OK);
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    options.input = TD_INPUT_IDS;
    options.max_length = 20;
    for (size_t threads = 1; threads <= 8; threads++)
        for (size_t count = 1; count <= 3; count++) {
            float sums[3] = {0};
            td_batch_options batch = TD_BATCH_OPTIONS_INIT;
            batch.threads = threads;
            assert_int_equal(td_generate_batch(model, sources, count, &options, &batch, keep_result, sums, NULL), TD_OK);
            if (threads == 1)
                memcpy(expected, sums, count * sizeof *sums);
            assert_memory_equal(sums, expected, count * sizeof *sums);
        }
    td_model_close(model);
}

/* Takes all that it is given before it delivers any of it, as a search does whose batch has room. */
static td_status take_and_refuse(td_queue *queue, td_search *search, td_error *error)
{
    (void)search, (void)error;
    size_t taken[INPUTS], count, holds;
    td_error refusal = {.status = TD_ERROR_ARGUMENT, .message = "refused"};
    do {
        for (count = holds = 0; td_queue_take(queue, holds, &taken[count]); count++)
            holds += td_queue_work(queue, taken[count]);
        atomic_size_t *most = queue->context;
        for (size_t seen = atomic_load(most); seen < count && !atomic_compare_exchange_weak(most, &seen, count);)
            continue;
        for (size_t i = 0; i < count; i++)
            td_queue_deliver(queue, taken[i], NULL, &refusal);
    } while (count > 0);
    return TD_OK;
}

static bool count_refusals(void *context, size_t index, const td_result *result, const td_error *error)
{
    (void)context, (void)index;
    return !result && strcmp(error->message, "refused") == 0;
}

/* However late the others begin, no thread takes more than its share. */
static void threads_share_what_there_is(void **state)
{
    (void)state;
    const char *sources[INPUTS];
    for (size_t i = 0; i < INPUTS; i++)
        sources[i] = "17 4 900 0";
    td_request request = {0};
    assert_int_equal(td_model_open(directory, NULL, &request.model, NULL), TD_OK);
    for (size_t threads = 1; threads <= 4; threads++) {
        atomic_size_t most = 0;
        td_queue queue = {.request = &request,
                          .sources = sources,
                          .count = INPUTS,
                          .callback = count_refusals,
                          .context = &most,
                          .work = take_and_refuse};
        td_batch_options batch = TD_BATCH_OPTIONS_INIT;
        batch.threads = threads;
        assert_int_equal(td_queue_run(&queue, &batch, NULL), TD_OK);
        assert_int_equal(queue.delivered, INPUTS);
        assert_true(atomic_load(&most) <= (INPUTS + threads - 1) / threads && atomic_load(&most) > 0);
    }
    td_model_close(request.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shared_products_have_the_same_bits),
                                       cmocka_unit_test(a_lone_request_gets_the_same_bits_on_all_threads),
                                       cmocka_unit_test(few_inputs_on_many_threads), cmocka_unit_test(threads_share_what_there_is)};
    return cmocka_run_group_tests(tests, write_model, remove_model);
}
