/* Minimum risk training: a model that half knows its task gets better by the measure it is told, with the same bits on any number of
 * threads and after stops; what it learns from are its own samples, as good as their measure says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "io/json.h"
#include "metrics/sentence_score.h"
#include "platform/file.h"
#include "tandem/training.h"
#include "training/candidates.h"

enum { PAIRS = 120 };

/* The target is the source's words, last first, in another language. */
static void write_corpus(void)
{
    static const char *const words[][2] = {{"boat", "kolo"}, {"lamp", "siri"}, {"grey", "umba"}, {"near", "tefi"}, {"stone", "parul"}};
    td_buffer pairs = TD_BUFFER_INIT;
    td_random random = {td_random_key(11, 0, 0), 0};
    for (int i = 0; i < PAIRS; i++) {
        size_t picked[6], count = 3 + td_random_below(&random, 3);
        for (size_t k = 0; k < count; k++) {
            picked[k] = td_random_below(&random, 5);
            td_buffer_format(&pairs, "%s%s", k ? " " : "", words[picked[k]][0]);
        }
        for (size_t k = count; k-- > 0;)
            td_buffer_format(&pairs, "%s%s", k + 1 == count ? "\t" : " ", words[picked[k]][1]);
        td_buffer_text_append(&pairs, "\n");
    }
    assert_int_equal(td_file_write("train.tsv", pairs.data, pairs.length, NULL), TD_OK);
    td_buffer_free(&pairs);
}

static int enter(void **state)
{
    static const char recipe[] = "data:\n"
                                 "  train: {source: train.tsv}\n"
                                 "  vocabulary: {kind: word, size: 24, normalization: identity}\n"
                                 "model: {type: gru, encoder: {layers: 1, width: 24}}\n"
                                 "training: {batch_tokens: 300, shards: 2, max_steps: 220, learning_rate: 0.01, warmup_steps: 10,\n"
                                 "           report_every: 10, checkpoint_every: 10, dropout: 0, label_smoothing: 0, threads: 1}\n"
                                 "generation: {max_length: 12}\n";
    char name[] = "/dev/shm/tandem-risk-XXXXXX", elsewhere[] = "/tmp/tandem-risk-XXXXXX";
    const char *made = access("/dev/shm", W_OK) == 0 ? mkdtemp(name) : mkdtemp(elsewhere);
    *state = made ? strdup(made) : NULL;
    if (!*state || chdir(*state) != 0)
        return -1;
    write_corpus();
    return td_file_write("recipe.yaml", recipe, sizeof recipe - 1, NULL) == TD_OK ? 0 : -1;
}

static int leave(void **state)
{
    td_status status = chdir("/") == 0 ? td_directory_remove(*state, NULL) : TD_ERROR_IO;
    free(*state);
    return status == TD_OK ? 0 : -1;
}

static volatile sig_atomic_t stop;
static int steps_left;

static void watch(void *context, const char *line, bool transient)
{
    (void)context;
    (void)transient;
    if (strstr(line, "] ") && strstr(line, "step") && steps_left > 0 && --steps_left == 0)
        stop = 1;
}

/* stop_after: lines of progress, 0: never */
static td_status start(const char *const *overrides, size_t count, int stop_after, td_error *error)
{
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    options.overrides = overrides;
    options.override_count = count;
    options.report = watch;
    options.stop = &stop;
    stop = 0;
    steps_left = stop_after;
    return td_train("recipe.yaml", &options, error);
}

static void train(const char *const *overrides, size_t count)
{
    td_error error = {0};
    if (start(overrides, count, 0, &error) != TD_OK)
        fail_msg("%s", error.message);
}

/* "loss" of every report. */
static size_t read_losses(const char *output, double *losses, size_t most)
{
    char path[64], line[1024];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/log.jsonl", output);
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    while (count < most && fgets(line, sizeof line, stream)) {
        json_t *object = json_loads(line, 0, NULL), *loss = json_object_get(object, "loss");
        if (loss)
            losses[count++] = json_real_value(loss);
        json_decref(object);
    }
    fclose(stream);
    return count;
}

static void assert_same_weights(const char *left, const char *right)
{
    char path[64];
    td_buffer a = TD_BUFFER_INIT, b = TD_BUFFER_INIT;
    snprintf(path, sizeof path, "%s/model.safetensors", left);
    assert_int_equal(td_file_read(path, 0, &a, NULL), TD_OK);
    snprintf(path, sizeof path, "%s/model.safetensors", right);
    assert_int_equal(td_file_read(path, 0, &b, NULL), TD_OK);
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.data, b.data, a.length);
    td_buffer_free(&a);
    td_buffer_free(&b);
}

#define RISK "model.from=taught", "training.minimum_risk.weight=1", "training.learning_rate=0.003", "training.schedule=constant"

/* Samples score better and better, by every measure, with the targets beside them or without. */
static void samples_get_better(void **state)
{
    (void)state;
    static const char *const variants[][3] = {{"output=bleu", "training.minimum_risk.metric=bleu", "training.minimum_risk.samples=8"},
                                              {"output=wer", "training.minimum_risk.metric=wer", "training.minimum_risk.samples=5"},
                                              {"output=mixed", "training.minimum_risk.metric=chrf", "training.minimum_risk.weight=0.5"}};
    const char *taught[] = {"output=taught", "training.max_steps=90"};
    train(taught, 2);
    for (size_t i = 0; i < 3; i++) {
        double losses[64];
        const char *overrides[] = {RISK, variants[i][0], variants[i][1], variants[i][2], "training.max_steps=120"};
        train(overrides, sizeof overrides / sizeof *overrides);
        size_t count = read_losses(variants[i][0] + strlen("output="), losses, 64);
        assert_int_equal(count, 12);
        double before = losses[0], after = losses[count - 1], room = i == 1 ? before : before + 100; /* from minus the score to its best */
        print_message("%s: minus the score %.2f, then %.2f\n", variants[i][0], before, after);
        assert_true(room > 0 && before - after > 0.25 * room);
    }
}

/* What a sample copied is a piece of its own source, in the vocabulary or not. */
static void copying_models_learn_too(void **state)
{
    (void)state;
    double losses[64];
    const char *taught[] = {"output=copier", "training.max_steps=60", "data.vocabulary.shared=true", "data.vocabulary.size=16",
                            "model.copy=true"};
    const char *overrides[] = {RISK, "model.from=copier", "model.copy=true", "output=copying", "training.max_steps=120"};
    train(taught, sizeof taught / sizeof *taught);
    train(overrides, sizeof overrides / sizeof *overrides);
    size_t count = read_losses("copying", losses, 64);
    print_message("copying: minus the score %.2f, then %.2f\n", losses[0], losses[count - 1]);
    assert_true(losses[0] - losses[count - 1] > 0.25 * (losses[0] + 100));
}

static void same_bits(void **state)
{
    (void)state;
    const char *one[] = {RISK, "training.max_steps=20", "output=one"};
    const char *many[] = {RISK, "training.max_steps=20", "training.threads=3", "output=many"};
    const char *broken[] = {RISK, "training.max_steps=20", "training.threads=2", "output=broken"};
    const size_t common = sizeof one / sizeof *one;
    train(one, common);
    train(many, common + 1);
    assert_same_weights("one", "many");
    td_error error = {0};
    int stops = 0;
    while (start(broken, common + 1, 7, &error) == TD_ERROR_CANCELLED)
        stops++;
    assert_in_range(stops, 2, 3);
    assert_same_weights("one", "broken");
}

static void refused(const char *setting, const char *message)
{
    td_error error = {0};
    const char *overrides[] = {RISK, "output=refused", setting};
    assert_int_equal(start(overrides, sizeof overrides / sizeof *overrides, 0, &error), TD_ERROR_ARGUMENT);
    assert_string_equal(error.message, message);
}

static void what_does_not_go_together(void **state)
{
    (void)state;
    refused("training.label_smoothing=0.1",
            "training.label_smoothing: must be 0 with training.minimum_risk: what is worse than the mean is unlearned");
    refused("training.r_drop=1", "training.r_drop: does not go with training.minimum_risk");
    refused("training.ctc_weight=0.5", "training.ctc_weight: is for task: transcribe");
    refused("training.minimum_risk.samples=1", "training.minimum_risk.samples: \"1\" is out of bounds; give a whole number from 2 to 64");
}

typedef struct world {
    td_recipe *recipe;
    td_tokenizer *tokenizer;
    td_corpus corpus;
    td_network network;
    td_pool *pool;
    td_candidates *candidates;
} world;

static void open_world(world *it, const char *metric)
{
    json_t *config = NULL;
    memset(it, 0, sizeof *it);
    assert_int_equal(td_recipe_load("recipe.yaml", &it->recipe, NULL), TD_OK);
    assert_int_equal(td_recipe_set(it->recipe, "output=bleu", NULL), TD_OK);
    assert_int_equal(td_recipe_set(it->recipe, "training.minimum_risk.samples=6", NULL), TD_OK);
    assert_int_equal(td_recipe_set(it->recipe, metric, NULL), TD_OK);
    assert_int_equal(td_json_load_file("taught/config.json", &config, NULL), TD_OK);
    assert_int_equal(td_network_configure(config, "config.json", &it->network, NULL), TD_OK);
    json_decref(config);
    td_safetensors *file = NULL;
    assert_int_equal(td_safetensors_open_directory("taught", &file, NULL), TD_OK);
    assert_int_equal(td_parameters_load(&it->network.parameters, file, NULL), TD_OK);
    td_safetensors_close(file);
    assert_int_equal(td_tokenizer_open("taught", &it->tokenizer, NULL), TD_OK);
    assert_int_equal(td_corpus_open("bleu/data", "train", 0, &it->corpus, NULL), TD_OK); /* kept with its text */
    assert_int_equal(td_pool_new(2, NULL, &it->pool, NULL), TD_OK);
    assert_int_equal(td_candidates_new(it->recipe, &it->network, it->tokenizer, &it->corpus, it->pool, &it->candidates, NULL), TD_OK);
}

static void close_world(world *it)
{
    td_candidates_free(it->candidates);
    td_pool_free(it->pool);
    td_corpus_close(&it->corpus);
    td_network_free(&it->network);
    td_tokenizer_free(it->tokenizer);
    td_recipe_free(it->recipe);
}

enum { DRAWN = 9, SAMPLES = 6, ALL = DRAWN * SAMPLES };

typedef struct drawn_texts {
    uint64_t indices[DRAWN];
    char *texts[ALL], *references[ALL];
} drawn_texts;

static drawn_texts *draw(world *it, double *ret_score)
{
    drawn_texts *drawn = calloc(1, sizeof *drawn);
    for (uint64_t i = 0; i < DRAWN; i++)
        drawn->indices[i] = i * 7;
    assert_int_equal(td_candidates_draw(it->candidates, 3, drawn->indices, DRAWN, ret_score, NULL), TD_OK);
    assert_int_equal(td_candidates_samples(it->candidates), SAMPLES);
    for (size_t i = 0; i < ALL; i++) {
        td_candidate_target target = td_candidates_get(it->candidates, i / SAMPLES, i % SAMPLES);
        td_pair pair = td_corpus_get(&it->corpus, drawn->indices[i / SAMPLES]);
        td_buffer text = TD_BUFFER_INIT;
        assert_true(target.length >= 1);
        assert_int_equal(td_tokenizer_decode(it->tokenizer, target.ids, target.length, true, &text, NULL), TD_OK);
        td_buffer_text_append(&text, "");
        drawn->texts[i] = td_copy_bytes(td_buffer_text(&text), text.length);
        drawn->references[i] = td_copy_bytes(pair.target_text, pair.target_bytes);
        td_buffer_free(&text);
    }
    return drawn;
}

static void forget(drawn_texts *drawn)
{
    for (size_t i = 0; i < ALL; i++) {
        td_release(drawn->texts[i]);
        td_release(drawn->references[i]);
    }
    free(drawn);
}

/* Advantages are scores less their source's mean, over one deviation. */
static void assert_advantages(const world *it, double scores[ALL], double tolerance)
{
    double squares = 0;
    for (size_t i = 0; i < DRAWN; i++) {
        double mean = 0;
        for (size_t k = 0; k < SAMPLES; k++)
            mean += scores[i * SAMPLES + k] / SAMPLES;
        for (size_t k = 0; k < SAMPLES; k++) {
            scores[i * SAMPLES + k] -= mean;
            squares += scores[i * SAMPLES + k] * scores[i * SAMPLES + k];
        }
    }
    assert_true(squares > 0);
    for (size_t i = 0; i < ALL; i++) {
        double advantage = (double)td_candidates_get(it->candidates, i / SAMPLES, i % SAMPLES).advantage;
        assert_true(fabs(advantage - scores[i] / sqrt(squares / ALL)) < tolerance);
    }
}

static void advantages_follow_scores(void **state)
{
    (void)state;
    world it;
    double scores[ALL], mean = 0, reported;
    open_world(&it, "training.minimum_risk.metric=chrf");
    drawn_texts *drawn = draw(&it, &reported);
    for (size_t i = 0; i < ALL; i++) {
        const char *reference = drawn->references[i];
        assert_int_equal(td_sentence_score_find("chrf")(drawn->texts[i], &reference, 1, TD_TOKENIZER_13A, &scores[i], NULL), TD_OK);
        mean += scores[i] / ALL;
    }
    assert_true(fabs(mean - reported) < 1e-9);
    assert_advantages(&it, scores, 1e-5);
    forget(drawn);
    close_world(&it);
}

/* As CIDEr says of the same texts, with frequencies from all targets: a corpus of them, of which each text's neighbours only count words.
 */
static void cider_counts_rare_words(void **state)
{
    (void)state;
    world it;
    double scores[ALL], mean = 0, reported, whole;
    open_world(&it, "training.minimum_risk.metric=cider");
    drawn_texts *drawn = draw(&it, &reported);
    char *references[PAIRS];
    const char *texts[PAIRS], *const *table[] = {(const char *const *)references};
    for (size_t i = 0; i < PAIRS; i++) {
        td_pair pair = td_corpus_get(&it.corpus, i);
        references[i] = td_copy_bytes(pair.target_text, pair.target_bytes);
        texts[i] = "nothing";
    }
    for (size_t i = 0; i < ALL; i++) {
        size_t place = (size_t)drawn->indices[i / SAMPLES];
        texts[place] = drawn->texts[i];
        assert_int_equal(td_cider(NULL, texts, table, 1, PAIRS, &whole, NULL), TD_OK);
        texts[place] = "nothing";
        scores[i] = whole / 100 * PAIRS;
        mean += scores[i] / ALL;
    }
    assert_true(mean > 1 && fabs(mean - reported) < 1e-9);
    assert_advantages(&it, scores, 1e-5);
    for (size_t i = 0; i < PAIRS; i++)
        td_release(references[i]);
    forget(drawn);
    close_world(&it);
}

/* Of several references the best counts: bleu clips by all, errors are those against the nearest. */
static void several_references(void **state)
{
    (void)state;
    const char *references[] = {"two dogs run over grass", "a dog and a cat run", "dogs"};
    double score;
    assert_int_equal(td_sentence_score_find("wer")("a dog and a cow run", references, 3, TD_TOKENIZER_NONE, &score, NULL), TD_OK);
    assert_true(score == -1);
    assert_int_equal(td_sentence_score_find("cer")("dog", references, 3, TD_TOKENIZER_NONE, &score, NULL), TD_OK);
    assert_true(score == -1);
    assert_int_equal(td_sentence_score_find("bleu")("two dogs and a cat", references, 3, TD_TOKENIZER_NONE, &score, NULL), TD_OK);
    /* 5 of 5 words; of bigrams "two dogs", "and a", "a cat", of trigrams "and a cat"; one added to the counts from bigrams on, and to the
     * reference's length of 5 */
    assert_true(fabs(score - 100 * exp(1 - 6.0 / 5) * pow(1.0 * (3 + 1) / (4 + 1) * (1 + 1) / (3 + 1) * 1 / (2 + 1), 0.25)) < 1e-9);
    assert_int_equal(td_sentence_score_find("bleu")("", references, 3, TD_TOKENIZER_NONE, &score, NULL), TD_OK);
    assert_true(score == 0);
    assert_null(td_sentence_score_find("meteor"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_get_better),        cmocka_unit_test(copying_models_learn_too), cmocka_unit_test(same_bits),
        cmocka_unit_test(what_does_not_go_together), cmocka_unit_test(advantages_follow_scores), cmocka_unit_test(cider_counts_rare_words),
        cmocka_unit_test(several_references)};
    return cmocka_run_group_tests(tests, enter, leave);
}
