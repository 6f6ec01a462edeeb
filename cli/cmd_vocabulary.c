/* tandem vocabulary: learns how to cut text into tokens. */
#include "command.h"
#include "spool.h"

#include <stdint.h>
#include <tandem/tools.h>

struct vocabulary_values {
    const char *output;
    cli_list sources, targets, languages;
    int kind, normalization;
    int64_t size;
    double coverage;
    bool separate, byte_fallback;
};

#define AT(member) offsetof(struct vocabulary_values, member)

static const char *const kinds[] = {"unigram", "bpe", "char", "word"};
static const char *const normalizations[] = {"nmt_nfkc", "nfkc", "nfkc_cf", "nmt_nfkc_cf", "identity"};

const cli_option vocabulary_options[] = {
    {"output", 'o', CLI_TEXT, AT(output), "DIR", "where to write source.spm, target.spm and vocab.json", 0, 0},
    {"source", 0, CLI_LIST, AT(sources), "FILE", "text of the source side, a sentence a line, .gz too; -: standard input (repeatable)", 0,
     0},
    {"target", 0, CLI_LIST, AT(targets), "FILE", "text of the target side (repeatable; default: that of the source)", 0, 0},
    {"kind", 0, CLI_CHOICE, AT(kind), "unigram|bpe|char|word", "how text is cut (default: unigram)", 0, 0},
    {"size", 0, CLI_INTEGER, AT(size), "N", "tokens in all, or of each side with --separate (default: 8000)", 16, 1e7},
    {"separate", 0, CLI_FLAG, AT(separate), NULL, "a vocabulary model for each side instead of a shared one", 0, 0},
    {"character-coverage", 0, CLI_REAL, AT(coverage), "P", "share of the characters that get a token (default: 1)", 0.5, 1},
    {"byte-fallback", 0, CLI_FLAG, AT(byte_fallback), NULL, "write unknown characters as bytes", 0, 0},
    {"normalization", 0, CLI_CHOICE, AT(normalization), "nmt_nfkc|nfkc|nfkc_cf|nmt_nfkc_cf|identity",
     "what is done to the text first; cf folds case (default: nmt_nfkc)", 0, 0},
    {"language", 0, CLI_LIST, AT(languages), "LANG", "a target language that gets a token >>LANG<< (repeatable)", 0, 0},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, 0, 0},
};

static int train(const cli_command *command, const struct vocabulary_values *values)
{
    const cli_list *targets = values->targets.count ? &values->targets : &values->sources;
    td_vocabulary_request request = TD_VOCABULARY_REQUEST_INIT;
    td_error error;
    request.kind = kinds[values->kind];
    request.normalization = normalizations[values->normalization];
    request.size = (size_t)values->size;
    request.shared = !values->separate;
    request.byte_fallback = values->byte_fallback;
    request.character_coverage = values->coverage;
    request.languages = values->languages.items;
    request.language_count = values->languages.count;
    if (td_vocabulary_train(&request, values->sources.items, values->sources.count, targets->items, targets->count, values->output,
                            &error) != TD_OK)
        return cli_complain(command, CLI_FAILED, "%s", error.message);
    return CLI_DONE;
}

int cmd_vocabulary(const cli_command *command, int argc, char **argv)
{
    struct vocabulary_values values = {.size = 8000, .coverage = 1};
    int positional = 0;
    int code = cli_parse(command, argc, argv, &values, &positional);
    if (code < 0 && (positional || !values.output || !values.sources.count))
        code = cli_complain(command, CLI_USAGE, "--source FILE and --output DIR are wanted");
    cli_list *lists[] = {&values.sources, &values.targets};
    cli_spool spool = {"", ""};
    if (code < 0)
        code = cli_spool_lists(command, lists, 2, &spool);
    if (code < 0)
        code = train(command, &values);
    cli_spool_remove(&spool);
    cli_release(command->options, &values);
    return code;
}
