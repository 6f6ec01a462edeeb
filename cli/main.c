/* The command: one row a verb. */
#include "command.h"

#include <tandem/base.h>

#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#define LINES                                                                                                                              \
    "One input line gives one output line, in the same order; an empty line gives an empty one. Without FILE, or "                         \
    "when "                                                                                                                                \
    "FILE is -, standard input is read. A line that cannot be answered gives an empty line, an error message and "                         \
    "exit "                                                                                                                                \
    "status 1; the others are answered all the same."

#define FILES                                                                                                                              \
    "For one file its text is printed, for several a line of name, tab and text each. A file that cannot be read "                         \
    "gets "                                                                                                                                \
    "an error message and exit status 1; the others are answered all the same."

static const cli_command commands[] = {
    {"translate", "[FILE]...", "translate text, line by line", LINES "\n\nExample: echo \"Ein Hund rennt im Schnee.\" | tandem translate",
     generate_options, cmd_generate},
    {"summarize", "-m DIR [FILE]...", "summarize text, line by line", LINES, generate_options, cmd_generate},
    {"caption", "-m DIR FILE...", "describe pictures", FILES "\n\nExample: tandem caption -m runs/captions holiday.jpg", files_options,
     cmd_files},
    {"transcribe", "FILE...", "write down what is said",
     FILES " A recording may be hours long: it is cut at pauses, or read by Whisper window by window. Of each file --json and "
           "--output pieces or ids show what is made of its first window alone (models for utterances: of all of it in one piece).\n\n"
           "Examples: tandem transcribe recording.wav\n"
           "          tandem transcribe -m whisper-base --language auto --format srt talk.mp3 > talk.srt",
     transcribe_options, cmd_transcribe},
    {"generate", "-m DIR [FILE]...", "the verb under those: any model; for sound and pictures lines are names of files", LINES,
     generate_options, cmd_generate},
    {"score", "--source FILE --target FILE", "log-probability of given targets",
     "Prints, for each pair of lines, the sum of the natural log-probabilities of the target's tokens, end token "
     "included.",
     score_options, cmd_score},
    {"inspect", "DIR", "what a model is: family, sizes, memory it needs, tokenizer, licence",
     "Prints a fact a line, each with where it comes from.", inspect_options, cmd_inspect},
    {"train", "RECIPE.yaml", "train a model, or go on from where training stopped",
     "Writes a model directory, checkpoints and logs to the recipe's output. Ctrl-C saves and stops; the same command "
     "goes on from "
     "there, as it does after a crash. docs/recipe.md explains every key.",
     train_options, cmd_train},
    {"vocabulary", "--source FILE... --output DIR", "learn a subword, character or word vocabulary",
     "Writes the tokenizer's files as Marian models have them. `tandem train` does this by itself; the verb is for a "
     "vocabulary that "
     "several runs share.",
     vocabulary_options, cmd_vocabulary},
    {"average", "--output DIR CHECKPOINT...", "average the weights of checkpoints",
     "Writes a model directory whose weights are the mean of those given, with the configuration and tokenizer of the "
     "first "
     "directory that has them.\n\n"
     "Example: tandem average --output averaged runs/first/checkpoints/step-*",
     average_options, cmd_average},
    {"plot", "RUN", "draw the curves of a training run",
     "Reads RUN/log.jsonl, which `tandem train` writes, and draws loss, learning rate and validation score over the "
     "steps "
     "as an SVG picture.",
     plot_options, cmd_plot},
    {"evaluate", "--reference FILE... [HYP]", "score output against references",
     "Line by line, HYP (default: standard input) is what a system wrote and each --reference what would be right; "
     "files may "
     "be gzip. Scores are in percent and equal those of sacreBLEU, rouge-score, jiwer and pycocoevalcap; bleu and chrf "
     "come "
     "with sacreBLEU's signature.\n\n"
     "Example: tandem translate < test.de | tandem evaluate --reference test.en",
     evaluate_options, cmd_evaluate},
    {"convert", "IN OUT", "store a model's weights in another precision",
     "Everything but the weights is copied as it is. A directory of CTranslate2's is written in the layout of Tandem's own.",
     convert_options, cmd_convert},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

static const cli_command *find_command(const char *name)
{
    for (const cli_command *command = commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

static const char *command_name(const void *context, size_t index)
{
    return ((const cli_command *)context)[index].name;
}

static int unknown_verb(const char *name)
{
    const char *nearest = cli_nearest(name, command_name, commands);
    if (nearest)
        return cli_complain(NULL, CLI_USAGE, "unknown verb \"%s\"; did you mean \"%s\"?", name, nearest);
    return cli_complain(NULL, CLI_USAGE, "unknown verb \"%s\"; `tandem` alone lists the verbs", name);
}

static void print_overview(FILE *stream)
{
    fputs("tandem: train and run sequence-to-sequence models\n\nUsage: tandem VERB [OPTION]... [ARGUMENT]...\n\n", stream);
    for (const cli_command *command = commands; command->name; command++)
        fprintf(stream, "  %-11s %s\n", command->name, command->help);
    fputs("\nExamples:\n"
          "  echo \"Ein Hund rennt im Schnee.\" | tandem translate\n"
          "  tandem train recipes/translate-multi30k/transformer.yaml\n"
          "\n`tandem help VERB` explains a verb, `tandem --version` prints the version.\n",
          stream);
}

static void print_man_page(FILE *stream)
{
    fprintf(stream,
            ".TH TANDEM 1 \"\" \"tandem %s\" \"User Commands\"\n"
            ".SH NAME\ntandem \\- train and run sequence\\-to\\-sequence models\n"
            ".SH SYNOPSIS\n.B tandem\n.I VERB\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n"
            ".SH DESCRIPTION\nAn encoder reads a sequence, a decoder writes another one. Data goes to standard output,\n"
            "everything else to standard error. A file named \\- is standard input.\n"
            ".SH VERBS\n",
            td_version());
    for (const cli_command *command = commands; command->name; command++)
        cli_command_man(command, stream);
    fputs(".SH EXIT STATUS\n0 done, 1 failed while running, 2 called wrongly.\n"
          ".SH ENVIRONMENT\n.TP\n.B TANDEM_PRETRAINED\nDirectory of the bundled models.\n"
          ".TP\n.B TANDEM_ISA\nplain, avx2, avx512, vnni or amx, on ARM plain, neon, dotprod or bf16: use no better instruction set than "
          "this.\n",
          stream);
}

static int help(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "help") == 0) {
        print_overview(stdout);
    } else if (strcmp(argv[1], "--man") == 0) {
        print_man_page(stdout);
    } else {
        const cli_command *command = find_command(argv[1]);
        if (!command)
            return unknown_verb(argv[1]);
        cli_command_help(command, stdout);
    }
    return cli_finish_output(NULL, CLI_DONE);
}

/* Large blocks come from the system and go back to it, instead of leaving holes in the heap: the memory of training and of decoding grows
 * in the first steps. By itself malloc stops doing so once a large block was released. */
static void return_large_blocks(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

int main(int argc, char **argv)
{
    return_large_blocks();
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(1, argv);
    if (strcmp(argv[1], "help") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(argv[1], "--version") == 0) {
        printf("tandem %s\n", td_version());
        return cli_finish_output(NULL, CLI_DONE);
    }
    if (argv[1][0] == '-')
        return cli_complain(NULL, CLI_USAGE, "unknown option %s; `tandem` alone prints the usage", argv[1]);
    const cli_command *command = find_command(argv[1]);
    return command ? command->run(command, argc - 1, argv + 1) : unknown_verb(argv[1]);
}
