/* Copying from end to end: a vocabulary of a few words, sources with names it has never seen, and models that must write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "platform/file.h"
#include "tandem/tandem.h"
#include "tandem/training.h"
#include "text/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const verbs[] = {"call", "meet", "pay", "see", "ask", "help"}, *const fillers[] = {"please", "so", "then", "now"};

static void append_name(td_buffer *text, td_random *random, char ending)
{
    for (int i = 0; i < 3; i++)
        td_buffer_format(text, "%c%c", "bdfgklmnprst"[td_random_below(random, 12)], "aeiou"[td_random_below(random, 5)]);
    td_buffer_format(text, "%c", ending);
}

/* "so call <name> please" -> "call <name> !"; names of validation end in another letter, so none was seen. */
static void write_pairs(const char *name, size_t count, uint64_t seed, char ending)
{
    td_buffer source = TD_BUFFER_INIT, target = TD_BUFFER_INIT, person = TD_BUFFER_INIT;
    td_random random = {td_random_key(seed, 0, 0), 0};
    for (size_t i = 0; i < count; i++) {
        td_buffer_clear(&person);
        append_name(&person, &random, ending);
        const char *verb = verbs[td_random_below(&random, 6)], *first = fillers[td_random_below(&random, 4)];
        td_buffer_format(&source, "%s %s %s %s\n", first, verb, td_buffer_text(&person), fillers[td_random_below(&random, 4)]);
        td_buffer_format(&target, "%s %s !\n", verb, td_buffer_text(&person));
    }
    char path[64];
    snprintf(path, sizeof path, "%s.source", name);
    assert_int_equal(td_file_write(path, source.data, source.length, NULL), TD_OK);
    snprintf(path, sizeof path, "%s.target", name);
    assert_int_equal(td_file_write(path, target.data, target.length, NULL), TD_OK);
    td_buffer_free(&source);
    td_buffer_free(&target);
    td_buffer_free(&person);
}

static int enter(void **state)
{
    static const char recipe[] = "task: summarize\n"
                                 "data:\n"
                                 "  train: {source: train.source, target: train.target}\n"
                                 "  validation: {source: held.source, target: held.target}\n"
                                 "  vocabulary: {kind: word, size: 24}\n"
                                 "model:\n"
                                 "  copy: true\n"
                                 "  encoder: {layers: 1, width: 32, heads: 2, feed_forward: 64}\n"
                                 "training:\n"
                                 "  batch_tokens: 240\n"
                                 "  max_steps: 120\n"
                                 "  warmup_steps: 20\n"
                                 "  learning_rate: 0.01\n"
                                 "  dropout: 0\n"
                                 "  validate_every: 120\n"
                                 "  validation_metric: rouge\n";
    char name[] = "/tmp/tandem-copying-XXXXXX";
    *state = mkdtemp(name) ? strdup(name) : NULL;
    if (!*state || chdir(*state) != 0)
        return -1;
    write_pairs("train", 600, 3, 'a');
    write_pairs("held", 24, 4, 'o');
    return td_file_write("recipe.yaml", recipe, sizeof recipe - 1, NULL) == TD_OK ? 0 : -1;
}

static int leave(void **state)
{
    td_status status = chdir("/") == 0 ? td_directory_remove(*state, NULL) : TD_ERROR_IO;
    free(*state);
    return status == TD_OK ? 0 : -1;
}

static td_model *train(const char *output, const char *const *extra)
{
    char where[64];
    const char *overrides[12] = {where};
    size_t count = 1;
    snprintf(where, sizeof where, "output=%s", output);
    for (; *extra; extra++)
        overrides[count++] = *extra;
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = overrides;
    options.override_count = count;
    td_error error = {0};
    td_model *model = NULL;
    if (td_train("recipe.yaml", &options, &error) != TD_OK || td_model_open(output, NULL, &model, &error) != TD_OK)
        fail_msg("%s", error.message);
    return model;
}

static td_result *generate(td_session *session, const char *const *texts, size_t count, int64_t beam)
{
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    options.beam = beam;
    options.attention = true;
    options.no_repeat_ngram = 3;
    td_result *result = NULL;
    td_error error = {0};
    if (td_generate_texts(session, texts, count, &options, &result, &error) != TD_OK)
        fail_msg("%s", error.message);
    return result;
}

/* Whole targets and steps agree, and what a text gets does not depend on its company. */
static void check_model(td_model *model)
{
    static const char *const texts[] = {"so call Zürich please", "then please see wojemu so pay gosipo now", "now ask x-12 then"};
    static const char *const wanted[] = {"call Zürich !", NULL, "ask x-12 !"};
    td_session *session = NULL;
    assert_int_equal(td_session_new(model, NULL, &session, NULL), TD_OK);
    for (int64_t beam = 1; beam <= 4; beam += 3) {
        td_result *together = generate(session, texts, 3, beam);
        for (size_t i = 0; i < 3; i++) {
            td_result *alone = generate(session, &texts[i], 1, beam), *scored = NULL;
            const char *text = td_result_text(together, i, 0);
            if (wanted[i])
                assert_string_equal(text, wanted[i]);
            assert_string_equal(td_result_text(alone, 0, 0), text);
            size_t count, scored_count, rows, columns;
            const float *logprobs = td_result_token_logprobs(alone, 0, 0, &count), *others = td_result_token_logprobs(together, i, 0, NULL);
            assert_memory_equal(logprobs, others, count * sizeof *logprobs);
            assert_int_equal(td_score_text(session, texts[i], text, NULL, &scored, NULL), TD_OK);
            const float *whole = td_result_token_logprobs(scored, 0, 0, &scored_count);
            assert_int_equal(scored_count, count);
            for (size_t k = 0; k < count; k++)
                assert_true(fabsf(whole[k] - logprobs[k]) < 2e-4f);
            assert_string_equal(td_result_text(scored, 0, 0), text);
            const float *attention = td_result_attention(alone, 0, 0, &rows, &columns);
            assert_true(attention && rows == count);
            if (wanted[i]) { /* the name was read where it stands */
                assert_string_equal(td_result_piece(alone, 0, 0, 1), td_result_source_piece(alone, 0, 2));
                for (size_t k = 0; k < columns; k++)
                    assert_true(k == 2 || attention[columns + k] < attention[columns + 2]);
            }
            td_result_free(alone);
            td_result_free(scored);
        }
        td_result_free(together);
    }
    td_session_free(session);
}

static void unknown_names_are_copied(void **state)
{
    (void)state;
    static const char *const plans[][10] = {
        {"model.type=transformer", NULL},
        {"model.type=transformer", "model.norm=pre", "training.word_dropout=0.05", NULL},
        {"model.type=lstm", "model.attention=additive", "model.coverage=true", "training.coverage_loss=0.3", NULL},
        {"model.type=gru", "model.attention=general", NULL},
        {"model.type=lstm", "model.attention=concat", "model.input_feeding=true", "model.attention_size=16",
         "training.scheduled_sampling=0.2", NULL},
    };
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        char output[32];
        snprintf(output, sizeof output, "model%zu", i);
        td_model *model = train(output, plans[i]);
        check_model(model);
        td_model_close(model);
    }
}

static void local_ids_come_back_as_text(void **state)
{
    (void)state;
    td_tokenizer *tokenizer = NULL;
    td_ids ids = TD_IDS_INIT, target = TD_IDS_INIT;
    td_buffer text = TD_BUFFER_INIT;
    assert_int_equal(td_tokenizer_open("model0", &tokenizer, NULL), TD_OK);
    int32_t first = (int32_t)td_tokenizer_size(tokenizer), unknown = td_tokenizer_unknown_id(tokenizer);
    td_local_pieces local = {.first = first};
    static const char source[] = "call Ada so Bob then Ada", summary[] = "Bob Eve Ada";
    assert_int_equal(td_tokenizer_encode_local(tokenizer, TD_SOURCE, source, strlen(source), 0, NULL, &local, &ids, NULL), TD_OK);
    assert_int_equal(ids.length, 7);
    assert_int_equal(ids.data[1], first);
    assert_int_equal(ids.data[3], first + 1);
    assert_int_equal(ids.data[5], first);
    assert_int_equal(local.count, 2);
    assert_int_equal(td_tokenizer_decode_local(tokenizer, &local, ids.data, ids.length, true, &text, NULL), TD_OK);
    assert_string_equal(td_buffer_text(&text), source);
    local.closed = true;
    assert_int_equal(td_tokenizer_encode_local(tokenizer, TD_TARGET, summary, strlen(summary), 0, NULL, &local, &target, NULL), TD_OK);
    assert_int_equal(target.data[0], first + 1);
    assert_int_equal(target.data[1], unknown); /* Eve is in no source */
    assert_int_equal(target.data[2], first);
    assert_true(td_tokenizer_decode(tokenizer, ids.data, ids.length, true, &text, NULL) != TD_OK);
    td_local_pieces_free(&local);
    td_ids_free(&ids);
    td_ids_free(&target);
    td_buffer_free(&text);
    td_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_names_are_copied),
        cmocka_unit_test(local_ids_come_back_as_text),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
