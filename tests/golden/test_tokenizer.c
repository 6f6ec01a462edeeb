/* Every tokenizer under tests/golden gives exactly what transformers gave; directories named on the command line are tested the same way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

/* From tools/reference/tokenizers_json.py, which says what each one is made of. */
#define JSON TD_TEST_DATA "/golden/tokenizers-json/"

static const char *const directories[] = {
    TD_TEST_DATA "/golden/marian-tokenizer", TD_TEST_DATA "/golden/t5-tokenizer",   TD_TEST_DATA "/golden/pegasus-tokenizer",
    TD_TEST_DATA "/golden/mbart-tokenizer",  TD_TEST_DATA "/golden/nllb-tokenizer", TD_TEST_DATA "/golden/bart-tokenizer",
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

static void check_case(const td_tokenizer *tokenizer, const json_t *item)
{
    static const char *const keys[] = {"ids", "target_ids"};
    const json_t *text = json_object_get(item, "text");
    td_error error;
    for (int side = 0; side < 2; side++) {
        const json_t *expected = json_object_get(item, keys[side]);
        /* Present where transformers is not what the models were trained with: the SentencePiece library counts. */
        const json_t *classic = json_object_get(item, "classic_ids");
        td_ids ids = TD_IDS_INIT;
        if (!expected || (classic && side == 1))
            continue;
        assert_int_equal(td_tokenizer_encode(tokenizer, (td_text_side)side, json_string_value(text), json_string_length(text), &ids, &error), TD_OK);
        compare_ids(keys[side], text, classic ? classic : expected, &ids);
        if (side == 0 && !classic) {
            compare_text("decoded", tokenizer, &ids, true, json_object_get(item, "decoded"));
            compare_text("decoded with special tokens", tokenizer, &ids, false, json_object_get(item, "decoded_special"));
        }
        td_ids_free(&ids);
    }
}

static void check_directory(const char *directory)
{
    td_error error;
    td_tokenizer *tokenizer = NULL;
    if (td_tokenizer_open(directory, &tokenizer, &error) != TD_OK)
        fail_msg("%s", error.message);
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizer_cases.json", directory);
    json_t *root;
    if (td_json_load_file(path, &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    const json_t *settings = json_object_get(root, "settings");
    const char *source = json_string_value(json_object_get(settings, "src_lang")), *target = json_string_value(json_object_get(settings, "tgt_lang"));
    if (td_tokenizer_set_languages(tokenizer, source, target, &error) != TD_OK)
        fail_msg("%s", error.message);
    const json_t *cases = json_object_get(root, "cases");
    size_t count = json_array_size(cases);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        check_case(tokenizer, json_array_get(cases, i));
    print_message("%s: %zu cases\n", directory, count);
    json_decref(root);
    td_tokenizer_free(tokenizer);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_directories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
