#include "error_alignment.h"

#include <stdlib.h>
#include <string.h>

enum { REFERENCE, HYPOTHESIS, MARKS, LINES };

typedef struct line {
    char *text;
    size_t length, capacity;
} line;

typedef struct alignment {
    line lines[LINES];
    bool words, wrong, failed;
} alignment;

static void append(alignment *it, line *to, const char *text, size_t length)
{
    if (to->capacity - to->length < length + 1) {
        size_t capacity = 2 * to->capacity + length + 64;
        char *larger = realloc(to->text, capacity);
        if (!larger) {
            it->failed = true;
            return;
        }
        to->text = larger;
        to->capacity = capacity;
    }
    memcpy(to->text + to->length, text, length);
    to->length += length;
    to->text[to->length] = 0;
}

static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* `text`, filled up to `width` characters. */
static void append_column(alignment *it, line *to, const char *text, char filler, size_t width)
{
    append(it, to, text, strlen(text));
    for (size_t i = characters(text); i < width; i++)
        append(it, to, &filler, 1);
    if (it->words)
        append(it, to, " ", 1);
}

static void add_unit(void *context, td_edit edit, const char *reference, const char *hypothesis)
{
    static const char *const marks[] = {"", "S", "D", "I"};
    alignment *it = context;
    size_t left = reference ? characters(reference) : 0, right = hypothesis ? characters(hypothesis) : 0;
    size_t width = left > right ? left : right;
    append_column(it, &it->lines[REFERENCE], reference ? reference : "", reference ? ' ' : '*', width);
    append_column(it, &it->lines[HYPOTHESIS], hypothesis ? hypothesis : "", hypothesis ? ' ' : '*', width);
    append_column(it, &it->lines[MARKS], marks[edit], ' ', width);
    it->wrong |= edit != TD_EDIT_HIT;
}

static void print_lines(const alignment *it, const char *metric, size_t number)
{
    static const char *const names[LINES] = {"REF", "HYP", "   "};
    printf("%s, line %zu\n", metric, number);
    for (size_t i = 0; i < LINES; i++) {
        size_t length = it->lines[i].length;
        while (length && it->lines[i].text[length - 1] == ' ')
            length--;
        printf("%s %.*s\n", names[i], (int)length, it->lines[i].text ? it->lines[i].text : "");
    }
    putchar('\n');
}

int error_alignment_print(const cli_command *command, const char *metric, size_t number, const td_error_rate_options *options,
                          const char *hypothesis, const char *reference)
{
    alignment it = {.words = !options->characters};
    td_error error;
    int code = CLI_DONE;
    if (td_error_alignment(options, hypothesis, reference, add_unit, &it, &error) != TD_OK)
        code = cli_complain(command, CLI_FAILED, "line %zu: %s", number, error.message);
    else if (it.failed)
        code = cli_complain(command, CLI_FAILED, "out of memory");
    else if (it.wrong)
        print_lines(&it, metric, number);
    for (size_t i = 0; i < LINES; i++)
        free(it.lines[i].text);
    return code;
}
