/* Training, and looking at what a training run left behind. */
#ifndef TANDEM_TRAINING_H
#define TANDEM_TRAINING_H

#include <tandem/base.h>
#include <tandem/profile.h>

#include <signal.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_train_options {
    size_t struct_size;
    const char *const *overrides; /* "training.learning_rate=0.002", ... */
    size_t override_count;
    bool restart; /* forget what the output directory holds */
    /* Receives what a person should see, without a line end; `transient` lines replace one another. May be NULL. */
    void (*report)(void *context, const char *line, bool transient);
    void *context;
    const volatile sig_atomic_t *stop; /* set it to save and stop after the step in hand; may be NULL */
    td_profile *profile;               /* measures the steps, and validation; NULL: nothing */
} td_train_options;
#define TD_TRAIN_OPTIONS_INIT                                                                                                              \
    {                                                                                                                                      \
        sizeof(td_train_options), NULL, 0, false, NULL, NULL, NULL, NULL                                                                   \
    }

/* Trains as a recipe says (docs/recipe.md), from the output directory's last checkpoint if it has one. Killed at any moment, the next
 * call goes on to the very bits that an uninterrupted run has. Returns TD_ERROR_CANCELLED when stopped by `stop`. */
TD_API td_status td_train(const char *recipe_path, const td_train_options *options, td_error *error);

/* Draws RUN/log.jsonl as an SVG picture: loss in training and validation, learning rate, and the validation score, each
 * over steps. `svg_path` NULL: RUN/log.svg. */
TD_API td_status td_plot_run(const char *run_directory, const char *svg_path, td_error *error);

#ifdef __cplusplus
}
#endif
#endif
