/* In the steady state nothing is allocated: neither by a training step nor by a decoding step of any search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buffer.h"
#include "platform/file.h"
#include "tandem/tandem.h"
#include "tandem/training.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_long allocations;

static void *counted_allocate(void *context, size_t bytes)
{
    (void)context;
    atomic_fetch_add(&allocations, 1);
    return malloc(bytes);
}

static void *counted_resize(void *context, void *block, size_t bytes)
{
    (void)context;
    atomic_fetch_add(&allocations, 1);
    return realloc(block, bytes);
}

static void counted_release(void *context, void *block)
{
    (void)context;
    free(block);
}

static const td_allocator counting = {counted_allocate, counted_resize, counted_release, NULL};
static char directory[] = "/dev/shm/tandem-steady-XXXXXX", elsewhere[] = "/tmp/tandem-steady-XXXXXX";
static const char *place;

/* One batch holds all pairs, so that all steps are alike. */
static int enter(void **state)
{
    (void)state;
    static const char *const words[] = {"boat", "lamp", "grey", "near", "stone", "field", "cold"};
    static const char recipe[] =
        "data:\n"
        "  train: {source: text, target: text}\n"
        "  vocabulary: {kind: char, size: 60}\n"
        "model:\n"
        "  encoder: {layers: 2, width: 16, heads: 2, feed_forward: 16}\n"
        "training: {max_steps: 60, batch_tokens: 100000, dropout: 0.1, report_every: 1000, checkpoint_every: 1000}\n";
    place = access("/dev/shm", W_OK) == 0 ? mkdtemp(directory) : mkdtemp(elsewhere);
    if (!place || chdir(place) != 0)
        return -1;
    td_set_allocator(&counting);
    td_buffer text = TD_BUFFER_INIT;
    for (int line = 0; line < 50; line++)
        for (int word = 0; word <= line % 9; word++)
            td_buffer_format(&text, "%s%s", words[(line * 5 + word * 3) % 7], word == line % 9 ? "\n" : " ");
    int status = td_file_write("text", text.data, text.length, NULL) || td_file_write("recipe.yaml", recipe, sizeof recipe - 1, NULL);
    td_buffer_free(&text);
    return status;
}

static int leave(void **state)
{
    (void)state;
    td_status status = chdir("/") == 0 ? td_directory_remove(place, NULL) : TD_ERROR_IO;
    td_set_allocator(NULL);
    return (int)status;
}

/* ---- training ---- */

typedef struct step_watch {
    long last, most;
    int steps;
} step_watch;

/* Between two calls for the moving line lies a step. */
static void watch_step(void *context, const char *line, bool transient)
{
    enum { WARM_UP = 10 };
    step_watch *watch = context;
    (void)line;
    if (!transient)
        return;
    long now = atomic_load(&allocations);
    if (++watch->steps > WARM_UP && now - watch->last > watch->most)
        watch->most = now - watch->last;
    watch->last = now;
}

static void assert_steps_are_free(const char *type, const char *more, int threads)
{
    char output[64], model[64], count[64];
    snprintf(count, sizeof count, "training.threads=%d", threads);
    snprintf(output, sizeof output, "output=%s", type);
    snprintf(model, sizeof model, "model.type=%s", type);
    const char *overrides[] = {output, model, count, more};
    step_watch watch = {0};
    td_error error = {0};
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = overrides;
    options.override_count = sizeof overrides / sizeof *overrides;
    options.restart = true;
    options.report = watch_step;
    options.context = &watch;
    td_profile *profile;
    assert_int_equal(td_profile_new(NULL, &profile, NULL), TD_OK);
    options.profile = profile;
    td_train("recipe.yaml", &options, &error);
    assert_string_equal(error.message, "");
    td_profile_free(profile);
    assert_true(watch.steps > 40);
    if (watch.most)
        fail_msg("%s, %s, %d threads: a step makes %ld allocations", type, more, threads, watch.most);
}

static void test_training_steps(void **state)
{
    (void)state;
    static const char *const more[] = {"training.r_drop=0", "training.r_drop=1", "training.scheduled_sampling=0.5",
                                       "training.word_dropout=0.2", "training.precision=bfloat16"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        assert_steps_are_free("transformer", more[i], 1 + (int)(i % 2));
    for (int threads = 1; threads <= 3; threads++) {
        assert_steps_are_free("gru", "model.attention=additive", threads);
        assert_steps_are_free("lstm", "model.attention=none", threads);
    }
}

/* ---- decoding ---- */

static long count_generation(td_session *session, const td_generate_options *common, int64_t length)
{
    td_result *result = NULL;
    td_generate_options options = *common;
    options.min_length = options.max_length = length;
    long before = atomic_load(&allocations);
    assert_int_equal(td_generate_text(session, "boat near the cold stone", &options, &result, NULL), TD_OK);
    long made = atomic_load(&allocations) - before;
    size_t written;
    td_result_ids(result, 0, 0, &written);
    assert_true(written + 2 >= (size_t)length);
    td_result_free(result);
    return made;
}

/* A longer output takes no more allocations than a shorter one. */
static void assert_length_is_free(td_session *session, const td_generate_options *options, const char *what)
{
    count_generation(session, options, 60); /* buffers grow */
    long shorter = count_generation(session, options, 20), longer = count_generation(session, options, 60);
    if (longer != shorter)
        fail_msg("%s: 40 more steps make %ld allocations", what, longer - shorter);
}

static void assert_step_interface_is_free(td_model *model, td_session *session)
{
    int32_t ids[64], fed[3];
    const float *logits;
    size_t count;
    long made = 0;
    assert_int_equal(td_model_tokenize(model, "boat near the cold stone", ids, 64, &count, NULL), TD_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(td_encode_ids(session, ids, count, 3, NULL), TD_OK);
        made = atomic_load(&allocations);
        fed[0] = fed[1] = fed[2] = td_model_decoder_start(model);
        for (int step = 0; step < 40; step++) {
            assert_int_equal(td_decode_step(session, fed, &logits, NULL), TD_OK);
            fed[0] = fed[1] = fed[2] = ids[step % (int)count];
        }
        made = atomic_load(&allocations) - made;
    }
    assert_int_equal(made, 0);
}

static void assert_decoding_is_free(const char *directory_name, size_t threads)
{
    td_model *model;
    td_session *session;
    td_profile *profile;
    td_model_options measured = TD_MODEL_OPTIONS_INIT;
    assert_int_equal(td_profile_new(NULL, &profile, NULL), TD_OK);
    measured.profile = profile;
    assert_int_equal(td_model_open(directory_name, &measured, &model, NULL), TD_OK);
    td_session_options shared = TD_SESSION_OPTIONS_INIT;
    shared.threads = threads;
    assert_int_equal(td_session_new(model, &shared, &session, NULL), TD_OK);
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    options.beam = 1;
    assert_length_is_free(session, &options, "greedy");
    options.beam = 4;
    assert_length_is_free(session, &options, "beam");
    options.no_repeat_ngram = 8;
    options.repetition_penalty = 1.1;
    assert_length_is_free(session, &options, "beam with rules");
    options = (td_generate_options)TD_GENERATE_OPTIONS_INIT;
    options.sample = 1;
    options.top_k = 20;
    options.top_p = 0.9;
    assert_length_is_free(session, &options, "sampling");
    assert_step_interface_is_free(model, session);
    td_session_free(session);
    td_model_close(model);
    td_profile_free(profile);
}

static void test_decoding_steps(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 2; threads++) {
        assert_decoding_is_free("transformer", threads);
        assert_decoding_is_free("gru", threads);
        assert_decoding_is_free("lstm", threads);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_training_steps), cmocka_unit_test(test_decoding_steps)};
    return cmocka_run_group_tests(tests, enter, leave);
}
