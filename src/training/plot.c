/* Line charts as SVG, and the chart of a run. */
#include "training/plot.h"

#include "base/array.h"
#include "platform/file.h"
#include "training/recipe_table.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- charts ---- */

enum { LEFT = 70, RIGHT = 700, TOP = 40, PANEL = 140, STRIDE = 190, WIDTH = 730 };

typedef struct range {
    double low, high;
} range;

static void widen(range *r, double value)
{
    r->low = fmin(r->low, value);
    r->high = fmax(r->high, value);
}

/* A range of no extent gets one, so that it can be divided by. */
static range settled(range r)
{
    if (!(r.low <= r.high))
        return (range){0, 1};
    if (r.high - r.low <= 1e-12 * fmax(fabs(r.low), fabs(r.high)) || r.high == r.low) {
        double half = r.low == 0 ? 0.5 : fabs(r.low) * 0.1;
        return (range){r.low - half, r.high + half};
    }
    return r;
}

/* 1, 2 or 5 times a power of ten, such that about `wanted` ticks fit. */
static double tick_step(range r, int wanted)
{
    double rough = (r.high - r.low) / wanted, power = pow(10, floor(log10(rough)));
    double leading = rough / power;
    return power * (leading < 1.5 ? 1 : leading < 3.5 ? 2 : leading < 7.5 ? 5 : 10);
}

static double place_x(range r, double x)
{
    return LEFT + (RIGHT - LEFT) * (x - r.low) / (r.high - r.low);
}
static double place_y(range r, double top, double y)
{
    return top + PANEL * (r.high - y) / (r.high - r.low);
}

static void append_escaped(td_buffer *buffer, const char *text)
{
    for (; *text; text++) {
        const char *entity = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : *text == '"' ? "&quot;" : NULL;
        if (entity)
            td_buffer_text_append(buffer, entity);
        else
            td_buffer_append(buffer, text, 1);
    }
}

static void append_label(td_buffer *buffer, double x, double y, const char *attributes, const char *text)
{
    td_buffer_format(buffer, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, attributes);
    append_escaped(buffer, text);
    td_buffer_text_append(buffer, "</text>\n");
}

static void append_y_axis(td_buffer *buffer, range r, double top)
{
    double step = tick_step(r, 4);
    for (double k = ceil(r.low / step - 1e-9); k * step <= r.high + 1e-9 * step; k++) {
        char text[32];
        double y = place_y(r, top, k * step);
        snprintf(text, sizeof text, "%.6g", k * step);
        td_buffer_format(buffer, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, y, RIGHT);
        append_label(buffer, LEFT - 6, y + 4, " text-anchor=\"end\"", text);
    }
}

static void append_x_axis(td_buffer *buffer, range r, double top, bool labels)
{
    double step = tick_step(r, 8);
    for (double k = ceil(r.low / step - 1e-9); k * step <= r.high + 1e-9 * step; k++) {
        char text[32];
        double x = place_x(r, k * step);
        snprintf(text, sizeof text, "%.10g", k * step);
        td_buffer_format(buffer, "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>\n", x, top, top + PANEL);
        if (labels)
            append_label(buffer, x, top + PANEL + 16, " text-anchor=\"middle\"", text);
    }
}

static void append_line(td_buffer *buffer, const td_chart_line *line, range x, range y, double top)
{
    if (line->count == 1)
        td_buffer_format(buffer, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", place_x(x, line->x[0]),
                         place_y(y, top, line->y[0]), line->color);
    if (line->count < 2)
        return;
    td_buffer_format(buffer, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", line->color);
    for (size_t i = 0; i < line->count; i++)
        td_buffer_format(buffer, "%s%.1f,%.1f", i ? " " : "", place_x(x, line->x[i]), place_y(y, top, line->y[i]));
    td_buffer_text_append(buffer, "\"/>\n");
}

static void append_panel(td_buffer *buffer, const td_chart_panel *panel, range x, double top, bool last)
{
    range y = {INFINITY, -INFINITY};
    for (size_t l = 0; l < panel->count; l++)
        for (size_t i = 0; i < panel->lines[l].count; i++)
            widen(&y, panel->lines[l].y[i]);
    y = settled(y);
    append_label(buffer, LEFT, top - 8, " font-weight=\"bold\"", panel->title);
    append_x_axis(buffer, x, top, last);
    append_y_axis(buffer, y, top);
    td_buffer_format(buffer, "<rect class=\"frame\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\"/>\n", LEFT, top, RIGHT - LEFT, PANEL);
    for (size_t l = 0; l < panel->count; l++)
        append_line(buffer, &panel->lines[l], x, y, top);
    double key = RIGHT;
    for (size_t l = panel->count; panel->count > 1 && l-- > 0;) { /* names, from the right */
        char attributes[64];
        snprintf(attributes, sizeof attributes, " text-anchor=\"end\" fill=\"%.16s\"", panel->lines[l].color);
        append_label(buffer, key, top - 8, attributes, panel->lines[l].name);
        key -= 20 + 6.5 * (double)strlen(panel->lines[l].name);
    }
}

void td_chart_svg(const char *title, const char *x_title, const td_chart_panel *panels, size_t count, td_buffer *buffer)
{
    range x = {INFINITY, -INFINITY};
    for (size_t p = 0; p < count; p++)
        for (size_t l = 0; l < panels[p].count; l++)
            for (size_t i = 0; i < panels[p].lines[l].count; i++)
                widen(&x, panels[p].lines[l].x[i]);
    x = settled(x);
    int height = TOP + STRIDE * (int)count + 10;
    td_c_locale locale = td_c_locale_enter();
    td_buffer_format(buffer,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                     "font-family=\"sans-serif\" font-size=\"12\">\n"
                     "<style>.grid{stroke:#ddd}.frame{fill:none;stroke:#888}</style>\n"
                     "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<title>",
                     WIDTH, height, WIDTH, height);
    append_escaped(buffer, title);
    td_buffer_text_append(buffer, "</title>\n");
    for (size_t p = 0; p < count; p++)
        append_panel(buffer, &panels[p], x, TOP + STRIDE * (double)p, p + 1 == count);
    append_label(buffer, (LEFT + RIGHT) / 2.0, height - 8, " text-anchor=\"middle\"", x_title);
    td_buffer_text_append(buffer, "</svg>\n");
    td_c_locale_leave(locale);
}

/* ---- a run ---- */

typedef struct series {
    double *x, *y;
    size_t count, capacity;
} series;

enum { TRAIN_LOSS, VALIDATION_LOSS, LEARNING_RATE, SCORE, SERIES };

typedef struct run_log {
    series lines[SERIES];
    char score[64]; /* the log's key of the validation score */
} run_log;

static bool append_point(series *s, double x, double y)
{
    size_t capacity = s->capacity;
    if (td_reserve_array(&s->x, &capacity, s->count + 1, sizeof *s->x, NULL) != TD_OK ||
        td_reserve_array(&s->y, &s->capacity, s->count + 1, sizeof *s->y, NULL) != TD_OK)
        return false;
    s->x[s->count] = x;
    s->y[s->count++] = y;
    return true;
}

static bool append_member(series *s, double step, const json_t *object, const char *key)
{
    const json_t *member = json_object_get(object, key);
    bool rising = s->count == 0 || step >= s->x[s->count - 1];
    return !json_is_number(member) || !rising || append_point(s, step, json_number_value(member));
}

/* The score is the first number called validation_ that is neither the loss nor made from it nor a cost. */
static void find_score(run_log *run, json_t *object)
{
    static const char *const others[] = {"loss", "perplexity", "seconds", "sentences", "tokens", "accuracy"};
    const char *key;
    json_t *member;
    json_object_foreach(object, key, member)
    {
        bool counts = json_is_number(member) && strncmp(key, "validation_", 11) == 0;
        for (size_t i = 0; counts && i < sizeof others / sizeof *others; i++)
            counts = strcmp(key + 11, others[i]) != 0;
        if (counts && !*run->score)
            snprintf(run->score, sizeof run->score, "%s", key);
    }
}

static td_status read_line(run_log *run, const char *path, size_t number, const char *line, size_t length, td_error *error)
{
    json_t *object = json_loadb(line, length, 0, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return td_fail(error, TD_ERROR_FORMAT, "%s:%zu: not a JSON object", path, number);
    }
    bool stored = true;
    const json_t *step = json_object_get(object, "step");
    if (json_is_integer(step)) {
        double x = (double)json_integer_value(step);
        find_score(run, object);
        stored = append_member(&run->lines[TRAIN_LOSS], x, object, "loss") &&
                 append_member(&run->lines[VALIDATION_LOSS], x, object, "validation_loss") &&
                 append_member(&run->lines[LEARNING_RATE], x, object, "learning_rate") &&
                 (!*run->score || append_member(&run->lines[SCORE], x, object, run->score));
    }
    json_decref(object);
    return stored ? TD_OK : td_fail_memory(error, length);
}

static td_status read_log(run_log *run, const char *path, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    td_status status = td_file_read(path, 0, &text, error);
    const char *line = td_buffer_text(&text), *end = line + text.length, *stop;
    /* A last line without its end is one being written. */
    for (size_t number = 1; status == TD_OK && line < end && (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1, number++)
        status = read_line(run, path, number, line, (size_t)(stop - line), error);
    td_buffer_free(&text);
    bool empty = true;
    for (int i = 0; i < SERIES; i++)
        empty = empty && run->lines[i].count == 0;
    if (status == TD_OK && empty)
        return td_fail(error, TD_ERROR_FORMAT, "%s: no reports to draw; a run writes one every training.report_every steps", path);
    return status;
}

static td_status draw(const run_log *run, const char *title, const char *svg_path, td_error *error)
{
    static const char *const names[] = {"training", "validation", "learning rate", "score"};
    static const char *const colors[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd"};
    td_chart_line lines[SERIES];
    for (int i = 0; i < SERIES; i++)
        lines[i] = (td_chart_line){names[i], colors[i], run->lines[i].x, run->lines[i].y, run->lines[i].count};
    char score[80] = "validation score";
    if (strcmp(run->score, "validation_bleu") == 0)
        snprintf(score, sizeof score, "validation BLEU");
    else if (strcmp(run->score, "validation_rouge") == 0)
        snprintf(score, sizeof score, "validation ROUGE (mean of 1, 2, L)");
    else if (*run->score)
        snprintf(score, sizeof score, "validation %s", run->score + 11);
    const td_chart_panel panels[] = {
        {"loss", &lines[TRAIN_LOSS], 2}, {"learning rate", &lines[LEARNING_RATE], 1}, {score, &lines[SCORE], 1}};
    td_buffer svg = TD_BUFFER_INIT;
    td_chart_svg(title, "step", panels, 3, &svg);
    td_status status =
        td_buffer_ok(&svg) ? td_file_write(svg_path, td_buffer_text(&svg), svg.length, error) : td_fail_memory(error, svg.length);
    td_buffer_free(&svg);
    return status;
}

td_status td_plot_run(const char *run_directory, const char *svg_path, td_error *error)
{
    run_log run = {0};
    char *log = td_path_join(run_directory, "log.jsonl"), *beside = td_path_join(run_directory, "log.svg");
    td_status status = log && beside ? read_log(&run, log, error) : td_fail_memory(error, strlen(run_directory) + 10);
    if (status == TD_OK)
        status = draw(&run, run_directory, svg_path ? svg_path : beside, error);
    for (int i = 0; i < SERIES; i++) {
        td_release(run.lines[i].x);
        td_release(run.lines[i].y);
    }
    td_release(log);
    td_release(beside);
    return status;
}
