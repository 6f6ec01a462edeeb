/* The public interface: what it gives does not depend on how it is asked, mistakes are errors, memory running out is
 * one, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem/tandem.h>
#include <unistd.h>

static char directory[64];

static void copy_file(const char *from_directory, const char *name)
{
    char command[512];
    snprintf(command, sizeof command, "cp '%s/golden/%s/%s' '%s/'", TD_TEST_DATA, from_directory, name, directory);
    assert_int_equal(system(command), 0);
}

static int make_model(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/tandem-api-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    static const char *const model[] = {"config.json", "generation_config.json", "model.safetensors", "README.md"};
    static const char *const tokenizer[] = {"source.spm", "target.spm", "vocab.json", "special_tokens_map.json", "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof model / sizeof *model; i++)
        copy_file("tiny-translator", model[i]);
    for (size_t i = 0; i < sizeof tokenizer / sizeof *tokenizer; i++)
        copy_file("marian-tokenizer", tokenizer[i]);
    return 0;
}

static int remove_model(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", directory);
    return system(command);
}

static td_model *open_model(void)
{
    td_error error;
    td_model *model = NULL;
    assert_int_equal(td_model_open(directory, NULL, &model, &error), TD_OK);
    return model;
}

static td_generate_options german(void)
{
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    options.target_language = "de";
    return options;
}

static const char *const sentences[] = {"The old boat leaves the harbour.", "Two cats sleep.",  "\xff", "Rain!",
                                        "They walk home along the river.",  "Where is the key?"};
enum { SENTENCES = sizeof sentences / sizeof *sentences, BROKEN = 2 };

typedef struct collected {
    char texts[SENTENCES][512];
    size_t count, failures, stop_after;
} collected;

static bool collect(void *context, size_t index, const td_result *result, const td_error *error)
{
    collected *all = context;
    assert_int_equal(index, all->count); /* in order */
    if (result) {
        assert_null(error);
        snprintf(all->texts[index], sizeof all->texts[index], "%s", td_result_text(result, 0, 0));
    } else {
        assert_string_equal(error->message, "line is not UTF-8 (byte 1)");
        all->failures++;
    }
    return ++all->count != all->stop_after;
}

/* Any number of threads, any batch, one by one: the same. */
static void same_outputs(void **state)
{
    (void)state;
    td_model *model = open_model();
    td_session *session = NULL;
    td_error error;
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    for (int sample = 0; sample < 2; sample++) {
        td_generate_options options = german();
        options.sample = sample;
        collected first = {0};
        for (size_t threads = 1; threads <= 4; threads++) {
            collected all = {0};
            td_batch_options batch = TD_BATCH_OPTIONS_INIT;
            batch.threads = threads;
            batch.batch_tokens = threads * 7;
            assert_int_equal(td_generate_batch(model, sentences, SENTENCES, &options, &batch, collect, &all, &error), TD_OK);
            assert_int_equal(all.count, SENTENCES);
            assert_int_equal(all.failures, 1);
            if (threads == 1)
                first = all;
            assert_memory_equal(all.texts, first.texts, sizeof all.texts);
        }
        td_result *alone = NULL;
        assert_int_equal(td_generate_text(session, sentences[0], &options, &alone, &error), TD_OK);
        assert_string_equal(td_result_text(alone, 0, 0), first.texts[0]);
        td_result_free(alone);
    }
    td_session_free(session);
    td_model_close(model);
}

static void callback_ends_batch(void **state)
{
    (void)state;
    td_model *model = open_model();
    td_generate_options options = german();
    td_error error;
    collected all = {.stop_after = 2};
    assert_int_equal(td_generate_batch(model, sentences, SENTENCES, &options, NULL, collect, &all, &error), TD_ERROR_CANCELLED);
    assert_int_equal(all.count, 2);
    td_batch_options batch = TD_BATCH_OPTIONS_INIT;
    int cancel = 1;
    collected none = {0};
    batch.cancel = &cancel;
    assert_int_equal(td_generate_batch(model, sentences, SENTENCES, &options, &batch, collect, &none, &error), TD_ERROR_CANCELLED);
    assert_int_equal(none.count, 0);
    td_model_close(model);
}

/* A text that is cut into sentences comes another way, on which the check was missing once. */
static void callback_is_wanted(void **state)
{
    (void)state;
    td_model *model = open_model();
    td_generate_options options = german();
    td_error error;
    char text[2048] = "";
    for (size_t i = 0; i < 30; i++)
        strcat(text, "The old boat leaves the harbour. ");
    const char *const texts[] = {text};
    for (int split = 0; split < 2; split++) {
        options.split = split ? TD_SPLIT_SENTENCES : TD_SPLIT_NONE;
        assert_int_equal(td_generate_batch(model, texts, 1, &options, NULL, NULL, NULL, &error), TD_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, "callback"));
    }
    td_model_close(model);
}

static void log_softmax(const float *logits, size_t count, double *out)
{
    double top = (double)logits[0], sum = 0;
    for (size_t i = 1; i < count; i++)
        top = (double)logits[i] > top ? (double)logits[i] : top;
    for (size_t i = 0; i < count; i++)
        sum += exp((double)logits[i] - top);
    for (size_t i = 0; i < count; i++)
        out[i] = (double)logits[i] - top - log(sum);
}

/* A greedy search by steps finds what td_generate_text finds, with the same log-probabilities as td_score_text; rows
 * are alike. */
static void steps_equal_search(void **state)
{
    (void)state;
    td_model *model = open_model();
    td_session *session = NULL;
    td_error error;
    td_result *greedy = NULL, *scored = NULL;
    td_generate_options options = german();
    options.beam = 1;
    options.attention = true;
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    assert_int_equal(td_generate_text(session, sentences[0], &options, &greedy, &error), TD_OK);
    size_t count, source_count, rows, columns, vocabulary = td_model_vocabulary_size(model);
    const int32_t *ids = td_result_ids(greedy, 0, 0, &count), *source = td_result_source_ids(greedy, 0, &source_count);
    const float *logprobs = td_result_token_logprobs(greedy, 0, 0, NULL);
    const float *attention = td_result_attention(greedy, 0, 0, &rows, &columns);
    assert_true(count > 3 && rows == count && columns == source_count);
    for (size_t i = 0; i < rows; i++) {
        double sum = 0;
        for (size_t j = 0; j < columns; j++)
            sum += (double)attention[i * columns + j];
        assert_true(fabs(sum - 1) < 1e-4);
    }
    double *distribution = malloc(vocabulary * sizeof *distribution);
    assert_int_equal(td_encode_ids(session, source, source_count, 2, &error), TD_OK);
    int32_t fed[3] = {td_model_decoder_start(model), td_model_decoder_start(model), 0};
    for (size_t i = 0; i < count; i++) {
        const float *logits = NULL;
        assert_int_equal(td_decode_step(session, fed, &logits, &error), TD_OK);
        log_softmax(logits + vocabulary, vocabulary, distribution);
        size_t best = 0;
        for (size_t id = 1; id < vocabulary; id++)
            best = distribution[id] > distribution[best] ? id : best;
        assert_int_equal(best, ids[i]);
        assert_true(fabs(distribution[best] - (double)logprobs[i]) < 1e-4);
        fed[0] = fed[1] = ids[i];
        if (i == 1)
            assert_int_equal(td_decode_select(session, (const int32_t[]){1, 0}, 2, &error), TD_OK);
    }
    free(distribution);
    options.input = TD_INPUT_IDS;
    char source_text[512] = "", target_text[512] = "";
    for (size_t i = 0; i < source_count; i++)
        sprintf(source_text + strlen(source_text), "%d ", (int)source[i]);
    for (size_t i = 0; i < count; i++)
        sprintf(target_text + strlen(target_text), "%d ", (int)ids[i]);
    assert_int_equal(td_score_text(session, source_text, target_text, &options, &scored, &error), TD_OK);
    for (size_t i = 0; i < count; i++)
        assert_true(fabs((double)td_result_token_logprobs(scored, 0, 0, NULL)[i] - (double)logprobs[i]) < 1e-4);
    td_result_free(greedy);
    td_result_free(scored);
    td_session_free(session);
    td_model_close(model);
}

typedef struct heard {
    char text[512];
    int calls, stop_after;
} heard;

static bool hear(void *context, const char *text, size_t length)
{
    heard *all = context;
    strncat(all->text, text, length);
    return ++all->calls != all->stop_after;
}

static void streaming(void **state)
{
    (void)state;
    td_model *model = open_model();
    td_session *session = NULL;
    td_error error;
    td_generate_options options = german();
    options.beam = 1;
    options.on_text = hear;
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    for (int stop_after = 0; stop_after < 3; stop_after += 2) {
        heard all = {.stop_after = stop_after};
        td_result *result = NULL;
        options.on_text_context = &all;
        assert_int_equal(td_generate_text(session, sentences[0], &options, &result, &error), TD_OK);
        assert_string_equal(all.text, td_result_text(result, 0, 0));
        assert_true(stop_after ? all.calls == 2 : all.calls > 2);
        td_result_free(result);
    }
    options.beam = 4;
    td_result *untouched = NULL;
    assert_int_equal(td_generate_text(session, sentences[0], &options, &untouched, &error), TD_ERROR_ARGUMENT);
    assert_null(untouched);
    td_session_free(session);
    td_model_close(model);
}

/* Options of an older, shorter struct: what it lacks has its initial value. */
static void shorter_options(void **state)
{
    (void)state;
    td_model *model = open_model();
    td_session *session = NULL;
    td_error error;
    td_generate_options options = german();
    options.struct_size = offsetof(td_generate_options, prefix);
    options.prefix = (const char *)1; /* must not be looked at */
    td_result *result = NULL;
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    assert_int_equal(td_generate_text(session, sentences[1], &options, &result, &error), TD_OK);
    td_result_free(result);
    options.struct_size = 0;
    assert_int_equal(td_generate_text(session, sentences[1], &options, &result, &error), TD_ERROR_ARGUMENT);
    td_session_free(session);
    td_model_close(model);
}

static void mistakes(void **state)
{
    (void)state;
    td_model *model = open_model();
    td_session *session = NULL;
    td_result *result = NULL;
    td_error error;
    const float *logits = NULL;
    int32_t id = 1000000;
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    assert_int_equal(td_decode_step(session, &id, &logits, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_encode_ids(session, &id, 1, 1, &error), TD_ERROR_ARGUMENT);
    id = 5;
    assert_int_equal(td_encode_ids(session, &id, 0, 1, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_encode_ids(session, &id, 1, 1, &error), TD_OK);
    id = -1;
    assert_int_equal(td_decode_step(session, &id, &logits, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_decode_select(session, (const int32_t[]){1}, 1, &error), TD_ERROR_ARGUMENT);
    td_generate_options options = german();
    options.nbest = 9;
    assert_int_equal(td_generate_text(session, "Rain!", &options, &result, &error), TD_ERROR_ARGUMENT);
    options = german();
    options.no_truncate = true;
    char long_text[1024] = "";
    for (int i = 0; i < 100; i++)
        strcat(long_text, "Rain! ");
    assert_int_equal(td_generate_text(session, long_text, &options, &result, &error), TD_ERROR_LIMIT);
    assert_null(result);
    assert_int_equal(td_generate_text(session, "Rain!", NULL, &result, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "de, nl"));
    assert_null(td_result_text(NULL, 0, 0));
    td_session_free(session);
    td_model_close(model);
}

/* ---- Every allocation of a whole run fails in turn. ---- */

static long allocations_left;
static long blocks;

static void *limited_allocate(void *context, size_t bytes)
{
    (void)context;
    void *block = __atomic_sub_fetch(&allocations_left, 1, __ATOMIC_RELAXED) < 0 ? NULL : malloc(bytes);
    __atomic_add_fetch(&blocks, block != NULL, __ATOMIC_RELAXED);
    return block;
}

static void *limited_resize(void *context, void *block, size_t bytes)
{
    (void)context;
    void *larger = __atomic_sub_fetch(&allocations_left, 1, __ATOMIC_RELAXED) < 0 ? NULL : realloc(block, bytes);
    __atomic_add_fetch(&blocks, larger && !block, __ATOMIC_RELAXED);
    return larger;
}

static void limited_release(void *context, void *block)
{
    (void)context;
    __atomic_sub_fetch(&blocks, block != NULL, __ATOMIC_RELAXED);
    free(block);
}

static td_status whole_run(td_error *error)
{
    td_model *model = NULL;
    td_session *session = NULL;
    td_result *result = NULL;
    td_generate_options options = german();
    options.prefix = "Th";
    td_status status = td_model_open(directory, NULL, &model, error);
    if (status == TD_OK)
        status = td_session_new(model, NULL, &session, error);
    if (status == TD_OK)
        status = td_generate_text(session, "Rain!", &options, &result, error);
    td_result_free(result);
    td_session_free(session);
    td_model_close(model);
    return status;
}

static void memory_runs_out(void **state)
{
    (void)state;
    td_allocator allocator = {limited_allocate, limited_resize, limited_release, NULL};
    td_error error;
    td_set_allocator(&allocator);
    td_status status = TD_ERROR_MEMORY;
    long limit = 0;
    for (; status != TD_OK && limit < 100000; limit += 1 + limit / 40) {
        allocations_left = limit;
        blocks = 0;
        status = whole_run(&error);
        if (status != TD_OK && status != TD_ERROR_MEMORY)
            fail_msg("after %ld allocations: %s", limit, error.message);
        assert_int_equal(blocks, 0);
    }
    td_set_allocator(NULL);
    assert_int_equal(status, TD_OK);
    assert_true(limit > 50);
}

/* A step whose memory runs out leaves no half-advanced rows to go on with. */
static void failed_steps_leave_no_row(void **state)
{
    (void)state;
    td_allocator allocator = {limited_allocate, limited_resize, limited_release, NULL};
    td_status status = TD_ERROR_MEMORY;
    long failed = 0;
    td_set_allocator(&allocator);
    for (long limit = 0; status != TD_OK && limit < 1000; limit++) {
        td_model *model = NULL;
        td_session *session = NULL;
        const float *logits;
        td_error error;
        allocations_left = 100000;
        assert_int_equal(td_model_open(directory, NULL, &model, &error), TD_OK);
        assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
        int32_t id = td_model_decoder_start(model), end = td_model_end(model);
        assert_int_equal(td_encode_ids(session, &end, 1, 1, &error), TD_OK);
        allocations_left = limit;
        status = td_decode_step(session, &id, &logits, &error);
        allocations_left = 100000;
        if (status != TD_OK) {
            failed++;
            assert_int_equal(status, TD_ERROR_MEMORY);
            assert_int_equal(td_decode_step(session, &id, &logits, &error), TD_ERROR_ARGUMENT);
            assert_int_equal(td_encode_ids(session, &end, 1, 1, &error), TD_OK);
            assert_int_equal(td_decode_step(session, &id, &logits, &error), TD_OK);
        }
        td_session_free(session);
        td_model_close(model);
    }
    td_set_allocator(NULL);
    assert_int_equal(status, TD_OK);
    assert_true(failed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_outputs),       cmocka_unit_test(callback_ends_batch), cmocka_unit_test(callback_is_wanted),
        cmocka_unit_test(steps_equal_search), cmocka_unit_test(streaming),           cmocka_unit_test(shorter_options),
        cmocka_unit_test(mistakes),           cmocka_unit_test(memory_runs_out),     cmocka_unit_test(failed_steps_leave_no_row),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
