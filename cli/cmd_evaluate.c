/* tandem evaluate: scores output against references. */
#include "command.h"
#include "error_alignment.h"
#include "keyed_line.h"
#include "lines.h"

#include <tandem/metrics.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_SAMPLES = 1000, DEFAULT_SEED = 12345, NO_CHOICE = -1 };

typedef struct evaluate_values {
    const char *metrics, *compare, *keys;
    cli_list references;
    int tokenizer;
    bool lowercase, stem, json, table, alignment;
    int64_t word_order, bootstrap, seed;
} evaluate_values;

#define OFFSET(member) offsetof(evaluate_values, member)
const cli_option evaluate_options[] = {
    {"metric", 0, CLI_TEXT, OFFSET(metrics), "LIST",
     "bleu, chrf, exact, rouge, wer, cer, cider; commas between "
     "(default: bleu,chrf)",
     0, 0},
    {"reference", 'r', CLI_LIST, OFFSET(references), "FILE",
     "what would be right, a line each; repeat for more than one "
     "reference a line",
     0, 0},
    {"keys", 0, CLI_TEXT, OFFSET(keys), "KEY",
     "lines of the references are JSON objects that have their text under KEY; of SOURCE,TARGET the second counts", 0, 0},
    {"tokenize", 0, CLI_CHOICE, OFFSET(tokenizer), "13a|none|char|intl",
     "tokens of bleu (default: 13a) and cider "
     "(default: none)",
     0, 0},
    {"lowercase", 0, CLI_FLAG, OFFSET(lowercase), NULL, "compare without regard to case (rouge always does)", 0, 0},
    {"chrf-word-order", 0, CLI_INTEGER, OFFSET(word_order), "N", "words among chrf's n-grams: 2 for chrF++ (default: 0)", 0, 8},
    {"stem", 0, CLI_FLAG, OFFSET(stem), NULL, "compare stems of English words (rouge)", 0, 0},
    {"table", 0, CLI_FLAG, OFFSET(table), NULL,
     "wer, cer: a table of sentences, words (characters), and how many were correct, substituted, deleted, inserted", 0, 0},
    {"alignment", 0, CLI_FLAG, OFFSET(alignment), NULL,
     "wer, cer: print each segment that has errors under its reference, word by word (character by character)", 0, 0},
    {"bootstrap", 0, CLI_INTEGER, OFFSET(bootstrap), "N",
     "give 95 % intervals of bleu and chrf from N resamples "
     "(default: 1000 with --compare)",
     1, 1e9},
    {"compare", 0, CLI_TEXT, OFFSET(compare), "FILE",
     "another system's output: how likely is the difference chance "
     "(bleu, chrf)",
     0, 0},
    {"seed", 0, CLI_INTEGER, OFFSET(seed), "N", "of the resamples (default: 12345, sacreBLEU's)", 0, 9007199254740992.0},
    {"json", 0, CLI_FLAG, OFFSET(json), NULL, "print one JSON object", 0, 0},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

/* All that is scored, read and checked. */
typedef struct evaluation {
    const evaluate_values *values;
    cli_lines hypotheses, other, *reference_files;
    const char *const **references;
    size_t reference_count, count;
    bool compare;
} evaluation;

static bool resamples(const evaluation *e)
{
    return e->values->bootstrap > 0;
}

static td_bootstrap_options bootstrap_options(const evaluation *e)
{
    td_bootstrap_options options = TD_BOOTSTRAP_OPTIONS_INIT;
    options.samples = (size_t)e->values->bootstrap;
    options.seed = (uint64_t)e->values->seed;
    return options;
}

static json_t *scored(double score, const char *signature)
{
    json_t *result = json_pack("{s:f}", "score", score);
    if (result && signature)
        json_object_set_new(result, "signature", json_string(signature));
    return result;
}

static void add_bootstrap(json_t *result, const evaluation *e, const td_bootstrap_result *sure)
{
    json_object_set_new(result, "mean", json_real(sure->mean));
    json_object_set_new(result, "interval", json_real(sure->interval));
    if (!e->compare)
        return;
    json_object_set_new(result, "other",
                        json_pack("{s:f,s:f,s:f}", "score", sure->other_score, "mean", sure->other_mean, "interval", sure->other_interval));
    json_object_set_new(result, "p_value", json_real(sure->p_value));
}

static td_status run_bleu(const evaluation *e, json_t **ret_result, td_error *error)
{
    td_bleu_options options = TD_BLEU_OPTIONS_INIT;
    td_bootstrap_options bootstrap = bootstrap_options(e);
    td_bootstrap_result sure = {0};
    td_bleu_result bleu;
    options.lowercase = e->values->lowercase;
    if (e->values->tokenizer != NO_CHOICE)
        options.tokenizer = (td_metric_tokenizer)e->values->tokenizer;
    td_status status = td_bleu(&options, e->hypotheses.items, e->references, e->reference_count, e->count, &bleu, error);
    if (status == TD_OK && resamples(e))
        status = td_bleu_bootstrap(&options, &bootstrap, e->hypotheses.items, e->compare ? e->other.items : NULL, e->references,
                                   e->reference_count, e->count, &sure, error);
    if (status != TD_OK)
        return status;
    td_signature signature = td_bleu_signature(&options, e->reference_count, (size_t)e->values->bootstrap, bootstrap.seed);
    json_t *result = scored(bleu.score, signature.text);
    json_object_set_new(result, "precisions",
                        json_pack("[f,f,f,f]", bleu.precisions[0], bleu.precisions[1], bleu.precisions[2], bleu.precisions[3]));
    json_object_set_new(result, "brevity_penalty", json_real(bleu.brevity_penalty));
    json_object_set_new(result, "hypothesis_length", json_integer((json_int_t)bleu.hypothesis_length));
    json_object_set_new(result, "reference_length", json_integer((json_int_t)bleu.reference_length));
    json_object_set_new(result, "cumulative",
                        json_pack("[f,f,f,f]", bleu.cumulative[0], bleu.cumulative[1], bleu.cumulative[2], bleu.cumulative[3]));
    if (resamples(e))
        add_bootstrap(result, e, &sure);
    *ret_result = result;
    return TD_OK;
}

static td_status run_chrf(const evaluation *e, json_t **ret_result, td_error *error)
{
    td_chrf_options options = TD_CHRF_OPTIONS_INIT;
    td_bootstrap_options bootstrap = bootstrap_options(e);
    td_bootstrap_result sure = {0};
    double score;
    options.lowercase = e->values->lowercase;
    options.word_order = (size_t)e->values->word_order;
    td_status status = td_chrf(&options, e->hypotheses.items, e->references, e->reference_count, e->count, &score, error);
    if (status == TD_OK && resamples(e))
        status = td_chrf_bootstrap(&options, &bootstrap, e->hypotheses.items, e->compare ? e->other.items : NULL, e->references,
                                   e->reference_count, e->count, &sure, error);
    if (status != TD_OK)
        return status;
    td_signature signature = td_chrf_signature(&options, e->reference_count, (size_t)e->values->bootstrap, bootstrap.seed);
    *ret_result = scored(score, signature.text);
    if (resamples(e))
        add_bootstrap(*ret_result, e, &sure);
    return TD_OK;
}

static td_status run_exact(const evaluation *e, json_t **ret_result, td_error *error)
{
    double score;
    td_status status =
        td_exact_match(e->values->lowercase, e->hypotheses.items, e->references, e->reference_count, e->count, &score, error);
    if (status == TD_OK)
        *ret_result = scored(score, NULL);
    return status;
}

static td_status run_rouge(const evaluation *e, json_t **ret_result, td_error *error)
{
    td_rouge_options options = TD_ROUGE_OPTIONS_INIT;
    td_rouge_result rouge;
    options.stem = e->values->stem;
    td_status status = td_rouge(&options, e->hypotheses.items, e->references, e->reference_count, e->count, &rouge, error);
    if (status == TD_OK)
        *ret_result = json_pack("{s:f,s:f,s:f,s:f}", "rouge1", rouge.rouge1.f, "rouge2", rouge.rouge2.f, "rougeL", rouge.rougeL.f,
                                "rougeLsum", rouge.rougeLsum.f);
    return status;
}

static td_status run_error_rate(const evaluation *e, bool characters, json_t **ret_result, td_error *error)
{
    td_error_rate_options options = TD_ERROR_RATE_OPTIONS_INIT;
    td_error_rate_result rate;
    options.characters = characters;
    options.lowercase = e->values->lowercase;
    td_status status = td_error_rate(&options, e->hypotheses.items, e->references[0], e->count, &rate, error);
    if (status == TD_OK)
        *ret_result =
            json_pack("{s:f,s:I,s:I,s:I,s:I,s:I,s:I}", "score", rate.score, "substitutions", (json_int_t)rate.substitutions, "deletions",
                      (json_int_t)rate.deletions, "insertions", (json_int_t)rate.insertions, "hits", (json_int_t)rate.hits, "sentences",
                      (json_int_t)e->count, "sentences_with_errors", (json_int_t)rate.wrong_segments);
    return status;
}

static td_status run_wer(const evaluation *e, json_t **ret_result, td_error *error)
{
    return run_error_rate(e, false, ret_result, error);
}

static td_status run_cer(const evaluation *e, json_t **ret_result, td_error *error)
{
    return run_error_rate(e, true, ret_result, error);
}

static td_status run_cider(const evaluation *e, json_t **ret_result, td_error *error)
{
    td_cider_options options = TD_CIDER_OPTIONS_INIT;
    double score;
    options.lowercase = e->values->lowercase;
    if (e->values->tokenizer != NO_CHOICE)
        options.tokenizer = (td_metric_tokenizer)e->values->tokenizer;
    td_status status = td_cider(&options, e->hypotheses.items, e->references, e->reference_count, e->count, &score, error);
    if (status == TD_OK)
        *ret_result = scored(score, NULL);
    return status;
}

typedef struct metric {
    const char *name;
    td_status (*run)(const evaluation *e, json_t **ret_result, td_error *error);
    bool one_reference, resamples, edits;
} metric;

static const metric metrics[] = {
    {"bleu", run_bleu, false, true, false},    {"chrf", run_chrf, false, true, false}, {"exact", run_exact, false, false, false},
    {"rouge", run_rouge, false, false, false}, {"wer", run_wer, true, false, true},    {"cer", run_cer, true, false, true},
    {"cider", run_cider, false, false, false}, {NULL, NULL, false, false, false},
};

static const metric *find_metric(const char *name, size_t length)
{
    for (const metric *m = metrics; m->name; m++)
        if (strlen(m->name) == length && memcmp(m->name, name, length) == 0)
            return m;
    return NULL;
}

/* Checks what can be checked before any file is read. */
static int check_values(const cli_command *command, const evaluate_values *values, int positional, char **argv)
{
    if (values->references.count == 0)
        return cli_complain(command, CLI_USAGE, "--reference FILE is needed");
    if (positional > 1)
        return cli_complain(command, CLI_USAGE, "one file of hypotheses is scored, not %d", positional);
    bool any_resampled = false, any_edits = false;
    for (const char *at = values->metrics; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t length = strcspn(at, ",");
        const metric *m = find_metric(at, length);
        if (!m)
            return cli_complain(command, CLI_USAGE, "no metric \"%.*s\"; there are bleu, chrf, exact, rouge, wer, cer, cider", (int)length,
                                at);
        if (m->one_reference && values->references.count > 1)
            return cli_complain(command, CLI_USAGE, "%s takes one --reference, not %zu", m->name, values->references.count);
        any_resampled |= m->resamples;
        any_edits |= m->edits;
    }
    if (values->compare && !any_resampled)
        return cli_complain(command, CLI_USAGE, "--compare works with --metric bleu or chrf");
    if ((values->table || values->alignment) && !any_edits)
        return cli_complain(command, CLI_USAGE, "--table and --alignment work with --metric wer or cer");
    if (values->alignment && values->json)
        return cli_complain(command, CLI_USAGE, "--alignment is for reading; it does not go with --json");
    size_t standard_inputs = positional == 0 || strcmp(argv[1], "-") == 0;
    standard_inputs += values->compare && strcmp(values->compare, "-") == 0;
    for (size_t r = 0; r < values->references.count; r++)
        standard_inputs += strcmp(values->references.items[r], "-") == 0;
    if (standard_inputs > 1)
        return cli_complain(command, CLI_USAGE, "standard input can be one file only; name the others");
    return -1;
}

static int check_count(const cli_command *command, const char *path, size_t count, const char *hypotheses, size_t wanted)
{
    if (count == wanted)
        return -1;
    return cli_complain(command, CLI_FAILED, "%s has %zu lines and %s has %zu; they must have as many", path, count, hypotheses, wanted);
}

static int read_files(const cli_command *command, const char *path, evaluation *e)
{
    const evaluate_values *values = e->values;
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    e->reference_files = calloc(values->references.count, sizeof *e->reference_files);
    e->references = calloc(values->references.count, sizeof *e->references);
    if (!e->reference_files || !e->references)
        return cli_complain(command, CLI_FAILED, "out of memory");
    int code = cli_lines_read(command, path, &e->hypotheses);
    e->count = e->hypotheses.count;
    for (size_t r = 0; r < values->references.count && code < 0; r++) {
        const char *file = values->references.items[r];
        code = cli_lines_read(command, file, &e->reference_files[r]);
        e->reference_count = r + 1;
        e->references[r] = e->reference_files[r].items;
        if (code < 0)
            code = check_count(command, file, e->reference_files[r].count, name, e->count);
        if (code < 0 && values->keys)
            code = keyed_lines_take(command, file, &e->reference_files[r], values->keys);
    }
    if (code < 0 && values->compare) {
        code = cli_lines_read(command, values->compare, &e->other);
        e->compare = true;
        if (code < 0)
            code = check_count(command, values->compare, e->other.count, name, e->count);
    }
    if (code < 0 && e->count == 0)
        code = cli_complain(command, CLI_FAILED, "%s has no lines to score", name);
    return code;
}

static double number(const json_t *result, const char *key)
{
    return json_number_value(json_object_get(result, key));
}

static void print_bootstrap(const json_t *result)
{
    const json_t *other = json_object_get(result, "other");
    if (json_object_get(result, "mean"))
        printf(" (mean %.2f +- %.2f)", number(result, "mean"), number(result, "interval"));
    if (other)
        printf("; compared with %.2f (mean %.2f +- %.2f): p = %.4f", number(other, "score"), number(other, "mean"),
               number(other, "interval"), number(result, "p_value"));
}

static void print_plain(const char *name, const json_t *result)
{
    printf("%s", name);
    if (json_object_get(result, "rouge1")) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)result, key, value) printf(" %s %.2f", key, json_number_value(value));
    } else {
        printf(" %.2f", number(result, "score"));
    }
    print_bootstrap(result);
    const json_t *precisions = json_object_get(result, "precisions");
    for (size_t n = 0; n < json_array_size(precisions); n++)
        printf("%c%.1f", n ? '/' : ' ', json_number_value(json_array_get(precisions, n)));
    if (precisions)
        printf(" (brevity penalty %.3f, lengths %.0f/%.0f)", number(result, "brevity_penalty"), number(result, "hypothesis_length"),
               number(result, "reference_length"));
    if (json_object_get(result, "hits"))
        printf(" (%.0f substitutions, %.0f deletions, %.0f insertions, %.0f hits)", number(result, "substitutions"),
               number(result, "deletions"), number(result, "insertions"), number(result, "hits"));
    if (json_object_get(result, "signature"))
        printf(" %s", json_string_value(json_object_get(result, "signature")));
    putchar('\n');
}

static bool is_error_rate(const json_t *result)
{
    return json_object_get(result, "hits") != NULL;
}

static void print_table(const json_t *all)
{
    static const struct {
        const char *title, *key;
    } columns[] = {{"sentences", "sentences"}, {"with errors", "sentences_with_errors"},
                   {"correct", "hits"},        {"substituted", "substitutions"},
                   {"deleted", "deletions"},   {"inserted", "insertions"}};
    const char *name;
    json_t *result;
    printf("%-4s", "");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        printf("  %11s", columns[i].title);
    printf("  %11s  %10s\n", "reference", "error rate");
    json_object_foreach((json_t *)all, name, result)
    {
        if (!is_error_rate(result))
            continue;
        printf("%-4s", name);
        for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
            printf("  %11.0f", number(result, columns[i].key));
        printf("  %11.0f  %10.2f\n", number(result, "hits") + number(result, "substitutions") + number(result, "deletions"),
               number(result, "score"));
    }
}

static int print_alignments(const cli_command *command, const evaluation *e, const json_t *all)
{
    const char *name;
    json_t *result;
    int code = CLI_DONE;
    json_object_foreach((json_t *)all, name, result)
    {
        td_error_rate_options options = TD_ERROR_RATE_OPTIONS_INIT;
        options.characters = name[0] == 'c';
        options.lowercase = e->values->lowercase;
        for (size_t i = 0; is_error_rate(result) && i < e->count && code == CLI_DONE; i++)
            code = error_alignment_print(command, name, i + 1, &options, e->hypotheses.items[i], e->references[0][i]);
    }
    return code;
}

static int print_results(const cli_command *command, const evaluation *e, const json_t *all)
{
    const char *name;
    json_t *result;
    if (e->values->json) {
        if (json_dumpf(all, stdout, JSON_ENSURE_ASCII) == 0)
            putchar('\n');
        return CLI_DONE;
    }
    int code = e->values->alignment ? print_alignments(command, e, all) : CLI_DONE;
    if (code != CLI_DONE)
        return code;
    if (e->values->table)
        print_table(all);
    json_object_foreach((json_t *)all, name, result)
    {
        if (!e->values->table || !is_error_rate(result))
            print_plain(name, result);
    }
    return CLI_DONE;
}

static int score(const cli_command *command, const evaluation *e)
{
    json_t *all = json_object();
    int code = CLI_DONE;
    for (const char *at = e->values->metrics; at && code == CLI_DONE; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        const metric *m = find_metric(at, strcspn(at, ","));
        json_t *result = NULL;
        td_error error;
        if (m->run(e, &result, &error) != TD_OK)
            code = cli_complain(command, CLI_FAILED, "%s: %s", m->name, error.message);
        else if (json_object_set_new(all, m->name, result) != 0)
            code = cli_complain(command, CLI_FAILED, "out of memory");
    }
    if (code == CLI_DONE)
        code = print_results(command, e, all);
    json_decref(all);
    return code == CLI_DONE ? cli_finish_output(command, code) : code;
}

int cmd_evaluate(const cli_command *command, int argc, char **argv)
{
    evaluate_values values = {.metrics = "bleu,chrf", .tokenizer = NO_CHOICE, .seed = DEFAULT_SEED};
    evaluation e = {.values = &values};
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code < 0)
        code = check_values(command, &values, positional, argv);
    if (values.compare && values.bootstrap == 0)
        values.bootstrap = DEFAULT_SAMPLES;
    if (code < 0)
        code = read_files(command, positional > 0 ? argv[1] : "-", &e);
    if (code < 0)
        code = score(command, &e);
    for (size_t r = 0; r < e.reference_count; r++)
        cli_lines_release(&e.reference_files[r]);
    free(e.reference_files);
    free(e.references);
    cli_lines_release(&e.hypotheses);
    cli_lines_release(&e.other);
    cli_release(evaluate_options, &values);
    return code;
}
