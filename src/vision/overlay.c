#include "overlay.h"

#include "base/buffer.h"
#include "base/utf8.h"
#include "picture.h"
#include "platform/file.h"

#include <math.h>
#include <string.h>

/* Units are SVG pixels. */
enum { PANEL_WIDTH = 220, GAP = 12, TEXT = 26, PANELS_A_ROW = 5 };

/* Of a cell: wide enough to hide the grid, narrow enough that a single cell keeps most of its light. */
static const double BLUR = 0.35;

typedef struct overlay {
    td_buffer svg;
    double height, cell_width, cell_height; /* of a panel and of a cell of the grid */
    double left, top, width, tall;          /* of the grid in its panel */
    bool whole;                             /* the grid fills the panel */
    bool turned;                            /* clockwise before the cells were made */
    size_t rows, columns;                   /* of the grid as it lies over the picture */
} overlay;

static void append_base64(td_buffer *out, const uint8_t *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = td_buffer_extend(out, (length + 2) / 3 * 4);
    for (size_t i = 0; to && i < length; i += 3, to += 4) {
        uint32_t group = (uint32_t)bytes[i] << 16;
        group |= i + 1 < length ? (uint32_t)bytes[i + 1] << 8 : 0;
        group |= i + 2 < length ? bytes[i + 2] : 0;
        to[0] = digits[group >> 18];
        to[1] = digits[group >> 12 & 63];
        to[2] = i + 1 < length ? digits[group >> 6 & 63] : '=';
        to[3] = i + 2 < length ? digits[group & 63] : '=';
    }
}

/* Words as XML allows them: markup escaped, malformed bytes and control characters shown as U+FFFD. */
static void append_escaped(td_buffer *out, const char *text)
{
    static const char *const entities[128] = {['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['"'] = "&quot;"};
    for (size_t left = strlen(text), bytes; left; text += bytes, left -= bytes) {
        uint32_t code = 0xfffd;
        bytes = td_utf8_decode(text, left, &code);
        if (bytes == 0 || code < 0x20 || code == 0xfffe || code == 0xffff) {
            td_buffer_text_append(out, "\xef\xbf\xbd");
            bytes = bytes ? bytes : 1;
        } else if (code < 128 && entities[code]) {
            td_buffer_text_append(out, entities[code]);
        } else {
            td_buffer_append(out, text, bytes);
        }
    }
}

/* The picture once, to be shown in every panel; and the blur that makes a smooth map of the grid's cells. */
static void append_definitions(overlay *it, const char *media_type, const td_buffer *bytes)
{
    td_buffer_format(&it->svg,
                     "<defs>\n<filter id=\"smooth\" filterUnits=\"userSpaceOnUse\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
                     "<feGaussianBlur stdDeviation=\"%.2f %.2f\"/></filter>\n"
                     "<clipPath id=\"seen\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/></clipPath>\n"
                     "<clipPath id=\"panel\"><rect width=\"%d\" height=\"%.1f\"/></clipPath>\n"
                     "<image id=\"picture\" width=\"%d\" height=\"%.1f\" preserveAspectRatio=\"none\" href=\"data:%s;base64,",
                     it->left - it->cell_width, it->top - it->cell_height, it->width + 2 * it->cell_width, it->tall + 2 * it->cell_height,
                     it->cell_width * BLUR, it->cell_height * BLUR, it->left, it->top, it->width, it->tall, PANEL_WIDTH, it->height,
                     PANEL_WIDTH, it->height, media_type);
    append_base64(&it->svg, (const uint8_t *)bytes->data, bytes->length);
    td_buffer_text_append(&it->svg, "\"/>\n</defs>\n");
}

/* A dark veil, thinnest where the weight is largest. Cells at the border reach one further, or the blur would brighten it. */
static void append_veil(overlay *it, const float *weights)
{
    float largest = 0;
    for (size_t i = 0; i < it->rows * it->columns; i++)
        largest = weights[i] > largest ? weights[i] : largest;
    if (!it->whole) /* what the model has not seen */
        td_buffer_format(&it->svg,
                         "<path fill-rule=\"evenodd\" opacity=\"0.85\" d=\"M0 0H%dV%.1fH0ZM%.1f %.1fh%.1fv%.1fh%.1fZ\"/>\n<g "
                         "clip-path=\"url(#seen)\">\n",
                         PANEL_WIDTH, it->height, it->left, it->top, it->width, it->tall, -it->width);
    td_buffer_text_append(&it->svg, "<g filter=\"url(#smooth)\">\n");
    for (size_t y = 0; y < it->rows; y++)
        for (size_t x = 0; x < it->columns; x++) {
            double left = x == 0 ? -1 : (double)x, right = x + 1 == it->columns ? (double)x + 2 : (double)x + 1;
            double top = y == 0 ? -1 : (double)y, bottom = y + 1 == it->rows ? (double)y + 2 : (double)y + 1;
            size_t cell = it->turned ? x * it->rows + it->rows - 1 - y : y * it->columns + x;
            double share = largest > 0 ? (double)(weights[cell] / largest) : 0;
            td_buffer_format(&it->svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" opacity=\"%.3f\"/>\n",
                             it->left + left * it->cell_width, it->top + top * it->cell_height, (right - left) * it->cell_width,
                             (bottom - top) * it->cell_height, 0.85 * (1 - share));
        }
    td_buffer_text_append(&it->svg, it->whole ? "</g>\n" : "</g>\n</g>\n");
}

/* Panel 0 is the picture by itself. */
static void append_panel(overlay *it, size_t index, const char *word, const float *weights)
{
    double x = GAP + (double)(index % PANELS_A_ROW) * (PANEL_WIDTH + GAP);
    double y = GAP + (double)(index / PANELS_A_ROW) * (it->height + TEXT + GAP);
    td_buffer_format(&it->svg, "<g transform=\"translate(%.1f %.1f)\">\n<g clip-path=\"url(#panel)\">\n<use href=\"#picture\"/>\n", x, y);
    if (weights)
        append_veil(it, weights);
    td_buffer_format(&it->svg, "</g>\n<text x=\"%d\" y=\"%.1f\" text-anchor=\"middle\">", PANEL_WIDTH / 2, it->height + TEXT * 0.75);
    append_escaped(&it->svg, word);
    td_buffer_text_append(&it->svg, "</text>\n</g>\n");
}

static td_status check_weights(const float *weights, size_t count, size_t cells, td_error *error)
{
    for (size_t i = 0; i < count * cells; i++)
        if (!(weights[i] >= 0) || !isfinite(weights[i]))
            return td_fail(error, TD_ERROR_NUMERIC,
                           "attention: the weight of word %zu at cell %zu is %g; it must be finite and not negative", i / cells + 1,
                           i % cells + 1, (double)weights[i]);
    return TD_OK;
}

static void append_all(overlay *it, const char *media_type, const td_buffer *bytes, const char *const *words, const float *weights,
                       size_t count)
{
    size_t panels = count + 1, across = panels < PANELS_A_ROW ? panels : PANELS_A_ROW, down = (panels + PANELS_A_ROW - 1) / PANELS_A_ROW;
    double width = GAP + (double)across * (PANEL_WIDTH + GAP), height = GAP + (double)down * (it->height + TEXT + GAP);
    td_buffer_format(&it->svg,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.1f\" height=\"%.1f\" viewBox=\"0 0 %.1f %.1f\" "
                     "font-family=\"sans-serif\" font-size=\"18\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
                     width, height, width, height);
    append_definitions(it, media_type, bytes);
    append_panel(it, 0, "", NULL);
    for (size_t i = 0; i < count; i++)
        append_panel(it, i + 1, words[i], weights + i * it->rows * it->columns);
    td_buffer_text_append(&it->svg, "</svg>\n");
}

static void set_sizes(overlay *it, const td_picture *picture, const td_frontend_kind *kind, const void *state)
{
    td_picture_part part = {0, 0, 1, 1, false};
    if (kind && kind->seen)
        part = kind->seen(state, picture->height, picture->width);
    it->turned = part.turned;
    if (part.turned) {
        size_t rows = it->rows;
        it->rows = it->columns;
        it->columns = rows;
    }
    it->height = (double)PANEL_WIDTH * (double)picture->height / (double)picture->width;
    it->whole = part.left == 0 && part.top == 0 && part.width == 1 && part.height == 1;
    it->left = part.left * PANEL_WIDTH;
    it->top = part.top * it->height;
    it->width = part.width * PANEL_WIDTH;
    it->tall = part.height * it->height;
    it->cell_width = it->width / (double)it->columns;
    it->cell_height = it->tall / (double)it->rows;
}

td_status td_overlay_write(const char *path, const char *picture_path, const char *const *words, const float *weights, size_t count,
                           size_t rows, size_t columns, const td_frontend_kind *kind, const void *state, td_error *error)
{
    if (rows == 0 || columns == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "attention: a grid of %zu x %zu cells", rows, columns);
    TD_TRY(check_weights(weights, count, rows * columns, error));
    td_buffer bytes = TD_BUFFER_INIT;
    td_picture picture = {0};
    overlay it = {.svg = TD_BUFFER_INIT, .rows = rows, .columns = columns};
    td_status status = td_file_read(picture_path, TD_PICTURE_MAX_BYTES, &bytes, error);
    if (status == TD_OK)
        status = td_picture_decode(td_buffer_text(&bytes), bytes.length, picture_path, &picture, error);
    if (status == TD_OK) {
        set_sizes(&it, &picture, kind, state);
        append_all(&it, td_picture_media_type(bytes.data, bytes.length), &bytes, words, weights, count);
        status = td_buffer_ok(&it.svg) ? td_file_write(path, it.svg.data, it.svg.length, error) : td_fail_memory(error, it.svg.length);
    }
    td_picture_free(&picture);
    td_buffer_free(&bytes);
    td_buffer_free(&it.svg);
    return status;
}
