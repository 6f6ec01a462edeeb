/* A model of many languages: who is told the target language and how, by tokenizers of each kind; and what a tokenizer.json beside a
 * SentencePiece model changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/json.h"
#include "models/architecture.h"
#include "tandem/tandem.h"
#include "text/tokenizer.h"

static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/tandem-languages-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", directory);
    return system(command);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Random weights for `config` beside the tokenizer of tests/golden. */
static td_model *make_model(const char *tokenizer, const char *config, const char *generation)
{
    char command[512], path[128];
    td_error error;
    td_network network = {0};
    td_model *model = NULL;
    snprintf(command, sizeof command, "cp '%s/golden/%s/'* '%s/'", TD_TEST_DATA, tokenizer, directory);
    assert_int_equal(system(command), 0);
    write_file("config.json", config);
    write_file("generation_config.json", generation);
    json_t *root = NULL;
    assert_int_equal(td_json_parse(config, strlen(config), "config.json", &root, &error), TD_OK);
    if (td_network_configure(root, "config.json", &network, &error) != TD_OK)
        fail_msg("%s", error.message);
    td_parameters_initialise(&network.parameters, 7);
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    assert_int_equal(td_parameters_save(&network.parameters, NULL, path, &error), TD_OK);
    td_network_free(&network);
    json_decref(root);
    if (td_model_open(directory, NULL, &model, &error) != TD_OK)
        fail_msg("%s", error.message);
    return model;
}

#define SIZES                                                                                                                              \
    "\"vocab_size\": 140, \"d_model\": 16, \"encoder_layers\": 1, \"decoder_layers\": 1, \"encoder_attention_heads\": 2, "                 \
    "\"decoder_attention_heads\": 2, \"encoder_ffn_dim\": 16, \"decoder_ffn_dim\": 16, \"max_position_embeddings\": 24, "                  \
    "\"pad_token_id\": 1, \"eos_token_id\": 2, \"bos_token_id\": 0, "

static int32_t id_of(const char *piece)
{
    td_error error;
    td_tokenizer *tokenizer = NULL;
    assert_int_equal(td_tokenizer_open(directory, &tokenizer, &error), TD_OK);
    int32_t id = td_tokenizer_id(tokenizer, piece);
    td_tokenizer_free(tokenizer);
    assert_true(id >= 0);
    return id;
}

static size_t count_languages(const td_model *model)
{
    size_t count = 0;
    while (td_model_language(model, count))
        count++;
    return count;
}

static td_result *translate(td_model *model, const char *from, const char *to, const char *setting, td_error *error)
{
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    td_session *session = NULL;
    td_result *result = NULL;
    const char *settings[2] = {"max_length=6", setting};
    options.source_language = from;
    options.target_language = to;
    options.settings = settings;
    options.setting_count = setting ? 2 : 1;
    assert_int_equal(td_session_new(model, NULL, &session, error), TD_OK);
    td_generate_text(session, "the", &options, &result, error);
    td_session_free(session);
    return result;
}

static void expect_begin(td_model *model, const char *from, const char *to, const char *setting, int32_t source, int32_t target)
{
    td_error error;
    size_t count;
    td_result *result = translate(model, from, to, setting, &error);
    if (!result)
        fail_msg("%s", error.message);
    assert_int_equal(td_result_source_ids(result, 0, &count)[0], source);
    assert_int_equal(td_result_ids(result, 0, 0, &count)[0], target);
    td_result_free(result);
}

static void forced_first(void **state)
{
    (void)state;
    td_error error;
    td_model *model = make_model("nllb-tokenizer", "{\"model_type\": \"m2m_100\", " SIZES "\"decoder_start_token_id\": 2}", "{}");
    int32_t english = id_of("eng_Latn"), german = id_of("deu_Latn"), french = id_of("fra_Latn");
    int32_t usual = german; /* as the directory's tokenizer_config.json has it */
    assert_int_equal(count_languages(model), 4);
    assert_string_equal(td_model_language(model, 1), "deu_Latn");
    expect_begin(model, NULL, "deu_Latn", NULL, usual, german);
    expect_begin(model, "eng_Latn", "fra_Latn", NULL, english, french);
    /* The caller's settings win over the language; one that names a language stands for it. */
    char setting[64];
    snprintf(setting, sizeof setting, "forced_bos_token_id=%d", german);
    expect_begin(model, NULL, "fra_Latn", setting, usual, german);
    expect_begin(model, NULL, NULL, setting, usual, german);
    assert_null(translate(model, NULL, NULL, NULL, &error));
    assert_non_null(strstr(error.message, "choose the target language: ace_Arab, deu_Latn"));
    assert_null(translate(model, NULL, "tlh_Latn", NULL, &error));
    assert_non_null(strstr(error.message, "\"tlh_Latn\""));
    assert_null(translate(model, "tlh_Latn", "deu_Latn", NULL, &error));
    assert_non_null(strstr(error.message, "\"tlh_Latn\""));
    td_model_close(model);
}

/* The log-probability of the first token of a given target tells what the decoder started with. */
static double first_logprob(td_model *model, const char *to, const char *setting)
{
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    td_session *session = NULL;
    td_result *result = NULL;
    td_error error;
    options.target_language = to;
    options.settings = &setting;
    options.setting_count = setting ? 1 : 0;
    assert_int_equal(td_session_new(model, NULL, &session, &error), TD_OK);
    if (td_score_text(session, "the", "the", &options, &result, &error) != TD_OK)
        fail_msg("%s", error.message);
    double logprob = (double)td_result_token_logprobs(result, 0, 0, NULL)[0];
    td_result_free(result);
    td_session_free(session);
    return logprob;
}

static void starts(void **state)
{
    (void)state;
    char german[64], french[64], config[1024];
    td_model *model = make_model("mbart-tokenizer", "{\"model_type\": \"mbart\", " SIZES "\"decoder_start_token_id\": 2}", "{}");
    assert_int_equal(count_languages(model), 25);
    snprintf(german, sizeof german, "decoder_start_token_id=%d", id_of("de_DE"));
    snprintf(french, sizeof french, "decoder_start_token_id=%d", id_of("fr_XX"));
    double in_german = first_logprob(model, "de_DE", NULL), in_french = first_logprob(model, "fr_XX", NULL);
    assert_true(in_german != in_french);
    assert_true(first_logprob(model, "fr_XX", german) == in_german);
    assert_true(first_logprob(model, NULL, french) == in_french);
    td_model_close(model);
    /* Tuned for one target language: its configuration has it, and no language need be named. */
    snprintf(config, sizeof config, "{\"model_type\": \"mbart\", " SIZES "\"decoder_start_token_id\": %d}", id_of("de_DE"));
    model = make_model("mbart-tokenizer", config, "{}");
    assert_true(first_logprob(model, NULL, NULL) == in_german);
    assert_true(first_logprob(model, "fr_XX", NULL) == in_french);
    td_model_close(model);
}

static void remove_file(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(unlink(path), 0);
}

static void expect_ids(const char *text, const int32_t *expected, size_t count)
{
    td_error error;
    td_tokenizer *tokenizer = NULL;
    td_ids ids = TD_IDS_INIT;
    assert_int_equal(td_tokenizer_open(directory, &tokenizer, &error), TD_OK);
    assert_int_equal(td_tokenizer_encode(tokenizer, TD_SOURCE, text, strlen(text), &ids, &error), TD_OK);
    assert_int_equal(ids.length, count);
    assert_memory_equal(ids.data, expected, count * sizeof *expected);
    td_ids_free(&ids);
    td_tokenizer_free(tokenizer);
}

static void copy_tokenizer(const char *name)
{
    char command[512];
    snprintf(command, sizeof command, "cp '%s/golden/%s/'* '%s/'", TD_TEST_DATA, name, directory);
    assert_int_equal(system(command), 0);
}

/* Spaces at the end of a text make no piece. */
static void last_space(void **state)
{
    (void)state;
    copy_tokenizer("nllb-tokenizer");
    const int32_t german = id_of("deu_Latn"), the = id_of("\xe2\x96\x81the");
    const int32_t without[] = {german, the, 2}, none[] = {german, 2};
    expect_ids("the  ", without, 3);
    expect_ids("  ", none, 2);
    expect_ids("", none, 2);
    expect_ids("  the", without, 3);
}

/* It counts where there is one, also when it cannot be read. */
static void broken_json(void **state)
{
    (void)state;
    copy_tokenizer("mbart-tokenizer");
    write_file("tokenizer.json", "{\"normalizer\": ");
    td_error error;
    td_tokenizer *tokenizer = NULL;
    assert_int_not_equal(td_tokenizer_open(directory, &tokenizer, &error), TD_OK);
    assert_non_null(strstr(error.message, "tokenizer.json"));
}

/* The same pieces as mBART-50: the language goes before the text, on both sides. */
static void mbart50(void **state)
{
    (void)state;
    td_error error;
    td_tokenizer *tokenizer = NULL;
    td_ids ids = TD_IDS_INIT;
    copy_tokenizer("mbart-tokenizer");
    remove_file("special_tokens_map.json"); /* the family's own list counts */
    write_file("tokenizer_config.json", "{\"tokenizer_class\": \"MBart50Tokenizer\", \"src_lang\": \"sl_SI\"}");
    const int32_t the = id_of("\xe2\x96\x81the"), slovene = id_of("sl_SI"), arabic = id_of("ar_AR"), expected[] = {slovene, the, 2};
    assert_int_equal(slovene - arabic, 51);
    assert_int_equal(id_of("<mask>"), slovene + 1);
    expect_ids("the", expected, 3);
    assert_int_equal(td_tokenizer_open(directory, &tokenizer, &error), TD_OK);
    assert_int_equal(td_tokenizer_language_use(tokenizer), TD_LANGUAGE_FORCED_FIRST);
    assert_int_equal(td_tokenizer_set_languages(tokenizer, NULL, "ar_AR", &error), TD_OK);
    assert_int_equal(td_tokenizer_encode(tokenizer, TD_TARGET, "the", 3, &ids, &error), TD_OK);
    assert_int_equal(ids.length, 3);
    assert_int_equal(ids.data[0], arabic);
    assert_int_equal(ids.data[2], 2);
    td_ids_free(&ids);
    td_tokenizer_free(tokenizer);
}

/* The original M2M-100: pieces as vocab.json numbers them, then the languages. */
static void m2m100(void **state)
{
    (void)state;
    copy_tokenizer("mbart-tokenizer");
    remove_file("special_tokens_map.json");
    write_file("vocab.json", "{\"<s>\": 0, \"<pad>\": 1, \"</s>\": 2, \"<unk>\": 3, \"\u2581the\": 4}");
    write_file("tokenizer_config.json", "{\"tokenizer_class\": \"M2M100Tokenizer\", \"src_lang\": \"de\"}");
    const int32_t german = id_of("__de__"), expected[] = {german, 4, 2};
    assert_int_equal(id_of("__af__"), 5);
    assert_int_equal(id_of("__zu__"), 104);
    expect_ids("the", expected, 3);
}

/* BLIP's start token stands where BERT has [CLS]: a caption, or what it is to begin with, has none. */
static void blip(void **state)
{
    (void)state;
    static const char *const types[] = {"bert", "blip"};
    copy_tokenizer("tokenizers-json/bert-vocab");
    for (int i = 0; i < 2; i++) {
        td_error error;
        td_tokenizer *tokenizer = NULL;
        td_ids ids = TD_IDS_INIT;
        char config[64];
        snprintf(config, sizeof config, "{\"model_type\": \"%s\"}", types[i]);
        write_file("config.json", config);
        assert_int_equal(td_tokenizer_open(directory, &tokenizer, &error), TD_OK);
        assert_int_equal(td_tokenizer_encode(tokenizer, TD_TARGET, "a", 1, &ids, &error), TD_OK);
        assert_int_equal(ids.data[0] == td_tokenizer_id(tokenizer, "[CLS]"), i == 0);
        assert_int_equal(ids.data[ids.length - 1], td_tokenizer_id(tokenizer, "[SEP]"));
        td_ids_free(&ids);
        td_tokenizer_free(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forced_first, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(starts, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(last_space, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(broken_json, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(mbart50, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(blip, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(m2m100, make_directory, remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
