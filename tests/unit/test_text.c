/* Vocabularies made here: every kind round-trips, sampling is a function of its random stream, bad options are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"
#include "platform/file.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char directory[] = "/tmp/test-text-XXXXXX";

static const char *const english[] = {
    "the garden gate is open",
    "a gardener opens the gate",
    "the gate of the garden closes",
    "she opens a book in the garden",
    "he closes the book",
    "the book is about a garden gate",
    "a closed gate and an open book",
    "they garden in the morning",
    "morning opens over the gate",
    "the gardener reads in the garden",
    "reading a book about morning light",
    "light falls over the open gate",
};
static const char *const german[] = {
    "das Gartentor ist offen",
    "eine Gärtnerin öffnet das Tor",
    "das Tor des Gartens geht zu",
    "sie öffnet ein Buch im Garten",
    "er schließt das Buch",
    "das Buch handelt vom Gartentor",
    "ein geschlossenes Tor, offenes Buch",
    "sie gärtnern am Morgen",
    "der Morgen öffnet sich dem Tor",
    "die Gärtnerin liest im Garten",
    "ein Buch über das Licht am Morgen",
    "Licht fällt auf das offene Tor",
};
enum { SENTENCES = sizeof english / sizeof *english };

typedef struct list {
    const char *const *sentences;
    size_t count, at, fail_at;
} list;

static td_status next_sentence(void *context, const char **ret_text, size_t *ret_length, td_error *error)
{
    list *from = context;
    if (from->fail_at && from->at == from->fail_at)
        return td_fail(error, TD_ERROR_IO, "train.en:%zu: cannot read", from->at);
    *ret_text = from->at < from->count ? from->sentences[from->at++] : NULL;
    *ret_length = *ret_text ? strlen(*ret_text) : 0;
    return TD_OK;
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return td_directory_remove(directory, NULL) == TD_OK ? 0 : -1;
}

static td_status train(const td_vocabulary_options *options, const char *name, td_error *error)
{
    char path[256];
    list source = {english, SENTENCES, 0, 0}, target = {german, SENTENCES, 0, 0};
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return td_tokenizer_train_marian(path, options, &(td_sentences){next_sentence, &source}, &(td_sentences){next_sentence, &target},
                                     error);
}

static td_tokenizer *train_and_open(const td_vocabulary_options *options, const char *name)
{
    char path[256];
    td_error error;
    td_tokenizer *tokenizer = NULL;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (train(options, name, &error) != TD_OK || td_tokenizer_open(path, &tokenizer, &error) != TD_OK)
        fail_msg("%s", error.message);
    return tokenizer;
}

static void assert_round_trip(const td_tokenizer *tokenizer, td_text_side side, const char *sentence)
{
    td_ids ids = TD_IDS_INIT;
    td_buffer text = TD_BUFFER_INIT;
    assert_int_equal(td_tokenizer_encode(tokenizer, side, sentence, strlen(sentence), &ids, NULL), TD_OK);
    assert_int_equal(ids.data[ids.length - 1], td_tokenizer_eos_id(tokenizer));
    for (size_t i = 0; i < ids.length; i++)
        assert_int_not_equal(ids.data[i], td_tokenizer_unknown_id(tokenizer));
    assert_int_equal(td_tokenizer_decode(tokenizer, ids.data, ids.length, true, &text, NULL), TD_OK);
    assert_string_equal(td_buffer_text(&text), sentence);
    td_ids_free(&ids);
    td_buffer_free(&text);
}

static void test_kinds(void **state)
{
    (void)state;
    static const char *const kinds[] = {"unigram", "bpe", "char", "word"};
    static const size_t sizes[] = {70, 90, 60, 150};
    for (int i = 0; i < 8; i++) {
        td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
        options.kind = kinds[i % 4];
        options.size = sizes[i % 4];
        options.shared = i < 4;
        td_tokenizer *tokenizer = train_and_open(&options, "kind");
        if (options.shared)
            assert_true(td_tokenizer_size(tokenizer) <= options.size);
        if (options.shared && i < 2)
            assert_int_equal(td_tokenizer_size(tokenizer), options.size);
        assert_int_equal(td_tokenizer_eos_id(tokenizer), 0);
        assert_int_equal(td_tokenizer_unknown_id(tokenizer), 1);
        assert_int_equal(td_tokenizer_pad_id(tokenizer), td_tokenizer_size(tokenizer) - 1);
        for (size_t s = 0; s < SENTENCES; s++) {
            assert_round_trip(tokenizer, TD_TARGET, german[s]);
            if (options.shared)
                assert_round_trip(tokenizer, TD_SOURCE, english[s]);
        }
        td_tokenizer_free(tokenizer);
    }
}

static void test_byte_fallback(void **state)
{
    (void)state;
    static const char *const texts[] = {"日本 garden", "🙂", "ž ß ẞ 한", "\xf0\x9d\x92\x9c book", "a"};
    td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
    options.byte_fallback = true;
    options.normalization = "identity";
    options.size = 350;
    for (int i = 0; i < 2; i++) {
        options.kind = i ? "bpe" : "unigram";
        td_tokenizer *tokenizer = train_and_open(&options, "bytes");
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
            assert_round_trip(tokenizer, TD_SOURCE, texts[t]);
            td_random random = {t, 0};
            td_ids ids = TD_IDS_INIT;
            td_buffer text = TD_BUFFER_INIT;
            assert_int_equal(td_tokenizer_encode_sampled(tokenizer, TD_SOURCE, texts[t], strlen(texts[t]), 0.5, &random, &ids, NULL),
                             TD_OK);
            assert_int_equal(td_tokenizer_decode(tokenizer, ids.data, ids.length, true, &text, NULL), TD_OK);
            assert_string_equal(td_buffer_text(&text), texts[t]);
            td_ids_free(&ids);
            td_buffer_free(&text);
        }
        td_tokenizer_free(tokenizer);
    }
}

static void sample(const td_tokenizer *tokenizer, double dropout, uint64_t key, td_ids *ids)
{
    td_random random = {key, 0};
    const char *sentence = "the gardener opens the garden gate ☃";
    td_ids_clear(ids);
    assert_int_equal(td_tokenizer_encode_sampled(tokenizer, TD_SOURCE, sentence, strlen(sentence), dropout, &random, ids, NULL), TD_OK);
}

static bool equal_ids(const td_ids *a, const td_ids *b)
{
    return a->length == b->length && memcmp(a->data, b->data, a->length * sizeof *a->data) == 0;
}

static void test_sampling(void **state)
{
    (void)state;
    const char *sentence = "the gardener opens the garden gate ☃";
    for (int i = 0; i < 2; i++) {
        td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
        options.kind = i ? "bpe" : "unigram";
        options.size = 100;
        td_tokenizer *tokenizer = train_and_open(&options, "sampling");
        td_ids best = TD_IDS_INIT, first = TD_IDS_INIT, again = TD_IDS_INIT;
        assert_int_equal(td_tokenizer_encode(tokenizer, TD_SOURCE, sentence, strlen(sentence), &best, NULL), TD_OK);
        size_t different = 0, longer = 0;
        for (uint64_t key = 0; key < 50; key++) {
            td_buffer text = TD_BUFFER_INIT;
            sample(tokenizer, 0.2, key, &first);
            sample(tokenizer, 0.2, key, &again);
            assert_true(equal_ids(&first, &again));
            different += !equal_ids(&first, &best);
            longer += first.length > best.length;
            assert_int_equal(td_tokenizer_decode(tokenizer, first.data, first.length, true, &text, NULL), TD_OK);
            assert_string_equal(td_buffer_text(&text), "the gardener opens the garden gate");
            td_buffer_free(&text);
        }
        assert_true(different > 25 && longer > 25);
        /* No dropout (bpe) and a sharp distribution (unigram) are the best segmentation: our walk is the library's. */
        for (uint64_t key = 0; key < 20; key++) {
            sample(tokenizer, i ? 1e-300 : 1000.0, key, &first);
            assert_true(equal_ids(&first, &best));
        }
        if (i) { /* all merges dropped: one id a character, <unk> and </s> */
            sample(tokenizer, 1.0, 3, &first);
            assert_int_equal(first.length, 37 + 1);
        }
        td_ids_free(&best);
        td_ids_free(&first);
        td_ids_free(&again);
        td_tokenizer_free(tokenizer);
    }
}

static void test_same_bytes(void **state)
{
    (void)state;
    td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
    options.size = 90;
    td_buffer bytes[2] = {TD_BUFFER_INIT, TD_BUFFER_INIT};
    for (int i = 0; i < 2; i++) {
        char path[256];
        assert_int_equal(train(&options, i ? "again" : "once", NULL), TD_OK);
        snprintf(path, sizeof path, "%s/%s/source.spm", directory, i ? "again" : "once");
        assert_int_equal(td_file_read(path, 0, &bytes[i], NULL), TD_OK);
    }
    assert_int_equal(bytes[0].length, bytes[1].length);
    assert_memory_equal(bytes[0].data, bytes[1].data, bytes[0].length);
    td_buffer_free(&bytes[0]);
    td_buffer_free(&bytes[1]);
}

static void test_languages(void **state)
{
    (void)state;
    static const char *const languages[] = {"de", "nl"};
    td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
    options.size = 90;
    options.languages = languages;
    options.language_count = 2;
    td_tokenizer *tokenizer = train_and_open(&options, "languages");
    int32_t de = td_tokenizer_id(tokenizer, ">>de<<"), nl = td_tokenizer_id(tokenizer, ">>nl<<");
    assert_true(de > 0 && nl == de + 1);
    assert_int_equal(td_tokenizer_language_id(tokenizer, "de"), de);
    assert_int_equal(td_tokenizer_language_id(tokenizer, ">>nl<<"), nl);
    assert_int_equal(td_tokenizer_language_id(tokenizer, "a"), -1);
    td_error error;
    td_ids ids = TD_IDS_INIT, plain = TD_IDS_INIT;
    assert_int_equal(td_tokenizer_encode(tokenizer, TD_SOURCE, "the gate", 8, &plain, &error), TD_OK);
    assert_int_equal(td_tokenizer_set_languages(tokenizer, "en", "fr", &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_tokenizer_set_languages(tokenizer, "en", "nl", &error), TD_OK);
    assert_int_equal(td_tokenizer_encode(tokenizer, TD_SOURCE, "the gate", 8, &ids, &error), TD_OK);
    assert_int_equal(ids.data[0], nl);
    assert_memory_equal(ids.data + 1, plain.data, plain.length * sizeof *plain.data);
    td_ids_clear(&ids);
    assert_int_equal(td_tokenizer_encode(tokenizer, TD_SOURCE, ">>de<< the gate", 15, &ids, &error), TD_OK);
    assert_int_equal(ids.data[0], de); /* the text's own choice wins */
    assert_int_equal(ids.length, plain.length + 1);
    td_ids_clear(&ids);
    assert_int_equal(td_tokenizer_encode(tokenizer, TD_TARGET, "the gate", 8, &ids, &error), TD_OK);
    assert_true(equal_ids(&ids, &plain));
    td_ids_free(&ids);
    td_ids_free(&plain);
    td_tokenizer_free(tokenizer);
}

static void test_refusals(void **state)
{
    (void)state;
    td_error error;
    td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
    options.kind = "syllable";
    assert_int_equal(train(&options, "bad", &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "unigram, bpe, char, word"));
    options = (td_vocabulary_options)TD_VOCABULARY_OPTIONS_INIT;
    options.normalization = "nfd";
    assert_int_equal(train(&options, "bad", &error), TD_ERROR_ARGUMENT);
    options = (td_vocabulary_options)TD_VOCABULARY_OPTIONS_INIT;
    options.size = 3;
    assert_int_equal(train(&options, "bad", &error), TD_ERROR_ARGUMENT);
    options.size = 10; /* fewer than there are characters */
    assert_int_equal(train(&options, "bad", &error), TD_ERROR_ARGUMENT);

    td_sentencepiece_options exact = TD_SENTENCEPIECE_OPTIONS_INIT;
    exact.size = 20000;
    exact.exact_size = true;
    list from = {english, SENTENCES, 0, 0};
    td_buffer model = TD_BUFFER_INIT;
    assert_int_equal(td_sentencepiece_train(&exact, &(td_sentences){next_sentence, &from}, &model, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "<="));
    assert_null(strstr(error.message, ".cc("));
    from = (list){english, SENTENCES, 0, 5};
    assert_int_equal(td_sentencepiece_train(&exact, &(td_sentences){next_sentence, &from}, &model, &error), TD_ERROR_IO);
    assert_string_equal(error.message, "train.en:5: cannot read");
    from = (list){english, 0, 0, 0};
    assert_int_equal(td_sentencepiece_train(&exact, &(td_sentences){next_sentence, &from}, &model, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(model.length, 0);

    td_tokenizer *tokenizer = NULL;
    assert_int_equal(td_tokenizer_open(directory, &tokenizer, &error), TD_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "source.spm"));
    td_sentencepiece *parsed = NULL;
    assert_int_equal(td_sentencepiece_parse("nonsense", 8, "x.spm", &parsed, &error), TD_ERROR_FORMAT);
    assert_int_equal(td_sentencepiece_parse("", 0, "x.spm", &parsed, &error), TD_ERROR_FORMAT);
    assert_null(parsed);
}

static void test_decode_errors(void **state)
{
    (void)state;
    td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
    options.size = 90;
    td_tokenizer *tokenizer = train_and_open(&options, "decode");
    td_buffer text = TD_BUFFER_INIT;
    td_error error;
    int32_t beyond = (int32_t)td_tokenizer_size(tokenizer), below = -1;
    assert_int_equal(td_tokenizer_decode(tokenizer, &beyond, 1, true, &text, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(td_tokenizer_decode(tokenizer, &below, 1, true, &text, &error), TD_ERROR_ARGUMENT);
    assert_int_equal(text.length, 0);
    assert_null(td_tokenizer_piece(tokenizer, beyond));
    assert_int_equal(td_tokenizer_id(tokenizer, "none such"), -1);
    assert_true(td_tokenizer_is_special(tokenizer, 0) && !td_tokenizer_is_special(tokenizer, 5));
    td_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),         cmocka_unit_test(test_byte_fallback), cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_same_bytes),    cmocka_unit_test(test_languages),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_decode_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
