/* Training, and looking at what a training run left behind. */
#ifndef TANDEM_TRAINING_H
#define TANDEM_TRAINING_H

#include <tandem/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Draws RUN/log.jsonl as an SVG picture: loss in training and validation, learning rate, and the validation score, each
 * over steps. `svg_path` NULL: RUN/log.svg. */
TD_API td_status td_plot_run(const char *run_directory, const char *svg_path, td_error *error);

#ifdef __cplusplus
}
#endif
#endif
