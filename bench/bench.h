/* A benchmark is a row of a table: a name and a function that fills in figures. Each runs in a process of its own, so
 * that its peak memory is its own too. */
#ifndef TANDEM_BENCH_H
#define TANDEM_BENCH_H

#include <kernels/packed.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct bench_figure {
    char name[48], unit[16];
    double value;     /* the median of the rounds */
    double low, high; /* of the rounds */
} bench_figure;

enum { BENCH_FIGURES = 72, BENCH_ROUNDS = 25 };

typedef struct bench_result {
    bench_figure figures[BENCH_FIGURES];
    size_t count;
    char failure[512]; /* "" when it went well */
} bench_result;

typedef struct bench_settings {
    const char *model;     /* directory of the model to translate with */
    const char *peers;     /* virtual environment with PyTorch, or NULL */
    const char *directory; /* for the models */
    int threads;
    int rounds; /* of cases that are repeated */
} bench_settings;

typedef struct bench_case {
    const char *name;
    void (*run)(const bench_settings *settings, const char *variant, bench_result *result);
    const char *variant;
    bool peer; /* only with --peers; takes turns with the case before it */
    bool repeated;
} bench_case;

void bench_add(bench_result *result, const char *unit, double value, const char *format, ...) __attribute__((format(printf, 4, 5)));
void bench_add_memory(bench_result *result, const char *name); /* of this process so far, at most */
void bench_fail(bench_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));
double bench_seconds(void);
double bench_thread_seconds(void); /* of processor time of this thread */

/* kernels.c */
void bench_products(const bench_settings *settings, const char *precision, bench_result *result);
void bench_rows(const bench_settings *settings, const char *isa, bench_result *result);
void bench_packed(const bench_settings *settings, const char *precision, bench_result *result);
void bench_unpacked(const bench_settings *settings, const char *variant, bench_result *result);
/* peak.c: Gop/s of one thread's multiply-and-add instructions for a precision, 0 where there is none to measure */
double bench_peak(td_precision precision, td_matrix_isa isa, const char **ret_name);
double bench_bandwidth(size_t bytes); /* GB/s of one thread that reads so many bytes in order, again and again */
/* translate.c: variant is the beam; "start" the first sentence of a fresh process */
void bench_translate(const bench_settings *settings, const char *beam, bench_result *result);
void bench_start(const bench_settings *settings, const char *variant, bench_result *result);
/* random_model.c: writes the model on first use; shape: see shapes.h */
bool bench_random_model(const bench_settings *settings, const char *shape, bool int8, char *directory, size_t size);
/* decode.c: variant is "SHAPE PRECISION BEAM", or a shape */
void bench_decode(const bench_settings *settings, const char *variant, bench_result *result);
void bench_open(const bench_settings *settings, const char *shape, bench_result *result);
bool bench_write_sources(const char *path);
/* whisper.c: variant is a precision */
void bench_whisper(const bench_settings *settings, const char *precision, bench_result *result);
/* decode_peer.c: the same work by CTranslate2 */
void bench_whisper_peer(const bench_settings *settings, const char *precision, bench_result *result);
void bench_decode_peer(const bench_settings *settings, const char *variant, bench_result *result);
/* growth.c: variant is "DIMENSION VALUE"; growth_picture.c: the cases of a report as a table and a picture, an exit status */
void bench_growth(const bench_settings *settings, const char *variant, bench_result *result);
int bench_draw_growth(const char *report_path, const char *svg_path);
/* train.c: variant is the model */
void bench_train(const bench_settings *settings, const char *model, bench_result *result);
void bench_train_peer(const bench_settings *settings, const char *model, bench_result *result);

#endif
