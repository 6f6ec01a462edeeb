#include "attention_svg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CELL = 22, LETTER = 8, MARGIN = 12, LABEL_LIMIT = 40 };

static void print_escaped(FILE *file, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        case '&':
            fputs("&amp;", file);
            break;
        case '"':
            fputs("&quot;", file);
            break;
        default:
            if ((unsigned char)*text >= ' ') /* XML has no control characters */
                fputc(*text, file);
        }
    }
}

static int characters(const char *text)
{
    int count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static const char *label(const td_result *result, bool source, size_t position, char *number, size_t size)
{
    const char *piece = source ? td_result_source_piece(result, 0, position) : td_result_piece(result, 0, 0, position);
    if (piece)
        return piece;
    const int32_t *ids = source ? td_result_source_ids(result, 0, NULL) : td_result_ids(result, 0, 0, NULL);
    snprintf(number, size, "%d", (int)ids[position]);
    return number;
}

static int widest(const td_result *result, bool source, size_t count)
{
    int width = 1;
    char number[16];
    for (size_t i = 0; i < count; i++) {
        int length = characters(label(result, source, i, number, sizeof number));
        width = length > width ? length : width;
    }
    return (width < LABEL_LIMIT ? width : LABEL_LIMIT) * LETTER + MARGIN;
}

static void draw(FILE *file, const td_result *result, const float *weights, size_t rows, size_t columns)
{
    int left = widest(result, false, rows) + MARGIN, top = widest(result, true, columns) + MARGIN;
    int width = left + CELL * (int)columns + MARGIN, height = top + CELL * (int)rows + MARGIN;
    char number[16];
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"monospace\" font-size=\"13\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            width, height, width, height);
    for (size_t j = 0; j < columns; j++) {
        int x = left + CELL * (int)j + CELL / 2 + 4;
        fprintf(file, "<text transform=\"translate(%d %d) rotate(-90)\">", x, top - 6);
        print_escaped(file, label(result, true, j, number, sizeof number));
        fputs("</text>\n", file);
    }
    for (size_t i = 0; i < rows; i++) {
        int y = top + CELL * (int)i;
        fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", left - 6, y + CELL / 2 + 5);
        print_escaped(file, label(result, false, i, number, sizeof number));
        fputs("</text>\n", file);
        for (size_t j = 0; j < columns; j++) {
            double weight = (double)weights[i * columns + j];
            fprintf(file,
                    "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#08306b\" fill-opacity=\"%.3f\" "
                    "stroke=\"#dddddd\"><title>%.4f</title></rect>\n",
                    left + CELL * (int)j, y, CELL, CELL, weight, weight);
        }
    }
    fputs("</svg>\n", file);
}

/* A device, a pipe or a link: written to as it is, for a renamed file would take its place. */
static bool is_special(const char *path)
{
    struct stat information;
    return lstat(path, &information) == 0 && !S_ISREG(information.st_mode);
}

/* Written beside its place and renamed, so that a picture is whole or not there. */
int attention_svg_write(const cli_command *command, const td_result *result, const char *path)
{
    size_t rows, columns;
    const float *weights = td_result_attention(result, 0, 0, &rows, &columns);
    if (!weights)
        return cli_complain(command, CLI_FAILED, "--attention: this model has no attention to draw");
    size_t size = strlen(path) + 8;
    char *temporary = malloc(size);
    if (!temporary)
        return cli_complain(command, CLI_FAILED, "out of memory");
    bool special = is_special(path);
    snprintf(temporary, size, special ? "%s" : "%s.part", path);
    FILE *file = fopen(temporary, "w");
    bool written = file != NULL;
    if (file) {
        draw(file, result, weights, rows, columns);
        written = !ferror(file);
        written = fclose(file) == 0 && written && (special || rename(temporary, path) == 0);
    }
    int code = written ? -1 : cli_complain(command, CLI_FAILED, "%s: %s", path, strerror(errno));
    if (file && !written && !special)
        remove(temporary);
    free(temporary);
    return code;
}
