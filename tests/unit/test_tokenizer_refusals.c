/* A tokenizer.json with a part that is not known here, or that is broken, is refused with the part's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text/tokenizer.h"

#define MODEL "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"u\", \"vocab\": {\"u\": 0, \"a\": 1}}"

static void refused(const char *directory, const char *text, const char *named)
{
    char path[256];
    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    td_tokenizer *tokenizer = NULL;
    td_error error = {0};
    td_status status = td_tokenizer_open(directory, &tokenizer, &error);
    if (!named) {
        assert_int_equal(status, TD_OK);
        td_tokenizer_free(tokenizer);
    } else if (status == TD_OK || !strstr(error.message, named) || !strstr(error.message, "tokenizer.json")) {
        fail_msg("%s: \"%s\" does not name %s", text, error.message, named);
    }
    remove(path);
}

static void parts_are_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{" MODEL "}", NULL},
        {"{" MODEL ", \"normalizer\": {\"type\": \"Nmt\"}}", "\"Nmt\""},
        {"{" MODEL ", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Odd\"}]}}", "\"Odd\""},
        {"{" MODEL ", \"normalizer\": {\"type\": \"Sequence\"}}", "\"normalizers\""},
        {"{" MODEL ", \"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"/////w==\"}}", "\"precompiled_charsmap\""},
        {"{" MODEL ", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(\"}, \"content\": \"\"}}", "\"pattern\""},
        {"{" MODEL ", \"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}}", "\"UnicodeScripts\""},
        {"{" MODEL ", \"pre_tokenizer\": {\"type\": \"Metaspace\", \"prepend_scheme\": \"last\"}}", "\"last\""},
        {"{" MODEL ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \" \"}, \"behavior\": \"Dropped\"}}",
         "\"Dropped\""},
        {"{" MODEL ", \"decoder\": {\"type\": \"CTC\"}}", "\"CTC\""},
        {"{" MODEL ", \"post_processor\": {\"type\": \"Odd\"}}", "\"Odd\""},
        {"{" MODEL ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}}", "\"single\""},
        {"{" MODEL ", \"added_tokens\": [{\"content\": \"x\", \"id\": 99999999}]}", "\"added_tokens\" 0"},
        {"{\"model\": {\"type\": \"WordLevel\", \"vocab\": {}}}", "\"WordLevel\""},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\", \"b\"]]}}", "\"merges\" 0"},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}", "\"merges\" 0"},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", "\"a\""},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"dropout\": 0.1}}", "\"dropout\""},
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\"]]}}", "\"vocab\" 0"},
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 0]], \"unk_id\": 1}}", "\"unk_id\""},
        {"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}}", "\"unk_token\""},
        {"{}", "\"model\""},
        {"[", "tokenizer.json"},
    };
    char directory[] = "/tmp/tandem-tokenizer-XXXXXX";
    assert_non_null(mkdtemp(directory));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(directory, cases[i][0], cases[i][1]);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
