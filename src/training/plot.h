/* Line charts as SVG: panels above each other that share their x axis. */
#ifndef TD_TRAINING_PLOT_H
#define TD_TRAINING_PLOT_H

#include "base/buffer.h"
#include "tandem/training.h"

typedef struct td_chart_line {
    const char *name, *color; /* color: "#rrggbb" */
    const double *x, *y;      /* [count], x ascending, all finite */
    size_t count;
} td_chart_line;

typedef struct td_chart_panel {
    const char *title;
    const td_chart_line *lines;
    size_t count;
} td_chart_panel;

/* Appends a whole SVG document. Names are escaped; lines of one point are drawn as a dot. */
void td_chart_svg(const char *title, const char *x_title, const td_chart_panel *panels, size_t count, td_buffer *buffer);

#endif
