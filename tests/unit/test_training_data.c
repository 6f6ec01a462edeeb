/* From text files to batches: lines are checked, pairs are filtered with counts, and every epoch gives each pair
 * exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/random.h"
#include "training/batches.h"
#include "training/lines.h"
#include "training/pairs.h"

static char directory[] = "/tmp/tandem-data-XXXXXX";
static td_tokenizer *tokenizer;
static td_error error;

/* ---- files ---- */

/* A path inside the test's directory; a few live at a time. */
static const char *at(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static const char *plain_file_of(const char *name, const char *content, size_t length)
{
    const char *path = at(name);
    assert_int_equal(td_file_write(path, content, length, NULL), TD_OK);
    return path;
}

static const char *plain_file(const char *name, const char *content)
{
    return plain_file_of(name, content, strlen(content));
}

static const char *gzip_file(const char *name, const char *content)
{
    const char *path = at(name);
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, content, (unsigned)strlen(content)), strlen(content));
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

static void assert_message(const char *part)
{
    if (!strstr(error.message, part))
        fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

/* ---- lines ---- */

static void assert_lines(const char *path, const char *const *expected)
{
    td_lines *lines = NULL;
    const char *text;
    size_t length, count = 0;
    assert_int_equal(td_lines_open(path, &lines, NULL), TD_OK);
    assert_string_equal(td_lines_path(lines), path);
    for (; expected[count]; count++) {
        assert_int_equal(td_lines_next(lines, &text, &length, NULL), TD_OK);
        assert_non_null(text);
        assert_string_equal(text, expected[count]);
        assert_int_equal(length, strlen(expected[count]));
        assert_int_equal(td_lines_number(lines), count + 1);
    }
    for (int again = 0; again < 2; again++) {
        assert_int_equal(td_lines_next(lines, &text, &length, NULL), TD_OK);
        assert_null(text);
    }
    assert_int_equal(td_lines_number(lines), count);
    td_lines_close(lines);
}

static void lines_of_plain_and_gzip_files_are_the_same(void **state)
{
    (void)state;
    static const char *const expected[] = {"eins", "", "drei\tund mehr", "größe", NULL}, *const none[] = {NULL};
    assert_lines(plain_file("lf", "eins\n\ndrei\tund mehr\ngröße\n"), expected);
    assert_lines(plain_file("no-end", "eins\n\ndrei\tund mehr\ngröße"), expected);
    assert_lines(plain_file("crlf", "eins\r\n\r\ndrei\tund mehr\r\ngröße\r\n"), expected);
    assert_lines(gzip_file("lf.gz", "eins\n\ndrei\tund mehr\ngröße\n"), expected);
    assert_lines(gzip_file("crlf.gz", "eins\r\n\r\ndrei\tund mehr\r\ngröße"), expected);
    assert_lines(plain_file("empty", ""), none);
    assert_lines(gzip_file("empty.gz", ""), none);
}

static void lines_may_be_longer_than_what_is_read_at_once(void **state)
{
    (void)state;
    enum { LONG = 200000 };
    char *content = calloc(2 * LONG + 3, 1), *line = calloc(LONG + 1, 1);
    memset(line, 'x', LONG);
    memcpy(content, line, LONG);
    content[LONG] = '\n';
    memcpy(content + LONG + 1, line, LONG);
    content[2 * LONG + 1] = '\n';
    const char *const expected[] = {line, line, NULL};
    assert_lines(plain_file("long", content), expected);
    assert_lines(gzip_file("long.gz", content), expected);
    free(content);
    free(line);
}

/* What reading the whole file ends with. */
static td_status read_all(const char *path)
{
    td_lines *lines = NULL;
    const char *text = "";
    size_t length;
    td_status status = td_lines_open(path, &lines, &error);
    while (status == TD_OK && text)
        status = td_lines_next(lines, &text, &length, &error);
    td_lines_close(lines);
    return status;
}

static void broken_files_are_named_with_the_line(void **state)
{
    (void)state;
    assert_int_equal(read_all(plain_file("latin1", "gut\nk\xfchl\nwarm\n")), TD_ERROR_FORMAT);
    assert_message("/latin1:2: line is not UTF-8 (byte 2)");
    assert_int_equal(read_all(gzip_file("latin1.gz", "gut\nk\xfchl\nwarm\n")), TD_ERROR_FORMAT);
    assert_message("/latin1.gz:2: line is not UTF-8 (byte 2)");
    assert_int_equal(read_all(at("absent")), TD_ERROR_IO);
    assert_message("/absent: cannot open: No such file or directory");
    assert_int_equal(read_all(directory), TD_ERROR_IO);
    assert_message("Is a directory");
}

static void cut_gzip_files_are_an_error_not_a_short_corpus(void **state)
{
    (void)state;
    td_buffer content = TD_BUFFER_INIT, whole = TD_BUFFER_INIT;
    for (unsigned i = 0; i < 5000; i++)
        td_buffer_format(&content, "%x\n", (unsigned)td_mix64(i));
    const char *path = gzip_file("whole.gz", td_buffer_text(&content));
    assert_int_equal(read_all(path), TD_OK);
    assert_int_equal(td_file_read(path, 0, &whole, NULL), TD_OK);
    assert_int_equal(read_all(plain_file_of("cut.gz", whole.data, whole.length / 2)), TD_ERROR_IO);
    assert_message("/cut.gz:");
    whole.data[whole.length / 2] ^= 0x55;
    assert_int_not_equal(read_all(plain_file_of("damaged.gz", whole.data, whole.length)), TD_OK);
    assert_message("/damaged.gz:");
    td_buffer_free(&content);
    td_buffer_free(&whole);
}

/* ---- pairs ---- */

/* Options over up to two file pairs; all of it lives until the next call. */
static td_corpus_options *files(const char *source, const char *target, const char *source2, const char *target2)
{
    static td_recipe_corpus corpus;
    static char *sources[2], *targets[2];
    static td_corpus_options options;
    sources[0] = (char *)source;
    sources[1] = (char *)source2;
    targets[0] = (char *)target;
    targets[1] = (char *)target2;
    corpus = (td_recipe_corpus){{sources, source2 ? 2 : 1}, {targets, target2 ? 2 : target ? 1 : 0}};
    options =
        (td_corpus_options){.files = &corpus, .source_key = "de", .target_key = "en", .max_source_length = 1000, .max_target_length = 1000};
    return &options;
}

/* All pairs as "corpus source|target;". */
static td_status read_pairs(const td_corpus_options *options, td_buffer *all)
{
    td_pairs *pairs = NULL;
    td_text_pair pair = {.source = ""};
    td_buffer_clear(all);
    td_status status = td_pairs_open(options, &pairs, &error);
    while (status == TD_OK && (status = td_pairs_next(pairs, &pair, &error)) == TD_OK && pair.source) {
        assert_int_equal(pair.source_bytes, strlen(pair.source));
        assert_int_equal(pair.target_bytes, strlen(pair.target));
        td_buffer_format(all, "%zu %s|%s;", pair.corpus, pair.source, pair.target);
    }
    td_pairs_close(pairs);
    return status;
}

static void pairs_come_from_parallel_files_and_jsonl(void **state)
{
    (void)state;
    td_buffer all = TD_BUFFER_INIT;
    td_corpus_options *options = files(plain_file("a.de", "ein Haus\r\nein Baum\n"), gzip_file("a.en.gz", "a house\na tree"),
                                       gzip_file("b.de.gz", "Wasser\n"), plain_file("b.en", "water\n"));
    assert_int_equal(read_pairs(options, &all), TD_OK);
    assert_string_equal(all.data, "0 ein Haus|a house;0 ein Baum|a tree;1 Wasser|water;");
    const char *objects = "{\"en\": \"a dog\", \"de\": \"ein Hund\", \"id\": 7}\n{\"de\": \"K\\u00e4se\", \"en\": \"cheese\"}\n";
    assert_int_equal(read_pairs(files(plain_file("c.jsonl", objects), NULL, NULL, NULL), &all), TD_OK);
    assert_string_equal(all.data, "0 ein Hund|a dog;0 Käse|cheese;");
    options = files(gzip_file("c.jsonl.gz", objects), NULL, NULL, NULL);
    options->source_key = "en";
    options->target_key = "de";
    assert_int_equal(read_pairs(options, &all), TD_OK);
    assert_string_equal(all.data, "0 a dog|ein Hund;0 cheese|Käse;");
    td_buffer_free(&all);
}

static void unequal_and_broken_pairs_are_errors(void **state)
{
    (void)state;
    td_buffer all = TD_BUFFER_INIT;
    const char *longer = plain_file("longer", "eins\nzwei\ndrei\nvier\n"), *shorter = plain_file("shorter", "one\ntwo\n");
    assert_int_equal(read_pairs(files(longer, shorter, NULL, NULL), &all), TD_ERROR_FORMAT);
    assert_message("/longer has 4 lines and ");
    assert_message("/shorter has 2: parallel files need the same number");
    assert_int_equal(read_pairs(files(shorter, longer, NULL, NULL), &all), TD_ERROR_FORMAT);
    assert_message("/shorter has 2 lines and ");
    assert_message("/longer has 4: parallel");
    /* Lines that are only counted need not be UTF-8. */
    assert_int_equal(read_pairs(files(plain_file("odd", "eins\nzwei\ndrei\nv\xff\nsechs\n"), shorter, NULL, NULL), &all), TD_ERROR_FORMAT);
    assert_message("/odd has 5 lines and ");
    assert_int_equal(
        read_pairs(files(plain_file("bad.jsonl", "{\"de\": \"a\", \"en\": \"b\"}\n{\"de\": \"a\"}\n"), NULL, NULL, NULL), &all),
        TD_ERROR_FORMAT);
    assert_message("/bad.jsonl:2: no string under the key \"en\" (data.keys names the keys)");
    assert_int_equal(read_pairs(files(plain_file("number.jsonl", "{\"de\": 3, \"en\": \"b\"}\n"), NULL, NULL, NULL), &all),
                     TD_ERROR_FORMAT);
    assert_message("/number.jsonl:1: no string under the key \"de\"");
    assert_int_equal(read_pairs(files(plain_file("array.jsonl", "[1]\n"), NULL, NULL, NULL), &all), TD_ERROR_FORMAT);
    assert_message("/array.jsonl:1: not a JSON object: another value");
    assert_int_equal(read_pairs(files(plain_file("cut.jsonl", "{\"de\": \"a\n"), NULL, NULL, NULL), &all), TD_ERROR_FORMAT);
    assert_message("/cut.jsonl:1: not a JSON object: ");
    td_buffer_free(&all);
}

/* ---- the corpus ---- */

static const char *const german[] = {"der Hund", "die Katze", "der Vogel", "das Pferd", "die Maus"};
static const char *const english[] = {"the dog", "the cat", "the bird", "the horse", "the mouse"};
static const char *const german_places[] = {"im Garten", "auf der Wiese", "am See", "vor dem Haus", "hinter dem alten Tor", "im Wald"};
static const char *const english_places[] = {"in the garden",     "on the meadow",       "at the lake",
                                             "outside the house", "behind the old gate", "in the forest"};

/* `count` pairs of different lengths; every source line is unlike all others. */
static void write_sentences(const char *source, const char *target, size_t count)
{
    td_buffer de = TD_BUFFER_INIT, en = TD_BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        td_buffer_format(&de, "Nummer %zu:", i);
        td_buffer_format(&en, "number %zu:", i);
        for (size_t word = 0; word <= td_mix64(i) % 7; word++) {
            size_t which = td_mix64(i * 31 + word) % 30;
            td_buffer_format(&de, " %s schläft %s", german[which % 5], german_places[which / 5]);
            td_buffer_format(&en, " %s sleeps %s", english[which % 5], english_places[which / 5]);
        }
        td_buffer_text_append(&de, "\n");
        td_buffer_text_append(&en, "\n");
    }
    plain_file(source, td_buffer_text(&de));
    plain_file(target, td_buffer_text(&en));
    td_buffer_free(&de);
    td_buffer_free(&en);
}

static void pairs_left_out_are_counted_by_reason(void **state)
{
    (void)state;
    td_corpus corpus;
    td_corpus_report report;
    td_corpus_options *options =
        files(plain_file("f.de", "der Hund schläft\n\ndie Katze\n \t \nder Hund der Hund der Hund der Hund der Hund der Hund\n"
                                 "der Vogel schläft im Wald am See auf der Wiese\nMaus\n"),
              plain_file("f.en", "the dog sleeps\nnothing there\n\n \nthe dog the dog the dog the dog the dog the dog\n"
                                 "bird\nmouse\n"),
              NULL, NULL);
    options->max_length_ratio = 3.0;
    td_ids ids = {0};
    assert_int_equal(td_tokenizer_encode(tokenizer, TD_SOURCE, "der Hund der Hund der Hund der Hund der Hund der Hund", 53, &ids, NULL),
                     TD_OK);
    options->max_source_length = ids.length - 1; /* the fifth pair is one too long */
    td_ids_free(&ids);
    assert_int_equal(td_corpus_build(options, tokenizer, directory, "filtered", &corpus, &report, &error), TD_OK);
    assert_int_equal(report.read, 7);
    assert_int_equal(report.empty, 3);
    assert_int_equal(report.too_long, 1);
    assert_int_equal(report.bad_ratio, 1);
    assert_int_equal(report.kept, 2);
    assert_int_equal(corpus.count, 2);
    td_corpus_close(&corpus);
}

static void records_hold_what_the_tokenizer_gives(void **state)
{
    (void)state;
    static char *codes[] = {"en", "de"};
    static const td_string_list languages = {codes, 2};
    for (int with_languages = 0; with_languages < 2; with_languages++) {
        td_corpus corpus;
        td_corpus_report report;
        td_corpus_options *options = files(plain_file("g.de", "der Hund\n\nder Vogel schläft\n"),
                                           plain_file("g.en", "the dog\nx\nthe bird sleeps\n"), at("g.en"), at("g.de"));
        options->keep_text = true;
        options->languages = with_languages ? &languages : NULL;
        assert_int_equal(td_corpus_build(options, tokenizer, directory, "records", &corpus, &report, &error), TD_OK);
        static const char *const sources[] = {"der Hund", "der Vogel schläft", "the dog", "the bird sleeps"};
        static const char *const targets[] = {"the dog", "the bird sleeps", "der Hund", "der Vogel schläft"};
        assert_int_equal(corpus.count, 4);
        uint64_t source_tokens = 0, target_tokens = 0;
        for (size_t i = 0; i < 4; i++) {
            td_pair pair = td_corpus_get(&corpus, i);
            td_ids source = {0}, target = {0};
            char text[100];
            size_t source_length, target_length;
            snprintf(text, sizeof text, "%s%s", !with_languages ? "" : i < 2 ? ">>en<< " : ">>de<< ", sources[i]);
            assert_int_equal(td_tokenizer_encode(tokenizer, TD_SOURCE, text, strlen(text), &source, NULL), TD_OK);
            assert_int_equal(td_tokenizer_encode(tokenizer, TD_TARGET, targets[i], strlen(targets[i]), &target, NULL), TD_OK);
            assert_int_equal(pair.source_length, source.length);
            assert_int_equal(pair.target_length, target.length);
            assert_memory_equal(pair.source, source.data, source.length * sizeof(int32_t));
            assert_memory_equal(pair.target, target.data, target.length * sizeof(int32_t));
            assert_int_equal(pair.source_bytes, strlen(text));
            assert_memory_equal(pair.source_text, text, pair.source_bytes);
            assert_int_equal(pair.target_bytes, strlen(targets[i]));
            assert_memory_equal(pair.target_text, targets[i], pair.target_bytes);
            td_corpus_lengths(&corpus, i, &source_length, &target_length);
            assert_int_equal(source_length, source.length);
            assert_int_equal(target_length, target.length);
            source_tokens += source.length;
            target_tokens += target.length;
            td_ids_free(&source);
            td_ids_free(&target);
        }
        assert_int_equal(corpus.source_tokens, source_tokens);
        assert_int_equal(corpus.target_tokens, target_tokens);
        td_corpus_close(&corpus);
    }
}

static void a_failed_build_leaves_nothing_behind(void **state)
{
    (void)state;
    td_corpus corpus;
    td_corpus_report report = {.read = 99};
    td_corpus_options *options = files(plain_file("h.de", "der Hund\ndie Katze\n"), plain_file("h.en", "the dog\n"), NULL, NULL);
    assert_int_equal(td_corpus_build(options, tokenizer, directory, "failed", &corpus, &report, &error), TD_ERROR_FORMAT);
    assert_message("parallel files need the same number");
    assert_int_equal(report.read, 99);
    assert_false(td_file_exists(at("failed.records")));
    assert_false(td_file_exists(at("failed.index")));
}

static void raw_text_comes_one_side_or_both(void **state)
{
    (void)state;
    static const char *const expected[3] = {"die Maus,der Hund,", "the mouse,the dog,", "die Maus,the mouse,der Hund,the dog,"};
    td_corpus_options *options = files(plain_file("t.de", "die Maus\nder Hund\n"), plain_file("t.en", "the mouse\nthe dog\n"), NULL, NULL);
    for (int sides = 0; sides < 3; sides++) {
        td_corpus_text *text = NULL;
        td_buffer all = TD_BUFFER_INIT;
        assert_int_equal(td_corpus_text_open(options, sides != 1, sides != 0, &text, &error), TD_OK);
        td_sentences sentences = td_corpus_text_sentences(text);
        const char *line;
        size_t length;
        while (sentences.next(sentences.context, &line, &length, &error) == TD_OK && line) {
            td_buffer_append(&all, line, length);
            td_buffer_text_append(&all, ",");
        }
        assert_string_equal(td_buffer_text(&all), expected[sides]);
        td_buffer_free(&all);
        td_corpus_text_close(text);
    }
}

/* ---- batches ---- */

enum { PAIRS = 400 };

static void build_many(td_corpus *corpus)
{
    td_corpus_report report;
    write_sentences("many.de", "many.en", PAIRS);
    assert_int_equal(
        td_corpus_build(files(at("many.de"), at("many.en"), NULL, NULL), tokenizer, directory, "many", corpus, &report, &error), TD_OK);
    assert_int_equal(corpus->count, PAIRS);
}

static size_t target_tokens_of(const td_corpus *corpus, const uint64_t *indices, size_t count)
{
    size_t tokens = 0, previous = 0;
    for (size_t i = 0; i < count; i++) {
        size_t source, target;
        td_corpus_lengths(corpus, indices[i], &source, &target);
        assert_true(target >= previous); /* sorted */
        previous = target;
        tokens += target;
    }
    return tokens;
}

static void an_epoch_gives_every_pair_exactly_once(void **state)
{
    (void)state;
    static const size_t windows[] = {1, 7, 100, PAIRS, 10 * PAIRS}, limits[] = {1, 50, 300, 1000000};
    td_corpus corpus;
    build_many(&corpus);
    for (size_t w = 0; w < 5; w++)
        for (size_t l = 0; l < 4; l++) {
            td_batches *batches = NULL;
            assert_int_equal(td_batches_new(&corpus, 3, limits[l], windows[w], &batches, &error), TD_OK);
            for (int epoch = 0; epoch < 3; epoch++) {
                unsigned char seen[PAIRS] = {0};
                for (size_t total = 0; total < PAIRS;) {
                    const uint64_t *indices;
                    size_t count;
                    assert_int_equal(td_batches_position(batches).epoch, epoch);
                    count = td_batches_next(batches, &indices);
                    assert_true(count > 0);
                    assert_true(count == 1 || target_tokens_of(&corpus, indices, count) <= limits[l]);
                    for (size_t i = 0; i < count; i++)
                        seen[indices[i]]++;
                    total += count;
                }
                for (size_t i = 0; i < PAIRS; i++)
                    assert_int_equal(seen[i], 1);
            }
            td_batches_free(batches);
        }
    td_corpus_close(&corpus);
}

static void batches_are_well_filled(void **state)
{
    (void)state;
    td_corpus corpus;
    build_many(&corpus);
    td_batches *batches = NULL;
    assert_int_equal(td_batches_new(&corpus, 3, 500, 10 * PAIRS, &batches, &error), TD_OK);
    size_t number = 0;
    for (size_t total = 0; total < PAIRS; number++) {
        const uint64_t *indices;
        size_t count;
        count = td_batches_next(batches, &indices);
        total += count;
    }
    assert_true((double)number * 500 < 1.2 * (double)corpus.target_tokens + 500);
    td_batches_free(batches);
    td_corpus_close(&corpus);
}

/* A number that stands for the next `count` batches, contents and order. */
static uint64_t digest(td_batches *batches, size_t count)
{
    uint64_t sum = 1;
    for (size_t batch = 0; batch < count; batch++) {
        const uint64_t *indices;
        size_t pairs;
        pairs = td_batches_next(batches, &indices);
        for (size_t i = 0; i < pairs; i++)
            sum = td_mix64(sum ^ indices[i]);
        sum = td_mix64(sum);
    }
    return sum;
}

static void seeking_goes_on_with_the_same_order(void **state)
{
    (void)state;
    enum { AHEAD = 300 }; /* several epochs */
    td_corpus corpus;
    build_many(&corpus);
    td_batches *first = NULL, *second = NULL;
    assert_int_equal(td_batches_new(&corpus, 11, 400, 90, &first, &error), TD_OK);
    for (int steps = 0; steps < 120; steps++) {
        td_batch_position position = td_batches_position(first);
        assert_int_equal(td_batches_new(&corpus, 11, 400, 90, &second, &error), TD_OK);
        digest(second, (size_t)steps % 5); /* wherever it stood before */
        assert_int_equal(td_batches_seek(second, position, &error), TD_OK);
        uint64_t expected = digest(first, AHEAD);
        assert_true(digest(second, AHEAD) == expected);
        td_batches_free(second);
        assert_int_equal(td_batches_seek(first, position, &error), TD_OK);
        digest(first, 1);
    }
    td_batches_free(first);
    td_corpus_close(&corpus);
}

static void seeds_and_epochs_have_orders_of_their_own(void **state)
{
    (void)state;
    td_corpus corpus;
    build_many(&corpus);
    td_batches *one = NULL, *other = NULL;
    assert_int_equal(td_batches_new(&corpus, 1, 1000000, PAIRS / 4, &one, &error), TD_OK);
    assert_int_equal(td_batches_new(&corpus, 2, 1000000, PAIRS / 4, &other, &error), TD_OK);
    uint64_t first_epoch = digest(one, 4); /* a window is one batch here */
    assert_false(first_epoch == digest(other, 4));
    assert_false(first_epoch == digest(one, 4));
    td_batches_free(one);
    td_batches_free(other);
    td_corpus_close(&corpus);
}

static void positions_outside_the_corpus_are_refused(void **state)
{
    (void)state;
    static const td_batch_position wrong[] = {{-1, 0, 0}, {0, -1, 0}, {0, 0, -1}, {0, PAIRS / 100, 0}, {0, INT64_MAX / 2 + 1, 0}};
    td_corpus corpus;
    build_many(&corpus);
    td_batches *batches = NULL;
    assert_int_equal(td_batches_new(&corpus, 1, 100, 100, &batches, &error), TD_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(td_batches_seek(batches, wrong[i], &error), TD_ERROR_FORMAT);
    td_batches_free(batches);
    td_corpus_close(&corpus);
    td_corpus_report report;
    assert_int_equal(td_corpus_build(files(plain_file("n.de", "\n"), plain_file("n.en", "\n"), NULL, NULL), tokenizer, directory, "none",
                                     &corpus, &report, &error),
                     TD_OK);
    assert_int_equal(td_batches_new(&corpus, 1, 100, 100, &batches, &error), TD_ERROR_ARGUMENT);
    assert_message("no usable pair");
    td_corpus_close(&corpus);
}

/* ---- the tokenizer all tests use ---- */

static int train_tokenizer(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    static const char *const languages[] = {"en", "de"};
    td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
    options.size = 120;
    options.languages = languages;
    options.language_count = 2;
    write_sentences("vocabulary.de", "vocabulary.en", 300);
    td_corpus_options *corpus = files(at("vocabulary.de"), at("vocabulary.en"), NULL, NULL);
    td_corpus_text *source = NULL, *target = NULL;
    if (td_corpus_text_open(corpus, true, false, &source, &error) != TD_OK ||
        td_corpus_text_open(corpus, false, true, &target, &error) != TD_OK)
        return -1;
    td_sentences from = td_corpus_text_sentences(source), to = td_corpus_text_sentences(target);
    td_status status = td_tokenizer_train_marian(at("tokenizer"), &options, &from, &to, &error);
    td_corpus_text_close(source);
    td_corpus_text_close(target);
    if (status == TD_OK)
        status = td_tokenizer_open(at("tokenizer"), &tokenizer, &error);
    if (status != TD_OK)
        print_error("%s\n", error.message);
    return status == TD_OK ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    td_tokenizer_free(tokenizer);
    return td_directory_remove(directory, NULL) == TD_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_plain_and_gzip_files_are_the_same), cmocka_unit_test(lines_may_be_longer_than_what_is_read_at_once),
        cmocka_unit_test(broken_files_are_named_with_the_line),       cmocka_unit_test(cut_gzip_files_are_an_error_not_a_short_corpus),
        cmocka_unit_test(pairs_come_from_parallel_files_and_jsonl),   cmocka_unit_test(unequal_and_broken_pairs_are_errors),
        cmocka_unit_test(pairs_left_out_are_counted_by_reason),       cmocka_unit_test(records_hold_what_the_tokenizer_gives),
        cmocka_unit_test(a_failed_build_leaves_nothing_behind),       cmocka_unit_test(raw_text_comes_one_side_or_both),
        cmocka_unit_test(an_epoch_gives_every_pair_exactly_once),     cmocka_unit_test(batches_are_well_filled),
        cmocka_unit_test(seeking_goes_on_with_the_same_order),        cmocka_unit_test(seeds_and_epochs_have_orders_of_their_own),
        cmocka_unit_test(positions_outside_the_corpus_are_refused),
    };
    return cmocka_run_group_tests(tests, train_tokenizer, remove_directory);
}
