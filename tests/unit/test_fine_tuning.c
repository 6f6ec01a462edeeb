/* Training on from a published layout: the loss falls, the files stay those of the model started from, and what is saved opens and writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"
#include "models/architecture.h"
#include "platform/file.h"
#include "tandem/tandem.h"
#include "tandem/training.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct subject {
    const char *name, *tokenizer, *config, *tokenizer_file, *languages;
    const char *setting; /* of generation_config.json that the target language decides, and its token */
    const char *language;
} subjects[] = {
    {"marian", "marian-tokenizer", "\"activation_function\": \"swish\"", "source.spm", "de", NULL, "de"},
    {"bart", "bart-tokenizer", "\"activation_function\": \"gelu\"", "merges.txt", NULL, NULL, NULL},
    {"pegasus", "pegasus-tokenizer", "\"activation_function\": \"relu\"", "spiece.model", NULL, NULL, NULL},
    {"t5", "t5-tokenizer", "\"feed_forward_proj\": \"relu\"", "spiece.model", NULL, NULL, NULL},
    {"mbart", "mbart-tokenizer", "\"activation_function\": \"gelu\"", "sentencepiece.bpe.model", "de_DE", "decoder_start_token_id",
     "de_DE"},
    {"m2m_100", "nllb-tokenizer", "\"activation_function\": \"relu\"", "sentencepiece.bpe.model", "fra_Latn", "forced_bos_token_id",
     "fra_Latn"},
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

static void write_text(const char *path, const char *text)
{
    assert_int_equal(td_file_write(path, text, strlen(text), NULL), TD_OK);
}

static int enter(void **state)
{
    char name[] = "/tmp/tandem-tuning-XXXXXX";
    *state = mkdtemp(name) ? strdup(name) : NULL;
    if (!*state || chdir(*state) != 0)
        return -1;
    write_text("a.txt", "the boat\nthe lamp is grey\na cold stone\ntwo boats\n");
    write_text("b.txt", "le bateau\nla lampe est grise\nune pierre froide\ndeux bateaux\n");
    return 0;
}

static int leave(void **state)
{
    td_status status = chdir("/") == 0 ? td_directory_remove(*state, NULL) : TD_ERROR_IO;
    free(*state);
    return status == TD_OK ? 0 : -1;
}

/* Random weights behind the tokenizer of tests/golden; ids that the configuration leaves out are the family's. */
static void make_model(const struct subject *subject)
{
    char command[512], config[1024], path[128], start[96] = "";
    td_tokenizer *tokenizer;
    td_network network = {0};
    td_error error = {0};
    json_t *root = NULL;
    snprintf(command, sizeof command, "mkdir '%s' && cp '%s/golden/%s/'* '%s/'", subject->name, TD_TEST_DATA, subject->tokenizer,
             subject->name);
    assert_int_equal(system(command), 0);
    if (td_tokenizer_open(subject->name, &tokenizer, &error) != TD_OK)
        fail_msg("%s: %s", subject->name, error.message);
    if (strcmp(subject->name, "marian") == 0)
        snprintf(start, sizeof start, "\"pad_token_id\": %d, \"decoder_start_token_id\": %d, ", td_tokenizer_pad_id(tokenizer),
                 td_tokenizer_pad_id(tokenizer));
    snprintf(config, sizeof config,
             "{\"model_type\": \"%s\", %s%s, \"vocab_size\": %zu, \"d_model\": 16, \"encoder_layers\": 1, \"decoder_layers\": 1, "
             "\"encoder_attention_heads\": 2, \"decoder_attention_heads\": 2, \"encoder_ffn_dim\": 32, \"decoder_ffn_dim\": 32, "
             "\"max_position_embeddings\": 64, \"num_layers\": 1, \"num_heads\": 2, \"d_kv\": 8, \"d_ff\": 32, \"dtype\": \"float16\", "
             "\"num_beams\": 3, \"a_key_of_others\": [1, 2]}",
             subject->name, start, subject->config, td_tokenizer_size(tokenizer));
    td_tokenizer_free(tokenizer);
    snprintf(path, sizeof path, "%s/config.json", subject->name);
    write_text(path, config);
    snprintf(path, sizeof path, "%s/generation_config.json", subject->name);
    write_text(path, "{\"length_penalty\": 0.75, \"num_beams\": 2, \"max_new_tokens\": 9, \"transformers_version\": \"5\"}");
    assert_int_equal(td_json_parse(config, strlen(config), "config.json", &root, &error), TD_OK);
    if (td_network_configure(root, "config.json", &network, &error) != TD_OK)
        fail_msg("%s: %s", subject->name, error.message);
    td_parameters_initialise(&network.parameters, 3);
    snprintf(path, sizeof path, "%s/model.safetensors", subject->name);
    assert_int_equal(td_parameters_save(&network.parameters, NULL, path, &error), TD_OK);
    td_network_free(&network);
    json_decref(root);
}

static void train(const struct subject *subject, const char *output, const char *steps)
{
    char recipe[1024];
    td_error error = {0};
    td_train_options options = TD_TRAIN_OPTIONS_INIT;
    snprintf(recipe, sizeof recipe,
             "data:\n  train: {source: a.txt, target: b.txt}\n%s%s%s"
             "model: {from: %s}\noutput: %s\n"
             "training: {max_steps: %s, warmup_steps: 1, learning_rate: 0.01, batch_tokens: 200, report_every: 1, threads: 1, "
             "checkpoint_every: 5}\n"
             "generation: {max_length: 12}\n",
             subject->languages ? "  target_language: " : "", subject->languages ? subject->languages : "", subject->languages ? "\n" : "",
             subject->name, output, steps);
    write_text("recipe.yaml", recipe);
    td_status status = td_train("recipe.yaml", &options, &error);
    if (status != TD_OK)
        fail_msg("%s: %s", subject->name, error.message);
}

static json_t *read_json(const char *directory, const char *name)
{
    char path[256];
    json_t *root = NULL;
    td_error error = {0};
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (td_json_load_file(path, &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    return root;
}

static void assert_same_file(const char *left, const char *right, const char *name)
{
    char path[256];
    td_buffer a = TD_BUFFER_INIT, b = TD_BUFFER_INIT;
    snprintf(path, sizeof path, "%s/%s", left, name);
    assert_int_equal(td_file_read(path, 0, &a, NULL), TD_OK);
    snprintf(path, sizeof path, "%s/%s", right, name);
    assert_int_equal(td_file_read(path, 0, &b, NULL), TD_OK);
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.data, b.data, a.length);
    td_buffer_free(&a);
    td_buffer_free(&b);
}

static void check_loss(const char *output)
{
    char path[256], *next, *line;
    double first = 0, last = 0;
    td_buffer log = TD_BUFFER_INIT;
    snprintf(path, sizeof path, "%s/log.jsonl", output);
    assert_int_equal(td_file_read(path, 0, &log, NULL), TD_OK);
    char *text = strndup(log.data, log.length);
    for (line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        const char *at = strstr(line, "\"nll\"");
        double value = at ? strtod(strchr(at, ':') + 1, NULL) : last;
        first = first == 0 ? value : first;
        last = value;
    }
    free(text);
    td_buffer_free(&log);
    if (!(last < 0.8 * first && last > 0))
        fail_msg("%s: the loss went from %g to %g", output, first, last);
}

static void check_files(const struct subject *subject, const char *output)
{
    assert_same_file(subject->name, output, subject->tokenizer_file);
    assert_same_file(subject->name, output, "tokenizer_config.json");
    json_t *before = read_json(subject->name, "config.json"), *after = read_json(output, "config.json");
    json_object_set_new(before, "dtype", json_string("float32"));
    assert_true(json_equal(before, after));
    json_t *generation = read_json(output, "generation_config.json");
    assert_true(json_number_value(json_object_get(generation, "length_penalty")) == 0.75); /* its own */
    assert_int_equal(json_integer_value(json_object_get(generation, "num_beams")), 2);
    assert_int_equal(json_integer_value(json_object_get(generation, "max_length")), 12); /* the recipe's */
    assert_null(json_object_get(generation, "max_new_tokens"));
    assert_null(json_object_get(generation, "bad_words_ids"));
    td_tokenizer *tokenizer;
    assert_int_equal(td_tokenizer_open(output, &tokenizer, NULL), TD_OK);
    if (subject->setting)
        assert_int_equal(json_integer_value(json_object_get(generation, subject->setting)), td_tokenizer_id(tokenizer, subject->language));
    td_tokenizer_free(tokenizer);
    json_decref(before);
    json_decref(after);
    json_decref(generation);
}

static void check_opens(const struct subject *subject, const char *output)
{
    td_model *model;
    td_session *session;
    td_result *result = NULL;
    td_error error = {0};
    const char *text = "the boat";
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    if (!subject->setting) /* else the files say it */
        options.target_language = subject->language;
    if (td_model_open(output, NULL, &model, &error) != TD_OK || td_session_new(model, NULL, &session, &error) != TD_OK ||
        td_generate_texts(session, &text, 1, &options, &result, &error) != TD_OK)
        fail_msg("%s: %s", subject->name, error.message);
    td_result_free(result);
    td_session_free(session);
    td_model_close(model);
}

static void test_families(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUBJECTS; i++) {
        char whole[64], parts[64];
        snprintf(whole, sizeof whole, "%s-whole", subjects[i].name);
        snprintf(parts, sizeof parts, "%s-parts", subjects[i].name);
        make_model(&subjects[i]);
        train(&subjects[i], whole, "30");
        check_loss(whole);
        check_files(&subjects[i], whole);
        check_opens(&subjects[i], whole);
        train(&subjects[i], parts, "15");
        train(&subjects[i], parts, "30");
        assert_same_file(whole, parts, "model.safetensors");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_families)};
    return cmocka_run_group_tests(tests, enter, leave);
}
