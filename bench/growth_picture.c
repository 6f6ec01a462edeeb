/* The growth cases of a report as a table and as a picture: time and memory against each dimension, both axes logarithmic, so that a
 * straight line's slope is the power of growth. */
#include "bench.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *dimension, *title;
} panels[] = {{"source", "tokens of the source"},
              {"beam", "beam"},
              {"batch", "sentences together"},
              {"vocabulary", "vocabulary"},
              {"threads", "threads"}};
static const struct {
    const char *figure, *title, *colour;
} lines[] = {{"source and first token", "source and first token, ms", "#1b6ca8"},
             {"each further step", "each further step, ms", "#c0392b"},
             {"peak memory", "peak memory, MB", "#27824a"}};
enum {
    PANELS = sizeof panels / sizeof *panels,
    LINES = sizeof lines / sizeof *lines,
    POINTS = 16,
    WIDTH = 210,
    HEIGHT = 230,
    LEFT = 44,
    TOP = 46
};

typedef struct growth_panel {
    size_t count;
    double at[POINTS], values[LINES][POINTS];
} growth_panel;

/* The least of the rounds: what else runs on a machine only adds. */
static double figure_of(const json_t *row, const char *name)
{
    size_t i;
    json_t *figure;
    json_array_foreach(json_object_get(row, "figures"), i, figure)
    {
        const char *label = json_string_value(json_object_get(figure, "name"));
        if (label && strcmp(label, name) == 0)
            return json_number_value(json_object_get(figure, "low"));
    }
    return NAN;
}

static growth_panel read_panel(const json_t *report, const char *dimension)
{
    growth_panel panel = {0};
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(report, "cases"), i, row)
    {
        char of[32];
        double at;
        const char *name = json_string_value(json_object_get(row, "case"));
        if (!name || panel.count == POINTS || sscanf(name, "growth %31s %lf", of, &at) != 2 || strcmp(of, dimension) != 0)
            continue;
        panel.at[panel.count] = at;
        for (size_t line = 0; line < LINES; line++)
            panel.values[line][panel.count] = figure_of(row, lines[line].figure);
        panel.count++;
    }
    return panel;
}

/* By which power the last step grew. */
static double last_power(const growth_panel *panel, size_t line)
{
    size_t last = panel->count - 1;
    return log(panel->values[line][last] / panel->values[line][last - 1]) / log(panel->at[last] / panel->at[last - 1]);
}

static void print_table(const growth_panel *all)
{
    printf("| | source and first token, ms | each further step, ms | peak memory, MB | powers of the last step |\n|---|---|---|---|---|\n");
    for (size_t p = 0; p < PANELS; p++)
        for (size_t i = 0; i < all[p].count; i++) {
            printf("| %s %.0f |", panels[p].title, all[p].at[i]);
            for (size_t line = 0; line < LINES; line++)
                printf(" %.4g |", all[p].values[line][i]);
            if (i > 0 && i + 1 == all[p].count)
                printf(" %.2f, %.2f, %.2f |\n", last_power(&all[p], 0), last_power(&all[p], 1), last_power(&all[p], 2));
            else
                printf(" |\n");
        }
}

/* All panels share the vertical axis, 0.01 to 10,000. */
static double height_of(double value)
{
    return TOP + HEIGHT * (1 - (log10(value) + 2) / 6);
}

static double across(const growth_panel *panel, double value)
{
    double low = log(panel->at[0]), high = log(panel->at[panel->count - 1]);
    return high > low ? WIDTH * (log(value) - low) / (high - low) : 0;
}

static void draw_panel(FILE *file, const growth_panel *panel, size_t number)
{
    double left = LEFT + (double)number * (WIDTH + LEFT);
    fprintf(file, "<text x=\"%.0f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", left + WIDTH / 2, TOP + HEIGHT + 34,
            panels[number].title);
    for (int power = -2; power <= 4; power++) {
        double y = height_of(pow(10, power));
        fprintf(file, "<path d=\"M%.0f %.1fh%d\" stroke=\"#ddd\"/><text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", left, y,
                WIDTH, left - 4, y + 4, pow(10, power));
    }
    for (size_t i = 0; i < panel->count; i++)
        fprintf(file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", left + across(panel, panel->at[i]),
                TOP + HEIGHT + 16, panel->at[i]);
    for (size_t line = 0; line < LINES; line++) {
        fprintf(file, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", lines[line].colour);
        for (size_t i = 0; i < panel->count; i++)
            if (panel->values[line][i] > 0)
                fprintf(file, "%.1f,%.1f ", left + across(panel, panel->at[i]), height_of(panel->values[line][i]));
        fprintf(file, "\"/>\n");
    }
}

static bool draw(const growth_panel *all, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    int width = PANELS * (WIDTH + LEFT) + LEFT, height = TOP + HEIGHT + 48;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"11\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n",
            width, height, width, height);
    for (size_t line = 0; line < LINES; line++)
        fprintf(file, "<text x=\"%d\" y=\"20\" fill=\"%s\" font-size=\"13\">%s</text>\n", (int)(LEFT + line * 240), lines[line].colour,
                lines[line].title);
    for (size_t p = 0; p < PANELS; p++)
        if (all[p].count > 0)
            draw_panel(file, &all[p], p);
    fprintf(file, "</svg>\n");
    return fclose(file) == 0;
}

int bench_draw_growth(const char *report_path, const char *svg_path)
{
    growth_panel all[PANELS];
    json_t *report = json_load_file(report_path, 0, NULL);
    if (!report)
        return fprintf(stderr, "tandem_bench: cannot read %s\n", report_path), 1;
    for (size_t p = 0; p < PANELS; p++)
        all[p] = read_panel(report, panels[p].dimension);
    json_decref(report);
    print_table(all);
    if (!draw(all, svg_path))
        return fprintf(stderr, "tandem_bench: cannot write %s\n", svg_path), 1;
    return 0;
}
