/* Every tokenizer under tests/golden gives exactly what transformers gave; directories named on the command line are tested the same way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"
#include "text/tokenizer.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* From tools/reference/tokenizers_json.py, which says what each one is made of. */
#define JSON TD_TEST_DATA "/golden/tokenizers-json/"

static const char *const directories[] = {
    TD_TEST_DATA "/golden/marian-tokenizer",
    TD_TEST_DATA "/golden/t5-tokenizer",
    TD_TEST_DATA "/golden/pegasus-tokenizer",
    TD_TEST_DATA "/golden/mbart-tokenizer",
    TD_TEST_DATA "/golden/nllb-tokenizer",
    TD_TEST_DATA "/golden/bart-tokenizer",
    TD_TEST_DATA "/golden/gpt2-tokenizer",
    TD_TEST_DATA "/golden/speech2text-tokenizer",
    TD_TEST_DATA "/golden/m2m100-tokenizer",
    JSON "byte-level-bpe",
    JSON "split-bpe",
    JSON "suffix-bpe",
    JSON "byte-fallback-bpe",
    JSON "metaspace-unigram",
    JSON "first-unigram",
    JSON "whole-unigram",
    JSON "digits-unigram",
    JSON "bert",
    JSON "cased-bert",
    JSON "bert-vocab",
    JSON "bert-vocab-cased",
    JSON "byt5",
};

static int differences;

static void compare_ids(const char *what, const json_t *text, const json_t *expected, const td_ids *ids)
{
    bool same = json_array_size(expected) == ids->length;
    for (size_t i = 0; same && i < ids->length; i++)
        same = json_integer_value(json_array_get(expected, i)) == ids->data[i];
    if (same)
        return;
    differences++;
    print_message("%s \"%s\":", what, json_string_value(text));
    for (size_t i = 0; i < ids->length; i++)
        print_message(" %d", ids->data[i]);
    print_message("; expected");
    for (size_t i = 0; i < json_array_size(expected); i++)
        print_message(" %d", (int)json_integer_value(json_array_get(expected, i)));
    print_message("\n");
}

static void compare_text(const char *what, const td_tokenizer *tokenizer, const td_ids *ids, bool skip, const json_t *expected)
{
    td_buffer text = TD_BUFFER_INIT;
    td_error error;
    if (!expected)
        return;
    assert_int_equal(td_tokenizer_decode(tokenizer, ids->data, ids->length, skip, &text, &error), TD_OK);
    if (strcmp(td_buffer_text(&text), json_string_value(expected)) != 0) {
        differences++;
        print_message("%s: \"%s\"; expected \"%s\"\n", what, td_buffer_text(&text), json_string_value(expected));
    }
    td_buffer_free(&text);
}

/* classic: the directory has no tokenizer.json. */
static void check_case(const td_tokenizer *tokenizer, const json_t *item, bool classic)
{
    static const char *const keys[] = {"ids", "target_ids"};
    const json_t *text = json_object_get(item, "text");
    /* Present where tokenizer.json is not what the models were trained with: the SentencePiece library says what the classical files mean.
     */
    const json_t *other = classic ? json_object_get(item, "classic_ids") : NULL;
    td_error error;
    for (int side = 0; side < 2; side++) {
        const json_t *expected = json_object_get(item, keys[side]);
        td_ids ids = TD_IDS_INIT;
        if (!expected || (other && side == 1))
            continue;
        assert_int_equal(
            td_tokenizer_encode(tokenizer, (td_text_side)side, json_string_value(text), json_string_length(text), &ids, &error), TD_OK);
        compare_ids(keys[side], text, other ? other : expected, &ids);
        if (side == 0 && !other) {
            compare_text("decoded", tokenizer, &ids, true, json_object_get(item, "decoded"));
            compare_text("decoded with special tokens", tokenizer, &ids, false, json_object_get(item, "decoded_special"));
        }
        td_ids_free(&ids);
    }
}

/* `directory` holds the tokenizer's files, `cases_directory` the cases in `file`. */
static void check_files(const char *directory, const char *cases_directory, const char *file)
{
    td_error error;
    td_tokenizer *tokenizer = NULL;
    if (td_tokenizer_open(directory, &tokenizer, &error) != TD_OK)
        fail_msg("%s", error.message);
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
    bool classic = access(path, R_OK) != 0;
    snprintf(path, sizeof path, "%s/%s", cases_directory, file);
    json_t *root;
    if (td_json_load_file(path, &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    const json_t *settings = json_object_get(root, "settings");
    const char *source = json_string_value(json_object_get(settings, "src_lang")),
               *target = json_string_value(json_object_get(settings, "tgt_lang"));
    if (td_tokenizer_set_languages(tokenizer, source, target, &error) != TD_OK)
        fail_msg("%s", error.message);
    const json_t *cases = json_object_get(root, "cases");
    size_t count = json_array_size(cases);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        check_case(tokenizer, json_array_get(cases, i), classic);
    print_message("%s: %zu cases, %s, %d differences\n", path, count, td_tokenizer_kind_name(tokenizer), differences);
    json_decref(root);
    td_tokenizer_free(tokenizer);
}

static void check_directory(const char *directory)
{
    char path[1024];
    check_files(directory, directory, "tokenizer_cases.json");
    snprintf(path, sizeof path, "%s/tokenizer_scripts.json", directory); /* from tools/reference/tokenizer_scripts.py */
    if (access(path, R_OK) == 0)
        check_files(directory, directory, "tokenizer_scripts.json");
}

/* ---- whole checkpoints, with and without tokenizer.json ---- */

/* Links to all files of the directory but those of the weights and those named. */
static void link_without(const char *from, const char *to, const char *left_out)
{
    DIR *list = opendir(from);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        char source[2048], target[2048];
        if (entry->d_name[0] == '.' || strstr(left_out, entry->d_name))
            continue;
        snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        assert_int_equal(symlink(source, target), 0);
    }
    closedir(list);
}

static void remove_links(const char *directory)
{
    DIR *list = opendir(directory);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        char path[2048];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(list);
    rmdir(directory);
}

/* tokenizer.json counts where there is one; each of the two sorts of files is enough by itself. */
static void test_precedence(void **state)
{
    (void)state;
    static const char *const names[] = {"bart", "t5", "mbart", "m2m100", "pegasus", "vision-encoder-decoder", "whisper"};
    static const char *const left_out[] = {"", "tokenizer.json", "vocab.json merges.txt spiece.model sentencepiece.bpe.model"};
    const char *root = getenv("TANDEM_REFERENCE");
    if (!root)
        skip();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t k = 0; k < sizeof left_out / sizeof *left_out; k++) {
            char from[1024], to[] = "/tmp/tandem-tokenizer-XXXXXX";
            snprintf(from, sizeof from, "%s/%s", root, names[i]);
            assert_non_null(mkdtemp(to));
            link_without(from, to, left_out[k]);
            check_files(to, from, "tokenizer_cases.json");
            remove_links(to);
        }
    }
    assert_int_equal(differences, 0);
}

static void test_directories(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        check_directory(directories[i]);
    assert_int_equal(differences, 0);
}

static void test_named_directory(void **state)
{
    check_directory(*state);
    assert_int_equal(differences, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        const struct CMUnitTest named[] = {cmocka_unit_test_prestate(test_named_directory, argv[1])};
        return cmocka_run_group_tests(named, NULL, NULL);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_directories), cmocka_unit_test(test_precedence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
