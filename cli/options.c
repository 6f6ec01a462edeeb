/* Parsing, help and man page from one table of options. */
#include "options.h"
#include "command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 30, HELP_WIDTH = 100, NAME_LIMIT = 64 };

int cli_complain(const cli_command *command, int code, const char *format, ...)
{
    va_list arguments;
    cli_flush_output();
    fprintf(stderr, command ? "tandem %s: " : "tandem: ", command ? command->name : "");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return code;
}

static int output_errno; /* of the first write that failed */

bool cli_output_ok(void)
{
    if (ferror(stdout) && !output_errno)
        output_errno = errno ? errno : EIO;
    return !output_errno;
}

bool cli_flush_output(void)
{
    if (fflush(stdout) != 0 && !output_errno)
        output_errno = errno ? errno : EIO;
    return cli_output_ok();
}

int cli_finish_output(const cli_command *command, int code)
{
    return cli_flush_output() ? code : cli_complain(command, CLI_FAILED, "standard output: %s", strerror(output_errno));
}

/* Damerau's distance (adjacent letters swapped count once) of words of at most NAME_LIMIT bytes. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t length_a = strlen(a), length_b = strlen(b);
    size_t rows[3][NAME_LIMIT + 1];
    if (length_a > NAME_LIMIT || length_b > NAME_LIMIT)
        return NAME_LIMIT;
    for (size_t j = 0; j <= length_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= length_a; i++) {
        size_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= length_b; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && earlier[j - 2] + 1 < best)
                best = earlier[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[length_a % 3][length_b];
}

const char *cli_nearest(const char *word, const char *(*next)(const void *context, size_t index), const void *context)
{
    const char *nearest = NULL, *candidate;
    size_t best = strlen(word) / 3 + 2;
    for (size_t i = 0; (candidate = next(context, i)) != NULL; i++) {
        size_t distance = edit_distance(word, candidate);
        /* A word cut short is a likely slip, too. */
        if (distance >= best && strlen(word) >= 3 && strncmp(word, candidate, strlen(word)) == 0)
            distance = best - 1;
        if (distance < best) {
            best = distance;
            nearest = candidate;
        }
    }
    return nearest;
}

static const char *option_name(const void *context, size_t index)
{
    return ((const cli_option *)context)[index].name;
}

static const cli_option *find_option(const cli_option *options, const char *name, size_t length)
{
    for (; options->name; options++)
        if (strlen(options->name) == length && memcmp(options->name, name, length) == 0)
            return options;
    return NULL;
}

static const cli_option *find_letter(const cli_option *options, char letter)
{
    for (; options->name; options++)
        if (options->letter == letter)
            return options;
    return NULL;
}

/* Prints a bound without a needless fraction or exponent. */
static void format_bound(double value, char *text, size_t size)
{
    snprintf(text, size, "%.15g", value);
}

static int complain_number(const cli_command *command, const cli_option *option, const char *text)
{
    char low[32], high[32];
    format_bound(option->minimum, low, sizeof low);
    format_bound(option->maximum, high, sizeof high);
    const char *kind = option->kind == CLI_INTEGER ? "a whole number" : "a number";
    if (option->minimum == 0 && option->maximum == 0)
        return cli_complain(command, CLI_USAGE, "--%s takes %s, not \"%s\"", option->name, kind, text);
    return cli_complain(command, CLI_USAGE, "--%s takes %s from %s to %s, not \"%s\"", option->name, kind, low, high, text);
}

static int set_number(const cli_command *command, const cli_option *option, void *member, const char *text)
{
    char *end;
    bool bounded = option->minimum != 0 || option->maximum != 0;
    errno = 0;
    if (option->kind == CLI_INTEGER) {
        long long value = strtoll(text, &end, 10);
        if (errno || end == text || *end || (bounded && ((double)value < option->minimum || (double)value > option->maximum)))
            return complain_number(command, option, text);
        *(int64_t *)member = value;
    } else {
        double value = strtod(text, &end);
        if (errno || end == text || *end || !(value - value == 0) || (bounded && (value < option->minimum || value > option->maximum)))
            return complain_number(command, option, text);
        *(double *)member = value;
    }
    return -1;
}

static int set_choice(const cli_command *command, const cli_option *option, int *member, const char *text)
{
    size_t length = strlen(text);
    int position = 0;
    for (const char *at = option->argument;; position++) {
        size_t size = strcspn(at, "|");
        if (size == length && memcmp(at, text, length) == 0) {
            *member = position;
            return -1;
        }
        if (at[size] == 0)
            return cli_complain(command, CLI_USAGE, "--%s is one of %s, not \"%s\"", option->name, option->argument, text);
        at += size + 1;
    }
}

static int append_item(const cli_command *command, cli_list *list, const char *text)
{
    const char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items)
        return cli_complain(command, CLI_FAILED, "out of memory");
    list->items = items;
    list->items[list->count++] = text;
    return -1;
}

static int set_option(const cli_command *command, const cli_option *option, void *values, const char *text)
{
    void *member = (char *)values + option->offset;
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)member = true;
        return -1;
    case CLI_INTEGER:
    case CLI_REAL:
        return set_number(command, option, member, text);
    case CLI_TEXT:
    case CLI_OPTIONAL:
        *(const char **)member = text;
        return -1;
    case CLI_CHOICE:
        return set_choice(command, option, member, text);
    case CLI_LIST:
        return append_item(command, member, text);
    }
    return -1;
}

static int complain_unknown(const cli_command *command, const char *argument)
{
    size_t length = strcspn(argument, "=");
    char name[NAME_LIMIT + 1];
    const char *nearest = NULL;
    if (argument[1] == '-' && length - 2 <= NAME_LIMIT) {
        memcpy(name, argument + 2, length - 2);
        name[length - 2] = 0;
        nearest = cli_nearest(name, option_name, command->options);
    }
    if (nearest)
        return cli_complain(command, CLI_USAGE, "unknown option %.*s; did you mean --%s?", (int)length, argument, nearest);
    return cli_complain(command, CLI_USAGE, "unknown option %.*s; `tandem help %s` lists the options", (int)length, argument,
                        command->name);
}

/* One option at argv[*index]; moves *index to its last word. */
static int parse_option(const cli_command *command, int argc, char **argv, int *index, void *values)
{
    char *argument = argv[*index];
    bool is_long = argument[1] == '-';
    const char *value = is_long ? strchr(argument, '=') : argument[2] ? argument + 2 : NULL;
    const cli_option *option =
        is_long ? find_option(command->options, argument + 2, value ? (size_t)(value - argument) - 2 : strlen(argument + 2))
                : find_letter(command->options, argument[1]);
    if (!option)
        return complain_unknown(command, argument);
    if (value && is_long)
        value++;
    if (option->kind == CLI_FLAG)
        return value ? cli_complain(command, CLI_USAGE, "--%s takes no argument", option->name) : set_option(command, option, values, NULL);
    if (!value && option->kind == CLI_OPTIONAL)
        value = "";
    if (!value) {
        if (*index + 1 >= argc)
            return cli_complain(command, CLI_USAGE, "--%s needs an argument: %s", option->name, option->argument);
        value = argv[++*index];
    }
    return set_option(command, option, values, value);
}

int cli_parse(const cli_command *command, int argc, char **argv, void *values, int *ret_positional)
{
    int positional = 0;
    bool options_over = false;
    for (int i = 1; i < argc; i++) {
        char *argument = argv[i];
        if (options_over || argument[0] != '-' || argument[1] == 0) {
            argv[1 + positional++] = argument;
        } else if (strcmp(argument, "--") == 0) {
            options_over = true;
        } else if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
            cli_command_help(command, stdout);
            return cli_finish_output(command, CLI_DONE);
        } else {
            int code = parse_option(command, argc, argv, &i, values);
            if (code >= 0)
                return code;
        }
    }
    *ret_positional = positional;
    return -1;
}

void cli_release(const cli_option *options, void *values)
{
    for (; options->name; options++)
        if (options->kind == CLI_LIST) {
            cli_list *list = (cli_list *)(void *)((char *)values + options->offset);
            free(list->items);
            *list = (cli_list){NULL, 0};
        }
}

/* Prints words of `text`, breaking lines at HELP_WIDTH; the cursor stands at `column`, which later lines are indented
 * to. */
static void print_wrapped(const char *text, int column, FILE *stream)
{
    int at = column;
    while (*text) {
        int length = (int)strcspn(text, " \n");
        if (at > column && at + 1 + length > HELP_WIDTH) {
            fprintf(stream, "\n%*s", column, "");
            at = column;
        } else if (at > column) {
            fputc(' ', stream);
            at++;
        }
        fprintf(stream, "%.*s", length, text);
        at += length;
        text += length;
        if (*text == '\n') {
            fprintf(stream, "\n%*s", text[1] ? column : 0, "");
            at = column;
        }
        if (*text)
            text++;
    }
    fputc('\n', stream);
}

void cli_command_help(const cli_command *command, FILE *stream)
{
    fprintf(stream, "Usage: tandem %s%s%s\n\n", command->name, *command->arguments ? " " : "", command->arguments);
    print_wrapped(command->help, 0, stream);
    if (*command->details) {
        fputc('\n', stream);
        print_wrapped(command->details, 0, stream);
    }
    fprintf(stream, "\nOptions:\n");
    for (const cli_option *option = command->options; option->name; option++) {
        char left[80];
        int length = option->letter ? snprintf(left, sizeof left, "  -%c, --%s", option->letter, option->name)
                                    : snprintf(left, sizeof left, "      --%s", option->name);
        if (option->argument)
            length +=
                snprintf(left + length, sizeof left - (size_t)length, option->kind == CLI_OPTIONAL ? "[=%s]" : " %s", option->argument);
        fputs(left, stream);
        if (length > HELP_COLUMN - 2)
            fprintf(stream, "\n%*s", HELP_COLUMN, "");
        else
            fprintf(stream, "%*s", HELP_COLUMN - length, "");
        print_wrapped(option->help, HELP_COLUMN, stream);
    }
    fprintf(stream, "  -h, --help%*sthis page\n", HELP_COLUMN - 12, "");
}

/* Text for troff: backslashes and dashes escaped, a leading dot or quote made harmless. */
static void print_troff(const char *text, FILE *stream)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stream);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stream);
        else if (*text == '-')
            fputs("\\-", stream);
        else
            fputc(*text, stream);
        if (*text == '\n' && (text[1] == '.' || text[1] == '\''))
            fputs("\\&", stream);
    }
}

void cli_command_man(const cli_command *command, FILE *stream)
{
    fputs(".SS \"tandem ", stream);
    print_troff(command->name, stream);
    fputs(" ", stream);
    print_troff(command->arguments, stream);
    fputs("\"\n", stream);
    print_troff(command->help, stream);
    fputs("\n", stream);
    if (*command->details) {
        fputs(".PP\n", stream);
        print_troff(command->details, stream);
        fputs("\n", stream);
    }
    for (const cli_option *option = command->options; option->name; option++) {
        fputs(".TP\n.B ", stream);
        if (option->letter)
            fprintf(stream, "\\-%c, ", option->letter);
        fputs("\\-\\-", stream);
        print_troff(option->name, stream);
        if (option->argument) {
            fputs(option->kind == CLI_OPTIONAL ? "[=" : " ", stream);
            print_troff(option->argument, stream);
            fputs(option->kind == CLI_OPTIONAL ? "]" : "", stream);
        }
        fputs("\n", stream);
        print_troff(option->help, stream);
        fputs("\n", stream);
    }
}
