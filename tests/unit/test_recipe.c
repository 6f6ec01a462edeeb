/* The recipe: errors byte for byte, round trip, overrides, checks across keys, and the committed reference page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "platform/file.h"
#include "training/recipe_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const minimal = "output: run\n"
                                   "data:\n"
                                   "  train: {source: a.de, target: a.en}\n"
                                   "training:\n"
                                   "  max_steps: 10\n";

/* Loads `text` from r.yaml in the current directory. */
static td_status load(const char *text, td_recipe **ret_recipe, td_error *error)
{
    assert_int_equal(td_file_write("r.yaml", text, strlen(text), NULL), TD_OK);
    return td_recipe_load("r.yaml", ret_recipe, error);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"trainig:\n  seed: 1\n", "r.yaml:1: trainig: unknown key; the nearest is training"},
        {"training:\n  seed: 1\n  learning_rat: 1\n",
         "r.yaml:3: training.learning_rat: unknown key; the nearest is training.learning_rate"},
        {"learning_rate: 1\n", "r.yaml:1: learning_rate: unknown key; the nearest is training.learning_rate"},
        {"model:\n  encoder:\n    feedforward: 3\n",
         "r.yaml:3: model.encoder.feedforward: unknown key; the nearest is model.encoder.feed_forward"},
        {"training: {dropout: big}\n", "r.yaml:1: training.dropout: \"big\" is not a number; give a number from 0 to 0.99"},
        {"training:\n\n  dropout: 1.5\n", "r.yaml:3: training.dropout: \"1.5\" is out of bounds; give a number from 0 to 0.99"},
        {"training: {dropout: nan}\n", "r.yaml:1: training.dropout: \"nan\" is not a number; give a number from 0 to 0.99"},
        {"training: {max_steps: 1.5}\n", "r.yaml:1: training.max_steps: \"1.5\" is not a whole number; give a whole "
                                         "number from 0 to 1000000000"},
        {"training: {max_steps: 99999999999999999999999}\n",
         "r.yaml:1: training.max_steps: \"99999999999999999999999\" is out of bounds; give a whole number from 0 to "
         "1000000000"},
        {"training: {seed: \"1\"}\n", "r.yaml:1: training.seed: the value has the wrong form; give one whole number"},
        {"training: {seed: [1]}\n", "r.yaml:1: training.seed: the value has the wrong form; give one whole number"},
        {"data: {train: {source: {a: b}}}\n",
         "r.yaml:1: data.train.source: the value has the wrong form; give one text or a list of texts"},
        {"data:\n  train:\n    source:\n      - a\n      - [b]\n",
         "r.yaml:5: data.train.source: the value has the wrong form; give one text or a list of texts"},
        {"model: {type: lsmt}\n", "r.yaml:1: model.type: \"lsmt\" is not one of transformer, lstm, gru, rnn; the nearest is \"lstm\""},
        {"model: {reverse_source: yes}\n", "r.yaml:1: model.reverse_source: \"yes\" is neither true nor false"},
        {"task:\noutput: x\n", "r.yaml:1: task: has no value; give one or leave the key out"},
        {"task: translate\noutput: x\ntask: translate\n", "r.yaml:3: task: given twice; the first is on line 1"},
        {"training: {seed: 1}\ntraining:\n  seed: 2\n", "r.yaml:2: training: given twice; the first is on line 1"},
        {"training: {seed: 1}\ntraining.seed: 2\n", "r.yaml:2: training.seed: given twice; the first is on line 1"},
        {"training: 3\n", "r.yaml:1: training: is a section; write its keys below it, indented"},
        {"[1]: 3\n", "r.yaml:1: recipe: a key is not a word"},
        {"- a\n", "r.yaml:1: a recipe is keys and values, such as \"task: translate\""},
        {"", "r.yaml:1: empty; YAML keys and values are expected"},
        {"output: x\n---\noutput: y\n", "r.yaml:3: a second YAML document begins; only one is read"},
        {"output: x\ntask: caf\xe9\n", "r.yaml:2: not UTF-8"},
        {"output: x\ntraining: {seed: 1\n", "r.yaml:3: YAML syntax: did not find expected ',' or '}' while parsing a flow mapping"},
        {"output: ${TANDEM_TEST_UNSET}/x\n", "r.yaml:1: output: the environment variable \"TANDEM_TEST_UNSET\" is not "
                                             "set; set it or write the path out"},
        {"output: ${HOME\n", "r.yaml:1: output: \"${\" without \"}\"; write $$ for a dollar sign"},
        {"output: \"a\\0b\"\n", "r.yaml:1: output: the value has the wrong form; give one text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        td_recipe *recipe = NULL;
        td_error error = {TD_OK, ""};
        assert_int_not_equal(load(cases[i].text, &recipe, &error), TD_OK);
        assert_string_equal(error.message, cases[i].message);
        assert_null(recipe);
    }
}

static void test_values(void **state)
{
    (void)state;
    td_recipe *recipe = NULL;
    td_error error;
    char here[4096], expected[4200];
    assert_non_null(getcwd(here, sizeof here));
    setenv("TANDEM_TEST_DATA", "/data/set", 1);
    assert_int_equal(load("task: summarize\noutput: ./runs/x\n"
                          "data:\n"
                          "  train:\n"
                          "    source: [\"${TANDEM_TEST_DATA}/a.de\", b.de]\n"
                          "    target: [c$$d.en, ../d.en]\n"
                          "  languages: [en, fr]\n"
                          "model: {type: gru, encoder: {layers: 2}, scale_embedding: false}\n"
                          "training: {learning_rate: 1e-3, epsilon: .5e-8}\n",
                          &recipe, &error),
                     TD_OK);
    assert_int_equal(recipe->task, TD_TASK_SUMMARIZE);
    assert_int_equal(recipe->model.type, TD_RECIPE_GRU);
    assert_int_equal(recipe->model.encoder.layers, 2);
    assert_false(recipe->model.scale_embedding);
    assert_true(recipe->training.learning_rate == 1e-3 && recipe->training.epsilon == .5e-8);
    assert_true(recipe->training.beta2 == 0.98);
    assert_int_equal(recipe->training.batch_tokens, 4096);
    assert_string_equal(td_recipe_choice("model.type", recipe->model.type), "gru");
    assert_null(td_recipe_choice("model.type", 4));
    snprintf(expected, sizeof expected, "%s/runs/x", here);
    assert_string_equal(recipe->output, expected);
    assert_string_equal(recipe->data.train.source.items[0], "/data/set/a.de");
    snprintf(expected, sizeof expected, "%s/b.de", here);
    assert_string_equal(recipe->data.train.source.items[1], expected);
    snprintf(expected, sizeof expected, "%s/c$d.en", here);
    assert_string_equal(recipe->data.train.target.items[0], expected);
    snprintf(expected, sizeof expected, "%s/../d.en", here);
    assert_string_equal(recipe->data.train.target.items[1], expected);
    assert_string_equal(recipe->data.languages.items[1], "fr");
    td_recipe_free(recipe);
}

static void assert_same(const td_recipe *a, const td_recipe *b)
{
    for (size_t row = 0; row < td_recipe_key_count; row++) {
        const td_recipe_key *key = &td_recipe_keys[row];
        const void *left = td_recipe_field(a, key), *right = td_recipe_field(b, key);
        static const size_t sizes[] = {sizeof(int64_t), sizeof(double), sizeof(bool), sizeof(int)};
        if (key->type < TD_RECIPE_STRING) {
            assert_memory_equal(left, right, sizes[key->type]);
        } else if (key->type == TD_RECIPE_STRING) {
            assert_string_equal(*(char *const *)left, *(char *const *)right);
        } else {
            const td_string_list *l = left, *r = right;
            assert_int_equal(l->count, r->count);
            for (size_t i = 0; i < l->count; i++)
                assert_string_equal(l->items[i], r->items[i]);
        }
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    td_recipe *recipe = NULL, *again = NULL;
    td_error error;
    assert_int_equal(load(minimal, &recipe, &error), TD_OK);
    static const char *const overrides[] = {"task=transcribe",
                                            "data.train.source=[x.tsv, \"odd $$ name: \\\"q\\\" #\\t\\\\.tsv\"]",
                                            "data.keys.source=",
                                            "data.languages=[\"no\", de]",
                                            "training.learning_rate=0.1234567890123",
                                            "training.seed=9007199254740992",
                                            "training.weight_decay=1e-7",
                                            "training.schedule=plateau",
                                            "model.input_feeding=true",
                                            "data.train.target=",
                                            "generation.length_penalty=-0.3",
                                            "training.max_minutes=1000"};
    for (size_t i = 0; i < sizeof overrides / sizeof *overrides; i++)
        assert_int_equal(td_recipe_set(recipe, overrides[i], &error), TD_OK);
    assert_int_equal(recipe->training.seed, 9007199254740992);
    assert_int_equal(recipe->data.train.target.count, 0);
    assert_non_null(strstr(recipe->data.train.source.items[1], "/odd $ name: \"q\" #\t\\.tsv"));
    assert_int_equal(td_directory_create("round", NULL), TD_OK);
    assert_int_equal(td_recipe_write(recipe, "round/w.yaml", &error), TD_OK);
    assert_int_equal(td_recipe_load("round/w.yaml", &again, &error), TD_OK);
    assert_same(recipe, again);
    for (size_t row = 0; row < td_recipe_key_count; row++)
        assert_true(again->lines[row] > 0); /* every key is written */
    td_recipe_free(recipe);
    td_recipe_free(again);
}

static void test_overrides(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"training.learning_rate=fast", "training.learning_rate: \"fast\" is not a number; give a number from 1e-10 to 1000"},
        {"training.lr=1", "training.lr: unknown key; the nearest is training.ema"},
        {"training.seed", "\"training.seed\" is not an assignment; write KEY=VALUE"},
        {"=3", "\"=3\" is not an assignment; write KEY=VALUE"},
        {"training=3", "training: is a section; set one of its keys"},
        {"training.seed=", "training.seed: has no value; give one after \"=\""},
        {"data.train.source=[a", "data.train.source: YAML syntax: did not find expected ',' or ']' while parsing a "
                                 "flow sequence"},
    };
    td_recipe *recipe = NULL, *untouched = NULL;
    td_error error;
    assert_int_equal(load(minimal, &recipe, &error), TD_OK);
    assert_int_equal(load(minimal, &untouched, &error), TD_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_not_equal(td_recipe_set(recipe, cases[i][0], &error), TD_OK);
        assert_string_equal(error.message, cases[i][1]);
        assert_same(recipe, untouched);
    }
    assert_int_equal(td_recipe_set(recipe, "training.learning_rate=0.002", &error), TD_OK);
    assert_true(recipe->training.learning_rate == 0.002);
    td_recipe_free(recipe);
    td_recipe_free(untouched);
}

static void test_checks(void **state)
{
    (void)state;
    static const struct {
        const char *set, *message;
    } cases[] = {
        {"output=", "output: missing; give the directory to write to"},
        {"data.train.source=", "data.train.source: missing; give the file or files to learn from"},
        {"data.train.target=", "data.train.target: missing; give the file that holds the targets line by line"},
        {"data.train.target=[a, b]", "data.train.target: as many files are needed as sources are given"},
        {"data.languages=[a, b]", "data.languages: one code is needed for each file of data.train.source"},
        {"data.keys.target=text", "r.yaml: data.keys.source: data.keys.source and data.keys.target are given together"},
        {"training.patience=3", "training.patience: needs data.validation to measure progress on"},
        {"training.max_steps=0", "training.max_steps: nothing ends the run; set max_steps, max_epochs, max_minutes or "
                                 "patience"},
        {"training.minimum_learning_rate=1", "training.minimum_learning_rate: is above training.learning_rate"},
        {"model.encoder.heads=3", "model.encoder.heads: must divide model.encoder.width"},
        {"model.decoder.width=8", "model.decoder.width: a transformer's must equal model.encoder.width"},
        {"model.attention=dot", "model.attention: a transformer has multi-head"},
        {"model.coverage=true", "model.coverage: is for recurrent models"},
        {"generation.min_length=300", "generation.min_length: is above generation.max_length"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        td_recipe *recipe = NULL;
        td_error error;
        assert_int_equal(load(minimal, &recipe, &error), TD_OK);
        assert_int_equal(td_recipe_set(recipe, cases[i].set, &error), TD_OK);
        assert_int_not_equal(td_recipe_check(recipe, &error), TD_OK);
        assert_string_equal(error.message, cases[i].message);
        td_recipe_free(recipe);
    }
}

static void test_dependent_defaults(void **state)
{
    (void)state;
    td_recipe *recipe = NULL;
    td_error error;
    assert_int_equal(load(minimal, &recipe, &error), TD_OK);
    assert_int_equal(td_recipe_set(recipe, "model.encoder.width=64", &error), TD_OK);
    assert_int_equal(td_recipe_set(recipe, "model.decoder.layers=1", &error), TD_OK);
    assert_int_equal(td_recipe_set(recipe, "model.type=lstm", &error), TD_OK);
    assert_int_equal(td_recipe_set(recipe, "data.vocabulary.shared=false", &error), TD_OK);
    assert_int_equal(td_recipe_check(recipe, &error), TD_OK);
    assert_int_equal(recipe->model.decoder.width, 64);
    assert_int_equal(recipe->model.decoder.layers, 1);
    assert_int_equal(recipe->model.attention, TD_RECIPE_ATTENTION_ADDITIVE);
    assert_int_equal(recipe->model.tie_embeddings, TD_RECIPE_TIE_TWO_WAY);
    td_recipe_free(recipe);
}

static void test_reference_page(void **state)
{
    (void)state;
    td_buffer page = TD_BUFFER_INIT, committed = TD_BUFFER_INIT;
    td_recipe_reference(&page);
    assert_true(td_buffer_ok(&page));
    if (getenv("TANDEM_WRITE_REFERENCE")) /* how docs/recipe.md is made */
        td_file_write(TD_TEST_DATA "/../docs/recipe.md", td_buffer_text(&page), page.length, NULL);
    assert_int_equal(td_file_read(TD_TEST_DATA "/../docs/recipe.md", 0, &committed, NULL), TD_OK);
    assert_string_equal(td_buffer_text(&page), td_buffer_text(&committed));
    td_buffer_free(&page);
    td_buffer_free(&committed);
}

/* Fails the allocation that `left` counts down to. */
static void *failing_allocate(void *left, size_t bytes)
{
    return (*(int *)left)-- == 0 ? NULL : malloc(bytes);
}
static void *failing_resize(void *left, void *block, size_t bytes)
{
    return (*(int *)left)-- == 0 ? NULL : realloc(block, bytes);
}
static void plain_release(void *left, void *block)
{
    (void)left;
    free(block);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(td_file_write("m.yaml", minimal, strlen(minimal), NULL), TD_OK);
    int failures = 0;
    for (td_status status = TD_ERROR_MEMORY; status != TD_OK; failures++) {
        int left = failures;
        td_recipe *recipe = NULL;
        const td_allocator allocator = {failing_allocate, failing_resize, plain_release, &left};
        td_set_allocator(&allocator);
        status = td_recipe_load("m.yaml", &recipe, NULL);
        if (status == TD_OK)
            status = td_recipe_set(recipe, "data.train.source=[x, y]", NULL);
        if (status == TD_OK)
            status = td_recipe_write(recipe, "n.yaml", NULL);
        td_recipe_free(recipe);
        td_set_allocator(NULL);
        assert_true(status == TD_OK || status == TD_ERROR_MEMORY);
        assert_true(failures < 1000);
    }
    assert_true(failures > 20); /* the loop really met the allocations */
}

static int enter_directory(void **state)
{
    static char directory[] = "/tmp/tandem-recipe-XXXXXX";
    *state = mkdtemp(directory);
    return *state ? chdir(*state) : -1;
}

static int leave_directory(void **state)
{
    return chdir("/") || td_directory_remove(*state, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),         cmocka_unit_test(test_values),        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_overrides),      cmocka_unit_test(test_checks),        cmocka_unit_test(test_dependent_defaults),
        cmocka_unit_test(test_reference_page), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
